//! What kernels tell about themselves, and occupancy.

use crate::{code, context, function};
use cudarc::driver::sys::{self, CUfunction_attribute as Attribute, CUresult};
use cudarc::driver::{CudaFunction, result};
use std::ffi::CStr;

/// cudarc keeps its handle to itself: the same function, asked for again.
fn handle(name: &str) -> (std::sync::Arc<cudarc::driver::CudaContext>, sys::CUfunction) {
    let context = context();
    context.bind_to_thread().unwrap();
    let image = std::ffi::CString::new(crate::kernels::PTX).unwrap();
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: the image ends in a zero byte.
    let function = unsafe {
        let module = result::module::load_data(image.as_ptr().cast()).unwrap();
        result::module::get_function(module, name).unwrap()
    };
    (context, function)
}

fn attribute(function: &CudaFunction, which: Attribute) -> i32 {
    function.get_attribute(which).unwrap()
}

#[test]
fn attributes_come_from_the_ptx() {
    let context = context();
    let (roomy, narrow) = (function(&context, "roomy"), function(&context, "narrow"));
    let threads = Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
    assert_eq!(attribute(&narrow, threads), 64);
    assert_eq!(attribute(&roomy, threads), 1024);
    let shared = Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
    assert_eq!(attribute(&roomy, shared), 1024);
    assert_eq!(attribute(&narrow, shared), 0);
    assert_eq!(
        attribute(&roomy, Attribute::CU_FUNC_ATTRIBUTE_BINARY_VERSION),
        90
    );
    let dynamic = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    assert_eq!(attribute(&roomy, dynamic), 47 << 10);
}

#[test]
fn shared_memory_can_be_raised_to_what_a_block_may_have() {
    let context = context();
    let roomy = function(&context, "roomy");
    let dynamic = Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    roomy.set_attribute(dynamic, 226 << 10).unwrap();
    assert_eq!(attribute(&roomy, dynamic), 226 << 10);
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    assert_eq!(code(roomy.set_attribute(dynamic, (226 << 10) + 1)), invalid);
    assert_eq!(code(roomy.set_attribute(dynamic, -1)), invalid);
    let read_only = Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS;
    assert_eq!(code(roomy.set_attribute(read_only, 32)), invalid);
}

#[test]
fn signatures_are_known() {
    let (_context, add) = handle("add");
    // SAFETY: the results have their places.
    unsafe {
        let mut name = std::ptr::null();
        sys::cuFuncGetName(&mut name, add).result().unwrap();
        assert_eq!(CStr::from_ptr(name), c"add");
        let (mut offset, mut size) = (9, 9);
        sys::cuFuncGetParamInfo(add, 0, &mut offset, &mut size)
            .result()
            .unwrap();
        assert_eq!((offset, size), (0, 8));
        sys::cuFuncGetParamInfo(add, 1, &mut offset, &mut size)
            .result()
            .unwrap();
        assert_eq!((offset, size), (8, 4));
        let beyond = sys::cuFuncGetParamInfo(add, 2, &mut offset, &mut size);
        assert_eq!(beyond, CUresult::CUDA_ERROR_INVALID_VALUE);
        let random = sys::cuFuncGetName(&mut name, 0x1000 as _);
        assert_eq!(random, CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
}

/// Against the rules of the programming guide's table for compute capability 9.0: 2,048 threads,
/// 32 blocks and 228 KiB a multiprocessor, of which each block takes 1 KiB more than it asks for.
#[test]
fn occupancy_follows_the_documented_limits() {
    let context = context();
    let (add, roomy) = (function(&context, "add"), function(&context, "roomy"));
    let blocks = |function: &CudaFunction, threads, shared| {
        let count = function.occupancy_max_active_blocks_per_multiprocessor(threads, shared, None);
        count.unwrap()
    };
    assert_eq!(blocks(&add, 1024, 0), 2);
    assert_eq!(blocks(&add, 256, 0), 8);
    assert_eq!(blocks(&add, 32, 0), 32);
    assert_eq!(blocks(&add, 33, 0), 32);
    assert_eq!(blocks(&add, 65, 0), 21);
    assert_eq!(blocks(&add, 128, 227 << 10), 1);
    assert_eq!(blocks(&add, 128, 113 << 10), 2);
    assert_eq!(blocks(&add, 128, (113 << 10) + 1), 1);
    assert_eq!(blocks(&roomy, 128, 112 << 10), 2);
    assert_eq!(blocks(&roomy, 128, 227 << 10), 0);
    assert_eq!(
        add.occupancy_available_dynamic_smem_per_block(2, 128)
            .unwrap(),
        113 << 10
    );
}

#[test]
fn a_block_size_is_suggested() {
    extern "C" fn none(_: i32) -> usize {
        0
    }
    let context = context();
    let narrow = function(&context, "narrow");
    let (grid, block) = narrow
        .occupancy_max_potential_block_size(none, 0, 0, None)
        .unwrap();
    assert_eq!((grid, block), (132 * 32, 64));
}
