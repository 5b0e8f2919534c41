//! What is known of each byte of the device's memory besides its value.
//!
//! Two mappings beside the memory's own: a byte for each byte, which says whether anybody wrote it,
//! and two words of 64 bits for each four bytes, in which the checks of a launch keep who wrote and
//! who read them last. Pages cost something once they are touched.
#![allow(unsafe_code)]

use super::range::Range;
use super::reserve::{drop_pages, reserve};
use memmap2::MmapRaw;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// A byte that was written.
const WRITTEN: u8 = 1;

/// Eight bytes that were written.
const ALL_WRITTEN: u64 = u64::from_ne_bytes([WRITTEN; 8]);

/// Bytes of memory that a cell is for.
const WORD: u64 = 4;

/// What the checks keep for a word: who wrote it last and who read it.
pub(crate) type Cell = [AtomicU64; 2];

/// Bytes of the cells for each byte of memory.
const CELL_BYTES: usize = size_of::<Cell>() / WORD as usize;

/// The shadow of a range of addresses.
#[derive(Debug)]
pub(crate) struct Shadow {
    /// The first address, a multiple of eight.
    start: u64,
    bytes: u64,
    written: MmapRaw,
    cells: MmapRaw,
}

impl Shadow {
    /// The shadow of `range`, if the system has the address space.
    pub(super) fn of(range: &Range) -> Option<Shadow> {
        let (start, bytes) = range.extent()?;
        Some(Shadow {
            start,
            bytes: bytes as u64,
            written: reserve(bytes)?,
            cells: reserve(bytes.checked_mul(CELL_BYTES)?)?,
        })
    }

    /// The distance of `bytes` at `address` from the start, if they lie within.
    #[inline]
    fn offset(&self, address: u64, bytes: usize) -> Option<usize> {
        let offset = address.wrapping_sub(self.start);
        let inside = offset <= self.bytes && bytes as u64 <= self.bytes - offset;
        inside.then_some(offset as usize)
    }

    /// The state of each of `bytes` at `address`.
    #[inline]
    fn states(&self, address: u64, bytes: usize) -> &[AtomicU8] {
        let Some(offset) = self.offset(address, bytes) else {
            return &[];
        };
        // SAFETY: inside the mapping, whose bytes are accessed by atomics alone.
        unsafe {
            let first = self.written.as_mut_ptr().add(offset).cast::<AtomicU8>();
            std::slice::from_raw_parts(first, bytes)
        }
    }

    /// Notes that bytes were written.
    #[inline]
    pub(crate) fn mark(&self, address: u64, bytes: usize) {
        let states = self.states(address, bytes);
        // SAFETY: an atomic word has the size of eight atomic bytes, and accesses of both sizes
        // store whole states.
        let (head, words, tail) = unsafe { states.align_to::<AtomicU64>() };
        head.iter()
            .chain(tail)
            .for_each(|s| s.store(WRITTEN, Relaxed));
        words
            .iter()
            .for_each(|word| word.store(ALL_WRITTEN, Relaxed));
    }

    /// The distance from `address` of the first byte that nobody wrote.
    #[inline]
    pub(crate) fn first_unwritten(&self, address: u64, bytes: usize) -> Option<usize> {
        let states = self.states(address, bytes);
        // SAFETY: as in `mark`.
        let (head, words, tail) = unsafe { states.align_to::<AtomicU64>() };
        let whole = |states: &[AtomicU8]| states.iter().all(|s| s.load(Relaxed) == WRITTEN);
        let all = words.iter().all(|word| word.load(Relaxed) == ALL_WRITTEN);
        if all && whole(head) && whole(tail) {
            return None;
        }
        states.iter().position(|s| s.load(Relaxed) != WRITTEN)
    }

    /// Copies what is known of `bytes` at `from` to those at `to`.
    pub(super) fn copy(&self, to: u64, from: u64, bytes: usize) {
        let pairs = self.states(to, bytes).iter().zip(self.states(from, bytes));
        pairs.for_each(|(to, from)| to.store(from.load(Relaxed), Relaxed));
    }

    /// Forgets all about a span that was given back.
    pub(super) fn forget(&self, base: u64, bytes: usize) {
        let Some(offset) = self.offset(base, bytes) else {
            return;
        };
        // SAFETY: plain bytes that are accessed by atomics alone. The state of freed memory is not
        // looked at, and cells carry their launch, so it does not matter what they are.
        unsafe {
            drop_pages(&self.written, offset, bytes);
            drop_pages(&self.cells, offset * CELL_BYTES, bytes * CELL_BYTES);
        }
    }

    /// Forgets who accessed what.
    pub(crate) fn forget_cells(&self) {
        // SAFETY: as in `forget`.
        unsafe { drop_pages(&self.cells, 0, self.cells.len()) };
    }

    /// The cell of the word that `address` lies in.
    #[inline]
    pub(crate) fn cell(&self, address: u64) -> Option<&Cell> {
        let offset = self.offset(address, 1)?;
        let index = offset / WORD as usize;
        // SAFETY: inside the mapping, aligned, and accessed by atomics alone.
        Some(unsafe { &*self.cells.as_mut_ptr().cast::<Cell>().add(index) })
    }
}
