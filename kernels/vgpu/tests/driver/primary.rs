//! The primary context, which these tests use one after the other.

use crate::{code, function, launch, library};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

fn primary() -> (MutexGuard<'static, ()>, Arc<CudaContext>) {
    static ALONE: Mutex<()> = Mutex::new(());
    library();
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (alone, CudaContext::new(0).unwrap())
}

fn is_active() -> bool {
    let (mut flags, mut active) = (0, 9);
    // SAFETY: the results have their places.
    unsafe { sys::cuDevicePrimaryCtxGetState(0, &mut flags, &mut active) }
        .result()
        .unwrap();
    active == 1
}

#[test]
fn it_is_shared_and_counted() {
    let (_alone, a) = primary();
    let b = CudaContext::new(0).unwrap();
    assert_eq!(a.cu_ctx(), b.cu_ctx());
    drop(a);
    let stream = b.default_stream();
    let words = stream.clone_htod(&[1u32, 2, 3]).unwrap();
    assert_eq!(stream.clone_dtoh(&words).unwrap(), [1, 2, 3]);
    assert!(is_active());
    // SAFETY: the handle is looked up.
    let destroyed = unsafe { sys::cuCtxDestroy_v2(b.cu_ctx()) };
    assert_eq!(
        destroyed,
        CUresult::CUDA_ERROR_INVALID_CONTEXT,
        "it can only be released"
    );
    drop((words, stream, b));
    assert!(!is_active());
    // SAFETY: as above.
    let once_more = code(unsafe { result::primary_ctx::release(0) });
    assert_eq!(once_more, CUresult::CUDA_ERROR_INVALID_CONTEXT);
}

#[test]
fn a_reset_makes_a_spoilt_one_new() {
    let (_alone, spoilt) = primary();
    let _serial = crate::faults::serial();
    launch(
        &spoilt.default_stream(),
        &function(&spoilt, "dies"),
        1,
        0,
        0,
    )
    .unwrap();
    assert_eq!(
        code(spoilt.synchronize()),
        CUresult::CUDA_ERROR_LAUNCH_FAILED
    );
    // SAFETY: no argument is read.
    unsafe { sys::cuDevicePrimaryCtxReset_v2(0) }
        .result()
        .unwrap();
    // SAFETY: as above.
    let current = unsafe { sys::cuCtxSynchronize() };
    assert_eq!(current, CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED);
    std::mem::forget(spoilt); // It would release the new one.
    let fresh = CudaContext::new(0).unwrap();
    let stream = fresh.default_stream();
    let words = stream.clone_htod(&[5u32]).unwrap();
    let address = cudarc::driver::DevicePtr::device_ptr(&words, &stream).0;
    launch(&stream, &function(&fresh, "add"), 1, address, 1).unwrap();
    assert_eq!(stream.clone_dtoh(&words).unwrap(), [6]);
}
