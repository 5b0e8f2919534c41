//! The file of requests, read as far as there is room for them.

use super::line::RequestLine;
use super::log::{Name, Recovered};
use super::shard::Shard;
use crate::digest::digest;
use crate::error::Error;
use crate::fields::shown_text;
use crate::lines::{Line, Lines};
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The longest line in bytes. Five minutes of 24-bit stereo at 48 kHz take 115 MB in base64.
const MAX_LINE: usize = 128 << 20;

/// The requests that are to be answered: those of a shard that have no answer yet.
pub(super) struct Requests {
    path: PathBuf,
    /// Bytes of the file; of a pipe none.
    size: u64,
    lines: Lines<File>,
    shard: Shard,
    recovered: Recovered,
    /// Lines of the shard that the output has already.
    skipped: u64,
}

/// What a line turned out to be.
pub(super) enum Item {
    /// A request.
    Request(Box<RequestLine>),
    /// A line that cannot be told from others by its id, and why.
    Refused(Name, String),
}

impl Requests {
    /// Those in a file, to be read by [`Requests::next`]: of `shard`, and not in the `recovered`.
    pub(super) fn new(
        path: &Path,
        file: File,
        shard: Shard,
        recovered: Recovered,
    ) -> Result<Requests, Error> {
        let found = file.metadata();
        let size = found.map_err(|reason| failed(path, reason))?.len();
        Ok(Requests {
            path: path.to_owned(),
            size,
            lines: Lines::new(file, MAX_LINE),
            shard,
            recovered,
            skipped: 0,
        })
    }

    /// Opens the file.
    pub(super) fn open(path: &Path) -> Result<File, Error> {
        let file = File::open(path).map_err(|reason| failed(path, reason))?;
        match file.metadata() {
            Ok(found) if found.is_dir() => Err(failed(path, ErrorKind::IsADirectory.into())),
            _ => Ok(file),
        }
    }

    /// The next line that is to be answered.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Error> {
        loop {
            let line = self.lines.next();
            let Some(line) = line.map_err(|reason| failed(&self.path, reason))? else {
                return Ok(None);
            };
            if !line.text.trim_ascii().is_empty() || line.too_long {
                let item = self.look_at(&line);
                if item.is_some() {
                    return Ok(item);
                }
            }
        }
    }

    /// What a line is; nothing if it is another shard's or answered.
    fn look_at(&mut self, line: &Line) -> Option<Item> {
        let number = line.number;
        if line.too_long {
            let song = digest(&number.to_le_bytes());
            return self.refused(song, number, format!("more than {MAX_LINE} bytes"));
        }
        let text = line.text.trim_ascii_end();
        let request = match RequestLine::new(number, text) {
            Ok(request) => request,
            Err(message) => return self.refused(digest(text), number, message),
        };
        let answered = match self.recovered.ids.entry(digest(request.id.as_bytes())) {
            Entry::Vacant(place) => {
                place.insert(number);
                false
            }
            Entry::Occupied(mut place) if *place.get() == Recovered::ANSWERED => {
                place.insert(number);
                true
            }
            Entry::Occupied(place) => {
                let (id, first) = (shown_text(&request.id), place.get());
                let message = format!("custom_id {id:?} is that of line {first}, expected another");
                return self.refused(request.song, number, message);
            }
        };
        if !self.shard.has(request.song) {
            return None;
        }
        self.skipped += u64::from(answered);
        (!answered).then(|| Item::Request(Box::new(request)))
    }

    fn refused(&mut self, song: u128, number: u64, message: String) -> Option<Item> {
        if !self.shard.has(song) {
            return None;
        }
        let answered = self.recovered.lines.contains(&number);
        self.skipped += u64::from(answered);
        (!answered).then(|| Item::Refused(Name::Line(number), format!("line {number}: {message}")))
    }

    /// Lines of the shard that the output has already.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Lines read so far.
    pub(super) fn read(&self) -> u64 {
        self.lines.number()
    }

    /// Lines that there may be, going by the size of those so far.
    pub(super) fn estimate(&self) -> u64 {
        let (read, offset) = (self.lines.number(), self.lines.offset().max(1));
        let size = self.size.max(offset);
        (read as f64 * (size as f64 / offset as f64)).round() as u64
    }
}

fn failed(path: &Path, reason: io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        reason,
    }
}
