//! Blocks of a GPU's memory and copies to and from them.
#![allow(unsafe_code)]

use super::{Cuda, driver};
use crate::error::{Error, Result};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, result, sys};
use std::fmt;
use std::sync::Arc;

/// A block of a GPU's memory.
pub(crate) struct DeviceBlock {
    stream: Arc<CudaStream>,
    address: u64,
    bytes: usize,
    /// Frees the block.
    _slice: CudaSlice<u8>,
}

impl DeviceBlock {
    pub(super) fn new(
        stream: &Arc<CudaStream>,
        bytes: usize,
        what: &'static str,
    ) -> Result<DeviceBlock> {
        // SAFETY: whoever reads the block has written it before, as with any workspace.
        let slice = unsafe { stream.alloc::<u8>(bytes) };
        let slice = slice.map_err(|e| driver::memory_error(what, bytes, e))?;
        let (address, _) = slice.device_ptr(stream);
        Ok(DeviceBlock {
            stream: stream.clone(),
            address,
            bytes,
            _slice: slice,
        })
    }

    /// Whether the block is on this GPU, as it was opened.
    pub(crate) fn is_on(&self, cuda: &Cuda) -> bool {
        Arc::ptr_eq(&self.stream, &cuda.stream)
    }

    /// Whether the other block is on the same GPU, as it was opened.
    pub(crate) fn is_beside(&self, other: &DeviceBlock) -> bool {
        Arc::ptr_eq(&self.stream, &other.stream)
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies `from` to `offset`, behind all work before it. Pinned memory must stay as it is until
    /// the stream has come past the copy.
    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        let to = self.at(offset, from.len())?;
        if from.is_empty() {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: `at` has checked the range. Pageable memory is read before the call returns;
        // pinned memory is the uploader's, which waits for the copy.
        let copied = unsafe { result::memcpy_htod_async(to, from, self.stream.cu_stream()) };
        copied.map_err(|e| driver::error(format!("copying {} bytes to the GPU", from.len()), e))
    }

    /// Copies from `offset` into `to`, after all work before it.
    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        let from = self.at(offset, to.len())?;
        if to.is_empty() {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: `at` has checked the range, and `to` is borrowed until the stream is done.
        let copied = unsafe { result::memcpy_dtoh_async(to, from, self.stream.cu_stream()) };
        let done = copied.and_then(|()| self.stream.synchronize());
        done.map_err(|e| driver::error(format!("copying {} bytes from the GPU", to.len()), e))
    }

    /// Copies `bytes` bytes from another block on the same GPU, behind all work before it.
    pub(crate) fn copy(
        &self,
        offset: usize,
        (other, from): (&DeviceBlock, usize),
        bytes: usize,
    ) -> Result<()> {
        let (to, from) = (self.at(offset, bytes)?, other.at(from, bytes)?);
        if bytes == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: `at` has checked both ranges.
        let copied = unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) };
        copied.map_err(|e| driver::error(format!("copying {bytes} bytes on the GPU"), e))
    }

    /// Fills `bytes` bytes from `offset` on with `value`.
    pub(crate) fn fill(&self, offset: usize, bytes: usize, value: u8) -> Result<()> {
        let to = self.at(offset, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: `at` has checked the range.
        let filled = unsafe { result::memset_d8_async(to, value, bytes, self.stream.cu_stream()) };
        filled.map_err(|e| driver::error(format!("filling {bytes} bytes on the GPU"), e))
    }

    /// Waits for all work before it.
    pub(crate) fn wait(&self) -> Result<()> {
        let waited = self.stream.synchronize();
        waited.map_err(|e| driver::error("waiting for the GPU".to_owned(), e))
    }

    fn at(&self, offset: usize, bytes: usize) -> Result<u64> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(self.address + offset as u64),
            _ => Err(Error::Cuda {
                what: format!("copying {bytes} bytes at {offset}"),
                reason: format!("the block has {} bytes", self.bytes),
            }),
        }
    }

    /// Makes ready for a copy. A graph would copy again, from memory that is gone by then.
    fn bind(&self) -> Result<()> {
        let status = self.stream.capture_status();
        match status.map_err(|e| driver::error("entering the GPU's context".to_owned(), e))? {
            sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE => Ok(()),
            _ => Err(Error::Cuda {
                what: "copying".to_owned(),
                reason: "a graph is being recorded, which holds kernels alone".to_owned(),
            }),
        }
    }
}

impl fmt::Debug for DeviceBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DeviceBlock({} bytes at {:#x})",
            self.bytes, self.address
        )
    }
}
