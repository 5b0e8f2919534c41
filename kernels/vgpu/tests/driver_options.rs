//! The virtual GPU's own options, from the environment and from a call: alone in its process.
#![allow(unsafe_code)]

use std::ffi::CString;

const SUCCESS: u32 = 0;
const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const NOT_INITIALIZED: u32 = 3;

#[test]
fn options_are_read_and_set() {
    let test = std::env::current_exe().expect("a test has a path");
    // SAFETY: loading it runs no code of its own.
    let library =
        unsafe { libloading::Library::new(test.with_file_name("libgamut_vgpu.so")) }.unwrap();
    let init = |options: &str| {
        type Init = unsafe extern "C" fn(u32) -> u32;
        // SAFETY: this is the process's only test, so no other thread looks at the environment; the
        // symbol has this type.
        unsafe {
            std::env::set_var("GAMUT_VGPU_OPTIONS", options);
            library.get::<Init>(b"cuInit\0").unwrap()(0)
        }
    };
    let configure = |options: &str| {
        type Configure = unsafe extern "C" fn(*const std::ffi::c_char) -> u32;
        let text = CString::new(options).unwrap();
        // SAFETY: the symbol has this type, and the text ends with a zero byte.
        unsafe { library.get::<Configure>(b"gamutVgpuConfigure\0").unwrap()(text.as_ptr()) }
    };
    let last_fault = || {
        type LastFault = unsafe extern "C" fn(*mut u8, usize) -> usize;
        let mut text = vec![0; 512];
        // SAFETY: the symbol has this type, and writes no more than the buffer takes.
        let length = unsafe {
            let get = library
                .get::<LastFault>(b"gamutVgpuGetLastFault\0")
                .unwrap();
            get(text.as_mut_ptr(), text.len())
        };
        text.truncate(length);
        String::from_utf8(text).unwrap()
    };
    assert_eq!(configure("checks=on"), NOT_INITIALIZED);
    assert_eq!(init("checks=on schedule=sideways"), INVALID_VALUE);
    assert_eq!(configure("checks=on"), NOT_INITIALIZED);
    assert_eq!(init("checks=off schedule=random:7"), SUCCESS);
    assert_eq!(configure("checks=on schedule=reversed"), SUCCESS);
    assert_eq!(configure("schedule=random"), INVALID_VALUE);
    assert!(
        last_fault().contains("`schedule=random`"),
        "{}",
        last_fault()
    );

    let mut context = 0;
    // SAFETY: the symbol has this type, and writes the one handle.
    unsafe {
        type Create = unsafe extern "C" fn(*mut usize, u32, i32) -> u32;
        let create = library.get::<Create>(b"cuCtxCreate_v2\0").unwrap();
        assert_eq!(create(&mut context, 0, 0), SUCCESS);
    }
    let take = || {
        type Allocate = unsafe extern "C" fn(*mut usize, usize) -> u32;
        type Load = unsafe extern "C" fn(*mut usize, *const std::ffi::c_char) -> u32;
        let module = c".version 8.0\n.target sm_90\n.address_size 64\n";
        let mut taken = 0;
        // SAFETY: the symbols have these types, and write the one number or handle.
        unsafe {
            [
                library.get::<Allocate>(b"cuMemAlloc_v2\0").unwrap()(&mut taken, 64),
                library.get::<Allocate>(b"cuMemAllocHost_v2\0").unwrap()(&mut taken, 64),
                library.get::<Load>(b"cuModuleLoadData\0").unwrap()(&mut taken, module.as_ptr()),
            ]
        }
    };
    for refused in 0..3 {
        assert_eq!(configure(&format!("refuse={}", refused + 1)), SUCCESS);
        let mut expected = [SUCCESS; 3];
        expected[refused] = OUT_OF_MEMORY;
        assert_eq!(take(), expected);
        assert!(last_fault().contains("refused"), "{}", last_fault());
        assert_eq!(take(), [SUCCESS; 3]);
    }
    assert_eq!(configure("refuse=1"), SUCCESS);
    assert_eq!(configure(""), SUCCESS);
    assert_eq!(take(), [SUCCESS; 3]);
}
