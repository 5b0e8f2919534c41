//! One blob, from where an earlier try left it to its checksum.

use crate::Error;
use crate::cache::create_dir;
use crate::checksum::Hasher;
use crate::client::{Asked, Client, Failure, bad_answer, broken, header, public};
use crate::remote::RemoteFile;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

/// Bytes moved at a time.
const CHUNK: usize = 1 << 18;
/// A try that brings so many bytes does not count as a failure.
const WORTH: u64 = 1 << 20;

/// Downloads a file to `blob`, which nobody else does at the time. `arrived` is told how many bytes
/// are there, which may become fewer where a server cannot go on in the middle.
pub(crate) fn download(
    client: &Client<'_>,
    file: &RemoteFile,
    blob: &Path,
    arrived: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    if let Some(dir) = blob.parent() {
        create_dir(dir)?;
    }
    let mut partial = Partial::open(file, blob.with_extension("incomplete"))?;
    arrived(partial.length);
    let mut patience = client.patience();
    while partial.length < file.size {
        let before = partial.length;
        let result = partial.fetch(client, arrived);
        if partial.length >= before.saturating_add(WORTH) {
            patience.renew();
        }
        if let Err(failure) = result {
            patience.bear(failure)?;
        }
    }
    partial.finish(blob)
}

/// The beginning of a file.
struct Partial<'a> {
    file: &'a RemoteFile,
    path: PathBuf,
    out: File,
    /// Bytes that are there.
    length: u64,
    /// Has seen all of them.
    hasher: Hasher,
}

impl<'a> Partial<'a> {
    fn open(file: &'a RemoteFile, path: PathBuf) -> Result<Partial<'a>, Error> {
        let out = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(&path, "open"))?;
        let mut partial = Partial {
            file,
            path,
            out,
            length: 0,
            hasher: file.checksum.hasher(file.size),
        };
        partial.read_again()?;
        Ok(partial)
    }

    /// Takes up what an earlier try left.
    fn read_again(&mut self) -> Result<(), Error> {
        let there = self.out.metadata().map_err(Error::io(&self.path, "read"))?;
        if there.len() > self.file.size {
            return self.restart();
        }
        let mut buffer = vec![0; CHUNK];
        let mut rest = (&self.out).take(there.len());
        loop {
            let read = rest.read(&mut buffer);
            let read = read.map_err(Error::io(&self.path, "read"))?;
            if read == 0 {
                return Ok(());
            }
            self.length += read as u64;
            self.hasher.update(&buffer[..read]);
        }
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.out
            .set_len(0)
            .and_then(|()| self.out.seek(SeekFrom::Start(0)))
            .map_err(Error::io(&self.path, "write"))?;
        self.length = 0;
        self.hasher = self.file.checksum.hasher(self.file.size);
        Ok(())
    }

    /// One request for the rest.
    fn fetch(&mut self, client: &Client<'_>, arrived: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        let asked = Asked::Content(self.length);
        let (response, url) = client.ask(&self.file.url, asked)?;
        self.check(&response)?;
        if response.status() == StatusCode::OK && self.length > 0 {
            tracing::info!(url, "the server cannot go on in the middle: starting anew");
            self.restart()?;
            arrived(0);
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = body
                .read(&mut buffer)
                .map_err(|error| broken(&url, error))?;
            if read == 0 {
                break;
            }
            let length = self.length + read as u64;
            if length > self.file.size {
                // Whatever this is, it is not the file.
                self.remove()?;
                return Err(self.wrong_size(length).into());
            }
            self.out
                .write_all(&buffer[..read])
                .map_err(Error::io(&self.path, "write"))?;
            self.hasher.update(&buffer[..read]);
            self.length = length;
            arrived(length);
        }
        match self.length < self.file.size {
            true => Err(Failure::Passing(
                Box::new(self.wrong_size(self.length)),
                Duration::ZERO,
            )),
            false => Ok(()),
        }
    }

    /// Whether the answer is the part that was asked for, of a file of the right size.
    fn check(&self, response: &Response<Body>) -> Result<(), Error> {
        let (url, size) = (&self.file.url, self.file.size);
        match response.status() {
            StatusCode::OK => match response.body().content_length() {
                Some(length) if length != size => Err(self.wrong_size(length)),
                _ => Ok(()),
            },
            StatusCode::PARTIAL_CONTENT => {
                let range = header(response, &header::CONTENT_RANGE).unwrap_or_default();
                let expected = format!("bytes {}-{}/", self.length, size - 1);
                match range.strip_prefix(&expected) {
                    Some(total) if total == "*" || total == size.to_string() => Ok(()),
                    _ => Err(bad_answer(
                        url,
                        format!("Content-Range is {range:?}, expected {expected}{size}"),
                    )),
                }
            }
            status => Err(bad_answer(url, format!("HTTP status {status}"))),
        }
    }

    fn wrong_size(&self, found: u64) -> Error {
        Error::Size {
            file: self.file.name.clone(),
            url: public(&self.file.url).to_owned(),
            found,
            expected: self.file.size,
        }
    }

    fn remove(&self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(Error::io(&self.path, "delete"))
    }

    /// Gives the bytes their name, if they are the right ones.
    fn finish(mut self, blob: &Path) -> Result<(), Error> {
        // Before the name: it must not outlive the bytes in a power cut.
        self.out
            .sync_all()
            .map_err(Error::io(&self.path, "write"))?;
        let written = self.out.metadata().map_err(Error::io(&self.path, "read"))?;
        if written.len() != self.file.size {
            self.remove()?;
            return Err(self.wrong_size(written.len()));
        }
        let checksum = &self.file.checksum;
        let found = self.hasher.finish();
        if found == checksum.hex() {
            return fs::rename(&self.path, blob).map_err(Error::io(blob, "create"));
        }
        self.remove()?;
        Err(Error::Checksum {
            file: self.file.name.clone(),
            url: public(&self.file.url).to_owned(),
            algorithm: checksum.algorithm(),
            found,
            expected: checksum.hex().to_owned(),
        })
    }
}
