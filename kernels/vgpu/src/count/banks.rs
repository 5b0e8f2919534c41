//! Accesses to shared memory.
//!
//! Shared memory has 32 banks of 4 bytes: word `w` lies in bank `w mod 32`. A request is served in
//! wavefronts, each of which takes one word from every bank; lanes that want the same word share
//! it, and different words of one bank take a wavefront each (CUDA C++ Programming Guide, "Shared
//! Memory" of compute capability 5.x and later; Nsight Compute, "Memory Tables", `Wavefronts` and
//! `Bank Conflicts`). Accesses of 4 bytes or fewer go as one phase of 32 lanes, of 8 bytes as two
//! half-warps and of 16 as four quarter-warps; `ldmatrix` and `stmatrix` as a phase for each matrix
//! of 8 rows of 16 bytes. `cp.async` writes like a store of its size, an atomic like a store. The
//! fewest wavefronts are one for each phase that has an active lane.

use super::merge;
use crate::exec::column::{LANES, lanes_of};
use serde::Serialize;

const BANKS: usize = 32;

/// Requests to shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wavefronts {
    /// Warp instructions with at least one active lane.
    pub requests: u64,
    /// Bytes that active lanes asked for.
    pub bytes: u64,
    /// Passes over the banks.
    pub wavefronts: u64,
    /// The passes that accesses without a conflict would take.
    pub min_wavefronts: u64,
}

merge!(Wavefronts: requests, bytes, wavefronts, min_wavefronts);

/// Counts an access of `bytes` bytes a lane, 1 to 16, at byte addresses of shared memory.
pub(crate) fn count(mask: u32, addresses: &[u32; LANES], bytes: usize) -> Wavefronts {
    let words = bytes.div_ceil(4).max(1);
    let phase = LANES / words.next_power_of_two().min(LANES);
    let mut all = Wavefronts {
        requests: u64::from(mask != 0),
        bytes: u64::from(mask.count_ones()) * bytes as u64,
        ..Wavefronts::default()
    };
    for first in (0..LANES).step_by(phase) {
        let lanes = mask & (u32::MAX >> (LANES - phase)) << first;
        let passes = passes(lanes_of(lanes).map(|lane| addresses[lane]), words);
        all.wavefronts += passes;
        all.min_wavefronts += u64::from(passes > 0);
    }
    all
}

/// Passes that the words from each address on take in one phase.
fn passes(addresses: impl Iterator<Item = u32>, words: usize) -> u64 {
    // A phase asks for 32 words at most.
    let (mut wanted, mut count) = ([0; LANES], 0);
    for address in addresses {
        for word in 0..words as u32 {
            if let Some(place) = wanted.get_mut(count) {
                *place = address / 4 + word;
                count += 1;
            }
        }
    }
    let wanted = &mut wanted[..count];
    wanted.sort_unstable();
    let mut in_bank = [0u64; BANKS];
    let mut last = None;
    for &mut word in wanted {
        if last.replace(word) != Some(word) {
            in_bank[word as usize % BANKS] += 1;
        }
    }
    in_bank.into_iter().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wavefronts(mask: u32, bytes: usize, address: impl Fn(u32) -> u32) -> (u64, u64) {
        let addresses = std::array::from_fn(|lane| address(lane as u32));
        let found = count(mask, &addresses, bytes);
        (found.wavefronts, found.min_wavefronts)
    }

    /// The figures of the Programming Guide: strides of one, two and three words, and broadcasts.
    #[test]
    fn different_words_of_a_bank_take_a_wavefront_each() {
        const ALL: u32 = u32::MAX;
        assert_eq!(wavefronts(ALL, 4, |i| 1024 + 4 * i), (1, 1));
        for ways in [2, 4, 8, 16, 32] {
            let found = wavefronts(ALL, 4, |i| 1024 + 4 * ways * i);
            assert_eq!(found, (u64::from(ways), 1), "{ways} ways");
        }
        assert_eq!(wavefronts(ALL, 4, |i| 1024 + 12 * i), (1, 1));
        assert_eq!(wavefronts(ALL, 4, |_| 1024), (1, 1));
        assert_eq!(wavefronts(ALL, 4, |i| 1024 + 128 * (i % 2)), (2, 1));
        assert_eq!(wavefronts(ALL, 1, |i| 1024 + i), (1, 1));
        assert_eq!(wavefronts(ALL, 2, |i| 1024 + 2 * i), (1, 1));
        // A row of 33 words, the usual padding: columns are free of conflicts.
        assert_eq!(wavefronts(ALL, 4, |i| 1024 + 4 * 33 * i), (1, 1));
    }

    #[test]
    fn wide_accesses_go_by_halves_and_quarters_of_a_warp() {
        const ALL: u32 = u32::MAX;
        assert_eq!(wavefronts(ALL, 8, |i| 1024 + 8 * i), (2, 2));
        assert_eq!(wavefronts(ALL, 16, |i| 1024 + 16 * i), (4, 4));
        assert_eq!(wavefronts(ALL, 16, |i| 1024 + 32 * i), (8, 4));
        assert_eq!(wavefronts(ALL, 16, |i| 1024 + 128 * i), (32, 4));
        assert_eq!(wavefronts(0xff, 16, |i| 1024 + 16 * i), (1, 1));
        assert_eq!(wavefronts(0xffff, 8, |i| 1024 + 16 * i), (2, 1));
        assert_eq!(wavefronts(0, 4, |i| 4 * i), (0, 0));
    }
}
