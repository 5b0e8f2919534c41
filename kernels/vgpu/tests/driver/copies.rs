//! Allocations, copies and fills.

use crate::{code, context, pinned};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUresult};
use std::ffi::c_void;

#[test]
fn bytes_go_there_and_back() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let data: Vec<f32> = (0..10_000).map(|i| i as f32 * 0.5).collect();
    let there = stream.clone_htod(&data).unwrap();
    let copy = stream.clone_dtod(&there).unwrap();
    assert_eq!(stream.clone_dtoh(&copy).unwrap(), data);
    let zeros = stream.alloc_zeros::<u64>(1000).unwrap();
    assert_eq!(stream.clone_dtoh(&zeros).unwrap(), [0; 1000]);
}

#[test]
fn a_copy_out_of_bounds_is_refused() {
    let context = context();
    context.bind_to_thread().unwrap();
    // SAFETY: what lies out of bounds is refused.
    unsafe {
        let address = result::malloc_sync(64).unwrap();
        let mut bytes = [0u8; 65];
        let stream = std::ptr::null_mut();
        let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
        assert_eq!(code(result::memcpy_htod_sync(address, &bytes)), invalid);
        assert_eq!(code(result::memcpy_dtoh_sync(&mut bytes, address)), invalid);
        assert_eq!(
            code(result::memcpy_htod_sync(address + 1, &bytes[..64])),
            invalid
        );
        assert_eq!(
            code(result::memcpy_dtod_sync(address, address + 32, 33)),
            invalid
        );
        assert_eq!(code(result::memset_d8_sync(address, 0, 65)), invalid);
        assert_eq!(
            code(result::memset_d8_async(address + 60, 0, 5, stream)),
            invalid
        );
        result::memcpy_htod_sync(address, &bytes[..64]).unwrap();
        // A host's address where the device's belongs, and the other way round.
        let host = bytes.as_mut_ptr();
        assert_eq!(code(result::memcpy_htod_sync(host as u64, &bytes)), invalid);
        let swapped = sys::cuMemcpyHtoD_v2(address, address as *const c_void, 8);
        assert_eq!(swapped, invalid);
        let null = sys::cuMemcpyHtoD_v2(address, std::ptr::null(), 8);
        assert_eq!(null, invalid);
        result::free_sync(address).unwrap();
        assert_eq!(code(result::free_sync(address)), invalid);
        assert_eq!(
            code(result::memcpy_htod_sync(address, &bytes[..8])),
            invalid
        );
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let context = context();
    context.bind_to_thread().unwrap();
    // SAFETY: nothing is allocated.
    unsafe {
        assert_eq!(
            code(result::malloc_sync(0)),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        let memory = CUresult::CUDA_ERROR_OUT_OF_MEMORY;
        assert_eq!(code(result::malloc_sync(1 << 45)), memory);
        assert_eq!(code(result::malloc_sync(usize::MAX)), memory);
        assert_eq!(
            code(result::malloc_async(std::ptr::null_mut(), 1 << 45)),
            memory
        );
        let null = sys::cuMemAlloc_v2(std::ptr::null_mut(), 16);
        assert_eq!(null, CUresult::CUDA_ERROR_INVALID_VALUE);
        let mut managed = 0;
        let refused = sys::cuMemAllocManaged(&mut managed, 64, 1);
        assert_eq!(refused, CUresult::CUDA_ERROR_NOT_SUPPORTED);
    }
    let (free, total) = context.mem_get_info().unwrap();
    assert!(0 < free && free <= total);
    assert_eq!(total, context.total_mem().unwrap());
}

#[test]
fn fills_take_every_width() {
    let context = context();
    context.bind_to_thread().unwrap();
    // SAFETY: all within the allocation.
    unsafe {
        let address = result::malloc_sync(32).unwrap();
        sys::cuMemsetD32_v2(address, 0x0403_0201, 8)
            .result()
            .unwrap();
        sys::cuMemsetD16_v2(address + 4, 0x0908, 2)
            .result()
            .unwrap();
        sys::cuMemsetD8_v2(address + 31, 7, 1).result().unwrap();
        let misaligned = sys::cuMemsetD32_v2(address + 2, 0, 1);
        assert_eq!(misaligned, CUresult::CUDA_ERROR_INVALID_VALUE);
        let endless = sys::cuMemsetD32_v2(address, 0, usize::MAX);
        assert_eq!(endless, CUresult::CUDA_ERROR_INVALID_VALUE);
        let mut bytes = [0u8; 32];
        result::memcpy_dtoh_sync(&mut bytes, address).unwrap();
        assert_eq!(bytes[..12], [1, 2, 3, 4, 8, 9, 8, 9, 1, 2, 3, 4]);
        assert_eq!(bytes[28..], [1, 2, 3, 7]);
    }
}

/// Pageable memory may be used again at once, pinned memory only after the copy was waited for.
#[test]
fn pinned_memory_is_read_late_and_pageable_memory_at_once() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let source = pinned(&context, 4);
    let mut pageable = [1u32; 4];
    source.fill(1);
    let words = 4;
    // SAFETY: the source outlives the copies; that it changes meanwhile is what is tested.
    unsafe {
        let late = result::malloc_sync(words * 4).unwrap();
        let early = result::malloc_sync(words * 4).unwrap();
        result::memcpy_htod_async(late, source, stream.cu_stream()).unwrap();
        result::memcpy_htod_async(early, &pageable, stream.cu_stream()).unwrap();
        source.fill(2);
        pageable.fill(2);
        let mut back = [0u32; 4];
        result::memcpy_dtoh_async(&mut back, late, stream.cu_stream()).unwrap();
        assert_eq!(back, [2; 4]);
        result::memcpy_dtoh_async(&mut back, early, stream.cu_stream()).unwrap();
        assert_eq!(back, [1; 4]);
    }
    assert_eq!(pageable, [2; 4]);
}

#[test]
fn a_copy_to_pinned_memory_waits_for_the_stream() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let back = pinned(&context, 2);
    let device = stream.clone_htod(&[5u32, 6]).unwrap();
    let (address, _guard) = cudarc::driver::DevicePtr::device_ptr(&device, &stream);
    // SAFETY: the sizes agree.
    unsafe { result::memcpy_dtoh_async(back, address, stream.cu_stream()) }.unwrap();
    assert_eq!(*back, [0, 0], "nobody has waited yet");
    stream.synchronize().unwrap();
    assert_eq!(*back, [5, 6]);
}

