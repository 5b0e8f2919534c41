//! MuChoMusic: <https://github.com/mulab-mir/muchomusic>, 1,187 questions.
//!
//! The dataset is a CSV. `prepare_prompts.py` makes of it the JSON that `evaluate.py` scores, with
//! options in a random order: `answers` are the options as they are shown, and the right one is where
//! `answer_orders` is 0. Here a CSV is made into the same JSON, in an order that the seed decides.

use super::benchmark::{Choice, OUTPUT, Question, Task, letter, take_id};
use super::random::Random;
use crate::fields::{Fields, TEXT, shown_text};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What all prompts begin with: the one shot of `muchomusic_eval/configs/default.yaml`.
const ONE_SHOT: &str = "Question: What rhythm pattern do the digital drums primarily follow in this \
    pop music piece? \n Options: (A) Four on the floor. (B) Off-beat syncopation. (C) Scat singing. \
    (D) E-guitar playing a simple melody. \n The correct answer is: A";
/// The columns with options, the right one first.
const OPTIONS: [&str; 4] = [
    "correct_answer",
    "distractor_1_answer",
    "distractor_2_answer",
    "distractor_3_answer",
];
/// What stands for the part of a file's name that the CSV does not tell.
const ANY: &str = "[*].wav";

/// The prompt of `prepare_prompts.py`.
fn prompt(question: &str, options: &[&str]) -> String {
    let mut prompt = format!("{ONE_SHOT}\n Question: {question}\n Options: ");
    for (i, option) in options.iter().enumerate() {
        prompt.push_str(&format!("({}) {option} ", letter(i)));
    }
    prompt + "\n The correct answer is: "
}

/// The rows of the CSV as objects of the JSON.
pub(super) fn rows(bytes: &[u8], seed: u64) -> Result<Vec<(String, Value)>, String> {
    let mut reader = csv::Reader::from_reader(bytes);
    let no_csv = |e: csv::Error| format!("no CSV: {e}");
    let header = reader.headers().map_err(no_csv)?.clone();
    let column = |name: &str| {
        let found = header.iter().position(|column| column == name);
        found.ok_or_else(|| {
            let columns: Vec<&str> = header.iter().collect();
            format!(
                "columns {}, expected MuChoMusic's, {name} among them",
                shown_text(&columns.join(","))
            )
        })
    };
    let (question, dataset) = (column("question")?, column("dataset")?);
    let (identifier, genre) = (column("dataset_identifier")?, column("genre")?);
    let (reasoning, knowledge) = (column("music_reasoning")?, column("music_knowledge")?);
    let options: Vec<usize> = OPTIONS
        .iter()
        .map(|c| column(c))
        .collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(no_csv)?;
        let place = match record.position() {
            Some(position) => format!("line {}", position.line()),
            None => format!("row {}", number + 1),
        };
        let field = |column: usize| record.get(column).unwrap_or_default();
        let list = |column: usize| {
            let text = field(column);
            strings(text).ok_or_else(|| {
                let name = header.get(column).unwrap_or_default();
                let text = shown_text(text);
                format!("{place}: {name} is {text:?}, expected a list such as ['melody']")
            })
        };
        let (id, audio) = audio(field(dataset), field(identifier))
            .map_err(|reason| format!("{place}: {reason}"))?;
        let mut order: Vec<usize> = (0..options.len()).collect();
        Random::new(seed, number as u64).shuffle(&mut order);
        let shown: Vec<&str> = order.iter().map(|i| field(options[*i])).collect();
        let object = json!({
            "id": id,
            "prompt": prompt(field(question), &shown),
            "answers": shown,
            "answer_orders": order,
            "dataset": field(dataset),
            "genre": field(genre),
            "reasoning": list(reasoning)?,
            "knowledge": list(knowledge)?,
            "audio_path": audio,
        });
        rows.push((place, object));
    }
    Ok(rows)
}

/// The id of a song and the path of its file, as the JSON has them. The path of one of Song
/// Describer has the last two digits of its id; that of one of MusicCaps the seconds too, which the
/// CSV does not tell.
fn audio(dataset: &str, identifier: &str) -> Result<(Value, String), String> {
    let name = identifier.strip_suffix(".json").unwrap_or(identifier);
    match dataset {
        "sdd" => match name.parse::<u64>() {
            Ok(id) => {
                let path = format!("data/sdd/audio/{:02}/{id}.2min.mp3", id % 100);
                Ok((id.into(), path))
            }
            Err(_) => Err(format!(
                "dataset_identifier is {:?}, expected a number of Song Describer's",
                shown_text(identifier)
            )),
        },
        "musiccaps" => {
            let id = name.rsplit_once('_').map_or("", |(id, _)| id);
            Ok((id.into(), format!("data/musiccaps/audio/[{id}]-{ANY}")))
        }
        other => Err(format!(
            "dataset is {:?}, expected sdd or musiccaps",
            shown_text(other)
        )),
    }
}

