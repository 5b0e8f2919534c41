//! Allocation, and the answers about how much there is.
#![allow(unsafe_code)]

use super::abi::Out;
use super::code::Code;
use super::entry::enter;
use super::stream::Named;
use super::table::Handle;
use super::work::Work;
use super::{Driver, Running};
use crate::memory::{Kind, MemoryError};
use std::ffi::{c_uint, c_void};

/// The flags of pinned memory: portable, mapped, write-combined.
const HOST_FLAGS: c_uint = 0b111;

/// The flags of registered memory: portable, mapped, of a device, read-only.
const REGISTER_FLAGS: c_uint = 0b1111;
const REGISTER_IO: c_uint = 0b0100;

/// Every pinned allocation is mapped (`CU_MEMHOSTALLOC_DEVICEMAP`), as unified addressing has it.
const DEVICE_MAP: c_uint = 0b010;

/// Who answers for an allocation.
pub(super) struct Owner {
    pub(super) context: Handle,
    /// Of pinned memory, as `cuMemHostGetFlags` returns them.
    flags: c_uint,
}

impl Owner {
    pub(super) fn new(context: Handle) -> Owner {
        Owner { context, flags: 0 }
    }
}

impl From<MemoryError> for Code {
    fn from(error: MemoryError) -> Code {
        match error {
            MemoryError::OutOfMemory { .. } => Code::OutOfMemory,
            MemoryError::Registered { .. } => Code::HostMemoryAlreadyRegistered,
            MemoryError::Empty
            | MemoryError::NotAllocated { .. }
            | MemoryError::OutOfBounds { .. } => Code::InvalidValue,
        }
    }
}

impl Driver {
    /// Allocates device memory, if need be after the frees that wait in streams.
    fn allocate(&self, context: Handle, bytes: usize) -> Result<u64, Code> {
        self.state().grant_memory()?;
        let memory = self.gpu.memory();
        let allocated = match memory.allocate(bytes) {
            Err(MemoryError::OutOfMemory { .. }) => {
                drop(self.settle(context));
                memory.allocate(bytes)
            }
            other => other,
        };
        let address = allocated?;
        self.state().owners.insert(address, Owner::new(context));
        Ok(address)
    }

    /// Allocates device memory outside all streams.
    fn allocate_now(&self, bytes: usize) -> Result<u64, Code> {
        let context = self.current()?;
        self.refuse_unsafe()?;
        self.allocate(context, bytes)
    }

    /// Allocates device memory in a stream. The address is valid at once: only what the stream
    /// does later may use it. In a stream that captures it is that of a node, which is as far as
    /// it goes: no graph that allocates can be instantiated.
    pub(super) fn allocate_in(&self, named: Named, bytes: usize) -> Result<u64, Code> {
        let captures = self.state().admit(named.stream)?.is_some();
        let address = self.allocate(named.context, bytes)?;
        if captures {
            self.state().add_captured(named.stream, Work::Allocate)?;
        }
        Ok(address)
    }

    /// Gives memory of any kind back.
    pub(super) fn release(&self, _: &Running<'_>, address: u64) -> Result<(), Code> {
        let memory = self.gpu.memory();
        match memory.find(address).ok_or(Code::InvalidValue)?.kind {
            Kind::Device => memory.free(address)?,
            Kind::Pinned => memory.free_host(address)?,
            Kind::Registered => memory.unregister_host(address as usize)?,
        }
        Ok(())
    }

    /// Ends a context's claim on memory of `kind`, so that it can be given back once.
    fn disown(&self, address: u64, kind: Kind, missing: Code) -> Result<(), Code> {
        let found = self.gpu.memory().find(address);
        found.filter(|found| found.kind == kind).ok_or(missing)?;
        self.state().owners.remove(&address).ok_or(missing)?;
        Ok(())
    }

    /// Gives memory of `kind` back once its context's work is done.
    fn free(&self, address: u64, kind: Kind, missing: Code) -> Result<(), Code> {
        self.current()?;
        self.refuse_unsafe()?;
        let owner = self.state().owners.get(&address).map(|owner| owner.context);
        let context = owner.ok_or(missing)?;
        let running = self.settle(context);
        self.state().healthy(context)?;
        self.disown(address, kind, missing)?;
        self.release(&running, address)
    }

