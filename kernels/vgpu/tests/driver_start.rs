//! What the driver says before `cuInit`: alone in its process.
#![allow(unsafe_code)]

use std::ffi::c_void;

type Call = unsafe extern "C" fn(*mut c_void, usize, usize, usize) -> u32;

#[test]
fn nothing_works_before_initialization() {
    let test = std::env::current_exe().expect("a test has a path");
    // SAFETY: loading it runs no code of its own.
    let library =
        unsafe { libloading::Library::new(test.with_file_name("libgamut_vgpu.so")) }.unwrap();
    let call = |name: &str| {
        let mut result = [0u64; 2];
        // SAFETY: every function called here takes its result's place first, and at most integers
        // after it; superfluous arguments do no harm in C's calling convention.
        unsafe {
            let function = library.get::<Call>(name.as_bytes()).unwrap();
            function(result.as_mut_ptr().cast(), 0, 0, 0)
        }
    };
    const NOT_INITIALIZED: u32 = 3;
    for name in [
        "cuDeviceGetCount",
        "cuCtxGetCurrent",
        "cuMemAlloc_v2",
        "cuGraphCreate",
    ] {
        assert_eq!(call(name), NOT_INITIALIZED, "{name}");
    }
    assert_eq!(call("cuDriverGetVersion"), 0);
    type Init = unsafe extern "C" fn(u32) -> u32;
    // SAFETY: the symbol has this type.
    let code = unsafe { library.get::<Init>(b"cuInit\0").unwrap()(0) };
    assert_eq!(code, 0);
    assert_eq!(call("cuDeviceGetCount"), 0);
    assert_eq!(call("cuTensorMapEncodeTiled"), 801);
}
