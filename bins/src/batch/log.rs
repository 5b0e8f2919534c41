//! The output, which is the log of what is done: a line for each request, written whole or not at
//! all, so that whoever comes after a process that died goes on where it was.
//!
//! A line is written with one call and stays when the process is killed. The file is only flushed to
//! its disk at the end: if the machine itself goes down, the last lines may be lost, and their
//! requests are answered again.

use super::lines::{Line, Lines};
use super::shard::digest;
use crate::error::Error;
use crate::output;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The longest line that an output may have, in bytes.
const MAX_LINE: usize = 1 << 30;

/// Whose a line of the output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// That of the request with this `custom_id`.
    Id(String),
    /// That of the line of this number, which has no `custom_id` of its own.
    Line(u64),
}

/// What an output had in it when it was opened.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// Digests of `custom_id`s, with the numbers of the lines that have them; those whose lines were
    /// not met yet with [`Recovered::ANSWERED`].
    pub(super) ids: HashMap<u128, u64>,
    /// Numbers of answered lines that have no `custom_id` of their own.
    pub(super) lines: HashSet<u64>,
    /// Answers that are errors.
    pub(super) failed: u64,
}

impl Recovered {
    /// No line has this number.
    pub(super) const ANSWERED: u64 = 0;
}

/// An output that is open for more.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

/// As much of a line of the output as tells whose it is.
#[derive(Deserialize)]
struct Entry {
    custom_id: Option<String>,
    line: Option<u64>,
    response: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

impl Log {
    /// Opens an output, takes it for this process alone, and cuts off what a process that died has
    /// left of its last line.
    pub(super) fn open(path: &Path) -> Result<(Log, Recovered), Error> {
        let failed = |reason| Error::Write {
            path: path.to_owned(),
            reason,
        };
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("not a regular file")));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.to_owned();
                return Err(Error::OutputInUse { path });
            }
            // As on some file systems of clusters.
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {
                output::note(&format!(
                    "{} cannot be locked: let no other process write it\n",
                    path.display()
                ))
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let (recovered, end) = recover(&file, path)?;
        file.set_len(end).map_err(failed)?;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        let path = path.to_owned();
        Ok((Log { path, file }, recovered))
    }

    /// Adds a line.
    pub(super) fn add(&mut self, answer: &Value) -> Result<(), Error> {
        let line = answer.to_string() + "\n";
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|e| self.failed(e))
    }

    /// Flushes it to the disk.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.file.sync_all().map_err(|e| self.failed(e))
    }

    fn failed(&self, reason: std::io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            reason,
        }
    }
}

/// What is in an output, and where its last whole line ends.
fn recover(file: &File, path: &Path) -> Result<(Recovered, u64), Error> {
    let failed = |reason| Error::Read {
        path: path.to_owned(),
        reason,
    };
    let no_answer = |line: &Line| Error::NoAnswer {
        path: path.to_owned(),
        line: line.number,
    };
    let mut lines = Lines::new(file, MAX_LINE);
    let mut recovered = Recovered::default();
    while let Some(line) = lines.next().map_err(failed)? {
        if line.whole && line.text.trim_ascii().is_empty() && !line.too_long {
            continue;
        }
        let entry: Option<Entry> = match serde_json::from_slice(&line.text) {
            Ok(entry) => Some(entry),
            Err(e) if e.is_data() => return Err(no_answer(&line)),
            Err(_) => None,
        };
        let answered = |e: &Entry| e.response.is_some() || e.error.is_some();
        match entry {
            Some(entry) if !answered(&entry) => return Err(no_answer(&line)),
            Some(entry) if line.whole => {
                recovered.failed += u64::from(entry.error.is_some());
                match (entry.custom_id, entry.line) {
                    (Some(id), _) => {
                        let id = digest(id.as_bytes());
                        recovered.ids.insert(id, Recovered::ANSWERED);
                    }
                    (None, Some(number)) => {
                        recovered.lines.insert(number);
                    }
                    (None, None) => return Err(no_answer(&line)),
                }
            }
            // The head of a line whose writer died. Nothing follows it; and a file that holds
            // something else altogether is left alone.
            _ => {
                let ours = line.text.starts_with(b"{") || !recovered.is_empty();
                if line.too_long || !ours || lines.next().map_err(failed)?.is_some() {
                    return Err(no_answer(&line));
                }
                return Ok((recovered, line.start));
            }
        }
    }
    Ok((recovered, lines.offset()))
}

impl Recovered {
    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.lines.is_empty()
    }
}
