//! The device's attributes: an H100 SXM's, but 0 for abilities that the virtual GPU lacks.

use crate::Properties;
use std::ffi::c_int;

/// The largest attribute that CUDA 13.0 knows.
const LAST: u32 = 141;

/// The value of `CU_DEVICE_ATTRIBUTE_…` number `which`.
pub(super) fn attribute(properties: &Properties, which: u32) -> Option<c_int> {
    let Properties {
        max_threads,
        max_block,
        max_grid,
        max_shared,
        ..
    } = *properties;
    let (major, minor) = properties.compute_capability;
    let value: u32 = match which {
        0 => return None,
        1 => max_threads,
        2 => max_block[0],
        3 => max_block[1],
        4 => max_block[2],
        5 => max_grid[0],
        6 => max_grid[1],
        7 => max_grid[2],
        8 => 48 << 10,         // Shared memory of a block, in bytes.
        9 => 65_536,           // Constant memory, in bytes.
        10 => 32,              // Threads of a warp.
        11 => i32::MAX as u32, // Pitch of a copy, in bytes.
        12 => 65_536,          // Registers of a block.
        13 => 1_980_000,       // Clock in kHz.
        14 | 30 => 512,        // Alignment of textures and surfaces, in bytes.
        15 | 40 => 1,          // Copies beside kernels; engines for them.
        16 => properties.multiprocessors,
        19 => 1,         // Maps host memory.
        31 | 32 => 1,    // Concurrent kernels; error correction.
        36 => 2_619_000, // Memory clock in kHz.
        37 => 5120,      // Memory bus, in bits.
        38 => 50 << 20,  // L2 cache, in bytes.
        39 => 2048,      // Threads of a multiprocessor.
        41 => 1,         // Unified addressing.
        51 => 32,        // Alignment of a texture's pitch, in bytes.
        75 => major,
        76 => minor,
        78..=80 => 1,     // Stream priorities; global and local memory in L1.
        81 => 228 << 10,  // Shared memory of a multiprocessor, in bytes.
        82 => 65_536,     // Registers of a multiprocessor.
        87 => 2,          // f32 operations for one of f64.
        90 | 91 => 1,     // Preemption; host pointers of registered memory.
        95 => 1,          // Cooperative launches.
        97 => max_shared, // Of a block that opts in, in bytes.
        99 => 1,          // Registers host memory.
        106 => 32,        // Blocks of a multiprocessor.
        111 => 1024,      // Shared memory of a block that the system takes, in bytes.
        115 => 1,         // Memory pools.
        126 => 1,         // Memory synchronization domains.
        131 | 134 => return Some(-1), // The device's and the host's NUMA node: none.
        _ if which <= LAST => 0,
        _ => return None,
    };
    Some(c_int::try_from(value).unwrap_or(c_int::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_the_interface_does() {
        let properties = Properties::h100();
        assert_eq!(attribute(&properties, 0), None);
        assert_eq!(attribute(&properties, LAST + 1), None);
        assert!((1..=LAST).all(|which| attribute(&properties, which).is_some()));
    }
}
