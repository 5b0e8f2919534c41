//! What this driver has and no other: its version and the account of what went wrong last.
#![allow(unsafe_code)]

use super::DRIVER;
use super::abi::Out;
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
