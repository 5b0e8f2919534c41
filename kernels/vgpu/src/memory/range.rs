//! The reserved address space and the spans that are cut from it.
#![allow(unsafe_code)]

use super::reserve::{drop_pages, reserve};
use memmap2::MmapRaw;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes of address space to ask for: enough for long runs that never use an address twice, and
/// little enough that dozens of devices with their shadows, five times as large, fit a process.
const RESERVE: usize = 1 << 38;

/// The same under Miri, where every byte costs something.
const MIRI: usize = 1 << 22;

/// Where spans start, in bytes, and what they are rounded up to: any system's page.
const ALIGN: usize = 1 << 16;

/// The bytes between two allocations: far enough to catch an index that is off by a whole row.
const RED_ZONE: usize = 1 << 16;

/// A stretch of reserved address space.
#[derive(Debug)]
pub(super) struct Range {
    mapping: Option<Arc<MmapRaw>>,
    start: u64,
    end: u64,
    /// The first address that was never handed out.
    fresh: u64,
    /// Spans that were given back, as address and bytes; neighbours are one span.
    free: BTreeMap<u64, u64>,
}

impl Range {
    /// Reserves address space for `capacity` bytes, and as much more as the system lets it have.
    pub(super) fn reserve(capacity: usize) -> Range {
        let most = if cfg!(miri) {
            MIRI
        } else {
            RESERVE.max(capacity)
        };
        let mapping = std::iter::successors(Some(most), |bytes| {
            let half = bytes / 2;
            (half >= capacity.max(ALIGN)).then_some(half)
        })
        .find_map(reserve);
        let (start, end) = match &mapping {
            Some(mapping) => {
                // Exposed, because addresses become pointers again in `Snapshot`.
                let start = mapping.as_mut_ptr().expose_provenance() as u64;
                (start, start + mapping.len() as u64)
            }
            None => (0, 0),
        };
        Range {
            mapping: mapping.map(Arc::new),
            start,
            end,
            fresh: start.next_multiple_of(ALIGN as u64) + RED_ZONE as u64,
            free: BTreeMap::new(),
        }
    }

    /// The mapping, which must outlive every access to its addresses.
    pub(super) fn mapping(&self) -> Option<Arc<MmapRaw>> {
        self.mapping.clone()
    }

    /// The first address and the bytes behind it; none where nothing was reserved.
    pub(super) fn extent(&self) -> Option<(u64, usize)> {
        let mapping = self.mapping.as_ref()?;
        Some((self.start, mapping.len()))
    }

    /// Whether an address lies within, handed out or not.
    pub(super) fn contains(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// The bytes that were never handed out.
    pub(super) fn available(&self) -> usize {
        self.end.saturating_sub(self.fresh) as usize
    }

    /// An address with `bytes` behind it and a red zone behind those.
    pub(super) fn take(&mut self, bytes: usize) -> Option<u64> {
        let span = span(bytes)?;
        if span <= self.end.saturating_sub(self.fresh) {
            let base = self.fresh;
            self.fresh += span;
            return Some(base);
        }
        let (&base, &room) = self.free.iter().find(|(_, room)| **room >= span)?;
        self.free.remove(&base);
        if room > span {
            self.free.insert(base + span, room - span);
        }
        Some(base)
    }

    /// Takes back what [`take`](Self::take) gave, and the memory behind it. Returns the bytes that
    /// went with it.
    pub(super) fn give_back(&mut self, base: u64, bytes: usize) -> usize {
        let (Some(mut span), Some(mapping)) = (span(bytes), &self.mapping) else {
            return 0;
        };
        let offset = (base - self.start) as usize;
        let pages = bytes.next_multiple_of(ALIGN);
        // SAFETY: the pages belong to this span alone, and nobody holds a reference into the mapping.
        unsafe { drop_pages(mapping, offset, pages) };
        if let Some(behind) = self.free.remove(&(base + span)) {
            span += behind;
        }
        match self.free.range_mut(..base).next_back() {
            Some((&before, room)) if before + *room == base => *room += span,
            _ => {
                self.free.insert(base, span);
            }
        }
        pages
    }
}

/// The bytes of address space that an allocation of `bytes` takes.
fn span(bytes: usize) -> Option<u64> {
    let span = bytes
        .checked_next_multiple_of(ALIGN)?
        .checked_add(RED_ZONE)?;
    Some(span as u64)
}
