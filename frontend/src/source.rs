//! Where the bytes come from: a path, memory, or a stream such as standard input.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::PathBuf;

use bytes::Bytes;
use symphonia::core::io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions};

use crate::Error;

/// The most bytes that a stream, which tells no size beforehand, may hold: 4 GiB.
pub const MAX_STREAM_BYTES: u64 = 4 << 30;

/// An encoded audio file. Cloning copies no audio.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, read once and in order.
    Path(PathBuf),
    /// A whole file in memory.
    Bytes {
        /// What errors call it.
        name: String,
        /// The encoded file.
        data: Bytes,
    },
}

impl Source {
    /// A whole file in memory, called `<bytes>` in errors. A `Vec<u8>` is taken without a copy.
    pub fn from_bytes(data: impl Into<Bytes>) -> Self {
        Source::Bytes {
            name: "<bytes>".to_owned(),
            data: data.into(),
        }
    }

    /// Reads standard input to its end, called `<stdin>` in errors.
    ///
    /// # Errors
    /// As [`Source::from_reader`].
    pub fn from_stdin() -> Result<Self, Error> {
        Self::from_reader("<stdin>", std::io::stdin().lock(), MAX_STREAM_BYTES)
    }

    /// Reads `reader` to its end into memory; errors call it `name`.
    ///
    /// # Errors
    /// [`Error::Read`] when reading fails, [`Error::TooManyBytes`] past `max_bytes`.
    pub fn from_reader(name: &str, reader: impl Read, max_bytes: u64) -> Result<Self, Error> {
        let mut data = Vec::new();
        reader
            .take(max_bytes.saturating_add(1))
            .read_to_end(&mut data)
            .map_err(|source| Error::Read {
                file: name.to_owned(),
                source,
            })?;
        if data.len() as u64 > max_bytes {
            return Err(Error::TooManyBytes {
                file: name.to_owned(),
                max_bytes,
            });
        }
        Ok(Source::Bytes {
            name: name.to_owned(),
            data: data.into(),
        })
    }

    /// What errors call this source: its path, `<bytes>` or `<stdin>`.
    pub fn name(&self) -> String {
        match self {
            Source::Path(path) => path.display().to_string(),
            Source::Bytes { name, .. } => name.clone(),
        }
    }

    /// The file name's extension, a hint for telling formats apart.
    pub(crate) fn extension(&self) -> Option<&str> {
        match self {
            Source::Path(path) => path.extension()?.to_str(),
            Source::Bytes { .. } => None,
        }
    }

    /// A source that can be opened more than once: pipes are read into memory.
    ///
    /// # Errors
    /// If it is a directory or a pipe that cannot be read.
    pub fn reopenable(&self) -> Result<Cow<'_, Self>, Error> {
        let Source::Path(path) = self else {
            return Ok(Cow::Borrowed(self));
        };
        let read_error = |source| Error::Read {
            file: self.name(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(read_error)?;
        if metadata.is_dir() {
            return Err(Error::Directory { file: self.name() });
        }
        if metadata.is_file() {
            return Ok(Cow::Borrowed(self));
        }
        let pipe = File::open(path).map_err(read_error)?;
        Self::from_reader(&self.name(), pipe, MAX_STREAM_BYTES).map(Cow::Owned)
    }

    /// Opens the source for reading from its start.
    pub(crate) fn open(&self) -> Result<MediaSourceStream<'static>, Error> {
        let (length, media): (u64, Box<dyn MediaSource>) = match self {
            Source::Path(path) => {
                let read_error = |source| Error::Read {
                    file: self.name(),
                    source,
                };
                let file = File::open(path).map_err(read_error)?;
                (file.metadata().map_err(read_error)?.len(), Box::new(file))
            }
            Source::Bytes { data, .. } => (data.len() as u64, Box::new(Cursor::new(data.clone()))),
        };
        if length == 0 {
            return Err(Error::Empty { file: self.name() });
        }
        Ok(MediaSourceStream::new(
            media,
            MediaSourceStreamOptions::default(),
        ))
    }
}
