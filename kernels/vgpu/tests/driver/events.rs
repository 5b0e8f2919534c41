//! Events.

use crate::{code, context, function, launch};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUevent_flags, CUresult};

const TIMED: Option<CUevent_flags> = Some(CUevent_flags::CU_EVENT_DEFAULT);

#[test]
fn an_event_is_reached_when_its_stream_gets_there() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let event = context.new_event(None).unwrap();
    assert!(event.is_complete(), "never recorded");
    event.synchronize().unwrap();
    event.record(&stream).unwrap();
    assert_eq!(event.try_is_complete(), Ok(false));
    event.synchronize().unwrap();
    assert!(event.is_complete());
}

#[test]
fn time_passes_between_events() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let add = function(&context, "add");
    let words = stream.alloc_zeros::<u32>(256).unwrap();
    let address = cudarc::driver::DevicePtr::device_ptr(&words, &stream).0;
    let (start, end) = (
        context.new_event(TIMED).unwrap(),
        context.new_event(TIMED).unwrap(),
    );
    start.record(&stream).unwrap();
    launch(&stream, &add, 256, address, 1).unwrap();
    end.record(&stream).unwrap();
    let elapsed = start.elapsed_ms(&end).unwrap();
    assert!(elapsed > 0.0 && elapsed < 60_000.0, "{elapsed} ms");
    let backwards = end.elapsed_ms(&start).unwrap();
    assert_eq!(backwards, -elapsed);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let (timed, late) = (
        context.new_event(TIMED).unwrap(),
        context.new_event(TIMED).unwrap(),
    );
    let untimed = stream.record_event(None).unwrap();
    timed.record(&stream).unwrap();
    stream.synchronize().unwrap();
    let elapsed = |a: &cudarc::driver::CudaEvent, b: &cudarc::driver::CudaEvent| {
        // SAFETY: the handles are live.
        code(unsafe { result::event::elapsed(a.cu_event(), b.cu_event()) })
    };
    assert_eq!(
        elapsed(&timed, &untimed),
        CUresult::CUDA_ERROR_INVALID_HANDLE
    );
    assert_eq!(elapsed(&timed, &late), CUresult::CUDA_ERROR_INVALID_HANDLE);
    late.record(&stream).unwrap();
    assert_eq!(elapsed(&timed, &late), CUresult::CUDA_ERROR_NOT_READY);
}

#[test]
fn handles_of_events_are_checked() {
    let (context, other) = (context(), context());
    let stream = context.new_stream().unwrap();
    let foreign = other.new_event(None).unwrap();
    context.bind_to_thread().unwrap();
    // SAFETY: handles are looked up.
    unsafe {
        let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
        let mut event = std::ptr::null_mut();
        assert_eq!(
            sys::cuEventCreate(&mut event, 16),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        sys::cuEventCreate(&mut event, 0).result().unwrap();
        assert_eq!(
            code(result::event::record(
                foreign.cu_event(),
                stream.cu_stream()
            )),
            invalid
        );
        assert_eq!(code(result::event::record(event, event.cast())), invalid);
        result::event::destroy(event).unwrap();
        assert_eq!(code(result::event::destroy(event)), invalid);
        assert_eq!(code(result::event::query(event)), invalid);
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        assert_eq!(
            code(result::stream::wait_event(stream.cu_stream(), event, flags)),
            invalid
        );
    }
}
