//! Loading PTX, and refusing what is not PTX.

use crate::{code, context, kernels, last_fault};
use cudarc::driver::result::module;
use cudarc::driver::sys::{self, CUjit_option as Jit, CUresult};
use std::ffi::{CString, c_void};

fn load(image: &[u8]) -> Result<sys::CUmodule, CUresult> {
    let context = context();
    context.bind_to_thread().unwrap();
    let mut image = image.to_vec();
    image.push(0);
    // SAFETY: the image ends in a zero byte.
    unsafe { module::load_data(image.as_ptr().cast()) }.map_err(|error| error.0)
}

#[test]
fn variables_have_addresses() {
    let context = context();
    context.bind_to_thread().unwrap();
    let image = CString::new(kernels::PTX).unwrap();
    // SAFETY: the image ends in a zero byte, the copy is as long as the variable.
    unsafe {
        let module = module::load_data(image.as_ptr().cast()).unwrap();
        let (address, bytes) = module::get_global(module, c"table".to_owned()).unwrap();
        assert_eq!(bytes, 16);
        let mut words = [1u32; 4];
        cudarc::driver::result::memcpy_htod_sync(address, &[5u32, 6, 7, 8]).unwrap();
        cudarc::driver::result::memcpy_dtoh_sync(&mut words, address).unwrap();
        assert_eq!(words, [5, 6, 7, 8]);
        let missing = module::get_global(module, c"chair".to_owned());
        assert_eq!(code(missing), CUresult::CUDA_ERROR_NOT_FOUND);
        let missing = module::get_function(module, c"subtract".to_owned());
        assert_eq!(code(missing), CUresult::CUDA_ERROR_NOT_FOUND);
        let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
        assert_eq!(sys::cuMemFree_v2(address), invalid, "it is the module's");
        module::unload(module).unwrap();
        assert_eq!(
            code(module::unload(module)),
            CUresult::CUDA_ERROR_INVALID_HANDLE
        );
        let gone = cudarc::driver::result::memcpy_dtoh_sync(&mut words, address);
        assert_eq!(code(gone), invalid);
    }
}

#[test]
fn machine_code_is_refused() {
    let refused = Err(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_eq!(load(b"\x7fELF\x02\x01\x01"), refused);
    assert_eq!(load(&[0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0]), refused);
    assert_eq!(load(&[0xb1, 0x43, 0x62, 0x46, 1, 0, 0, 0]), refused);
}

#[test]
fn what_is_no_text_is_refused() {
    let refused = Err(CUresult::CUDA_ERROR_INVALID_IMAGE);
    assert_eq!(load(b""), refused);
    assert_eq!(load(b"\n \n"), refused);
    assert_eq!(load(b".version \xff\xfe"), refused);
    assert_eq!(load(b"\x7fE"), Err(CUresult::CUDA_ERROR_INVALID_PTX));
}

#[test]
fn the_error_log_says_why() {
    let context = context();
    context.bind_to_thread().unwrap();
    let mut log = [0x55u8; 200];
    let mut options = [
        Jit::CU_JIT_ERROR_LOG_BUFFER,
        Jit::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        Jit::CU_JIT_OPTIMIZATION_LEVEL,
    ];
    let mut module = std::ptr::null_mut();
    let image = c"this is not PTX";
    let mut load = |log: &mut [u8]| {
        let size = std::ptr::without_provenance_mut(log.len());
        let level = std::ptr::without_provenance_mut(3);
        let mut values: [*mut c_void; 3] = [log.as_mut_ptr().cast(), size, level];
        // SAFETY: the log's size is right and the image ends in a zero byte.
        let code = unsafe {
            let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
            sys::cuModuleLoadDataEx(&mut module, image.as_ptr().cast(), 3, options, values)
        };
        assert_eq!(code, CUresult::CUDA_ERROR_INVALID_PTX);
        values[1].addr()
    };
    let length = load(&mut log);
    let text = std::str::from_utf8(&log[..length]).unwrap();
    assert!(text.contains("line 1"), "{text}");
    assert_eq!(log[length], 0);
    assert_eq!(log[length + 1..], [0x55; 200][length + 1..]);
    let mut short = [0x55u8; 8];
    load(&mut short[..5]);
    assert_eq!((short[4], short[5]), (0, 0x55));
}

#[test]
fn the_last_fault_names_a_load_error() {
    let _serial = crate::faults::serial();
    assert_eq!(
        load(b"\x7fELF"),
        Err(CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU)
    );
    assert_eq!(last_fault(), "a cubin: the virtual GPU runs PTX only");
}

#[test]
fn files_are_loaded() {
    let context = context();
    context.bind_to_thread().unwrap();
    let missing = module::load(c"/no/such/file.ptx".to_owned());
    assert_eq!(code(missing), CUresult::CUDA_ERROR_FILE_NOT_FOUND);
    let path = std::env::temp_dir().join(format!("gamut-vgpu-{}.ptx", std::process::id()));
    std::fs::write(&path, kernels::PTX).unwrap();
    let loaded = module::load(CString::new(path.to_str().unwrap()).unwrap());
    std::fs::remove_file(path).unwrap();
    // SAFETY: the handle is live.
    unsafe { module::get_function(loaded.unwrap(), c"add".to_owned()) }.unwrap();
}

#[test]
fn all_functions_are_listed() {
    let context = context();
    context.bind_to_thread().unwrap();
    let image = CString::new(kernels::PTX).unwrap();
    // SAFETY: the image ends in a zero byte, the list takes as many as there are.
    unsafe {
        let module = module::load_data(image.as_ptr().cast()).unwrap();
        let mut count = 0;
        sys::cuModuleGetFunctionCount(&mut count, module)
            .result()
            .unwrap();
        assert_eq!(count, 4);
        let mut functions = [std::ptr::null_mut(); 4];
        sys::cuModuleEnumerateFunctions(functions.as_mut_ptr(), 4, module)
            .result()
            .unwrap();
        let add = module::get_function(module, c"add".to_owned()).unwrap();
        assert!(functions.contains(&add));
    }
}
