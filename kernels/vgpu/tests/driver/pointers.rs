//! Pinned and registered memory, and what is known about addresses.

use crate::{context, function, launch, pinned};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUpointer_attribute as Attribute, CUresult};
use std::ffi::c_void;

fn attribute(which: Attribute, address: u64) -> Result<u64, CUresult> {
    let mut value = 0u64;
    // SAFETY: no attribute is longer than eight bytes.
    let code = unsafe { sys::cuPointerGetAttribute((&raw mut value).cast(), which, address) };
    match code {
        CUresult::CUDA_SUCCESS => Ok(value),
        code => Err(code),
    }
}

#[test]
fn attributes_tell_memory_apart() {
    let context = context();
    context.bind_to_thread().unwrap();
    // SAFETY: never touched.
    let device = unsafe { result::malloc_sync(100) }.unwrap();
    let host = pinned(&context, 8).as_ptr() as u64;
    let kind = Attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    assert_eq!(attribute(kind, device), Ok(2));
    assert_eq!(attribute(kind, host), Ok(1));
    let start = Attribute::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR;
    assert_eq!(attribute(start, device + 99), Ok(device));
    let length = Attribute::CU_POINTER_ATTRIBUTE_RANGE_SIZE;
    assert_eq!(attribute(length, device + 99), Ok(100));
    let owner = Attribute::CU_POINTER_ATTRIBUTE_CONTEXT;
    assert_eq!(attribute(owner, device), Ok(context.cu_ctx() as u64));
    let host_pointer = Attribute::CU_POINTER_ATTRIBUTE_HOST_POINTER;
    let invalid = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(attribute(host_pointer, device), invalid);
    assert_eq!(attribute(host_pointer, host + 4), Ok(host + 4));
    assert_eq!(attribute(kind, device + 100), invalid);
    assert_eq!(attribute(kind, &raw const context as u64), invalid);
}

#[test]
fn several_attributes_are_zero_where_there_are_none() {
    let context = context();
    context.bind_to_thread().unwrap();
    let mut attributes = [
        Attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
        Attribute::CU_POINTER_ATTRIBUTE_RANGE_SIZE,
    ];
    let (mut kind, mut length) = (9u32, 9u64);
    let mut places = [(&raw mut kind).cast::<c_void>(), (&raw mut length).cast()];
    // SAFETY: each place takes its attribute.
    let code = unsafe {
        sys::cuPointerGetAttributes(2, attributes.as_mut_ptr(), places.as_mut_ptr(), 0x1234)
    };
    assert_eq!(code, CUresult::CUDA_SUCCESS);
    assert_eq!((kind, length), (0, 0));
}

#[test]
fn address_ranges_are_found() {
    let context = context();
    context.bind_to_thread().unwrap();
    let (mut base, mut bytes) = (0, 0);
    // SAFETY: the results have places, or are not wanted.
    unsafe {
        let address = result::malloc_sync(300).unwrap();
        let found = sys::cuMemGetAddressRange_v2(&mut base, &mut bytes, address + 299);
        assert_eq!(found, CUresult::CUDA_SUCCESS);
        assert_eq!((base, bytes), (address, 300));
        let null = std::ptr::null_mut();
        let missing = sys::cuMemGetAddressRange_v2(&mut base, null, address + 300);
        assert_eq!(missing, CUresult::CUDA_ERROR_NOT_FOUND);
    }
}

#[test]
fn kernels_reach_pinned_and_registered_memory() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let add = function(&context, "add");
    let pinned = pinned(&context, 4);
    launch(&stream, &add, 4, pinned.as_ptr() as u64, 3).unwrap();
    let mut owned = [10u32; 6];
    let pointer = owned.as_mut_ptr().cast::<c_void>();
    // SAFETY: the memory outlives the registration.
    unsafe {
        sys::cuMemHostRegister_v2(pointer, 24, 0).result().unwrap();
        let twice = sys::cuMemHostRegister_v2(pointer, 8, 0);
        assert_eq!(twice, CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        let mut address = 0;
        sys::cuMemHostGetDevicePointer_v2(&mut address, pointer, 0)
            .result()
            .unwrap();
        launch(&stream, &add, 6, address, 5).unwrap();
        sys::cuMemHostUnregister(pointer).result().unwrap();
        let twice = sys::cuMemHostUnregister(pointer);
        assert_eq!(twice, CUresult::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
        let unknown = sys::cuMemHostGetDevicePointer_v2(&mut address, pointer, 0);
        assert_eq!(unknown, CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // Unregistering has waited for the kernels.
    assert_eq!(owned, [15; 6]);
    assert_eq!(*pinned, [3; 4]);
}

#[test]
fn each_kind_of_memory_is_freed_its_own_way() {
    let context = context();
    let host = pinned(&context, 4).as_mut_ptr();
    // SAFETY: addresses are looked up.
    unsafe {
        let device = result::malloc_sync(16).unwrap();
        let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
        assert_eq!(sys::cuMemFree_v2(host as u64), invalid);
        assert_eq!(sys::cuMemFree_v2(device + 4), invalid);
        assert_eq!(sys::cuMemFreeHost(device as *mut c_void), invalid);
        let mut flags = 0;
        sys::cuMemHostGetFlags(&mut flags, host.cast())
            .result()
            .unwrap();
        assert_eq!(flags, sys::CU_MEMHOSTALLOC_DEVICEMAP);
        sys::cuMemFreeHost(host.cast()).result().unwrap();
        assert_eq!(sys::cuMemFreeHost(host.cast()), invalid);
        let stale = sys::cuMemcpyHtoD_v2(device, host.cast(), 16);
        assert_eq!(stale, invalid, "freed pinned memory is not pageable memory");
    }
}
