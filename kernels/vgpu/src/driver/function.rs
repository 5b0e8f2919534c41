//! Functions: the kernels of a module, with the settings that a program can change.
#![allow(unsafe_code)]

use super::State;
use super::abi::Out;
use super::code::Code;
use super::entry::enter;
use super::table::Handle;
use crate::{Kernel, Properties};
use std::ffi::{CString, c_char, c_int, c_uint};
use std::sync::Arc;

/// The shared memory that a block gets without asking for more, in bytes.
const SHARED_BYTES: u32 = 48 << 10;

/// The attributes' numbers (`CU_FUNC_ATTRIBUTE_…`).
mod attribute {
    pub(super) const MAX_THREADS: u32 = 0;
    pub(super) const STATIC_SHARED: u32 = 1;
    pub(super) const CONST_BYTES: u32 = 2;
    pub(super) const LOCAL_BYTES: u32 = 3;
    pub(super) const REGISTERS: u32 = 4;
    pub(super) const PTX_VERSION: u32 = 5;
    pub(super) const BINARY_VERSION: u32 = 6;
    pub(super) const CACHE_MODE: u32 = 7;
    pub(super) const MAX_DYNAMIC_SHARED: u32 = 8;
    pub(super) const SHARED_CARVEOUT: u32 = 9;
    /// The first and the last of those about clusters.
    pub(super) const CLUSTER: std::ops::RangeInclusive<u32> = 10..=15;
}

/// A kernel as a program launches it.
pub(super) struct Function {
    pub(super) context: Handle,
    pub(super) module: Handle,
    pub(super) kernel: Arc<Kernel>,
    name: CString,
    /// The dynamic shared memory that a launch may ask for, in bytes.
    pub(super) max_dynamic_shared: u32,
    /// The share of the L1 cache that it would like to have as shared memory, in percent.
    carveout: c_int,
}

impl Function {
    pub(super) fn new(
        context: Handle,
        module: Handle,
        kernel: Arc<Kernel>,
    ) -> Result<Function, Code> {
        let name = CString::new(kernel.name()).map_err(|_| Code::NotFound)?;
        Ok(Function {
            context,
            module,
            name,
            max_dynamic_shared: SHARED_BYTES.saturating_sub(kernel.static_shared()),
            carveout: -1,
            kernel,
        })
    }

    fn attribute(&self, which: c_uint, device: &Properties) -> Option<c_int> {
        let value = match which {
            attribute::MAX_THREADS => self.kernel.max_threads(),
            attribute::STATIC_SHARED => self.kernel.static_shared(),
            attribute::LOCAL_BYTES => self.kernel.local(),
            attribute::REGISTERS => self.kernel.registers(),
            attribute::PTX_VERSION | attribute::BINARY_VERSION => {
                let (major, minor) = device.compute_capability;
                major * 10 + minor
            }
            attribute::MAX_DYNAMIC_SHARED => self.max_dynamic_shared,
            attribute::SHARED_CARVEOUT => return Some(self.carveout),
            attribute::CONST_BYTES | attribute::CACHE_MODE => 0,
            which if attribute::CLUSTER.contains(&which) => 0,
            _ => return None,
        };
        Some(value.try_into().unwrap_or(c_int::MAX))
    }

    fn set_attribute(
        &mut self,
        which: c_uint,
        value: c_int,
        device: &Properties,
    ) -> Result<(), Code> {
        match which {
            attribute::MAX_DYNAMIC_SHARED => {
                let most = device
                    .max_shared
                    .saturating_sub(self.kernel.static_shared());
                let bytes = u32::try_from(value).ok().filter(|&bytes| bytes <= most);
                self.max_dynamic_shared = bytes.ok_or(Code::InvalidValue)?;
                Ok(())
            }
            attribute::SHARED_CARVEOUT if (-1..=100).contains(&value) => {
                self.carveout = value;
                Ok(())
            }
            which if attribute::CLUSTER.contains(&which) => Err(Code::NotSupported),
            _ => Err(Code::InvalidValue),
        }
    }
}

impl State {
    pub(super) fn function(&self, function: Handle) -> Result<&Function, Code> {
        self.functions.get(function, Code::InvalidHandle)
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncGetAttribute(value: Out<c_int>, which: c_uint, function: Handle) -> Code {
    enter(|driver| {
        let state = driver.state();
        let found = state
            .function(function)?
            .attribute(which, driver.gpu.properties());
        value.set(found.ok_or(Code::InvalidValue)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: Handle, which: c_uint, value: c_int) -> Code {
    enter(|driver| {
        let mut state = driver.state();
        let function = state.functions.get_mut(function, Code::InvalidHandle)?;
        function.set_attribute(which, value, driver.gpu.properties())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetCacheConfig(function: Handle, preference: c_uint) -> Code {
    enter(|driver| {
        driver.state().function(function)?;
        if preference > 3 {
            return Err(Code::InvalidValue);
        }
        Ok(())
    })
}

/// The name lives as long as the module.
#[unsafe(no_mangle)]
extern "C" fn cuFuncGetName(name: Out<*const c_char>, function: Handle) -> Code {
    enter(|driver| name.set(driver.state().function(function)?.name.as_ptr()))
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncGetModule(module: Out<Handle>, function: Handle) -> Code {
    enter(|driver| module.set(driver.state().function(function)?.module))
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncGetParamInfo(
    function: Handle,
    index: usize,
    offset: Out<usize>,
    bytes: Out<usize>,
) -> Code {
    enter(|driver| {
        let state = driver.state();
        let params = state.function(function)?.kernel.params();
        let param = params.get(index).ok_or(Code::InvalidValue)?;
        offset.set(param.offset)?;
        bytes.set_if_wanted(param.size);
        Ok(())
    })
}

/// `CU_FUNCTION_LOADING_STATE_LOADED`, always.
#[unsafe(no_mangle)]
extern "C" fn cuFuncIsLoaded(state: Out<c_uint>, function: Handle) -> Code {
    enter(|driver| {
        driver.state().function(function)?;
        state.set(1)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncLoad(function: Handle) -> Code {
    enter(|driver| driver.state().function(function).map(drop))
}
