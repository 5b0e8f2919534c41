//! Errors of devices and operations.

use std::fmt;

/// What an operation or a device can report.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument of an operation does not fit the others.
    #[error("{op}: {what} is {found}, expected {expected}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// The argument or the dimension.
        what: String,
        /// What it should have been.
        expected: String,
        /// What it was.
        found: String,
    },
    /// A weight's bytes do not match its shape and type.
    #[error("weight of {rows} x {cols} {dtype} takes {expected} bytes, found {found}")]
    WeightBytes {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Type of the elements.
        dtype: crate::DType,
        /// Bytes that the shape asks for.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The workspace that was planned is too small for what was asked of it.
    #[error("workspace: {requested} bytes do not fit ({in_use} of {capacity} bytes in use)")]
    Workspace {
        /// Bytes asked for.
        requested: usize,
        /// Bytes in use.
        in_use: usize,
        /// Bytes that the workspace holds.
        capacity: usize,
    },
    /// Memory could not be had from the system.
    #[error("out of memory: {bytes} bytes for {what}")]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// How much.
        bytes: usize,
    },
    /// The threads of the host device could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
    /// There is no such device, or what it needs is missing.
    #[error("{device}: {reason}")]
    NoDevice {
        /// The device that was asked for.
        device: &'static str,
        /// What is missing, and how to come by it.
        reason: String,
    },
    /// A kernel did not compile.
    #[error("{source_file} does not compile for {architecture} with NVRTC {nvrtc}:\n{log}")]
    Compile {
        /// The kernel's source.
        source_file: &'static str,
        /// The architecture, such as `sm_90a`.
        architecture: String,
        /// The compiler's version.
        nvrtc: String,
        /// What the compiler said.
        log: String,
    },
    /// The GPU's driver refused something or a kernel failed.
    #[error("{what}: {reason}")]
    Cuda {
        /// What was being done.
        what: String,
        /// The driver's error, and on the virtual GPU its report.
        reason: String,
    },
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// Fails with both values unless `found == expected`.
pub(crate) fn check<T: PartialEq + fmt::Debug>(
    op: &'static str,
    what: &str,
    found: T,
    expected: T,
) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Argument {
        op,
        what: what.to_owned(),
        expected: format!("{expected:?}"),
        found: format!("{found:?}"),
    })
}

/// Fails with the text of what was expected unless `holds`.
pub(crate) fn ensure(
    op: &'static str,
    holds: bool,
    what: impl fmt::Display,
    found: impl fmt::Display,
    expected: impl fmt::Display,
) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Argument {
        op,
        what: what.to_string(),
        expected: expected.to_string(),
        found: found.to_string(),
    })
}
