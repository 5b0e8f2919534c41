//! What a program gives the virtual GPU's streams, what it waits for, and what runs when.

use super::{Driver, driver};
use crate::Device;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::ffi::CStr;

/// Tracing on the virtual GPUs of this process, which goes on until this is dropped: there should be
/// one at a time.
#[derive(Debug)]
pub struct Tracing(());

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TraceEvent {
    /// What kind of thing.
    pub kind: TraceKind,
    /// The work, or the mark's text.
    pub what: String,
}

/// A kind of thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TraceKind {
    /// Work joined a stream.
    Submit,
    /// A graph's work joined a stream.
    Graph,
    /// The program waits, until work is done.
    Wait,
    /// Work is done now.
    Run,
    /// The program said something, [`Tracing::mark`].
    Mark,
}

impl Tracing {
    /// Traces from now on.
    ///
    /// # Errors
    /// [`Error::NoDevice`] unless the device is the virtual GPU.
    pub fn start(device: &Device) -> Result<Tracing> {
        match device {
            Device::Cuda(cuda) if cuda.driver() == Driver::Virtual => set(true).map(Tracing),
            _ => Err(Error::NoDevice {
                device: device.name(),
                reason: "traces nothing: traces need the virtual GPU".to_owned(),
            }),
        }
    }

    /// Puts a text among the events.
    ///
    /// # Errors
    /// If the driver is of another version.
    pub fn mark(&self, text: &CStr) -> Result<()> {
        driver::tell(b"gamutVgpuMark\0", text, "marking a trace")
    }

    /// The events since the last call. What waits in streams has not run.
    ///
    /// # Errors
    /// If the driver is of another version.
    pub fn take(&self) -> Result<Vec<TraceEvent>> {
        let what = "asking the virtual GPU for a trace";
        driver::json(b"gamutVgpuTakeTrace\0", what)
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // It was there when tracing started.
        let _ = set(false);
    }
}

fn set(on: bool) -> Result<()> {
    driver::switch(b"gamutVgpuTrace\0", on, "tracing on the virtual GPU")
}
