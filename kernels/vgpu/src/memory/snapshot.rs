//! The allocations as one launch sees them.

use super::range::Range;
use super::shadow::Shadow;
use super::table::Table;
use super::{Allocation, MemoryError};
use memmap2::MmapRaw;
use std::sync::Arc;

/// An immutable table of the live allocations, which is read without a lock.
#[derive(Debug, Clone)]
pub struct Snapshot {
    table: Table,
    shadow: Option<Arc<Shadow>>,
    /// Keeps the addresses mapped.
    _mapping: Option<Arc<MmapRaw>>,
}

impl Snapshot {
    pub(super) fn new(table: &Table, range: &Range, shadow: Option<Arc<Shadow>>) -> Snapshot {
        Snapshot {
            table: table.clone(),
            shadow,
            _mapping: range.mapping(),
        }
    }

    /// The pointer to `bytes` at `address`, if one allocation holds them all.
    ///
    /// `hint` remembers the allocation that was found last: keep one for each warp. Dereferencing
    /// the pointer is sound in relaxed atomic accesses while this snapshot lives and, for memory
    /// of the host, while its owner keeps it.
    #[inline]
    pub fn resolve(&self, address: u64, bytes: usize, hint: &mut usize) -> Option<*mut u8> {
        let live = self.table.live();
        let hit = live.get(*hint).is_some_and(|a| a.holds(address, bytes));
        if !hit {
            *hint = search(live, address, bytes)?;
        }
        Some(std::ptr::with_exposed_provenance_mut(address as usize))
    }

    /// The allocation that holds `bytes` at `address`, with `hint` as in [`resolve`](Self::resolve).
    #[inline]
    pub(crate) fn allocation(
        &self,
        address: u64,
        bytes: usize,
        hint: &mut usize,
    ) -> Option<&Allocation> {
        self.resolve(address, bytes, hint)?;
        self.table.live().get(*hint)
    }

    /// What is known of the bytes besides their values, where launches are checked.
    pub(crate) fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_deref()
    }

    /// Where `address` lies, in words: "12 bytes past the end of an allocation of 4,096 bytes at
    /// 0x7f0000010000".
    pub fn explain(&self, address: u64) -> String {
        self.table.explain(address)
    }

    /// Notes that bytes were written.
    pub(super) fn mark(&self, address: u64, bytes: usize) {
        if let Some(shadow) = &self.shadow {
            shadow.mark(address, bytes);
        }
    }

    /// Notes that bytes were copied: what was never written stays so.
    pub(super) fn mark_copy(&self, (to, from): (u64, u64), bytes: usize) {
        let Some(shadow) = &self.shadow else {
            return;
        };
        if self.table.find(from).is_some_and(|a| a.tracked) {
            shadow.copy(to, from, bytes);
        } else {
            shadow.mark(to, bytes);
        }
    }

    /// The pointer to `bytes` at `address`, or the error that says where they lie.
    pub(super) fn check(&self, address: u64, bytes: usize) -> Result<*mut u8, MemoryError> {
        self.resolve(address, bytes, &mut 0)
            .ok_or_else(|| MemoryError::OutOfBounds {
                address,
                bytes,
                what: self.explain(address),
            })
    }
}

#[cold]
fn search(live: &[Allocation], address: u64, bytes: usize) -> Option<usize> {
    let below = live.partition_point(|a| a.base <= address);
    let last = below.checked_sub(1)?;
    live.get(last)?.holds(address, bytes).then_some(last)
}
