//! The CUDA driver calls that the probe makes, each one checked.
//!
//! Kernels are the probe's own, so launching one is not marked unsafe: it can only spoil device
//! memory, which nothing here trusts, or pinned memory, which is not lent out while one runs.
#![allow(unsafe_code)]

mod memory;
mod stream;

pub(crate) use memory::{Buffer, Pinned};
pub(crate) use stream::{Event, Stream, median, time};

use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::{mem, ptr};

/// Calls the driver and turns its code into a `Result`.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: every use passes pointers to live values of the types that the driver reads or
        // writes, and handles that their owners still hold.
        $crate::driver::check(stringify!($function), unsafe {
            cudarc::driver::sys::$function($($argument),*)
        })
    };
}

pub(crate) use call;

/// The name of a driver's code.
pub(crate) fn code_name(code: u32) -> String {
    let mut text = ptr::null();
    type Name = unsafe extern "C" fn(u32, *mut *const std::ffi::c_char) -> u32;
    // SAFETY: the driver was loaded before it could return a code. The symbol has this type in
    // cuda.h, with the enumeration as its integer, since a newer driver's codes may not be in it.
    let code = unsafe {
        match sys::culib().get::<Name>(b"cuGetErrorName\0") {
            Ok(name) => name(code, &mut text),
            Err(_) => return "unknown".to_owned(),
        }
    };
    if code != 0 || text.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: a non-null name is a static string of the driver.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// An error for any code but success.
pub(crate) fn check(call: &'static str, code: CUresult) -> Result<()> {
    match code as u32 {
        0 => Ok(()),
        code => Err(Error::Driver {
            call,
            code,
            name: code_name(code),
        }),
    }
}

/// Loads a library for the whole process, so that later searches by its name find it.
pub(crate) fn preload(path: &Path) -> Result<()> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: NVIDIA's libraries have no initialisers that need anything of us.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
    let library = library.map_err(|source| Error::Library {
        path: path.to_owned(),
        source,
    })?;
    mem::forget(library);
    Ok(())
}

/// The first device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) handle: sys::CUdevice,
}

impl Device {
    /// The device without a context; fails plainly where there is no driver.
    pub(crate) fn find() -> Result<Device> {
        // SAFETY: it only tries to load the library.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Text(
                "no CUDA driver (libcuda) on this machine".into(),
            ));
        }
        call!(cuInit(0))?;
        let mut handle = 0;
        call!(cuDeviceGet(&mut handle, 0))?;
        Ok(Device { handle })
    }

    /// The device, its primary context current on this thread until the process ends.
    pub(crate) fn open() -> Result<Device> {
        let device = Device::find()?;
        let mut context = ptr::null_mut();
        call!(cuDevicePrimaryCtxRetain(&mut context, device.handle))?;
        call!(cuCtxSetCurrent(context))?;
        Ok(device)
    }

    pub(crate) fn name(&self) -> Result<String> {
        let mut name = [0u8; 256];
        call!(cuDeviceGetName(name.as_mut_ptr().cast(), 256, self.handle))?;
        Ok(CStr::from_bytes_until_nul(&name)
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default())
    }

    pub(crate) fn driver_version(&self) -> Result<i32> {
        let mut version = 0;
        call!(cuDriverGetVersion(&mut version))?;
        Ok(version)
    }

    pub(crate) fn total_memory(&self) -> Result<usize> {
        let mut bytes = 0;
        call!(cuDeviceTotalMem_v2(&mut bytes, self.handle))?;
        Ok(bytes)
    }

    /// A device attribute by its number, which newer drivers have more of than cudarc knows.
    pub(crate) fn attribute(&self, number: i32) -> Result<i32> {
        type Get = unsafe extern "C" fn(*mut i32, i32, sys::CUdevice) -> CUresult;
        let mut value = 0;
        // SAFETY: the driver is loaded and the symbol has this type in cuda.h; the enumeration is
        // passed as its integer, so that any number is a valid argument.
        let code = unsafe {
            let get = sys::culib().get::<Get>(b"cuDeviceGetAttribute\0");
            let get = get.map_err(|e| Error::Text(e.to_string()))?;
            get(&mut value, number, self.handle)
        };
        check("cuDeviceGetAttribute", code)?;
        Ok(value)
    }

    /// One of the context's limits.
    pub(crate) fn limit(&self, limit: sys::CUlimit) -> Result<usize> {
        let mut value = 0;
        call!(cuCtxGetLimit(&mut value, limit))?;
        Ok(value)
    }

    pub(crate) fn memory_info(&self) -> Result<(usize, usize)> {
        let (mut free, mut total) = (0, 0);
        call!(cuMemGetInfo_v2(&mut free, &mut total))?;
        Ok((free, total))
    }

    pub(crate) fn synchronize(&self) -> Result<()> {
        call!(cuCtxSynchronize())
    }
}

