//! The one error type of this crate.

use crate::ModelRef;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong between a model's name and its files in the cache.
///
/// Messages are one line, complete in themselves: nothing is hidden in `source()`. Addresses are
/// without their queries, which may hold signatures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not the name of a model.
    #[error(
        "{found:?} is not a model, expected ORG/NAME of letters, digits, `-`, `_` and `.`, such as \
         Qwen/Qwen3-0.6B"
    )]
    ModelId {
        /// The text.
        found: String,
    },

    /// The text is not the name of a branch, a tag or a commit.
    #[error("{found:?} is not a revision, expected a branch, a tag or a commit")]
    Revision {
        /// The text.
        found: String,
    },

    /// An environment variable, or a file that one names, has a value that cannot be used.
    #[error("{name} is {problem}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What it is, and what was expected; never a token.
        problem: String,
    },

    /// The operating system refused to read or write a file.
    #[error("{}: cannot {action}: {cause}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The verb: `open`, `read`, `write`, ...
        action: &'static str,
        /// The operating system's own error.
        cause: io::Error,
    },

    /// Offline, and the cache has nothing of this revision.
    #[error("{model} is not in the cache {}, and the hub is not asked offline", cache.display())]
    NotCached {
        /// The model and the revision.
        model: ModelRef,
        /// The cache.
        cache: PathBuf,
    },

    /// Offline, and the cache has the revision, but not all its files.
    #[error(
        "{model}: {file} is not in the cache {}, and the hub is not asked offline",
        snapshot.display()
    )]
    FileNotCached {
        /// The model and the revision.
        model: ModelRef,
        /// The file.
        file: String,
        /// The directory that it should be in.
        snapshot: PathBuf,
    },

    /// The hub has no model of this name, or none that it shows.
    #[error("{model}: there is no such model on {endpoint} (404)")]
    UnknownModel {
        /// The model and the revision.
        model: ModelRef,
        /// The hub.
        endpoint: String,
    },

    /// The model has no such branch, tag or commit.
    #[error("{model}: the model has no such revision on {endpoint} (404)")]
    UnknownRevision {
        /// The model and the revision.
        model: ModelRef,
        /// The hub.
        endpoint: String,
    },

    /// The hub does not give the model to this caller.
    #[error(
        "{model}: {endpoint} does not give it {} ({status}): check its name; if it is gated, accept \
         its terms on its page; set HF_TOKEN to a token of an account that may read it",
        if *token { "with this token" } else { "without a token" }
    )]
    Refused {
        /// The model and the revision.
        model: ModelRef,
        /// The hub.
        endpoint: String,
        /// The HTTP status, 401 or 403.
        status: u16,
        /// Whether a token was sent.
        token: bool,
    },

    /// No answer came, or none to the end, as often as it was tried.
    #[error("{url}: the connection failed: {cause}")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        cause: String,
    },

    /// The hub answered with a failure.
    #[error("{url}: the answer is HTTP status {status}, expected success")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },

    /// The hub's answer is not what its protocol says.
    #[error("{url}: bad answer: {problem}")]
    BadAnswer {
        /// The address.
        url: String,
        /// What is wrong.
        problem: String,
    },

    /// The model lacks a file that Gamut cannot do without.
    #[error("{model}: there is no {file}, which a checkpoint for Gamut has")]
    MissingFile {
        /// The model and the revision.
        model: ModelRef,
        /// The file.
        file: &'static str,
    },

    /// The model has no weights of the format that Gamut reads.
    #[error(
        "{model}: no weights: neither model.safetensors nor model.safetensors.index.json is there"
    )]
    NoWeights {
        /// The model and the revision.
        model: ModelRef,
    },

    /// The index names a shard that the model lacks.
    #[error("{model}: there is no {shard}, which model.safetensors.index.json names")]
    MissingShard {
        /// The model and the revision.
        model: ModelRef,
        /// The shard.
        shard: String,
    },

    /// The index of shards cannot be used.
    #[error("{}: bad index: {problem}", path.display())]
    Index {
        /// The index, in the cache.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },

    /// A file has another size than the hub said. What was downloaded of it is kept only if more may
    /// follow.
    #[error("{file}: {found} bytes from {url}, expected {expected}")]
    Size {
        /// The file.
        file: String,
        /// The address.
        url: String,
        /// Bytes found; where they were too many, those read until then.
        found: u64,
        /// Bytes that the hub said.
        expected: u64,
    },

    /// A file has another checksum than the hub said. It was deleted.
    #[error(
        "{file}: {algorithm} {found}, expected {expected} by {url}; deleted, to start anew next time"
    )]
    Checksum {
        /// The file.
        file: String,
        /// The address.
        url: String,
        /// `sha256` or `git blob id`.
        algorithm: &'static str,
        /// The checksum found, in hexadecimal.
        found: String,
        /// The checksum that the hub said.
        expected: String,
    },

    /// Another process holds a file's lock, and its download does not move.
    #[error(
        "{file}: another process holds {} and has downloaded nothing for {seconds} s",
        lock.display()
    )]
    InUse {
        /// The file.
        file: String,
        /// The lock.
        lock: PathBuf,
        /// How long this was watched, in seconds.
        seconds: u64,
    },
}

impl Error {
    /// Adapter for `map_err` on file operations.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |cause| Error::Io {
            path: path.to_owned(),
            action,
            cause,
        }
    }
}
