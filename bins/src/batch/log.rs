//! The output, which is the log of what is done: a line for each request.

use crate::digest::digest;
use crate::error::Error;
use crate::journal::Journal;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{HashMap, HashSet};
use std::path::Path;

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

/// As much of a line of the output as tells whose it is.
#[derive(Deserialize)]
struct Entry {
    custom_id: Option<String>,
    line: Option<u64>,
    response: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

impl Recovered {
    /// No line has this number.
    pub(super) const ANSWERED: u64 = 0;

    /// Opens an output for more, and finds out what is in it.
    pub(super) fn open(path: &Path) -> Result<(Journal, Recovered), Error> {
        let mut recovered = Recovered::default();
        let log = Journal::open(path, "gamut batch", |entry, whole| {
            Ok(recovered.take(entry, whole))
        })?;
        Ok((log, recovered))
    }

    /// Takes an entry if it is an answer, and whole; whether it is an answer.
    fn take(&mut self, entry: Entry, whole: bool) -> bool {
        let answered = entry.response.is_some() || entry.error.is_some();
        if !answered || !whole {
            return answered;
        }
        self.failed += u64::from(entry.error.is_some());
        match (entry.custom_id, entry.line) {
            (Some(id), _) => {
                self.ids.insert(digest(id.as_bytes()), Recovered::ANSWERED);
            }
            (None, Some(number)) => {
                self.lines.insert(number);
            }
            (None, None) => return false,
        }
        true
    }
}