/// A loaded cubin or PTX text.
#[derive(Debug)]
pub(crate) struct Module(pub(crate) sys::CUmodule);

impl Module {
    /// `image` is a cubin, or PTX that ends in a NUL.
    pub(crate) fn load(image: &[u8]) -> Result<Module> {
        let mut module = ptr::null_mut();
        let mut image = image.to_vec();
        // The driver reads PTX up to a NUL; a cubin knows its size.
        image.push(0);
        call!(cuModuleLoadData(&mut module, image.as_ptr().cast()))?;
        Ok(Module(module))
    }

    /// Reads `name.cubin` in `folder`.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Module> {
        let path = folder.join(format!("{name}.cubin"));
        Module::load(&std::fs::read(&path).map_err(|e| Error::io(&path, e))?)
    }

    pub(crate) fn function(&self, name: &str) -> Result<Function> {
        let name = CString::new(name).map_err(|e| Error::Text(e.to_string()))?;
        let mut function = ptr::null_mut();
        call!(cuModuleGetFunction(&mut function, self.0, name.as_ptr()))?;
        Ok(Function(function))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // A failure shows in the next call; there is nothing to do about it here.
        let _ = call!(cuModuleUnload(self.0));
    }
}

/// A kernel argument.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument {
    Wide(u64),
    Word(u32),
    Float(f32),
}

impl From<&Buffer> for Argument {
    fn from(buffer: &Buffer) -> Argument {
        Argument::Wide(buffer.pointer)
    }
}

/// Blocks, threads of a block, and dynamic shared memory in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    pub(crate) grid: (u32, u32),
    pub(crate) block: u32,
    pub(crate) shared: u32,
}

impl Launch {
    pub(crate) fn new(grid: u32, block: u32) -> Launch {
        Launch {
            grid: (grid, 1),
            block,
            shared: 0,
        }
    }
}

/// A kernel; its module must outlive it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function(pub(crate) sys::CUfunction);

impl Function {
    /// Queues the kernel on `stream`.
    pub(crate) fn launch(&self, at: Launch, stream: &Stream, arguments: &[Argument]) -> Result<()> {
        let mut pointers = argument_pointers(arguments);
        let (x, y) = at.grid;
        let parameters = pointers.as_mut_ptr();
        call!(cuLaunchKernel(
            self.0,
            x,
            y,
            1,
            at.block,
            1,
            1,
            at.shared,
            stream.0,
            parameters,
            ptr::null_mut()
        ))
    }

    /// As [`launch`](Self::launch), allowed to start before its predecessor in the stream ends.
    pub(crate) fn launch_dependent(&self, at: Launch, stream: &Stream) -> Result<()> {
        // SAFETY: both are plain C structures for which zeros are valid.
        let (mut config, mut attribute): (sys::CUlaunchConfig, sys::CUlaunchAttribute) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        attribute.id =
            sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        attribute.value.programmaticStreamSerializationAllowed = 1;
        (config.gridDimX, config.gridDimY, config.gridDimZ) = (at.grid.0, at.grid.1, 1);
        (config.blockDimX, config.blockDimY, config.blockDimZ) = (at.block, 1, 1);
        config.hStream = stream.0;
        config.attrs = &mut attribute;
        config.numAttrs = 1;
        call!(cuLaunchKernelEx(
            &config,
            self.0,
            ptr::null_mut(),
            ptr::null_mut()
        ))
    }

    pub(crate) fn attribute(&self, attribute: sys::CUfunction_attribute) -> Result<i32> {
        let mut value = 0;
        call!(cuFuncGetAttribute(&mut value, attribute, self.0))?;
        Ok(value)
    }

    pub(crate) fn set_attribute(
        &self,
        attribute: sys::CUfunction_attribute,
        value: i32,
    ) -> Result<()> {
        call!(cuFuncSetAttribute(self.0, attribute, value))
    }

    /// Blocks of `threads` threads and `shared` bytes that fit on one multiprocessor at once.
    pub(crate) fn occupancy(&self, threads: i32, shared: usize) -> Result<i32> {
        let mut blocks = 0;
        call!(cuOccupancyMaxActiveBlocksPerMultiprocessor(
            &mut blocks,
            self.0,
            threads,
            shared
        ))?;
        Ok(blocks)
    }
}

fn argument_pointers(arguments: &[Argument]) -> Vec<*mut c_void> {
    arguments
        .iter()
        .map(|argument| match argument {
            Argument::Wide(value) => ptr::from_ref(value).cast_mut().cast(),
            Argument::Word(value) => ptr::from_ref(value).cast_mut().cast(),
            Argument::Float(value) => ptr::from_ref(value).cast_mut().cast(),
        })
        .collect()
}
