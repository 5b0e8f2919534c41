//! How programs find this driver's functions at run time.
#![allow(unsafe_code)]

use super::abi::{Out, Text};
use super::code::Code;
use super::entry::guard;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

/// `CU_GET_PROC_ADDRESS_SUCCESS` and `…_SYMBOL_NOT_FOUND`.
const FOUND: c_uint = 0;
const NOT_FOUND: c_uint = 1;

/// The endings that a function's newer versions have, newest first.
const VERSIONS: [&str; 4] = ["_v4", "_v3", "_v2", ""];

/// Do not look for a library on disk (`RTLD_LAZY | RTLD_NOLOAD`).
const LOADED: c_int = 0x1 | 0x4;

/// Where an address comes from (`Dl_info`).
#[repr(C)]
struct Origin {
    file: *const c_char,
    base: *mut c_void,
    symbol: *const c_char,
    address: *mut c_void,
}

unsafe extern "C" {
    fn dladdr(address: *const c_void, origin: *mut Origin) -> c_int;
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlclose(library: *mut c_void) -> c_int;
}

/// The address of a function that this library exports.
fn exported(name: &CStr) -> Option<*mut c_void> {
    let here = exported as fn(&CStr) -> Option<*mut c_void>;
    let mut origin = Origin {
        file: std::ptr::null(),
        base: std::ptr::null_mut(),
        symbol: std::ptr::null(),
        address: std::ptr::null_mut(),
    };
    // SAFETY: the structure is valid for writes; the file's name outlives this library's use; a
    // library that is loaded already stays loaded, whatever becomes of one more handle to it.
    unsafe {
        if dladdr(here as *const c_void, &mut origin) == 0 {
            return None;
        }
        let library = dlopen(origin.file, LOADED);
        if library.is_null() {
            return None;
        }
        let address = dlsym(library, name.as_ptr());
        dlclose(library);
        (!address.is_null()).then_some(address)
    }
}

/// The newest version of a function. The interface's version and flags make no difference: there
/// is one version of each, and default streams of threads have functions of their own nowhere.
#[unsafe(no_mangle)]
extern "C" fn cuGetProcAddress_v2(
    name: Text,
    address: Out<*mut c_void>,
    _version: c_int,
    _flags: u64,
    status: Out<c_uint>,
) -> Code {
    guard(|| {
        address.check()?;
        let name = name.name()?;
        let ours = name
            .strip_prefix("cu")
            .is_some_and(|rest| rest.starts_with(char::is_uppercase));
        let found = VERSIONS
            .iter()
            .filter(|_| ours)
            .find_map(|version| exported(&CString::new(format!("{name}{version}")).ok()?));
        status.set_if_wanted(if found.is_some() { FOUND } else { NOT_FOUND });
        address.set(found.unwrap_or(std::ptr::null_mut()))?;
        found.map(drop).ok_or(Code::NotFound)
    })
}

/// The real driver's private tables: there are none, which its own tools take well.
#[unsafe(no_mangle)]
extern "C" fn cuGetExportTable(table: Out<*const c_void>, _id: *const [u8; 16]) -> Code {
    guard(|| {
        table.set(std::ptr::null())?;
        Err(Code::NotFound)
    })
}
