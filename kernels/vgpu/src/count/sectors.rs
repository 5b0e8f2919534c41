//! Requests to global memory.
//!
//! A warp's access is one request. Device memory is read and written in sectors of 32 bytes: the
//! request takes every sector that an active lane touches once, however many lanes touch it (CUDA
//! C++ Best Practices Guide, "Coalesced Access to Global Memory"; Nsight Compute, "Memory Tables",
//! where the columns are `Requests` and `Sectors`). The fewest sectors that the same bytes could
//! take are ceil(distinct bytes / 32). No cache is modelled: a sector counts for every request. A
//! `cp.async` whose lanes read different numbers of bytes is one request for each number.

use super::merge;
use crate::exec::access::Access;
use crate::exec::column::{LANES, lanes_of};
use serde::Serialize;
use std::collections::HashMap;

/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 32;

/// Requests to global memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Warp instructions with at least one active lane.
    pub requests: u64,
    /// Bytes that active lanes asked for.
    pub bytes: u64,
    /// The same, counting a byte that several lanes of a request asked for once.
    pub distinct_bytes: u64,
    /// Sectors of 32 bytes.
    pub sectors: u64,
    /// The fewest sectors that hold each request's distinct bytes.
    pub min_sectors: u64,
}

merge!(Requests: requests, bytes, distinct_bytes, sectors, min_sectors);

/// Counts a request; `touch` gets the first and the last sector of every run of sectors.
pub(crate) fn count(access: &Access<'_>, mut touch: impl FnMut(u64, u64)) -> Requests {
    let mut starts = [0; LANES];
    let lanes = access.mask.count_ones() as usize;
    for (start, lane) in starts.iter_mut().zip(lanes_of(access.mask)) {
        *start = access.addresses[lane];
    }
    starts[..lanes].sort_unstable();
    let bytes = u64::from(access.bytes);
    let mut all = Requests {
        requests: u64::from(lanes > 0),
        bytes: lanes as u64 * bytes,
        ..Requests::default()
    };
    let (mut covered, mut next_sector) = (0, 0);
    for &start in &starts[..lanes] {
        let end = start.saturating_add(bytes);
        all.distinct_bytes += end.saturating_sub(start.max(covered));
        covered = covered.max(end);
        let (first, last) = ((start / SECTOR).max(next_sector), (end - 1) / SECTOR);
        if first <= last {
            all.sectors += last - first + 1;
            next_sector = last + 1;
            touch(first, last);
        }
    }
    all.min_sectors = all.distinct_bytes.div_ceil(SECTOR);
    all
}

/// A set of sectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footprint {
    /// By the address of 32 sectors in a row, a bit each.
    rows: HashMap<u64, u32>,
}

impl Footprint {
    /// Adds a run of sectors.
    pub(crate) fn add(&mut self, first: u64, last: u64) {
        for sector in first..=last {
            *self.rows.entry(sector / 32).or_default() |= 1 << (sector % 32);
        }
    }

    /// Adds those of another set and empties it.
    pub(crate) fn absorb(&mut self, other: &mut Footprint) {
        for (row, sectors) in other.rows.drain() {
            *self.rows.entry(row).or_default() |= sectors;
        }
    }

    /// Sectors in it.
    pub(crate) fn sectors(&self) -> u64 {
        self.rows
            .values()
            .map(|row| u64::from(row.count_ones()))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::access::{Action, Space};

    fn count(mask: u32, bytes: u32, address: impl Fn(u64) -> u64) -> Requests {
        let addresses = std::array::from_fn(|lane| address(lane as u64));
        let access = Access {
            action: Action::Read,
            space: Space::Global,
            pc: 0,
            mask,
            bytes,
            addresses: &addresses,
        };
        super::count(&access, |_, _| {})
    }

    fn sectors(found: Requests) -> (u64, u64) {
        (found.sectors, found.min_sectors)
    }

    /// The figures of the Best Practices Guide: aligned, shifted and strided accesses.
    #[test]
    fn sectors_are_those_that_lanes_touch() {
        const ALL: u32 = u32::MAX;
        assert_eq!(sectors(count(ALL, 4, |i| 4096 + 4 * i)), (4, 4));
        assert_eq!(sectors(count(ALL, 4, |i| 4100 + 4 * i)), (5, 4));
        assert_eq!(sectors(count(ALL, 4, |i| 4096 + 8 * i)), (8, 4));
        assert_eq!(sectors(count(ALL, 4, |i| 4096 + 128 * i)), (32, 4));
        assert_eq!(sectors(count(ALL, 16, |i| 4096 + 16 * i)), (16, 16));
        assert_eq!(sectors(count(ALL, 2, |i| 4096 + 2 * (31 - i))), (2, 2));
        assert_eq!(sectors(count(0xff, 4, |i| 4096 + 4 * i)), (1, 1));
        assert_eq!(sectors(count(0x0101_0101, 4, |i| 4096 + 4 * i)), (4, 1));
        let broadcast = count(ALL, 8, |_| 4096);
        assert_eq!((broadcast.bytes, broadcast.distinct_bytes), (256, 8));
        assert_eq!(sectors(broadcast), (1, 1));
        assert_eq!(count(0, 4, |i| 4 * i), Requests::default());
    }

    #[test]
    fn a_footprint_holds_each_sector_once() {
        let (mut one, mut two) = (Footprint::default(), Footprint::default());
        one.add(30, 34);
        one.add(33, 40);
        two.add(40, 41);
        one.absorb(&mut two);
        assert_eq!((one.sectors(), two.sectors()), (12, 0));
    }
}
