//! What the command can fail with. Every failure is one line on stderr and exit code 2.

use std::path::PathBuf;

#[derive(Debug)]
pub(crate) enum Error {
    Engine(gamut_engine::Error),
    /// The output could not be written, such as to a pipe whose reader is gone.
    Output(std::io::Error),
    /// A question could not be read from the terminal.
    Input(std::io::Error),
    /// A file could not be read.
    Read {
        path: PathBuf,
        reason: std::io::Error,
    },
    /// A file could not be written.
    Write {
        path: PathBuf,
        reason: std::io::Error,
    },
    /// Another process has the output.
    OutputInUse {
        path: PathBuf,
    },
    /// A benchmark, or an evaluation to compare with, is not what it should be.
    Benchmark {
        path: PathBuf,
        reason: String,
    },
    /// A log of answers is that of an evaluation with other settings.
    OtherSettings {
        path: PathBuf,
        /// The first setting that differs.
        name: String,
        found: String,
        expected: String,
    },
    /// The output is to be the file that is read.
    OutputIsInput {
        path: PathBuf,
    },
    /// An output holds something else.
    NoAnswer {
        path: PathBuf,
        line: u64,
        /// What writes such outputs.
        command: &'static str,
    },
    /// A test of `gamut bench` does not fit the context.
    TestTooLong {
        test: String,
        /// Its longest sequence.
        tokens: usize,
        most: usize,
    },
    /// The bundled model has no place to be kept.
    BundledModel {
        dir: PathBuf,
        reason: String,
    },
    #[cfg(feature = "pull")]
    Hub(gamut_hub::Error),
    /// This command cannot download.
    #[cfg(not(feature = "pull"))]
    NoPull,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Engine(e) => e.fmt(f),
            Error::Output(e) => write!(f, "cannot write to standard output: {e}"),
            Error::Input(e) => write!(f, "cannot read standard input: {e}"),
            Error::Read { path, reason } => {
                write!(f, "cannot read {}: {reason}", path.display())
            }
            Error::Write { path, reason } => {
                write!(f, "cannot write {}: {reason}", path.display())
            }
            Error::OutputInUse { path } => write!(
                f,
                "{} is in use by another process, expected an output for this one alone",
                path.display()
            ),
            Error::Benchmark { path, reason } => write!(f, "{}: {reason}", path.display()),
            Error::OtherSettings {
                path,
                name,
                found,
                expected,
            } => write!(
                f,
                "{} has answers with {name} {found}, expected {expected} or another --output",
                path.display()
            ),
            Error::OutputIsInput { path } => write!(
                f,
                "{} holds the requests, expected another place for the answers",
                path.display()
            ),
            Error::NoAnswer {
                path,
                line,
                command,
            } => write!(
                f,
                "line {line} of {} is no answer, expected a new file or one of {command}",
                path.display()
            ),
            Error::TestTooLong { test, tokens, most } => write!(
                f,
                "{test} takes a context of {tokens} tokens and at most {most} are possible \
                (--max-model-len, or max_position_embeddings of config.json)"
            ),
            Error::BundledModel { dir, reason } => {
                write!(
                    f,
                    "cannot keep the bundled model in {}: {reason}",
                    dir.display()
                )
            }
            #[cfg(feature = "pull")]
            Error::Hub(e) => e.fmt(f),
            #[cfg(not(feature = "pull"))]
            Error::NoPull => write!(
                f,
                "this gamut was built without pull: cargo build --release --features pull"
            ),
        }
    }
}

impl<E: Into<gamut_engine::Error>> From<E> for Error {
    fn from(e: E) -> Error {
        Error::Engine(e.into())
    }
}
