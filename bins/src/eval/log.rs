//! The answers as they come: a journal whose first line says what was asked of which model, and how.

use super::By;
use super::benchmark::Benchmark;
use crate::error::Error;
use crate::journal::{self, Journal};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::path::Path;

/// What a log is called in an evaluation's folder.
pub(super) const NAME: &str = "answers.jsonl";
/// What errors call the writer.
const COMMAND: &str = "gamut eval";
/// The settings that may differ between runs that go on with each other's log.
const NAMES: &str = "names";

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// A generated text.
    Text {
        output: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reasoning: String,
        /// Why it ended.
        finish: Option<String>,
        /// Its tokens.
        tokens: usize,
    },
    /// The log-probability of each option, and how many tokens it has.
    Likelihoods {
        logprobs: Vec<f64>,
        tokens: Vec<usize>,
    },
    /// It cannot be answered, for this reason.
    Failed { error: String },
}

/// A line of a log.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Line {
    Settings {
        settings: Map<String, Value>,
    },
    Answered {
        /// The number of the question in the benchmark, from 0.
        question: usize,
        id: String,
        #[serde(flatten)]
        answer: Answer,
    },
}

/// The answers of a log, by the numbers of their questions.
pub(super) type Answers = Vec<Option<Answer>>;

/// A log that is open for more.
#[derive(Debug)]
pub(super) struct Log {
    journal: Journal,
}

impl Log {
    /// Opens a folder's log, and finds out which questions it answers. One with other settings is
    /// refused.
    pub(super) fn open(
        folder: &Path,
        settings: &Map<String, Value>,
        by: By,
        benchmark: &Benchmark,
    ) -> Result<(Log, Answers), Error> {
        let path = folder.join(NAME);
        let mut reader = Reader::new(by, benchmark);
        let journal = Journal::open(&path, COMMAND, |line, whole| {
            if let Line::Settings { settings: found } = &line
                && let Some((name, found, expected)) = difference(found, settings)
            {
                return Err(Error::OtherSettings {
                    path: path.clone(),
                    name,
                    found,
                    expected,
                });
            }
            Ok(reader.take(line, whole))
        })?;
        let mut log = Log { journal };
        if reader.settings.is_none() {
            let settings = settings.clone();
            log.journal.add(&Line::Settings { settings })?;
        }
        Ok((log, reader.answers))
    }

    /// Adds an answer.
    pub(super) fn add(&mut self, question: usize, id: &str, answer: &Answer) -> Result<(), Error> {
        self.journal.add(&Line::Answered {
            question,
            id: id.to_owned(),
            answer: answer.clone(),
        })
    }

    /// Flushes it to the disk.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.journal.finish()
    }
}

/// Reads the settings of a folder's log.
pub(super) fn settings(folder: &Path) -> Result<Map<String, Value>, Error> {
    let path = folder.join(NAME);
    let mut settings = None;
    journal::read(&open(&path)?, &path, COMMAND, |line, _| {
        if let Line::Settings { settings: found } = line {
            settings.get_or_insert(found);
        }
        Ok(true)
    })?;
    settings.ok_or(Error::NoAnswer {
        path,
        line: 1,
        command: COMMAND,
    })
}

/// Reads the answers of a folder's log.
pub(super) fn answers(folder: &Path, by: By, benchmark: &Benchmark) -> Result<Answers, Error> {
    let path = folder.join(NAME);
    let mut reader = Reader::new(by, benchmark);
    journal::read(&open(&path)?, &path, COMMAND, |line, whole| {
        Ok(reader.take(line, whole))
    })?;
    Ok(reader.answers)
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|reason| Error::Read {
        path: path.to_owned(),
        reason,
    })
}

/// Takes a log's lines.
struct Reader<'a> {
    by: By,
    benchmark: &'a Benchmark,
    settings: Option<Map<String, Value>>,
    answers: Answers,
}

impl Reader<'_> {
    fn new(by: By, benchmark: &Benchmark) -> Reader<'_> {
        Reader {
            by,
            benchmark,
            settings: None,
            answers: vec![None; benchmark.questions.len()],
        }
    }

    /// Takes a line that is whole; whether it is one of a log of this benchmark.
    fn take(&mut self, line: Line, whole: bool) -> bool {
        match line {
            Line::Settings { settings } => {
                if whole {
                    self.settings = Some(settings);
                }
                true
            }
            Line::Answered {
                question,
                id,
                answer,
            } => {
                let Some(asked) = self.benchmark.questions.get(question) else {
                    return false;
                };
                let options = asked.options().len();
                let fits = match &answer {
                    Answer::Text { .. } => self.by == By::Generation,
                    Answer::Likelihoods { logprobs, tokens } => {
                        self.by == By::Likelihood
                            && logprobs.len() == options
                            && tokens.len() == options
                    }
                    Answer::Failed { .. } => true,
                };
                // Settings come first.
                if !fits || asked.id != id || self.settings.is_none() {
                    return false;
                }
                if whole {
                    self.answers[question] = Some(answer);
                }
                true
            }
        }
    }
}

/// The first setting that a log has otherwise, with what was found and expected.
fn difference(
    found: &Map<String, Value>,
    expected: &Map<String, Value>,
) -> Option<(String, String, String)> {
    for key in expected.keys().chain(found.keys()) {
        let (a, b) = (&found.get(key), &expected.get(key));
        if key == NAMES || a == b {
            continue;
        }
        if let (Some(Value::Object(a)), Some(Value::Object(b))) = (a, b) {
            if let Some((name, found, expected)) = difference(a, b) {
                return Some((format!("{key}.{name}"), found, expected));
            }
            continue;
        }
        let shown = |value: &Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
        return Some((key.clone(), shown(a), shown(b)));
    }
    None
}
