//! What can go wrong.

use std::path::{Path, PathBuf};

/// The result of a step of the suite.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A failed step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Kernels(#[from] gamut_kernels::Error),
    #[error(transparent)]
    Engine(#[from] gamut_engine::Error),
    #[error(transparent)]
    Loader(#[from] gamut_loader::Error),
    #[error(transparent)]
    Probe(#[from] gamut_probe::Error),
    /// A call of cuFFT.
    #[error("{call}: {status}")]
    Fft { call: &'static str, status: String },
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// Cases of an operation that are further from their formula than they may be.
    #[error("{failed} of {cases} cases failed")]
    Verify { failed: usize, cases: usize },
    /// A name that is none of a list.
    #[error("there is no section {0}")]
    Section(String),
    /// No algorithm of a library ran.
    #[error("no algorithm ran")]
    NoAlgorithm,
    /// A process that did not end well.
    #[error("{program}: {status}")]
    Process {
        program: &'static str,
        status: std::process::ExitStatus,
    },
    /// What only a GPU can show.
    #[error("needs a GPU, this is the {0} device")]
    NeedsGpu(&'static str),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    }

    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Json { path, source }
    }
}
