//! What can go wrong with memory.

use thiserror::Error;

/// A request that the device's memory refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MemoryError {
    /// A request for no bytes.
    #[error("an allocation or registration of 0 bytes")]
    Empty,
    /// A request for more bytes than are left.
    #[error("{bytes} bytes asked for, {available} available")]
    OutOfMemory {
        /// The bytes asked for.
        bytes: usize,
        /// The bytes that were left.
        available: usize,
    },
    /// An address to free or unregister that starts nothing of the kind.
    #[error("{address:#x} starts no such allocation: {what}")]
    NotAllocated {
        /// The address.
        address: u64,
        /// What is there instead.
        what: String,
    },
    /// Host memory to register that the device reaches already.
    #[error("{bytes} bytes at {base:#x} overlap {other_bytes} bytes at {other:#x}")]
    Registered {
        /// The address of the new range.
        base: u64,
        /// The length of the new range.
        bytes: usize,
        /// The address of the range that is there.
        other: u64,
        /// The length of the range that is there.
        other_bytes: usize,
    },
    /// A copy that no single allocation holds.
    #[error("{bytes} bytes at {address:#x}: {what}")]
    OutOfBounds {
        /// The address of the first byte.
        address: u64,
        /// The bytes to be copied.
        bytes: usize,
        /// Where the address lies.
        what: String,
    },
}