    fn allocate_host(&self, bytes: usize, flags: c_uint) -> Result<*mut c_void, Code> {
        let context = self.current()?;
        self.refuse_unsafe()?;
        if flags & !HOST_FLAGS != 0 {
            return Err(Code::InvalidValue);
        }
        self.state().grant_memory()?;
        let address = self.gpu.memory().allocate_host(bytes)?;
        let flags = flags | DEVICE_MAP;
        let owner = Owner { context, flags };
        self.state().owners.insert(address, owner);
        Ok(std::ptr::with_exposed_provenance_mut(address as usize))
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> Code {
    enter(|driver| {
        driver.current()?;
        free.set(driver.gpu.memory().available())?;
        total.set(driver.gpu.memory().capacity())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) -> Code {
    enter(|driver| {
        address.check()?;
        address.set(driver.allocate_now(bytes)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocPitch_v2(
    address: Out<u64>,
    pitch: Out<usize>,
    width: usize,
    height: usize,
    element: c_uint,
) -> Code {
    enter(|driver| {
        address.check()?;
        pitch.check()?;
        if !matches!(element, 4 | 8 | 16) || width == 0 {
            return Err(Code::InvalidValue);
        }
        let row = width
            .checked_next_multiple_of(512)
            .ok_or(Code::InvalidValue)?;
        let bytes = row.checked_mul(height).ok_or(Code::InvalidValue)?;
        address.set(driver.allocate_now(bytes)?)?;
        pitch.set(row)
    })
}

/// Waits for all work first, as the documentation says.
#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: u64) -> Code {
    enter(|driver| driver.free(address, Kind::Device, Code::InvalidValue))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: Handle) -> Code {
    enter(|driver| {
        address.check()?;
        let named = driver.stream(stream)?;
        address.set(driver.allocate_in(named, bytes)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(address: u64, stream: Handle) -> Code {
    enter(|driver| {
        let named = driver.stream(stream)?;
        let mut state = driver.state();
        state.refuse_node(named.stream, "a free")?;
        drop(state);
        driver.disown(address, Kind::Device, Code::InvalidValue)?;
        driver.submit(named, Work::Free(address)).map(drop)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocHost_v2(pointer: Out<*mut c_void>, bytes: usize) -> Code {
    cuMemHostAlloc(pointer, bytes, 0)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostAlloc(pointer: Out<*mut c_void>, bytes: usize, flags: c_uint) -> Code {
    enter(|driver| {
        pointer.check()?;
        pointer.set(driver.allocate_host(bytes, flags)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(pointer: usize) -> Code {
    enter(|driver| driver.free(pointer as u64, Kind::Pinned, Code::InvalidValue))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostRegister_v2(pointer: *mut c_void, bytes: usize, flags: c_uint) -> Code {
    enter(|driver| {
        let context = driver.current()?;
        driver.refuse_unsafe()?;
        if pointer.is_null() || flags & !REGISTER_FLAGS != 0 {
            return Err(Code::InvalidValue);
        }
        if flags & REGISTER_IO != 0 {
            return Err(Code::NotSupported);
        }
        let address = pointer.expose_provenance();
        // SAFETY: by the caller's contract the memory stays valid until it is unregistered, which
        // waits for all work.
        unsafe { driver.gpu.memory().register_host(address, bytes) }?;
        let flags = flags | DEVICE_MAP;
        let owner = Owner { context, flags };
        driver.state().owners.insert(address as u64, owner);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostUnregister(pointer: usize) -> Code {
    enter(|driver| {
        driver.free(
            pointer as u64,
            Kind::Registered,
            Code::HostMemoryNotRegistered,
        )
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostGetDevicePointer_v2(
    address: Out<u64>,
    pointer: usize,
    flags: c_uint,
) -> Code {
    enter(|driver| {
        driver.current()?;
        let found = driver.gpu.memory().find(pointer as u64);
        let found = found.filter(|found| found.kind != Kind::Device && flags == 0);
        found.ok_or(Code::InvalidValue)?;
        address.set(pointer as u64)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostGetFlags(flags: Out<c_uint>, pointer: usize) -> Code {
    enter(|driver| {
        driver.current()?;
        let found = driver.gpu.memory().find(pointer as u64);
        let found = found
            .filter(|found| found.kind != Kind::Device)
            .ok_or(Code::InvalidValue)?;
        let state = driver.state();
        let owner = state.owners.get(&found.base).ok_or(Code::InvalidValue)?;
        flags.set(owner.flags)
    })
}
