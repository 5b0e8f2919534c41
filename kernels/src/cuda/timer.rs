//! Timing work on a GPU by its own clock.

use super::{Cuda, DeviceBlock, Driver, driver};
use crate::error::{Error, Result};
use cudarc::driver::CudaEvent;
use cudarc::driver::sys::{CUdevice_attribute, CUevent_flags};
use std::sync::Arc;
use std::time::Duration;

/// How many times the second-level cache is written over to be empty of all else.
const FLUSHES: usize = 4;

/// Takes the time of work on a GPU, from when it may start to when it is done. The second-level
/// cache holds nothing of use then, and what the CPU does to queue the work is not counted as long
/// as it takes less than filling the cache, some 60 us.
#[derive(Debug)]
pub struct Timer {
    cuda: Arc<Cuda>,
    start: CudaEvent,
    end: CudaEvent,
    flush: DeviceBlock,
}

impl Timer {
    /// A timer for work on this GPU's stream.
    ///
    /// # Errors
    /// If the memory that is written over cannot be had.
    pub fn new(cuda: &Arc<Cuda>) -> Result<Timer> {
        let context = cuda.stream.context();
        let event = || {
            let event = context.new_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
            event.map_err(|e| driver::error("making an event".to_owned(), e))
        };
        let cache = context
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)
            .map_err(|e| driver::error("asking for the size of the cache".to_owned(), e))?;
        let bytes = match cuda.driver {
            Driver::Hardware => FLUSHES * usize::try_from(cache).unwrap_or(0),
            // It has no cache.
            Driver::Virtual => 0,
        };
        Ok(Timer {
            start: event()?,
            end: event()?,
            flush: cuda.allocate(bytes.max(1), "emptying the cache")?,
            cuda: cuda.clone(),
        })
    }

    /// The time of what `queue` puts on the GPU's stream.
    ///
    /// # Errors
    /// As `queue`, or if the work fails.
    pub fn time<E: From<Error>>(
        &self,
        queue: impl FnOnce() -> std::result::Result<(), E>,
    ) -> std::result::Result<Duration, E> {
        let failed = |e| driver::error("timing work on the GPU".to_owned(), e);
        let stream = &self.cuda.stream;
        self.flush.fill(0, self.flush.bytes(), 0)?;
        self.start.record(stream).map_err(failed)?;
        queue()?;
        self.end.record(stream).map_err(failed)?;
        let milliseconds = self.start.elapsed_ms(&self.end).map_err(failed)?;
        Ok(Duration::from_secs_f32(milliseconds.max(0.0) / 1e3))
    }
}
