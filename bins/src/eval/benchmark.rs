//! A benchmark's questions in one form, whatever file they come from.

use super::{mmau, muchomusic, musicbench, structure};
use crate::error::Error;
use crate::fields::{Fields, shown_text};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file of questions, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// What an output is called in the files of benchmarks.
pub(super) const OUTPUT: &str = "model_output";

/// What a benchmark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// MuChoMusic: its CSV, or the JSON that its scripts make of it.
    Muchomusic,
    /// The music part of MMAU.
    Mmau,
    /// MusicBench's shape: question, options, answer, category, split.
    Musicbench,
    /// Files of sections as SongFormer has them.
    Structure,
}

/// A part of MusicBench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Split {
    /// Questions about the song as a whole.
    Global,
    /// Questions about when.
    Temporal,
}

/// Questions with all that is needed to ask, score and write them.
#[derive(Debug)]
pub(super) struct Benchmark {
    pub(super) format: Format,
    pub(super) path: PathBuf,
    /// BLAKE3 of its file, or of the names and contents of its files.
    pub(super) hash: String,
    pub(super) questions: Vec<Question>,
    /// Questions that are none of ours: of MMAU those about sound and speech.
    pub(super) left_out: usize,
    /// Whether its file has an object a line.
    pub(super) lines: bool,
}

/// A question.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) id: String,
    /// Its song, as the benchmark names it.
    pub(super) audio: String,
    pub(super) prompt: String,
    pub(super) task: Task,
    pub(super) categories: Vec<String>,
    pub(super) split: Option<Split>,
    /// What the file has as a model's output.
    pub(super) output: Option<String>,
    /// As the file has it; of a file of sections its text.
    pub(super) native: Value,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Task {
    /// One of several options.
    Choice(Choice),
    /// The boundaries of a song's sections, in seconds.
    Structure(Vec<f64>),
}

/// Options, and which is right.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) options: Vec<String>,
    /// The right one; none if the answer's text is that of no option.
    pub(super) answer: Option<usize>,
    /// The text of the answer.
    pub(super) text: String,
}

impl Benchmark {
    /// Reads a benchmark. Where a file does not say in which order options are shown, `seed` does.
    pub(super) fn open(path: &Path, format: Option<Format>, seed: u64) -> Result<Benchmark, Error> {
        let wrong = |reason| Error::Benchmark {
            path: path.to_owned(),
            reason,
        };
        let is_text = path.extension().is_some_and(|e| e == "txt");
        let is_folder = path.is_dir();
        if format == Some(Format::Structure) || format.is_none() && (is_folder || is_text) {
            return structure::open(path);
        }
        if is_folder {
            let reason = "a folder holds files of structure, expected one file of questions";
            return Err(wrong(reason.to_owned()));
        }
        let bytes = read(path)?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let start = bytes.trim_ascii_start().first();
        let is_json = matches!(start, Some(b'[' | b'{'));
        let lines = start == Some(&b'{');
        let objects = match (is_json, format) {
            (true, _) => objects(&bytes, lines).map_err(wrong)?,
            (false, None | Some(Format::Muchomusic)) => {
                muchomusic::rows(&bytes, seed).map_err(wrong)?
            }
            (false, Some(_)) => {
                let start: String = String::from_utf8_lossy(&bytes).chars().take(20).collect();
                return Err(wrong(format!(
                    "begins with {start:?}, expected a JSON array or JSON lines"
                )));
            }
        };
        let format = match (format, objects.first()) {
            (Some(format), Some(_)) => format,
            (None, Some((place, first))) => recognized(place, first).map_err(wrong)?,
            (_, None) => {
                return Err(wrong("no questions, expected at least one".to_owned()));
            }
        };
        let mut benchmark = Benchmark {
            format,
            path: path.to_owned(),
            hash,
            questions: Vec::new(),
            left_out: 0,
            lines,
        };
        for (place, native) in objects {
            let fields = Fields::new(place, native.clone()).map_err(wrong)?;
            let question = match format {
                Format::Muchomusic => muchomusic::question(fields, native).map(Some),
                Format::Mmau => mmau::question(fields, native),
                _ => musicbench::question(fields, native).map(Some),
            };
            match question.map_err(wrong)? {
                Some(question) => benchmark.questions.push(question),
                None => benchmark.left_out += 1,
            }
        }
        if benchmark.questions.is_empty() {
            let reason = "none of its questions is about music".to_owned();
            return Err(wrong(reason));
        }
        Ok(benchmark)
    }

    /// Where a song's file is, if it is there.
    pub(super) fn find_audio(&self, root: &Path, audio: &str) -> Option<PathBuf> {
        match self.format {
            Format::Muchomusic => muchomusic::find_audio(root, audio),
            Format::Structure => structure::find_audio(root, audio),
            Format::Mmau | Format::Musicbench => Some(root.join(audio)).filter(|p| p.is_file()),
        }
    }

