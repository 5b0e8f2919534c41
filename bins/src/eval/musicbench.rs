//! MusicBench's shape, of GaMMA: an object with a question, options, an answer, a category, and the
//! split that it is of, in a JSON array or JSON lines.

use super::benchmark::{Choice, OUTPUT, Question, Split, Task, letter, lettered, take_id};
use crate::fields::{Fields, TEXT};
use clap::ValueEnum;
use serde_json::Value;

const OPTIONS: &str = "a list of strings";

/// A question of the file.
pub(super) fn question(mut fields: Fields, native: Value) -> Result<Question, String> {
    let id = take_id(&mut fields);
    let audio = fields.need("audio", TEXT)?;
    let text: String = fields.need("question", TEXT)?;
    let options: Vec<String> = fields.need("options", OPTIONS)?;
    let answer: String = fields.need("answer", TEXT)?;
    let category: Option<String> = fields.take("category", TEXT)?;
    let split: Option<String> = fields.take("split", TEXT)?;
    let split = split.map(|name| {
        let known = Split::from_str(&name, true);
        known.map_err(|_| fields.wrong("split", &name.into(), "\"global\" or \"temporal\""))
    });
    let split = split.transpose()?;
    let output = fields.take(OUTPUT, TEXT)?;
    let index = index(&answer, &options)
        .map_err(|expected| fields.wrong("answer", &answer.into(), &expected))?;
    let mut categories = Vec::new();
    if let Some(split) = split {
        let name = match split {
            Split::Global => "global",
            Split::Temporal => "temporal",
        };
        categories.push(format!("split: {name}"));
    }
    categories.extend(category.map(|name| format!("category: {name}")));
    let prompt = format!("{text}\n{}", lettered(&options));
    let right = options.get(index).cloned().unwrap_or_default();
    let choice = Choice::new(options, Some(index), right);
    Ok(Question {
        id,
        audio,
        prompt,
        task: Task::Choice(choice.map_err(|e| format!("{}: {e}", fields.name("options")))?),
        categories,
        split,
        output,
        native,
    })
}

/// Which option an answer names, by its letter or its text; else what was expected.
fn index(answer: &str, options: &[String]) -> Result<usize, String> {
    let by_letter = (0..options.len()).find(|i| answer.trim() == letter(*i).to_string());
    let mut by_text = (0..options.len()).filter(|i| options[*i] == answer);
    match (by_letter, by_text.next(), by_text.next()) {
        (Some(index), None, _) | (None, Some(index), None) => Ok(index),
        (Some(a), Some(b), None) if a == b => Ok(a),
        (None, None, _) => Err(format!(
            "a letter from A to {} or the text of an option",
            letter(options.len().saturating_sub(1))
        )),
        _ => Err("the letter or the text of one option alone".to_owned()),
    }
}

/// What a model answers that is sure of an option.
pub(super) fn answer(index: usize, option: &str) -> String {
    format!("{option} ({})", letter(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_letters_or_texts() {
        let options = ["0:04", "0:12", "C", "D"].map(str::to_owned);
        for (answer, found) in [("B", 1), ("0:12", 1), ("A", 0), ("C", 2)] {
            assert_eq!(index(answer, &options), Ok(found), "{answer}");
        }
        // Text or letter, which are different options.
        assert!(index("A", &["B", "A"].map(str::to_owned)).is_err());
        assert!(index("x", &["x", "x"].map(str::to_owned)).is_err());
        let expected = "a letter from A to D or the text of an option";
        assert_eq!(index("E", &options), Err(expected.to_owned()));
    }

    #[test]
    fn the_prompt_is_the_question_and_a_line_for_each_option() {
        let native = json!({
            "id": "t-0001", "audio": "songs/100001.flac", "question": "When do the drums come in?",
            "options": ["0:04", "0:12", "0:19", "0:25"], "answer": "B", "category": "entry",
            "split": "Temporal"
        });
        let fields = Fields::new("line 1".to_owned(), native.clone()).unwrap();
        let question = question(fields, native).unwrap();
        assert_eq!(
            question.prompt,
            "When do the drums come in?\n(A) 0:04\n(B) 0:12\n(C) 0:19\n(D) 0:25"
        );
        assert_eq!(question.categories, ["split: temporal", "category: entry"]);
        assert_eq!(answer(1, "0:12"), "0:12 (B)");
    }
}
