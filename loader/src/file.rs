//! File access: small files with a size cap, large ones mapped or read into memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::Error;

/// Opens a regular file; returns it with its length in bytes.
pub(crate) fn open(path: &Path) -> Result<(File, u64), Error> {
    // Asked before opening: opening a pipe without a writer would block for ever.
    let metadata = path.metadata().map_err(Error::io(path, "open"))?;
    if !metadata.is_file() {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(Error::Io {
            path: path.to_owned(),
            action: "open",
            cause,
        });
    }
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let length = file.metadata().map_err(Error::io(path, "open"))?.len();
    Ok((file, length))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let (file, length) = open(path)?;
    let mut bytes = Vec::new();
    if length <= limit {
        // One byte more than allowed, to notice a file that grows meanwhile.
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io(path, "read"))?;
    }
    let found = length.max(bytes.len() as u64);
    if found > limit {
        return Err(Error::FileTooLarge {
            path: path.to_owned(),
            found,
            limit,
        });
    }
    Ok(bytes)
}

/// Reads a whole UTF-8 text file of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    String::from_utf8(read_small(path, limit)?).map_err(|error| {
        Error::io(path, "read")(io::Error::new(
            io::ErrorKind::InvalidData,
            error.utf8_error(),
        ))
    })
}

/// The bytes of `file` from `start` to `end`, mapped: pages are read when they are first touched.
pub(crate) fn map(path: &Path, file: &File, start: usize, end: usize) -> Result<Bytes, Error> {
    // SAFETY: the mapping is private and read-only. Replacing or unlinking the file leaves the
    // mapped inode intact. Writing into it or truncating it in place by another process is the
    // documented limit of mapped mode (see `OpenOptions::mmap`).
    let mapped = unsafe { Mmap::map(file) }.map_err(Error::io(path, "map"))?;
    if mapped.len() < end {
        return Err(shrunk(path));
    }
    Ok(Bytes::from_owner(mapped).slice(start..end))
}

/// The bytes of `file` from `start` to `end`, read into memory.
pub(crate) fn read(path: &Path, mut file: &File, start: usize, end: usize) -> Result<Bytes, Error> {
    let length = end - start;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(length)
        .map_err(|_| Error::io(path, "read")(io::ErrorKind::OutOfMemory.into()))?;
    file.seek(SeekFrom::Start(start as u64))
        .map_err(Error::io(path, "read"))?;
    file.take(length as u64)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path, "read"))?;
    if bytes.len() < length {
        return Err(shrunk(path));
    }
    Ok(Bytes::from(bytes))
}

fn shrunk(path: &Path) -> Error {
    let cause = io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file shrank while it was opened",
    );
    Error::Io {
        path: path.to_owned(),
        action: "read",
        cause,
    }
}
