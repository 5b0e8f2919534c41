//! MMAU, the music part: <https://github.com/Sakshi113/MMAU>.
//!
//! Its file is a JSON array of objects with `id`, `audio_id` (a path), `question`, `choices`, `answer`
//! (a choice's text), `task` (`sound`, `music` or `speech`), `category`, `sub-category` and
//! `difficulty`. Versions of its script read a model's output as `model_output` or as
//! `model_prediction`; both are written. It has no prompt of its own: this is the one that Audio
//! Flamingo's authors and many after them ask it with.

use super::benchmark::{Choice, OUTPUT, Question, Task, lettered, take_id};
use super::extract::words;
use crate::fields::{Fields, TEXT};
use serde_json::Value;

/// The other name of an output.
pub(super) const PREDICTION: &str = "model_prediction";
/// The task that is ours.
const MUSIC: &str = "music";

/// A question of the file; nothing if it is not about music.
pub(super) fn question(mut fields: Fields, native: Value) -> Result<Option<Question>, String> {
    let task: String = fields.need("task", TEXT)?;
    if task != MUSIC {
        return Ok(None);
    }
    let id = take_id(&mut fields);
    let audio = fields.need("audio_id", TEXT)?;
    let text: String = fields.need("question", TEXT)?;
    let choices: Vec<String> = fields.need("choices", "a list of strings")?;
    let answer: String = fields.need("answer", TEXT)?;
    let mut categories = Vec::new();
    for key in ["category", "sub-category", "difficulty"] {
        let name: Option<String> = fields.take(key, TEXT)?;
        categories.extend(name.map(|name| format!("{key}: {name}")));
    }
    let output = match fields.take(OUTPUT, TEXT)? {
        Some(output) => Some(output),
        None => fields.take(PREDICTION, TEXT)?,
    };
    let index = choices
        .iter()
        .position(|choice| *choice == answer)
        .or_else(|| choices.iter().position(|c| words(c) == words(&answer)));
    let prompt = format!(
        "{text} Choose the correct option from the following options:\n{}",
        lettered(&choices)
    );
    let choice = Choice::new(choices, index, answer);
    Ok(Some(Question {
        id,
        audio,
        prompt,
        task: Task::Choice(choice.map_err(|e| format!("{}: {e}", fields.name("choices")))?),
        categories,
        split: None,
        output,
        native,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_music_is_asked_about() {
        let native = |task: &str| {
            json!({
                "id": "7", "audio_id": "./test-mini-audios/7.wav", "question": "Which key?",
                "choices": ["C major", "A minor"], "answer": "A Minor", "task": task,
                "category": "Reasoning", "sub-category": "Key", "difficulty": "hard"
            })
        };
        let ask = |task: &str| {
            let fields = Fields::new("question 1".to_owned(), native(task)).unwrap();
            question(fields, native(task)).unwrap()
        };
        assert!(ask("sound").is_none() && ask("speech").is_none());
        let question = ask("music").unwrap();
        let Task::Choice(choice) = &question.task else {
            panic!("{question:?}");
        };
        assert_eq!(choice.answer, Some(1));
        let prompt = "Which key? Choose the correct option from the following options:\n\
            (A) C major\n(B) A minor";
        assert_eq!(question.prompt, prompt);
        assert_eq!(
            question.categories,
            [
                "category: Reasoning",
                "sub-category: Key",
                "difficulty: hard"
            ]
        );
    }
}