/// The strings of a list as Python writes it; none of no text. Nothing if it is something else.
fn strings(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = text.strip_prefix('[')?.trim_start();
    let mut strings = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(']') {
            return after.is_empty().then_some(strings);
        }
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let mut string = String::new();
        let mut chars = rest[1..].chars();
        loop {
            match chars.next()? {
                '\\' => string.push(chars.next()?),
                c if c == quote => break,
                c => string.push(c),
            }
        }
        strings.push(string);
        rest = chars.as_str().trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with(']') => {}
            None => return None,
        }
    }
}

/// A question of the JSON.
pub(super) fn question(mut fields: Fields, native: Value) -> Result<Question, String> {
    const LIST: &str = "a list of strings";
    let id = take_id(&mut fields);
    let prompt = fields.need("prompt", TEXT)?;
    let options: Vec<String> = fields.need("answers", LIST)?;
    let order: Vec<usize> = fields.need("answer_orders", "a list of whole numbers")?;
    let mut right = order.iter().enumerate().filter(|(_, place)| **place == 0);
    let answer = match (right.next(), right.next()) {
        (Some((index, _)), None) if order.len() == options.len() => index,
        _ => {
            let expected = format!(
                "one 0 among {} numbers, for the right answer",
                options.len()
            );
            return Err(fields.wrong("answer_orders", &json!(order), &expected));
        }
    };
    let audio = fields.need("audio_path", TEXT)?;
    let mut categories = Vec::new();
    for group in ["knowledge", "reasoning"] {
        let names: Vec<String> = fields.take(group, LIST)?.unwrap_or_default();
        if !names.is_empty() {
            categories.push(group.to_owned());
        }
        for name in names {
            let name = format!("{group}: {name}");
            if !categories.contains(&name) {
                categories.push(name);
            }
        }
    }
    let genre: Option<String> = fields.take("genre", TEXT)?;
    let genre = genre.filter(|genre| !genre.is_empty());
    categories.extend(genre.map(|genre| format!("genre: {genre}")));
    let text = options.get(answer).cloned().unwrap_or_default();
    let choice = Choice::new(options, Some(answer), text);
    Ok(Question {
        id,
        audio,
        prompt,
        task: Task::Choice(choice.map_err(|e| format!("{}: {e}", fields.name("answers")))?),
        categories,
        split: None,
        output: fields.take(OUTPUT, TEXT)?,
        native,
    })
}

/// A song's file, if it is there: where the JSON says, with or without the folder `data` that holds
/// the questions too.
pub(super) fn find_audio(root: &Path, audio: &str) -> Option<PathBuf> {
    let inside = audio.strip_prefix("data/");
    [Some(audio), inside]
        .into_iter()
        .flatten()
        .find_map(|audio| {
            let path = root.join(audio);
            let Some(start) = audio.strip_suffix(ANY) else {
                return Some(path).filter(|path| path.is_file());
            };
            let start = Path::new(start).file_name()?.to_str()?;
            let files = path.parent()?.read_dir().ok()?.flatten();
            let mut found: Vec<PathBuf> = files
                .filter(|file| {
                    let name = file.file_name();
                    name.to_str().is_some_and(|name| name.starts_with(start))
                })
                .map(|file| file.path())
                .filter(|path| path.is_file())
                .collect();
            found.sort();
            found.into_iter().next()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text is that of `prepare_prompts.py`, run with `default.yaml`.
    #[test]
    fn the_prompt_is_the_official_one() {
        let prompt = prompt("Which key?", &["C.", "D.", "E.", "F."]);
        assert_eq!(
            prompt,
            "Question: What rhythm pattern do the digital drums primarily follow in this pop music \
            piece? \n Options: (A) Four on the floor. (B) Off-beat syncopation. (C) Scat singing. \
            (D) E-guitar playing a simple melody. \n The correct answer is: A\n Question: Which key?\n \
            Options: (A) C. (B) D. (C) E. (D) F. \n The correct answer is: "
        );
    }

    #[test]
    fn lists_of_python() {
        let list = |text: &str| strings(text);
        assert_eq!(list(""), Some(vec![]));
        assert_eq!(list("[]"), Some(vec![]));
        let expected = Some(vec!["it's".to_owned(), "a \"b\"".to_owned()]);
        assert_eq!(list("['it\\'s', \"a \\\"b\\\"\"]"), expected);
        for text in [
            "melody",
            "[melody]",
            "['melody'",
            "['a' 'b']",
            "['a'] b",
            "['a",
        ] {
            assert_eq!(list(text), None, "{text}");
        }
    }

    #[test]
    fn songs_by_their_identifiers() {
        let sdd = audio("sdd", "415600.json").unwrap();
        // As in the README of MuChoMusic.
        assert_eq!(
            sdd,
            (415600.into(), "data/sdd/audio/00/415600.2min.mp3".into())
        );
        let musiccaps = audio("musiccaps", "a_b-c_0.json").unwrap();
        assert_eq!(
            musiccaps,
            (
                "a_b-c".into(),
                "data/musiccaps/audio/[a_b-c]-[*].wav".into()
            )
        );
        assert!(audio("sdd", "x").is_err() && audio("other", "1").is_err());
    }
}
