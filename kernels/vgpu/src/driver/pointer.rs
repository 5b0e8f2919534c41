//! What is known about an address.
#![allow(unsafe_code)]

use super::Driver;
use super::abi::{In, Out};
use super::code::Code;
use super::entry::enter;
use crate::memory::{Allocation, Kind};
use std::ffi::{c_uint, c_void};

/// The attributes' numbers (`CU_POINTER_ATTRIBUTE_…`).
mod attribute {
    pub(super) const CONTEXT: u32 = 1;
    pub(super) const MEMORY_TYPE: u32 = 2;
    pub(super) const DEVICE_POINTER: u32 = 3;
    pub(super) const HOST_POINTER: u32 = 4;
    pub(super) const SYNC_MEMOPS: u32 = 6;
    pub(super) const BUFFER_ID: u32 = 7;
    pub(super) const IS_MANAGED: u32 = 8;
    pub(super) const DEVICE_ORDINAL: u32 = 9;
    pub(super) const IS_LEGACY_IPC_CAPABLE: u32 = 10;
    pub(super) const RANGE_START: u32 = 11;
    pub(super) const RANGE_SIZE: u32 = 12;
    pub(super) const MAPPED: u32 = 13;
    pub(super) const ALLOWED_HANDLE_TYPES: u32 = 14;
    pub(super) const IS_RDMA_CAPABLE: u32 = 15;
    pub(super) const ACCESS_FLAGS: u32 = 16;
    pub(super) const POOL: u32 = 17;
}

/// An attribute's value in the width that its type has.
enum Value {
    Word(u32),
    Long(u64),
}

impl Value {
    fn write(self, to: Out<c_void>) -> Result<(), Code> {
        match self {
            Value::Word(value) => to.cast().set(value),
            Value::Long(value) => to.cast().set(value),
        }
    }

    /// What an unknown address has.
    fn zeroed(self) -> Value {
        match self {
            Value::Word(_) => Value::Word(0),
            Value::Long(_) => Value::Long(0),
        }
    }
}

impl Driver {
    fn attribute(&self, which: u32, address: u64, found: &Allocation) -> Result<Value, Code> {
        let device = found.kind == Kind::Device;
        Ok(match which {
            attribute::CONTEXT => {
                let state = self.state();
                let owner = state.owners.get(&found.base);
                Value::Long(owner.map_or(0, |owner| owner.context as u64))
            }
            // CU_MEMORYTYPE_DEVICE and CU_MEMORYTYPE_HOST.
            attribute::MEMORY_TYPE => Value::Word(if device { 2 } else { 1 }),
            attribute::DEVICE_POINTER => Value::Long(address),
            attribute::HOST_POINTER if device => return Err(Code::InvalidValue),
            attribute::HOST_POINTER => Value::Long(address),
            attribute::BUFFER_ID | attribute::RANGE_START => Value::Long(found.base),
            attribute::RANGE_SIZE => Value::Long(found.bytes as u64),
            attribute::MAPPED => Value::Word(1),
            attribute::ACCESS_FLAGS => Value::Word(3), // Reads and writes.
            attribute::SYNC_MEMOPS
            | attribute::IS_MANAGED
            | attribute::DEVICE_ORDINAL
            | attribute::IS_LEGACY_IPC_CAPABLE
            | attribute::IS_RDMA_CAPABLE => Value::Word(0),
            attribute::ALLOWED_HANDLE_TYPES | attribute::POOL => Value::Long(0),
            _ => return Err(Code::InvalidValue),
        })
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuPointerGetAttribute(data: Out<c_void>, which: c_uint, address: u64) -> Code {
    enter(|driver| {
        let memory = driver.gpu.memory();
        let found = memory.find(address).ok_or(Code::InvalidValue)?;
        driver.attribute(which, address, &found)?.write(data)
    })
}

/// Unlike the function for one attribute, gives zeros for what an address does not have.
#[unsafe(no_mangle)]
extern "C" fn cuPointerGetAttributes(
    count: c_uint,
    attributes: In<c_uint>,
    data: In<Out<c_void>>,
    address: u64,
) -> Code {
    enter(|driver| {
        let found = driver.gpu.memory().find(address);
        let unknown = Allocation {
            base: address,
            bytes: 0,
            kind: Kind::Registered,
            tracked: false,
        };
        for i in 0..count as usize {
            let (which, data) = (attributes.get(i)?, data.get(i)?);
            match found {
                Some(found) => match driver.attribute(which, address, &found) {
                    Ok(value) => value.write(data)?,
                    Err(_) if which == attribute::HOST_POINTER => Value::Long(0).write(data)?,
                    Err(code) => return Err(code),
                },
                None => driver
                    .attribute(which, address, &unknown)?
                    .zeroed()
                    .write(data)?,
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetAddressRange_v2(base: Out<u64>, bytes: Out<usize>, address: u64) -> Code {
    enter(|driver| {
        driver.current()?;
        let found = driver.gpu.memory().find(address).ok_or(Code::NotFound)?;
        base.set_if_wanted(found.base);
        bytes.set_if_wanted(found.bytes);
        Ok(())
    })
}
