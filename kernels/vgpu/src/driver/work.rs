//! What the queue's operations do.
#![allow(unsafe_code)]

use super::abi::{HostFunction, StreamCallback};
use super::code::Code;
use super::counting::Counting;
use super::entry::call_back;
use super::launch::Prepared;
use super::table::Handle;
use crate::Gpu;
use crate::memory::MemoryError;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// One thing to do, once or, as a graph's node, again and again.
#[derive(Clone)]
pub(super) enum Work {
    /// Nothing: only its place in the order counts.
    Nothing,
    Launch(Prepared),
    /// A copy of bytes that were taken from pageable memory when it was submitted.
    Upload {
        to: u64,
        bytes: Box<[u8]>,
    },
    /// A copy within the memory that the device reaches.
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
    /// A copy that reads pageable memory when its turn comes, which only those in graphs do.
    Write {
        to: u64,
        from: HostPointer,
        bytes: usize,
    },
    /// A copy that writes pageable memory when its turn comes.
    Read {
        to: HostPointer,
        from: u64,
        bytes: usize,
    },
    /// A copy within pageable memory, when its turn comes.
    Move {
        to: HostPointer,
        from: HostPointer,
        bytes: usize,
    },
    Fill {
        to: u64,
        pattern: Vec<u8>,
        count: usize,
    },
    /// An allocation that was captured. The memory is there already.
    Allocate,
    Free(u64),
    /// The time at which an event is reached.
    Record(Arc<OnceLock<Instant>>),
    Call {
        function: HostFunction,
        data: HostPointer,
    },
    CallWithStream {
        function: StreamCallback,
        stream: Handle,
        data: HostPointer,
    },
}

/// A pointer of the program's, which it keeps valid until the work is done for the last time.
#[derive(Clone, Copy)]
pub(super) struct HostPointer(pub(super) *mut c_void);

impl HostPointer {
    /// The pointer that the caller passed as a number, which must not be null.
    pub(super) fn from_address(address: u64) -> Result<HostPointer, Code> {
        if address == 0 {
            return Err(Code::InvalidValue);
        }
        Ok(HostPointer(std::ptr::with_exposed_provenance_mut(
            address as usize,
        )))
    }
}

// SAFETY: the interface lets any thread use it; what it points to is the program's to guard.
unsafe impl Send for HostPointer {}

/// Why a context failed.
pub(super) struct Failure {
    pub(super) code: Code,
    /// The full account.
    pub(super) text: String,
}

impl Work {
    /// The bytes of the host's memory that it holds while it waits.
    pub(super) fn staged(&self) -> usize {
        match self {
            Work::Upload { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    /// What a trace calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Work::Nothing => "nothing".to_owned(),
            Work::Launch(prepared) => format!("launch {}", prepared.kernel.name()),
            Work::Upload { bytes, .. } => format!("upload {} bytes", bytes.len()),
            Work::Copy { bytes, .. } => format!("copy {bytes} bytes"),
            Work::Write { bytes, .. } => format!("write {bytes} bytes"),
            Work::Read { bytes, .. } => format!("read {bytes} bytes"),
            Work::Move { bytes, .. } => format!("move {bytes} bytes"),
            Work::Fill { pattern, count, .. } => format!("fill {} bytes", count * pattern.len()),
            Work::Allocate => "allocate".to_owned(),
            Work::Free(_) => "free".to_owned(),
            Work::Record(_) => "record an event".to_owned(),
            Work::Call { .. } | Work::CallWithStream { .. } => "call the program".to_owned(),
        }
    }

    /// Does it. A panic of the interpreter is a failure like others.
    pub(super) fn execute_guarded(self, gpu: &Gpu, counting: &Counting) -> Result<(), Failure> {
        catch_unwind(AssertUnwindSafe(|| self.execute(gpu, counting))).unwrap_or_else(|_| {
            Err(Failure {
                code: Code::Unknown,
                text: String::from("the virtual GPU panicked; its message is on standard error"),
            })
        })
    }

    fn execute(self, gpu: &Gpu, counting: &Counting) -> Result<(), Failure> {
        let memory = gpu.memory();
        match self {
            Work::Nothing | Work::Allocate => {}
            Work::Launch(prepared) => prepared.run(gpu, counting)?,
            Work::Upload { to, bytes } => memory.write(to, &bytes)?,
            Work::Copy { to, from, bytes } => memory.copy(to, from, bytes)?,
            Work::Write { to, from, bytes } => {
                // SAFETY: memory that by the caller's contract is valid while the graph runs.
                let source = unsafe { std::slice::from_raw_parts(from.0.cast(), bytes) };
                memory.write(to, source)?;
            }
            Work::Read { to, from, bytes } => {
                // SAFETY: as above.
                let target = unsafe { std::slice::from_raw_parts_mut(to.0.cast(), bytes) };
                memory.read(from, target)?;
            }
            Work::Move { to, from, bytes } => {
                // SAFETY: as above, for both sides, which may overlap.
                unsafe { to.0.cast::<u8>().copy_from(from.0.cast(), bytes) };
            }
            Work::Fill { to, pattern, count } => memory.fill(to, &pattern, count)?,
            Work::Free(address) => memory.free(address)?,
            Work::Record(time) => {
                let _ = time.set(Instant::now()); // Recorded once: every record makes its own.
            }
            Work::Call { function, data } => call_back(|| function(data.0)),
            Work::CallWithStream {
                function,
                stream,
                data,
            } => {
                call_back(|| function(stream, Code::Success, data.0));
            }
        }
        Ok(())
    }
}

impl From<MemoryError> for Failure {
    /// A copy that was in order when it was submitted and is not any more.
    fn from(error: MemoryError) -> Failure {
        Failure {
            code: Code::IllegalAddress,
            text: format!("a copy that waited in a stream: {error}"),
        }
    }
}
