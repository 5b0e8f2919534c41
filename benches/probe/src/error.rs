//! What can go wrong, with the call that failed.

use std::path::{Path, PathBuf};

/// The result of a probe's step.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A driver call's code.
    #[error("{call}: {name} ({code})")]
    Driver {
        /// The function.
        call: &'static str,
        /// Its result.
        code: u32,
        /// The result's name, as the driver has it.
        name: String,
    },
    /// A cuBLASLt call's status.
    #[error("{call}: {status}")]
    Blas {
        /// The function.
        call: &'static str,
        /// Its result.
        status: String,
    },
    /// NVRTC's code and log.
    #[error("NVRTC, {step}: {error}\n{log}")]
    Nvrtc {
        /// What was asked of it.
        step: &'static str,
        /// Its result.
        error: String,
        /// The compiler's messages.
        log: String,
    },
    /// Instructions that NVRTC does not take for the target.
    #[error("{count} instructions refused:\n{list}")]
    Refused {
        /// How many.
        count: usize,
        /// One a line, each with NVRTC's log.
        list: String,
    },
    /// A file or process.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A library that cannot be loaded.
    #[error("{path}: {source}")]
    Library {
        /// Which.
        path: PathBuf,
        /// Why.
        source: libloading::Error,
    },
    /// JSON of another process.
    #[error("JSON of {what}: {source}")]
    Json {
        /// Whose.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A tensor file.
    #[error("{path}: {source}")]
    Tensors {
        /// Which.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// Anything else.
    #[error("{0}")]
    Text(String),
}

impl Error {
    /// A file or process that failed.
    pub fn io(path: &Path, source: std::io::Error) -> Error {
        Error::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn nvrtc(step: &'static str, error: impl std::fmt::Debug, log: &str) -> Error {
        Error::Nvrtc {
            step,
            error: format!("{error:?}"),
            log: log.to_owned(),
        }
    }
}
