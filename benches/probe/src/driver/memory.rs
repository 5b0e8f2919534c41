//! Memory of the device, and page-locked memory of the host.
#![allow(unsafe_code)]

use super::{Stream, call};
use crate::error::{Error, Result};
use cudarc::driver::sys;
use std::ffi::c_void;
use std::{ptr, slice};

/// Device memory.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) pointer: sys::CUdeviceptr,
    pub(crate) bytes: usize,
}

impl Buffer {
    pub(crate) fn new(bytes: usize) -> Result<Buffer> {
        let mut pointer = 0;
        call!(cuMemAlloc_v2(&mut pointer, bytes))?;
        Ok(Buffer { pointer, bytes })
    }

    pub(crate) fn from_slice<T: bytemuck::NoUninit>(values: &[T]) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let buffer = Buffer::new(bytes.len())?;
        buffer.upload(bytes)?;
        Ok(buffer)
    }

    /// Copies to the buffer's start, and waits.
    pub(crate) fn upload(&self, bytes: &[u8]) -> Result<()> {
        self.holds(bytes.len())?;
        call!(cuMemcpyHtoD_v2(
            self.pointer,
            bytes.as_ptr().cast(),
            bytes.len()
        ))
    }

    pub(crate) fn download<T: bytemuck::AnyBitPattern>(&self, count: usize) -> Result<Vec<T>> {
        let bytes = count.saturating_mul(size_of::<T>());
        self.holds(bytes)?;
        let mut values = vec![T::zeroed(); count];
        call!(cuMemcpyDtoH_v2(
            values.as_mut_ptr().cast(),
            self.pointer,
            bytes
        ))?;
        Ok(values)
    }

    fn holds(&self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            let text = format!("{bytes} bytes to copy, but the buffer has {}", self.bytes);
            return Err(Error::Text(text));
        }
        Ok(())
    }

    pub(crate) fn fill(&self, byte: u8, stream: &Stream) -> Result<()> {
        call!(cuMemsetD8Async(self.pointer, byte, self.bytes, stream.0))
    }

    pub(crate) fn copy_from(&self, source: &Buffer, stream: &Stream) -> Result<()> {
        self.holds(source.bytes)?;
        call!(cuMemcpyDtoDAsync_v2(
            self.pointer,
            source.pointer,
            source.bytes,
            stream.0
        ))
    }

    /// Copies from host memory at `offset`; `host` may still be read after the return.
    pub(crate) fn upload_async(
        &self,
        host: &Pinned,
        offset: usize,
        bytes: usize,
        stream: &Stream,
    ) -> Result<()> {
        let (target, source) = self.range(host, offset, bytes)?;
        call!(cuMemcpyHtoDAsync_v2(target, source, bytes, stream.0))
    }

    /// Copies to host memory at `offset`; `host` may still be written after the return.
    pub(crate) fn download_async(
        &self,
        host: &Pinned,
        offset: usize,
        bytes: usize,
        stream: &Stream,
    ) -> Result<()> {
        let (source, target) = self.range(host, offset, bytes)?;
        call!(cuMemcpyDtoHAsync_v2(target, source, bytes, stream.0))
    }

    fn range(
        &self,
        host: &Pinned,
        offset: usize,
        bytes: usize,
    ) -> Result<(sys::CUdeviceptr, *mut c_void)> {
        let end = offset.saturating_add(bytes);
        self.holds(end)?;
        if end > host.bytes {
            let text = format!("a copy up to {end}, but the host has {} bytes", host.bytes);
            return Err(Error::Text(text));
        }
        // SAFETY: `offset` is within the allocation, as just checked.
        let source = unsafe { host.pointer.cast::<u8>().add(offset) };
        Ok((self.pointer + offset as u64, source.cast()))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // After a kernel's fault this fails too; the error was reported then.
        let _ = call!(cuMemFree_v2(self.pointer));
    }
}

/// Page-locked host memory.
#[derive(Debug)]
pub(crate) struct Pinned {
    pointer: *mut c_void,
    bytes: usize,
}

impl Pinned {
    pub(crate) fn new(bytes: usize) -> Result<Pinned> {
        let mut pointer = ptr::null_mut();
        call!(cuMemHostAlloc(&mut pointer, bytes, 0))?;
        Ok(Pinned { pointer, bytes })
    }

    /// The bytes; copies must have ended.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the allocation has this size, zero is not needed for bytes of the driver's own
        // fresh pages, and `&mut self` keeps others away.
        unsafe { slice::from_raw_parts_mut(self.pointer.cast(), self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // As with device memory.
        let _ = call!(cuMemFreeHost(self.pointer));
    }
}
