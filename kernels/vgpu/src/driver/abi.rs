//! The C interface's argument types.
//!
//! Values of [`Out`], [`In`] and [`Text`] come from C callers alone, whose part of the contract it
//! is that a pointer which is not null points to what the function's documentation says. That is
//! what makes their safe methods sound; a null pointer is the error that the documentation gives.
#![allow(unsafe_code)]

use super::code::Code;
use super::table::Handle;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

/// A code as a caller may pass it in: any number.
pub(super) type RawCode = u32;

/// A device's ordinal (`CUdevice`).
pub(super) type Device = c_int;

/// Where a result goes.
#[repr(transparent)]
pub(super) struct Out<T>(*mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Out<T> {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T> Out<T> {
    /// Writes the result.
    ///
    /// # Errors
    /// [`Code::InvalidValue`] for a null pointer.
    pub(super) fn set(&self, value: T) -> Result<(), Code> {
        self.check()?;
        self.set_if_wanted(value);
        Ok(())
    }

    /// Writes the result unless the caller passed null to say that it does not want it.
    pub(super) fn set_if_wanted(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not null, so valid for a write by the caller's contract.
            unsafe { self.0.write_unaligned(value) };
        }
    }

    /// Refuses a null pointer, before anything is done that would have to be undone.
    pub(super) fn check(&self) -> Result<(), Code> {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        Ok(())
    }

    /// The place for the result number `index` of several.
    pub(super) fn at(&self, index: usize) -> Out<T> {
        Out(self.0.wrapping_add(index))
    }
}

impl<T: Copy> Out<T> {
    /// What is there now, for an argument that goes both ways.
    pub(super) fn get(&self) -> Result<T, Code> {
        In(self.0.cast_const()).get(0)
    }
}

impl<T> Out<T> {
    /// The place at an address that the caller passed as a number.
    pub(super) fn from_address(address: usize) -> Out<T> {
        Out(std::ptr::with_exposed_provenance_mut(address))
    }
}

impl Out<c_void> {
    /// The place for a result whose type depends on another argument.
    pub(super) fn cast<T>(&self) -> Out<T> {
        Out(self.0.cast())
    }
}

impl Out<c_char> {
    /// Writes as much of a text as fits into `size` bytes with the zero behind it.
    pub(super) fn set_text(&self, text: &str, size: usize) {
        let fitting = text.len().min(size.saturating_sub(1));
        if self.0.is_null() || size == 0 {
            return;
        }
        // SAFETY: not null, so valid for writes of `size` bytes by the caller's contract.
        unsafe {
            self.0
                .copy_from_nonoverlapping(text.as_ptr().cast(), fitting);
            self.0.add(fitting).write(0);
        }
    }
}

/// Where one or several arguments are.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct In<T>(*const T);

impl<T> In<T> {
    /// The place at an address that the caller passed as a number, or is told.
    pub(super) fn from_address(address: usize) -> In<T> {
        In(std::ptr::with_exposed_provenance(address))
    }
}

impl<T: Copy> In<T> {
    pub(super) fn null() -> In<T> {
        In(std::ptr::null())
    }

    pub(super) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The argument number `index`.
    ///
    /// # Errors
    /// [`Code::InvalidValue`] for a null pointer.
    pub(super) fn get(&self, index: usize) -> Result<T, Code> {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: not null, so valid for a read by the caller's contract.
        Ok(unsafe { self.0.wrapping_add(index).read_unaligned() })
    }
}

impl In<u8> {
    /// The `bytes` from there on.
    ///
    /// # Errors
    /// [`Code::InvalidValue`] for a null pointer, unless no bytes are wanted.
    pub(super) fn bytes(&self, bytes: usize) -> Result<&[u8], Code> {
        match (self.0.is_null(), bytes) {
            (_, 0) => Ok(&[]),
            (true, _) => Err(Code::InvalidValue),
            // SAFETY: not null, so valid for reads by the caller's contract.
            _ => Ok(unsafe { std::slice::from_raw_parts(self.0, bytes) }),
        }
    }
}

/// A text that ends in a zero byte.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Text(*const c_char);

impl Text {
    pub(super) fn new(bytes: In<u8>) -> Text {
        Text(bytes.0.cast())
    }

    /// The text.
    ///
    /// # Errors
    /// [`Code::InvalidValue`] for a null pointer.
    pub(super) fn get(&self) -> Result<&CStr, Code> {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: not null, so a text by the caller's contract.
        Ok(unsafe { CStr::from_ptr(self.0) })
    }

    /// The text as a name, which is never found if it is not UTF-8.
    pub(super) fn name(&self) -> Result<&str, Code> {
        self.get()?.to_str().map_err(|_| Code::NotFound)
    }
}

/// A function to call on the host (`CUhostFn`).
pub(super) type HostFunction = extern "C" fn(data: *mut c_void);

/// A function to call on the host with a stream's state (`CUstreamCallback`).
pub(super) type StreamCallback = extern "C" fn(stream: Handle, status: Code, data: *mut c_void);

/// How a block size determines its dynamic shared memory (`CUoccupancyB2DSize`).
pub(super) type SharedForBlock = extern "C" fn(block: c_int) -> usize;

/// How a kernel is to be launched (`CUlaunchConfig`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct LaunchConfig {
    pub(super) grid: [c_uint; 3],
    pub(super) block: [c_uint; 3],
    pub(super) shared: c_uint,
    pub(super) stream: Handle,
    pub(super) attributes: In<LaunchAttribute>,
    pub(super) attribute_count: c_uint,
}

/// One attribute of a launch (`CUlaunchAttribute`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct LaunchAttribute {
    pub(super) id: c_uint,
    padding: [u8; 4],
    /// A union of 64 bytes, whose integer members all start at its first word.
    pub(super) value: [u32; 16],
}

/// What an edge between two nodes of a graph says beyond its being there (`CUgraphEdgeData`): a
/// full dependency is all zeros.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct EdgeData([u8; 8]);

/// What a kernel node launches (`CUDA_KERNEL_NODE_PARAMS`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct KernelNodeParams {
    pub(super) function: Handle,
    pub(super) grid: [c_uint; 3],
    pub(super) block: [c_uint; 3],
    pub(super) shared: c_uint,
    pub(super) params: In<In<u8>>,
    pub(super) extras: In<usize>,
    /// A library's kernel, in the place of a function.
    pub(super) kernel: Handle,
    /// The context that the kernel runs in; null for the function's.
    pub(super) context: Handle,
}

/// What a host node calls (`CUDA_HOST_NODE_PARAMS`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct HostNodeParams {
    pub(super) function: Option<HostFunction>,
    pub(super) data: *mut c_void,
}

/// How a graph is instantiated, and what came of it (`CUDA_GRAPH_INSTANTIATE_PARAMS`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct InstantiateParams {
    pub(super) flags: u64,
    pub(super) upload: Handle,
    pub(super) error_node: Handle,
    pub(super) result: c_uint,
}

/// What came of an update (`CUgraphExecUpdateResultInfo`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct UpdateInfo {
    pub(super) result: c_uint,
    pub(super) error_node: Handle,
    pub(super) error_from_node: Handle,
}

const _: () = {
    assert!(size_of::<KernelNodeParams>() == 72);
    assert!(std::mem::offset_of!(KernelNodeParams, params) == 40);
    assert!(size_of::<InstantiateParams>() == 32);
    assert!(size_of::<UpdateInfo>() == 24);
    assert!(size_of::<LaunchConfig>() == 56);
    assert!(size_of::<LaunchAttribute>() == 72);
    assert!(std::mem::offset_of!(LaunchConfig, stream) == 32);
};
