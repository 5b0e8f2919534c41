//! The way of weights to the GPU: read from their files into pinned memory, and copied from there
//! while the next piece is read.
#![allow(unsafe_code)]

use super::memory::DeviceBlock;
use super::{Cuda, driver};
use crate::error::{Error, Result};
use cudarc::driver::{CudaEvent, DriverError, PinnedHostSlice};
use std::num::NonZero;
use std::ops::Range;

/// Bytes of a piece.
const PIECE: usize = 16 << 20;
/// Threads that read a piece, at most: memory is then the limit.
const THREADS: usize = 8;
/// Bytes that are worth a thread.
const SHARE: usize = 1 << 20;

/// Two pieces of pinned memory, taken in turn.
pub(super) struct Uploader<'a> {
    cuda: &'a Cuda,
    pieces: [(PinnedHostSlice<u8>, CudaEvent); 2],
    piece_bytes: usize,
    next: usize,
}

impl<'a> Uploader<'a> {
    /// An uploader for `bytes` bytes in all.
    pub(super) fn new(cuda: &'a Cuda, bytes: usize) -> Result<Uploader<'a>> {
        let piece_bytes = bytes.clamp(1, PIECE);
        let no_memory = |e| driver::memory_error("pinned memory", 2 * piece_bytes, e);
        let context = cuda.stream.context();
        let piece = || -> std::result::Result<_, DriverError> {
            // Not write-combined: threads write it in any order.
            // SAFETY: it is filled before anything else is done with it.
            let mut memory = unsafe { context.alloc_pinned_with_flags::<u8>(piece_bytes, 0) }?;
            memory.as_mut_slice()?.fill(0);
            Ok((memory, context.new_event(None)?))
        };
        Ok(Uploader {
            cuda,
            pieces: [piece().map_err(no_memory)?, piece().map_err(no_memory)?],
            piece_bytes,
            next: 0,
        })
    }

    /// Copies `rows` rows of `row_bytes` bytes to `offset` of `block`. `read` fills the rows of a
    /// range; it is called by several threads.
    ///
    /// # Errors
    /// As `read`, or if a copy fails.
    pub(super) fn send(
        &mut self,
        (block, offset): (&DeviceBlock, usize),
        rows: usize,
        row_bytes: usize,
        read: impl Fn(Range<usize>, &mut [u8]) -> std::io::Result<()> + Sync,
    ) -> Result<()> {
        let step = (self.piece_bytes / row_bytes.max(1)).max(1);
        for first in (0..rows).step_by(step) {
            let count = step.min(rows - first);
            let bytes = count * row_bytes;
            let failed = |e| driver::error(format!("copying {bytes} bytes to the GPU"), e);
            let to = offset + first * row_bytes;
            if bytes > self.piece_bytes {
                // A single row that no piece holds.
                let mut row = vec![0; bytes];
                read(first..first + 1, &mut row).map_err(unreadable)?;
                block.write(to, &row)?;
                continue;
            }
            let (memory, copied) = &mut self.pieces[self.next];
            self.next = 1 - self.next;
            copied.synchronize().map_err(failed)?;
            let piece = &mut memory.as_mut_slice().map_err(failed)?[..bytes];
            read_in_parallel(first..first + count, row_bytes, piece, &read).map_err(unreadable)?;
            block.write(to, piece)?;
            copied.record(&self.cuda.stream).map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Uploader<'_> {
    /// The copies are done before their memory goes.
    fn drop(&mut self) {
        if let Err(e) = self.cuda.stream.synchronize() {
            tracing::debug!("copies to the GPU: {e}");
        }
    }
}

fn unreadable(e: std::io::Error) -> Error {
    Error::Cuda {
        what: "reading weights from their file".to_owned(),
        reason: e.to_string(),
    }
}

/// Reads rows with as many threads as their bytes are worth.
fn read_in_parallel(
    rows: Range<usize>,
    row_bytes: usize,
    to: &mut [u8],
    read: &(impl Fn(Range<usize>, &mut [u8]) -> std::io::Result<()> + Sync),
) -> std::io::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (to.len() / SHARE).clamp(1, THREADS.min(cores));
    let share = rows.len().div_ceil(threads);
    if threads == 1 {
        return read(rows, to);
    }
    std::thread::scope(|scope| {
        let shares = to.chunks_mut(share * row_bytes).enumerate();
        let readers: Vec<_> = shares
            .map(|(i, to)| {
                let first = rows.start + i * share;
                scope.spawn(move || read(first..first + to.len() / row_bytes, to))
            })
            .collect();
        let panicked = |_| Err(std::io::Error::other("a reading thread panicked"));
        readers
            .into_iter()
            .try_for_each(|reader| reader.join().unwrap_or_else(panicked))
    })
}
