//! Files of a song's sections as SongFormer has them: a line for each with the second where it begins
//! and its label, and a last one with the second where the song ends and `end`
//! (<https://github.com/ASLP-lab/SongFormer>; SongFormBench's `data/labels` holds such files).
//!
//! A benchmark is a folder of them, `NAME.txt` for the song `NAME.flac`, or one such file. What is
//! written is a folder with the references in `ann` and the answers in `est`, for the script's
//! `--ann_dir` and `--est_dir`; that is a benchmark with outputs, too.

use super::benchmark::{Benchmark, Format, Question, Task, read, write};
use super::boundaries;
use crate::error::Error;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What is asked about every song.
const PROMPT: &str = "Divide the song into its sections. Write a line for each, with the second where it \
    begins and its label: intro, verse, pre-chorus, chorus, bridge, inst, outro or silence. End with a \
    line of the second where the song ends and the word end.";
/// The folders of references and of answers.
const REFERENCES: &str = "ann";
const ANSWERS: &str = "est";
/// What a song's file may end with.
const AUDIO: [&str; 7] = ["flac", "wav", "mp3", "ogg", "m4a", "aac", "mp4"];

/// Reads a folder of files, or one file.
pub(super) fn open(path: &Path) -> Result<Benchmark, Error> {
    let wrong = |path: &Path, reason: String| Error::Benchmark {
        path: path.to_owned(),
        reason,
    };
    let inside = path.join(REFERENCES);
    let folder = if inside.is_dir() { &inside } else { path };
    let files = match path.is_dir() {
        true => texts(folder)?,
        false => vec![path.to_owned()],
    };
    if files.is_empty() {
        let reason = "no files NAME.txt, expected one for each song";
        return Err(wrong(folder, reason.to_owned()));
    }
    let mut hasher = blake3::Hasher::new();
    let mut questions = Vec::new();
    for file in files {
        let text = String::from_utf8(read(&file)?);
        let text = text.map_err(|e| wrong(&file, format!("no text: {e}")))?;
        let reference = boundaries::reference(&text).map_err(|reason| wrong(&file, reason))?;
        let name = file.file_stem().unwrap_or_default();
        let Some(name) = name.to_str() else {
            let reason = "its name is not Unicode".to_owned();
            return Err(wrong(&file, reason));
        };
        let answer = path.join(ANSWERS).join(format!("{name}.txt"));
        let output = match inside.is_dir() && answer.is_file() {
            true => Some(String::from_utf8_lossy(&read(&answer)?).into_owned()),
            false => None,
        };
        for part in [name, &text] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        questions.push(Question {
            id: name.to_owned(),
            audio: name.to_owned(),
            prompt: PROMPT.to_owned(),
            task: Task::Structure(reference),
            categories: Vec::new(),
            split: None,
            output,
            native: Value::String(text),
        });
    }
    Ok(Benchmark {
        format: Format::Structure,
        path: path.to_owned(),
        hash: hasher.finalize().to_hex().to_string(),
        questions,
        left_out: 0,
        lines: false,
    })
}

/// The files of a folder that end with `.txt`, by their names.
fn texts(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |reason| Error::Read {
        path: folder.to_owned(),
        reason,
    };
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == "txt") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A song's file by its name, if it is there.
pub(super) fn find_audio(root: &Path, name: &str) -> Option<PathBuf> {
    let files = AUDIO
        .iter()
        .map(|ending| root.join(format!("{name}.{ending}")));
    files.into_iter().find(|path| path.is_file())
}

/// Writes references and answers.
pub(super) fn write_files<'a>(
    folder: &Path,
    filled: impl Iterator<Item = (&'a Question, &'a String)>,
) -> Result<(), Error> {
    for name in [REFERENCES, ANSWERS] {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).map_err(|reason| Error::Write { path, reason })?;
    }
    for (question, output) in filled {
        let name = format!("{}.txt", question.id);
        let reference = question.native.as_str().unwrap_or_default();
        write(&folder.join(REFERENCES).join(&name), reference)?;
        write(&folder.join(ANSWERS).join(&name), output)?;
    }
    Ok(())
}
