//! How many blocks a multiprocessor holds at once.
//!
//! Threads and shared memory count, and registers where the PTX says what ptxas gave the kernel:
//! without that hardware may hold fewer.
#![allow(unsafe_code)]

use super::abi::{Out, SharedForBlock};
use super::code::Code;
use super::entry::{call_back, enter};
use super::function::Function;
use super::table::Handle;
use crate::Properties;
use std::ffi::{c_int, c_uint};

/// What one multiprocessor has.
const THREADS: u32 = 2048;
const BLOCKS: u32 = 32;
const SHARED_BYTES: u32 = 228 << 10;

/// The shared memory that the system takes for itself in each block, in bytes.
const RESERVED_BYTES: u32 = 1024;

const WARP: u32 = 32;

/// Parts of a multiprocessor that share no registers.
const PARTS: u32 = 4;

/// How many blocks of a kernel a multiprocessor holds, 0 if not even one.
pub(super) fn blocks_per_multiprocessor(
    function: &Function,
    device: &Properties,
    threads: u32,
    dynamic_shared: u32,
) -> u32 {
    let kernel = &function.kernel;
    if !(1..=kernel.max_threads()).contains(&threads) {
        return 0;
    }
    let wanted = kernel.static_shared().saturating_add(dynamic_shared);
    if wanted > device.max_shared {
        return 0;
    }
    let by_threads = THREADS / threads.next_multiple_of(WARP);
    let by_shared = SHARED_BYTES / (wanted + RESERVED_BYTES).next_multiple_of(128);
    let by_registers = kernel.registers_of_warp().map_or(BLOCKS, |each| {
        // Each part of a multiprocessor has its own.
        let warps = PARTS * (device.registers / PARTS / each);
        warps / threads.div_ceil(WARP)
    });
    by_threads.min(by_shared).min(by_registers).min(BLOCKS)
}

#[unsafe(no_mangle)]
extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: Out<c_int>,
    function: Handle,
    threads: c_int,
    dynamic_shared: usize,
) -> Code {
    enter(|driver| {
        let threads = u32::try_from(threads).ok().filter(|&threads| threads > 0);
        let threads = threads.ok_or(Code::InvalidValue)?;
        let dynamic_shared = u32::try_from(dynamic_shared).map_err(|_| Code::InvalidValue)?;
        let device = driver.gpu.properties();
        let state = driver.state();
        let function = state.function(function)?;
        blocks.set(blocks_per_multiprocessor(function, device, threads, dynamic_shared) as c_int)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: Out<c_int>,
    function: Handle,
    threads: c_int,
    dynamic_shared: usize,
    flags: c_uint,
) -> Code {
    if flags > 1 {
        return Code::InvalidValue;
    }
    cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, dynamic_shared)
}

#[unsafe(no_mangle)]
extern "C" fn cuOccupancyMaxPotentialBlockSize(
    grid: Out<c_int>,
    block: Out<c_int>,
    function: Handle,
    shared_for_block: Option<SharedForBlock>,
    dynamic_shared: usize,
    limit: c_int,
) -> Code {
    enter(|driver| {
        let device = driver.gpu.properties();
        let limit = u32::try_from(limit).map_err(|_| Code::InvalidValue)?;
        let most = driver.state().function(function)?.kernel.max_threads();
        let most = if limit == 0 { most } else { limit.min(most) };
        let mut best = (0, 0);
        for threads in (1..=most.div_ceil(WARP))
            .rev()
            .map(|warps| (warps * WARP).min(most))
        {
            let mut shared = dynamic_shared;
            if let Some(shared_for_block) = shared_for_block {
                call_back(|| shared = shared_for_block(threads as c_int));
            }
            let Ok(shared) = u32::try_from(shared) else {
                continue;
            };
            let state = driver.state();
            let function = state.function(function)?;
            let blocks = blocks_per_multiprocessor(function, device, threads, shared);
            if blocks * threads > best.0 * best.1 {
                best = (blocks, threads);
            }
        }
        grid.set((best.0 * device.multiprocessors) as c_int)?;
        block.set(best.1 as c_int)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    grid: Out<c_int>,
    block: Out<c_int>,
    function: Handle,
    shared_for_block: Option<SharedForBlock>,
    dynamic_shared: usize,
    limit: c_int,
    flags: c_uint,
) -> Code {
    if flags > 1 {
        return Code::InvalidValue;
    }
    cuOccupancyMaxPotentialBlockSize(
        grid,
        block,
        function,
        shared_for_block,
        dynamic_shared,
        limit,
    )
}

#[unsafe(no_mangle)]
extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
    bytes: Out<usize>,
    function: Handle,
    blocks: c_int,
    threads: c_int,
) -> Code {
    enter(|driver| {
        let positive = |number| u32::try_from(number).ok().filter(|&number| number > 0);
        let blocks = positive(blocks).ok_or(Code::InvalidValue)?;
        let threads = positive(threads).ok_or(Code::InvalidValue)?;
        let device = driver.gpu.properties();
        let state = driver.state();
        let function = state.function(function)?;
        if blocks > blocks_per_multiprocessor(function, device, threads, 0) {
            return Err(Code::InvalidValue);
        }
        let share = SHARED_BYTES / blocks / 128 * 128;
        let share = share.saturating_sub(RESERVED_BYTES).min(device.max_shared);
        bytes.set(share.saturating_sub(function.kernel.static_shared()) as usize)
    })
}
