//! A file of JSON lines that tells what is done: each line is written whole or not at all, so that
//! whoever comes after a process that died goes on where it was.
//!
//! A line is written with one call and stays when the process is killed. The file is only flushed to
//! its disk at the end: if the machine itself goes down, the last lines may be lost, and what they
//! told of is done again.

use crate::error::Error;
use crate::lines::{Line, Lines};
use crate::output;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The longest line that a journal may have, in bytes.
const MAX_LINE: usize = 1 << 30;

/// A journal that is open for more.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens a journal of `command`, takes it for this process alone, and cuts off what a process that
    /// died has left of its last line. `take` gets every entry, and whether its line is whole; it says
    /// whether the entry is one of ours. One that is not whole will be cut off.
    pub(crate) fn open<E: DeserializeOwned>(
        path: &Path,
        command: &'static str,
        take: impl FnMut(E, bool) -> Result<bool, Error>,
    ) -> Result<Journal, Error> {
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
        let end = read(&file, path, command, take)?;
        file.set_len(end).map_err(failed)?;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        let path = path.to_owned();
        Ok(Journal { path, file })
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, entry: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(entry).map_err(|e| self.failed(e.into()))? + "\n";
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|e| self.failed(e))
    }

    /// Flushes it to the disk.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.file.sync_all().map_err(|e| self.failed(e))
    }

    fn failed(&self, reason: std::io::Error) -> Error {
        Error::Write {
            path: self.path.clone(),
            reason,
        }
    }
}

/// Gives every entry of a journal to `take`; where its last whole line ends.
pub(crate) fn read<E: DeserializeOwned>(
    file: &File,
    path: &Path,
    command: &'static str,
    mut take: impl FnMut(E, bool) -> Result<bool, Error>,
) -> Result<u64, Error> {
    let failed = |reason| Error::Read {
        path: path.to_owned(),
        reason,
    };
    let no_answer = |line: &Line| Error::NoAnswer {
        path: path.to_owned(),
        line: line.number,
        command,
    };
    let mut lines = Lines::new(file, MAX_LINE);
    let mut taken = false;
    while let Some(line) = lines.next().map_err(failed)? {
        if line.whole && line.text.trim_ascii().is_empty() && !line.too_long {
            continue;
        }
        match serde_json::from_slice(&line.text) {
            Ok(entry) => {
                if !take(entry, line.whole)? {
                    return Err(no_answer(&line));
                }
                if line.whole {
                    taken = true;
                    continue;
                }
            }
            Err(e) if e.is_data() => return Err(no_answer(&line)),
            Err(_) => {}
        }
        // The head of a line whose writer died. Nothing follows it; and a file that holds something
        // else altogether is left alone.
        let ours = line.text.starts_with(b"{") || taken;
        if line.too_long || !ours || lines.next().map_err(failed)?.is_some() {
            return Err(no_answer(&line));
        }
        return Ok(line.start);
    }
    Ok(lines.offset())
}
