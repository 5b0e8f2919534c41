//! What a program gives the virtual GPU's streams, what it waits for, and what runs when.
#![allow(unsafe_code)]

use super::{Driver, driver};
use crate::Device;
use crate::error::{Error, Result};
use cudarc::driver::sys;
use serde::Deserialize;
use std::ffi::{CStr, c_char, c_int};

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
        type Mark = unsafe extern "C" fn(*const c_char) -> sys::CUresult;
        // SAFETY: the symbol is the virtual driver's, which has this signature and copies the text.
        let marked = unsafe {
            let mark = sys::culib().get::<Mark>(b"gamutVgpuMark\0");
            mark.map_err(|e| stranger(e.to_string()))?(text.as_ptr())
        };
        let marked = marked.result();
        marked.map_err(|e| driver::error("marking a trace".to_owned(), e))
    }

    /// The events since the last call. What waits in streams has not run.
    ///
    /// # Errors
    /// If the driver is of another version.
    pub fn take(&self) -> Result<Vec<TraceEvent>> {
        let text = driver::text(b"gamutVgpuTakeTrace\0");
        let text = text.ok_or_else(|| stranger("it has none".to_owned()))?;
        serde_json::from_str(&text).map_err(|e| stranger(e.to_string()))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // It was there when tracing started.
        let _ = set(false);
    }
}

/// A driver of another version than this crate.
fn stranger(reason: String) -> Error {
    let what = "asking the virtual GPU for a trace".to_owned();
    Error::Cuda { what, reason }
}

fn set(on: bool) -> Result<()> {
    type Trace = unsafe extern "C" fn(c_int) -> sys::CUresult;
    // SAFETY: the symbol is the virtual driver's, which has this signature.
    let set = unsafe {
        let trace = sys::culib().get::<Trace>(b"gamutVgpuTrace\0");
        trace.map_err(|e| stranger(e.to_string()))?(c_int::from(on))
    };
    set.result()
        .map_err(|e| driver::error("tracing".to_owned(), e))
}