    /// The folder that paths of audio start from unless another is named.
    pub(super) fn folder(&self) -> &Path {
        match self.path.is_dir() {
            true => &self.path,
            false => self.path.parent().unwrap_or(Path::new("")),
        }
    }

    /// Where the benchmark with outputs filled in is written to within a folder.
    pub(super) fn filled(&self, folder: &Path) -> PathBuf {
        if self.format == Format::Structure {
            return folder.join("structure");
        }
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        name.push(if self.lines { ".jsonl" } else { ".json" });
        folder.join(name)
    }

    /// Writes it, with those of its questions that have an output.
    pub(super) fn write(&self, folder: &Path, outputs: &[Option<String>]) -> Result<(), Error> {
        let path = self.filled(folder);
        let filled = self.questions.iter().zip(outputs);
        let filled = filled.filter_map(|(question, output)| Some((question, output.as_ref()?)));
        if self.format == Format::Structure {
            return structure::write_files(&path, filled);
        }
        let objects = filled.map(|(question, output)| {
            let mut object = question.native.clone();
            object[OUTPUT] = output.as_str().into();
            if self.format == Format::Mmau {
                object[mmau::PREDICTION] = output.as_str().into();
            }
            object
        });
        let text = match self.lines {
            true => objects.map(|object| object.to_string() + "\n").collect(),
            false => format!("{:#}\n", Value::Array(objects.collect())),
        };
        write(&path, &text)
    }
}

impl Question {
    /// Its options; none of a question about structure.
    pub(super) fn options(&self) -> &[String] {
        match &self.task {
            Task::Choice(choice) => &choice.options,
            Task::Structure(_) => &[],
        }
    }
}

impl Choice {
    /// Options of which one is right.
    ///
    /// # Errors
    /// If there are too few, or more than letters.
    pub(super) fn new(
        options: Vec<String>,
        answer: Option<usize>,
        text: String,
    ) -> Result<Choice, String> {
        match options.len() {
            2..=26 => Ok(Choice {
                options,
                answer,
                text,
            }),
            found => Err(format!("{found} options, expected 2 to 26")),
        }
    }
}

/// The letter of an option; there are at most 26.
pub(super) fn letter(index: usize) -> char {
    char::from(b'A' + index.min(25) as u8)
}

/// The options a line each, after their letters.
pub(super) fn lettered(options: &[String]) -> String {
    let lines = options.iter().enumerate();
    let lines: Vec<String> = lines
        .map(|(i, option)| format!("({}) {option}", letter(i)))
        .collect();
    lines.join("\n")
}

/// Takes an id that is a text or a number, and else the place in the file.
pub(super) fn take_id(fields: &mut Fields) -> String {
    match fields.take_value("id") {
        Some(Value::String(id)) => id,
        Some(other) => other.to_string(),
        None => fields.name("").trim_end_matches('.').to_owned(),
    }
}

/// Reads a file of bounded size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |reason| Error::Read {
        path: path.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed(std::io::Error::other(format!(
            "more than {MAX_FILE} bytes"
        ))));
    }
    Ok(bytes)
}

/// Writes a file whole, or leaves the one that was there.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let written = std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, path));
    written.map_err(|reason| Error::Write {
        path: path.to_owned(),
        reason,
    })
}

/// The objects of a file, each with what messages call it.
fn objects(bytes: &[u8], lines: bool) -> Result<Vec<(String, Value)>, String> {
    let no_json = |e: serde_json::Error| format!("no JSON: {e}");
    if !lines {
        let values: Vec<Value> = serde_json::from_slice(bytes).map_err(no_json)?;
        let values = values.into_iter().enumerate();
        return Ok(values
            .map(|(i, value)| (format!("question {}", i + 1), value))
            .collect());
    }
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(i, line)| {
            let place = format!("line {}", i + 1);
            match serde_json::from_slice(line) {
                Ok(value) => Ok((place, value)),
                Err(e) => Err(format!(
                    "{place}: no JSON at column {}: {}",
                    e.column(),
                    shown_text(&String::from_utf8_lossy(line))
                )),
            }
        })
        .collect()
}

/// What a benchmark is by its first question.
fn recognized(place: &str, first: &Value) -> Result<Format, String> {
    for (key, format) in [
        ("answer_orders", Format::Muchomusic),
        ("choices", Format::Mmau),
        ("options", Format::Musicbench),
    ] {
        if first.get(key).is_some() {
            return Ok(format);
        }
    }
    Err(format!(
        "{place} is {}, expected answer_orders (MuChoMusic), choices (MMAU) or options (MusicBench) \
        in it, or --format",
        shown_text(&first.to_string())
    ))
}