#[test]
fn unified_addresses_tell_the_direction() {
    let context = context();
    context.bind_to_thread().unwrap();
    let mut there = [3u8, 1, 4, 1];
    let mut back = [0u8; 4];
    // SAFETY: four bytes on every side.
    unsafe {
        let address = result::malloc_sync(4).unwrap();
        sys::cuMemcpy(address, there.as_mut_ptr() as u64, 4)
            .result()
            .unwrap();
        sys::cuMemcpy(back.as_mut_ptr() as u64, address, 4)
            .result()
            .unwrap();
        assert_eq!(back, there);
        sys::cuMemcpy(back.as_mut_ptr() as u64, [9u8; 4].as_ptr() as u64, 4)
            .result()
            .unwrap();
        assert_eq!(back, [9; 4]);
    }
}

/// An asynchronous free is ordered by its stream: what came before may still use the memory.
#[test]
fn stream_ordered_memory_lives_until_its_turn() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let back = pinned(&context, 1);
    let raw = stream.cu_stream();
    // SAFETY: sizes agree.
    unsafe {
        let address = result::malloc_async(raw, 4).unwrap();
        result::memcpy_htod_async(address, &[77u32], raw).unwrap();
        result::memcpy_dtoh_async(back, address, raw).unwrap();
        result::free_async(address, raw).unwrap();
        let again = result::free_async(address, raw);
        assert_eq!(code(again), CUresult::CUDA_ERROR_INVALID_VALUE);
        stream.synchronize().unwrap();
        assert_eq!(*back, [77]);
        let gone = result::memcpy_dtoh_sync(back, address);
        assert_eq!(code(gone), CUresult::CUDA_ERROR_INVALID_VALUE);
    }
}

#[test]
fn memory_that_waits_to_be_freed_is_there_for_the_next() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let most = context.total_mem().unwrap() / 2 + 1;
    // SAFETY: never touched.
    unsafe {
        let first = result::malloc_async(stream.cu_stream(), most).unwrap();
        result::free_async(first, stream.cu_stream()).unwrap();
        let second = result::malloc_async(stream.cu_stream(), most).unwrap();
        assert_ne!(first, second);
        result::free_async(second, stream.cu_stream()).unwrap();
    }
    stream.synchronize().unwrap();
}
