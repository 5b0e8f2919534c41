//! Memory pools. They differ in name only: freed memory is never kept for the next allocation.
#![allow(unsafe_code)]

use super::abi::{Device, In, Out};
use super::code::Code;
use super::device::check;
use super::entry::enter;
use super::table::Handle;
use std::ffi::{c_uint, c_void};

/// The first attributes (`CU_MEMPOOL_ATTR_REUSE_…`), which are three of type int.
const REUSE: std::ops::RangeInclusive<c_uint> = 1..=3;
const RELEASE_THRESHOLD: c_uint = 4;
/// The bytes reserved and used, now and at most, which can be read and set to zero.
const COUNTERS: std::ops::RangeInclusive<c_uint> = 5..=8;

/// A pool's settings.
pub(super) struct Pool {
    reuse: [u32; 3],
    release_threshold: u64,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            reuse: [1; 3],
            release_threshold: 0,
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetDefaultMemPool(pool: Out<Handle>, device: Device) -> Code {
    enter(|driver| {
        check(device)?;
        pool.set(driver.state().primary.default_pool)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetMemPool(pool: Out<Handle>, device: Device) -> Code {
    enter(|driver| {
        check(device)?;
        pool.set(driver.state().primary.pool)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceSetMemPool(device: Device, pool: Handle) -> Code {
    enter(|driver| {
        check(device)?;
        let mut state = driver.state();
        state.pools.get(pool, Code::InvalidValue)?;
        state.primary.pool = pool;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolCreate(pool: Out<Handle>, properties: In<[u32; 4]>) -> Code {
    enter(|driver| {
        pool.check()?;
        // Of CUmemPoolProps: pinned memory (1), no handles to share, on a device (1), number 0.
        match properties.get(0)? {
            [1, 0, 1, 0] => pool.set(driver.state().pools.insert(Pool::default())),
            [1, _, 1, 0] => Err(Code::NotSupported),
            _ => Err(Code::InvalidValue),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolDestroy(pool: Handle) -> Code {
    enter(|driver| {
        let mut state = driver.state();
        if pool == state.primary.default_pool {
            return Err(Code::InvalidValue);
        }
        state.pools.remove(pool, Code::InvalidValue)?;
        if state.primary.pool == pool {
            state.primary.pool = state.primary.default_pool;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolTrimTo(pool: Handle, _keep: usize) -> Code {
    enter(|driver| driver.state().pools.get(pool, Code::InvalidValue).map(drop))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolGetAttribute(pool: Handle, which: c_uint, value: Out<c_void>) -> Code {
    enter(|driver| {
        let state = driver.state();
        let pool = state.pools.get(pool, Code::InvalidValue)?;
        match which {
            RELEASE_THRESHOLD => value.cast().set(pool.release_threshold),
            which if REUSE.contains(&which) => {
                let flag = pool
                    .reuse
                    .get(which as usize - 1)
                    .ok_or(Code::InvalidValue)?;
                value.cast().set(*flag)
            }
            which if COUNTERS.contains(&which) => {
                let memory = driver.gpu.memory();
                value
                    .cast()
                    .set((memory.capacity() - memory.available()) as u64)
            }
            _ => Err(Code::InvalidValue),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolSetAttribute(pool: Handle, which: c_uint, value: Out<c_void>) -> Code {
    enter(|driver| {
        let mut state = driver.state();
        let pool = state.pools.get_mut(pool, Code::InvalidValue)?;
        match which {
            RELEASE_THRESHOLD => pool.release_threshold = value.cast().get()?,
            which if REUSE.contains(&which) => {
                let flag = pool
                    .reuse
                    .get_mut(which as usize - 1)
                    .ok_or(Code::InvalidValue)?;
                *flag = value.cast().get()?;
            }
            which if COUNTERS.contains(&which) && value.cast::<u64>().get()? == 0 => {}
            _ => return Err(Code::InvalidValue),
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocFromPoolAsync(
    address: Out<u64>,
    bytes: usize,
    pool: Handle,
    stream: Handle,
) -> Code {
    enter(|driver| {
        address.check()?;
        let named = driver.stream(stream)?;
        driver.state().pools.get(pool, Code::InvalidValue)?;
        address.set(driver.allocate_in(named, bytes)?)
    })
}
