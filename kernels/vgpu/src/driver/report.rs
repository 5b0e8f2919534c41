//! What this driver has and no other: its version, its options and the account of what went wrong
//! last.
#![allow(unsafe_code)]

use super::DRIVER;
use super::abi::{Out, Text};
use super::code::Code;
use super::entry::enter;
use crate::Options;
use std::ffi::{CStr, c_char};

/// This crate's version.
const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("the version has no zero byte but the last"),
    };

/// `const char *gamutVgpuVersion(void)`: this crate's version. That the symbol is there tells a
/// program that it runs on the virtual GPU.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuVersion() -> *const c_char {
    VERSION.as_ptr()
}

/// The variable that holds the [options](Options) at `cuInit`.
const OPTIONS: &str = "GAMUT_VGPU_OPTIONS";

/// What the environment asks for. Words that mean nothing are named on standard error.
pub(super) fn options() -> Result<Options, Code> {
    let Some(text) = std::env::var_os(OPTIONS) else {
        return Ok(Options::default());
    };
    text.to_string_lossy().parse().map_err(|why| {
        eprintln!("{OPTIONS}: {why}");
        Code::InvalidValue
    })
}

/// `int gamutVgpuConfigure(const char *options)`: sets the options of what is yet to run,
/// in the words of `GAMUT_VGPU_OPTIONS`. What is not named gets its default.
///
/// Returns `CUDA_ERROR_INVALID_VALUE` for words that mean nothing, which `gamutVgpuGetLastFault`
/// then names, and `CUDA_ERROR_NOT_INITIALIZED` before `cuInit`.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuConfigure(text: Text) -> Code {
    enter(|driver| {
        let text = text.get()?.to_string_lossy();
        let options = text.parse::<Options>().map_err(|why| {
            driver.state().last_fault = why.to_string();
            Code::InvalidValue
        })?;
        driver.configure(options);
        Ok(())
    })
}

/// `size_t gamutVgpuGetLastFault(char *buffer, size_t size)`: the account of the process's last
/// fault or load error, empty if there was none.
///
/// Writes as much of it as fits into `size` bytes with the zero behind it, unless the buffer is
/// null, and returns how many bytes all of it takes without the zero.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuGetLastFault(buffer: Out<c_char>, size: usize) -> usize {
    let Some(driver) = DRIVER.get() else {
        buffer.set_text("", size);
        return 0;
    };
    let state = driver.state();
    buffer.set_text(&state.last_fault, size);
    state.last_fault.len()
}
