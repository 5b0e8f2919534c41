//! The device and contexts.

use crate::{code, context, library};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUlimit, CUresult};
use cudarc::driver::{CudaContext, result};

#[test]
fn the_device_is_an_h100_in_name_of_gamut() {
    let context = context();
    assert_eq!(context.name().unwrap(), "Gamut virtual GPU (sm_90)");
    assert_eq!(context.compute_capability().unwrap(), (9, 0));
    assert_eq!(CudaContext::device_count().unwrap(), 1);
    let expected = [
        (Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132),
        (Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32),
        (Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK,
            48 << 10,
        ),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
            227 << 10,
        ),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
            228 << 10,
        ),
        (Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 50 << 20),
        (Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120),
        (
            Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR,
            2048,
        ),
        (Attribute::CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 0),
    ];
    for (attribute, value) in expected {
        assert_eq!(
            context.attribute(attribute).unwrap(),
            value,
            "{attribute:?}"
        );
    }
}

#[test]
fn there_is_one_device() {
    library();
    result::init().unwrap();
    assert_eq!(
        code(result::device::get(1)),
        CUresult::CUDA_ERROR_INVALID_DEVICE
    );
    assert_eq!(
        code(result::device::get(-1)),
        CUresult::CUDA_ERROR_INVALID_DEVICE
    );
    // SAFETY: the results are written to places that take them.
    unsafe {
        let mut value = 0;
        let attribute = Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE;
        let refused = sys::cuDeviceGetAttribute(&mut value, attribute, 7);
        assert_eq!(refused, CUresult::CUDA_ERROR_INVALID_DEVICE);
        let refused = sys::cuDeviceGetAttribute(std::ptr::null_mut(), attribute, 0);
        assert_eq!(refused, CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(sys::cuInit(1), CUresult::CUDA_ERROR_INVALID_VALUE);
    }
}

#[test]
fn a_long_name_is_cut() {
    library();
    result::init().unwrap();
    let mut name = [0x55_i8; 8];
    // SAFETY: the length is the buffer's.
    unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), 6, 0) }
        .result()
        .unwrap();
    assert_eq!(name.map(|byte| byte as u8), *b"Gamut\0\x55\x55");
}

#[test]
fn limits_and_flags_are_kept() {
    let context = context();
    context
        .set_limit(CUlimit::CU_LIMIT_STACK_SIZE, 4096)
        .unwrap();
    assert_eq!(
        context.get_limit(CUlimit::CU_LIMIT_STACK_SIZE).unwrap(),
        4096
    );
    let refused = context.get_limit(CUlimit::CU_LIMIT_MAX);
    assert_eq!(code(refused), CUresult::CUDA_ERROR_UNSUPPORTED_LIMIT);
    context.set_blocking_synchronize().unwrap();
    let preference = sys::CUfunc_cache::CU_FUNC_CACHE_PREFER_SHARED;
    context.set_cache_config(preference).unwrap();
    assert_eq!(context.get_cache_config().unwrap(), preference);
}

#[test]
fn a_thread_without_a_context_is_told_so() {
    let context = context();
    std::thread::spawn(move || {
        assert_eq!(result::ctx::get_current().unwrap(), None);
        // SAFETY: no argument is read.
        let refused = unsafe { sys::cuCtxSynchronize() };
        assert_eq!(refused, CUresult::CUDA_ERROR_INVALID_CONTEXT);
        context.bind_to_thread().unwrap();
        context.synchronize().unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn a_destroyed_context_is_not_used() {
    let context = context();
    let handle = context.cu_ctx();
    let stream = context.new_stream().unwrap();
    let raw_stream = stream.cu_stream();
    drop(stream);
    drop(context);
    // SAFETY: handles are looked up, never dereferenced.
    unsafe {
        assert_eq!(
            sys::cuCtxSetCurrent(handle),
            CUresult::CUDA_ERROR_INVALID_CONTEXT
        );
        assert_eq!(
            sys::cuCtxDestroy_v2(handle),
            CUresult::CUDA_ERROR_INVALID_CONTEXT
        );
    }
    let other = crate::context();
    other.bind_to_thread().unwrap();
    // SAFETY: as above.
    let refused = unsafe { sys::cuStreamSynchronize(raw_stream) };
    assert_eq!(refused, CUresult::CUDA_ERROR_INVALID_HANDLE);
}

#[test]
fn memory_of_a_context_goes_with_it() {
    let (leaky, other) = (context(), context());
    leaky.bind_to_thread().unwrap();
    // SAFETY: never used.
    let address = unsafe { result::malloc_sync(1 << 20) }.unwrap();
    drop(leaky);
    other.bind_to_thread().unwrap();
    // SAFETY: addresses are looked up.
    let refused = unsafe { result::free_sync(address) };
    assert_eq!(code(refused), CUresult::CUDA_ERROR_INVALID_VALUE);
}
