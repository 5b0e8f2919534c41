//! Finding the driver's library, and its errors.
#![allow(unsafe_code)]

use super::Driver;
use super::library::load_for_good;
use crate::error::Error;
use cudarc::driver::sys;
use cudarc::driver::{CudaContext, DriverError};
use serde::de::DeserializeOwned;
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::PathBuf;

/// Names the virtual driver's library.
const VIRTUAL_PATH: &str = "GAMUT_VGPU";
/// The virtual driver's library.
const VIRTUAL_FILE: &str = "libgamut_vgpu.so";

/// Loads the library of a driver. The first one that is loaded serves the whole process.
pub(super) fn load(driver: Driver) -> Result<(), String> {
    if driver == Driver::Virtual {
        load_virtual()?;
    }
    // SAFETY: this loads a library by the system's rules; drivers run no code of ours.
    if !unsafe { sys::is_culib_present() } {
        return Err("no CUDA driver (libcuda.so) is installed on this machine; \
            --device virtual emulates a GPU, --device host needs none"
            .to_owned());
    }
    // SAFETY: the symbol is only looked up.
    if unsafe { sys::culib().get::<*const ()>(b"cuFuncGetParamInfo\0") }.is_err() {
        return Err("the CUDA driver is older than 12.4; kernels need one of CUDA 13".to_owned());
    }
    match (driver, is_virtual()) {
        (Driver::Hardware, true) | (Driver::Virtual, false) => {
            Err("another CUDA driver was loaded into this process before".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether there is a GPU with its driver.
pub(super) fn has_gpu() -> bool {
    // SAFETY: as in `load`.
    let present = unsafe { sys::is_culib_present() };
    present && CudaContext::device_count().is_ok_and(|count| count > 0)
}

/// Loads the virtual driver under the real one's name, so that it is found in its place.
fn load_virtual() -> Result<(), String> {
    let mut places = Vec::new();
    match std::env::var_os(VIRTUAL_PATH) {
        Some(path) => places.push(PathBuf::from(path)),
        None => {
            let exe = std::env::current_exe().map_err(|e| format!("where is this program? {e}"))?;
            for folder in exe.ancestors().skip(1).take(2) {
                places.push(folder.join(VIRTUAL_FILE));
                places.push(folder.join("deps").join(VIRTUAL_FILE));
                places.push(folder.join("lib").join(VIRTUAL_FILE));
            }
        }
    }
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        return Err(format!(
            "no virtual GPU ({VIRTUAL_FILE}) at {}; `cargo build -p gamut-vgpu` makes it, \
            {VIRTUAL_PATH} names it elsewhere",
            places.join(" or ")
        ));
    };
    // SAFETY: the library is our own; loading it runs no code.
    unsafe { load_for_good(path) }
}

/// Whether the driver that was loaded is the virtual one.
fn is_virtual() -> bool {
    // SAFETY: `load` has seen that the library is there; the symbol is only looked up.
    unsafe { sys::culib().get::<*const ()>(b"gamutVgpuVersion\0") }.is_ok()
}

/// What the driver said, and on the virtual GPU its report of the fault.
pub(super) fn error(what: String, e: DriverError) -> Error {
    let name = e.error_name().map_or_else(
        |_| format!("error {}", e.0 as u32),
        |name| name.to_string_lossy().into_owned(),
    );
    let text = e.error_string().map_or_else(
        |_| String::new(),
        |text| format!(" ({})", text.to_string_lossy()),
    );
    let fault = last_fault().map_or_else(String::new, |fault| format!("\n{fault}"));
    Error::Cuda {
        what,
        reason: format!("{name}{text}{fault}"),
    }
}

/// That memory could not be had: because there is too little, or because the GPU failed before.
pub(super) fn memory_error(what: &'static str, bytes: usize, e: DriverError) -> Error {
    match e.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { what, bytes },
        _ => error(format!("taking {bytes} bytes for {what}"), e),
    }
}

/// The virtual GPU's report of the last fault.
fn last_fault() -> Option<String> {
    text(b"gamutVgpuGetLastFault\0").filter(|text| !text.is_empty())
}

/// Sets the options of a virtual GPU's launches.
pub(super) fn configure(options: &str) -> Result<(), Error> {
    let what = format!("setting the options `{options}` of the virtual GPU");
    match CString::new(options) {
        Ok(text) => tell(b"gamutVgpuConfigure\0", &text, &what),
        Err(e) => Err(Error::Cuda {
            what,
            reason: e.to_string(),
        }),
    }
}

/// Tells the virtual GPU a text, by the function that takes it.
pub(super) fn tell(symbol: &[u8], text: &CStr, what: &str) -> Result<(), Error> {
    type Tell = unsafe extern "C" fn(*const c_char) -> sys::CUresult;
    // SAFETY: the symbol is the virtual driver's, which has this signature and reads a text that ends
    // with a zero byte.
    let told = unsafe {
        let tell = sys::culib().get::<Tell>(symbol);
        tell.map_err(|e| stranger(what, e.to_string()))?(text.as_ptr())
    };
    told.result().map_err(|e| error(what.to_owned(), e))
}

/// Switches something of the virtual GPU on or off.
pub(super) fn switch(symbol: &[u8], on: bool, what: &str) -> Result<(), Error> {
    type Switch = unsafe extern "C" fn(c_int) -> sys::CUresult;
    // SAFETY: the symbol is the virtual driver's, which has this signature.
    let switched = unsafe {
        let switch = sys::culib().get::<Switch>(symbol);
        switch.map_err(|e| stranger(what, e.to_string()))?(c_int::from(on))
    };
    switched.result().map_err(|e| error(what.to_owned(), e))
}

/// What a text of the virtual GPU, which is JSON, says.
pub(super) fn json<T: DeserializeOwned>(symbol: &[u8], what: &str) -> Result<T, Error> {
    let text = text(symbol).ok_or_else(|| stranger(what, "it has none".to_owned()))?;
    serde_json::from_str(&text).map_err(|e| stranger(what, e.to_string()))
}

/// A driver of another version than this crate.
fn stranger(what: &str, reason: String) -> Error {
    let what = what.to_owned();
    Error::Cuda { what, reason }
}

/// A text of the virtual GPU, by the function that gives it; none on a real one.
fn text(symbol: &[u8]) -> Option<String> {
    type Get = unsafe extern "C" fn(*mut c_char, usize) -> usize;
    // SAFETY: the symbol is the virtual driver's, which has this signature; it writes at most as
    // many bytes as it is told, a zero last, and returns how many there are without it.
    unsafe {
        let get = sys::culib().get::<Get>(symbol).ok()?;
        let mut length = get(std::ptr::null_mut(), 0);
        loop {
            let mut text = vec![0u8; length + 1];
            let whole = get(text.as_mut_ptr().cast(), text.len());
            if whole <= length {
                text.truncate(whole);
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            length = whole;
        }
    }
}
