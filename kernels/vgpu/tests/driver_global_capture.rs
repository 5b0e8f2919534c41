//! Which threads a global capture leaves alone, and which captures: alone in its process, since it
//! would reach into other tests. The rules are those of `cuThreadExchangeStreamCaptureMode`.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use cudarc::driver::sys::{self, CUresult, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaStream};
use std::sync::Arc;

use CUstreamCaptureMode::{
    CU_STREAM_CAPTURE_MODE_GLOBAL as GLOBAL, CU_STREAM_CAPTURE_MODE_RELAXED as RELAXED,
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as LOCAL,
};

/// Allocates memory on a thread of its own that heeds captures as `mode` says.
fn allocate_elsewhere(context: &Arc<CudaContext>, mode: CUstreamCaptureMode) -> CUresult {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            context.bind_to_thread().unwrap();
            let mut mode = mode;
            // SAFETY: the results have their places.
            unsafe {
                let exchanged = sys::cuThreadExchangeStreamCaptureMode(&mut mode);
                assert_eq!((exchanged, mode), (CUresult::CUDA_SUCCESS, GLOBAL));
                sys::cuMemAlloc_v2(&mut 0, 64)
            }
        });
        thread.join().unwrap()
    })
}

fn end(stream: &CudaStream) -> CUresult {
    // SAFETY: the handle is live, and the result has its place.
    unsafe { sys::cuStreamEndCapture(stream.cu_stream(), &mut std::ptr::null_mut()) }
}

#[test]
fn global_captures_concern_threads_that_heed_them() {
    let test = std::env::current_exe().expect("a test has a path");
    // SAFETY: loading it runs no code of its own.
    let library =
        unsafe { libloading::Library::new(test.with_file_name("libgamut_vgpu.so")) }.unwrap();
    let context = CudaContext::new_non_primary(0, 0).unwrap();
    let (stream, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let success = CUresult::CUDA_SUCCESS;
    let unsupported = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    let invalidated = CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    for heeded in [LOCAL, RELAXED] {
        stream.begin_capture(GLOBAL).unwrap();
        assert_eq!(allocate_elsewhere(&context, heeded), success, "{heeded:?}");
        assert_eq!(end(&stream), success, "{heeded:?}");
    }
    // One spoilt capture does not spoil another.
    stream.begin_capture(GLOBAL).unwrap();
    other.begin_capture(RELAXED).unwrap();
    assert_eq!(allocate_elsewhere(&context, GLOBAL), unsupported);
    assert_eq!((end(&stream), end(&other)), (invalidated, success));
    drop((stream, other, context));
    drop(library);
}
