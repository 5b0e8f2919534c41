//! What a capture takes in and what it refuses. The codes are those that the CUDA driver API
//! documentation gives for each case (`CUresult`, "Stream Management", "Event Management"), and the
//! CUDA C++ Programming Guide, "Creating a Graph Using Stream Capture".
//!
//! Captures are thread-local or relaxed here: global ones would reach into other tests.

use crate::faults::serial;
use crate::graphs::{begin, end, node_count};
use crate::streams::blocking_stream;
use crate::{code, context, kernels, last_fault, library};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUresult, CUstream, CUstreamCaptureStatus};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use sys::CUstreamCaptureMode::{
    CU_STREAM_CAPTURE_MODE_RELAXED as RELAXED, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as LOCAL,
};

const INVALIDATED: CUresult = CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
const UNSUPPORTED: CUresult = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;

fn status(stream: CUstream) -> CUstreamCaptureStatus {
    // SAFETY: the handle is looked up.
    unsafe { result::stream::is_capturing(stream) }.unwrap()
}

fn event() -> sys::CUevent {
    result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).unwrap()
}

fn record(event: sys::CUevent, stream: CUstream) -> CUresult {
    // SAFETY: handles are looked up.
    unsafe { sys::cuEventRecord(event, stream) }
}

fn wait(stream: CUstream, event: sys::CUevent) -> CUresult {
    // SAFETY: handles are looked up.
    unsafe { sys::cuStreamWaitEvent(stream, event, 0) }
}

/// Has a stream wait for all that another did.
fn join(stream: CUstream, other: CUstream) {
    let event = event();
    record(event, other).result().unwrap();
    wait(stream, event).result().unwrap();
    // SAFETY: the handle is live.
    unsafe { result::event::destroy(event) }.unwrap();
}

/// A host function that does nothing, in a stream.
fn nothing(stream: CUstream) -> CUresult {
    unsafe extern "C" fn nothing(_: *mut c_void) {}
    // SAFETY: the function reads no data.
    unsafe { sys::cuLaunchHostFunc(stream, Some(nothing), null_mut()) }
}

#[test]
fn a_capture_begins_once_and_not_on_the_legacy_stream() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let raw = stream.cu_stream();
    assert_eq!(
        status(raw),
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE
    );
    assert_eq!(begin(null_mut(), LOCAL), UNSUPPORTED);
    type Begin = unsafe extern "C" fn(CUstream, u32) -> CUresult;
    // SAFETY: the symbol has this type but for the mode, which may be any number.
    let unknown = unsafe {
        library()
            .get::<Begin>(b"cuStreamBeginCapture_v2\0")
            .unwrap()(raw, 3)
    };
    assert_eq!(unknown, CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(end(raw).0, CUresult::CUDA_ERROR_ILLEGAL_STATE);
    begin(raw, LOCAL).result().unwrap();
    assert_eq!(begin(raw, LOCAL), CUresult::CUDA_ERROR_ILLEGAL_STATE);
    assert_eq!(
        status(raw),
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE
    );
    let (code, graph) = end(raw);
    assert_eq!((code, node_count(graph)), (CUresult::CUDA_SUCCESS, 0));
    assert_eq!(
        status(raw),
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE
    );
}

#[test]
fn streams_join_a_capture_by_waiting_and_must_be_joined() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let (a, b) = (a.cu_stream(), b.cu_stream());
    for joined in [true, false] {
        begin(a, LOCAL).result().unwrap();
        join(b, a);
        assert_eq!(
            status(b),
            CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE
        );
        nothing(b).result().unwrap();
        assert_eq!(end(b).0, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
        if joined {
            join(a, b);
            let (code, graph) = end(a);
            assert_eq!((code, node_count(graph)), (CUresult::CUDA_SUCCESS, 1));
        } else {
            let unjoined = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
            assert_eq!(end(a), (unjoined, null_mut()));
        }
        for stream in [a, b] {
            assert_eq!(
                status(stream),
                CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE
            );
            // SAFETY: the handle is live.
            unsafe { result::stream::synchronize(stream) }.unwrap();
        }
    }
    // A stream that joined and did nothing leaves nothing to join.
    begin(a, LOCAL).result().unwrap();
    join(b, a);
    nothing(a).result().unwrap();
    assert_eq!(end(a).0, CUresult::CUDA_SUCCESS);
}

#[test]
fn the_thread_that_began_a_capture_ends_it() {
    let context = context();
    let stream = context.new_stream().unwrap();
    for (mode, expected) in [
        (LOCAL, CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD),
        (RELAXED, CUresult::CUDA_SUCCESS),
    ] {
        begin(stream.cu_stream(), mode).result().unwrap();
        let other = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                context.bind_to_thread().unwrap();
                end(stream.cu_stream()).0
            });
            other.join().unwrap()
        });
        assert_eq!(other, expected);
        if mode == LOCAL {
            assert_eq!(end(stream.cu_stream()).0, CUresult::CUDA_SUCCESS);
        }
    }
}

#[test]
fn dependencies_do_not_cross_the_edge_of_a_capture() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let (a, b) = (a.cu_stream(), b.cu_stream());
    let (outside, never) = (event(), event());
    record(outside, b).result().unwrap();
    begin(a, LOCAL).result().unwrap();
    assert_eq!(
        wait(a, never),
        CUresult::CUDA_SUCCESS,
        "it stands for no work"
    );
    let isolation = CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    assert_eq!(wait(a, outside), isolation);
    assert_eq!(
        status(a),
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_INVALIDATED
    );
    assert_eq!(nothing(a), INVALIDATED);
    assert_eq!(end(a), (INVALIDATED, null_mut()));
    // An event of a capture that is over ties nothing to it.
    let inside = event();
    begin(a, LOCAL).result().unwrap();
    record(inside, a).result().unwrap();
    assert_eq!(end(a).0, CUresult::CUDA_SUCCESS);
    assert_eq!(wait(b, inside), CUresult::CUDA_ERROR_CAPTURED_EVENT);
    begin(b, LOCAL).result().unwrap();
    assert_eq!(wait(b, inside), isolation);
    assert_eq!(end(b).0, INVALIDATED);
    record(inside, b).result().unwrap();
    assert_eq!(
        wait(a, inside),
        CUresult::CUDA_SUCCESS,
        "it was recorded anew"
    );
}

#[test]
fn captures_do_not_merge() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let (a, b) = (a.cu_stream(), b.cu_stream());
    let inside = event();
    begin(a, LOCAL).result().unwrap();
    begin(b, LOCAL).result().unwrap();
    record(inside, a).result().unwrap();
    assert_eq!(wait(b, inside), CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE);
    assert_eq!((end(a).0, end(b).0), (INVALIDATED, INVALIDATED));
}

#[test]
fn the_legacy_stream_must_leave_capturing_blocking_streams_alone() {
    let context = context();
    let blocking = blocking_stream(&context);
    let own = context.new_stream().unwrap();
    let implicit = CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    let legacy: CUstream = null_mut();
    let event = event();
    let mut words = [0u32; 4];
    // SAFETY: handles are looked up; the copy's sides have its size.
    let calls: [(&str, &mut dyn FnMut() -> CUresult); 6] = unsafe {
        let address = result::malloc_sync(16).unwrap();
        result::memset_d8_sync(address, 0, 16).unwrap();
        [
            ("host function", &mut || nothing(legacy)),
            ("synchronize", &mut || sys::cuStreamSynchronize(legacy)),
            ("query", &mut || sys::cuStreamQuery(legacy)),
            ("record", &mut || record(event, legacy)),
            ("copy", &mut move || {
                sys::cuMemcpyDtoH_v2(words.as_mut_ptr().cast(), address, 16)
            }),
            ("fill", &mut move || sys::cuMemsetD8_v2(address, 1, 16)),
        ]
    };
    for (what, call) in calls {
        begin(blocking, RELAXED).result().unwrap();
        assert_eq!(call(), implicit, "{what}");
        assert_eq!(end(blocking), (INVALIDATED, null_mut()), "{what}");
        begin(own.cu_stream(), RELAXED).result().unwrap();
        assert_eq!(call(), CUresult::CUDA_SUCCESS, "{what}");
        assert_eq!(end(own.cu_stream()).0, CUresult::CUDA_SUCCESS, "{what}");
    }
    // To ask is refused, but spoils nothing.
    begin(blocking, RELAXED).result().unwrap();
    // SAFETY: the handle is always valid.
    let asked = code(unsafe { result::stream::is_capturing(legacy) });
    assert_eq!(asked, implicit);
    assert_eq!(end(blocking).0, CUresult::CUDA_SUCCESS);
}

#[test]
fn captured_work_is_not_waited_for() {
    let _serial = serial();
    let context = context();
    let stream = context.new_stream().unwrap();
    let raw = stream.cu_stream();
    let event = event();
    let captured = CUresult::CUDA_ERROR_CAPTURED_EVENT;
    // SAFETY: handles are looked up.
    let calls: [(&str, CUresult, &dyn Fn() -> CUresult); 7] = unsafe {
        [
            ("stream", UNSUPPORTED, &|| sys::cuStreamSynchronize(raw)),
            ("stream query", UNSUPPORTED, &|| sys::cuStreamQuery(raw)),
            ("context", UNSUPPORTED, &|| sys::cuCtxSynchronize()),
            ("event", captured, &|| sys::cuEventSynchronize(event)),
            ("event query", captured, &|| sys::cuEventQuery(event)),
            ("callback", UNSUPPORTED, &|| {
                unsafe extern "C" fn callback(_: CUstream, _: CUresult, _: *mut c_void) {}
                sys::cuStreamAddCallback(raw, Some(callback), null_mut(), 0)
            }),
            ("allocation", CUresult::CUDA_ERROR_NOT_SUPPORTED, &|| {
                sys::cuMemAllocAsync(&mut 0, 64, raw)
            }),
        ]
    };
    for mode in [LOCAL, RELAXED] {
        for (what, expected, call) in calls {
            begin(raw, mode).result().unwrap();
            record(event, raw).result().unwrap();
            assert_eq!(call(), expected, "{what}");
            assert_eq!(record(event, raw), INVALIDATED, "{what}");
            assert_eq!(end(raw), (INVALIDATED, null_mut()), "{what}");
        }
    }
    stream.synchronize().unwrap();
}

#[test]
fn calls_that_go_past_the_streams_are_refused_to_the_capturing_thread() {
    let context = context();
    let (stream, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let raw = stream.cu_stream();
    context.bind_to_thread().unwrap();
    let image = std::ffi::CString::new(kernels::PTX).unwrap();
    let done = event();
    // SAFETY: handles are looked up, results have their places; what is freed twice is refused.
    let calls: [(&str, &dyn Fn() -> CUresult); 10] = unsafe {
        let address = result::malloc_sync(16).unwrap();
        let freed = result::malloc_sync(16).unwrap();
        let mut host = null_mut();
        sys::cuMemHostAlloc(&mut host, 64, 0).result().unwrap();
        [
            ("allocate", &|| sys::cuMemAlloc_v2(&mut 0, 64)),
            ("allocate pinned", &|| {
                sys::cuMemHostAlloc(&mut null_mut(), 64, 0)
            }),
            ("load", &|| {
                sys::cuModuleLoadData(&mut null_mut(), image.as_ptr().cast())
            }),
            ("fill", &move || sys::cuMemsetD8_v2(address, 1, 16)),
            ("copy", &move || {
                sys::cuMemcpyDtoD_v2(address, address + 8, 8)
            }),
            ("synchronize", &|| {
                sys::cuStreamSynchronize(other.cu_stream())
            }),
            ("query", &|| sys::cuStreamQuery(other.cu_stream())),
            ("event query", &|| sys::cuEventQuery(done)),
            ("free", &move || sys::cuMemFree_v2(freed)),
            ("free pinned", &move || sys::cuMemFreeHost(host)),
        ]
    };
    let exchange = |mut mode| {
        // SAFETY: the mode has its place.
        unsafe { sys::cuThreadExchangeStreamCaptureMode(&mut mode) }
            .result()
            .unwrap();
        mode
    };
    for (what, call) in calls {
        begin(raw, LOCAL).result().unwrap();
        assert_eq!(call(), UNSUPPORTED, "{what}");
        assert_eq!(end(raw), (INVALIDATED, null_mut()), "{what}");
        // The thread may ask not to be guarded; or the capture may let it do as it likes.
        begin(raw, LOCAL).result().unwrap();
        assert_eq!(
            exchange(RELAXED),
            sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL
        );
        if !what.starts_with("free") {
            assert_eq!(call(), CUresult::CUDA_SUCCESS, "{what}");
        }
        assert_eq!(
            exchange(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL),
            RELAXED
        );
        assert_eq!(end(raw).0, CUresult::CUDA_SUCCESS, "{what}");
        begin(raw, RELAXED).result().unwrap();
        assert_eq!(call(), CUresult::CUDA_SUCCESS, "{what}");
        assert_eq!(end(raw).0, CUresult::CUDA_SUCCESS, "{what}");
    }
    // Other threads are not concerned.
    begin(raw, LOCAL).result().unwrap();
    let elsewhere = std::thread::spawn({
        let context = context.clone();
        move || {
            context.bind_to_thread().unwrap();
            // SAFETY: the result has its place.
            unsafe { result::malloc_sync(64) }.map(drop)
        }
    });
    elsewhere.join().unwrap().unwrap();
    assert_eq!(end(raw).0, CUresult::CUDA_SUCCESS);
}

/// What `cuStreamGetCaptureInfo` says: status, number, graph, dependencies.
fn info(
    stream: CUstream,
) -> (
    CUstreamCaptureStatus,
    u64,
    sys::CUgraph,
    Vec<sys::CUgraphNode>,
) {
    let mut status = CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE;
    let (mut id, mut graph, mut nodes, mut edges, mut count) = (0, null_mut(), null(), null(), 0);
    // SAFETY: the results have their places; the list is read before the stream is used again.
    unsafe {
        sys::cuStreamGetCaptureInfo_v3(
            stream,
            &mut status,
            &mut id,
            &mut graph,
            &mut nodes,
            &mut edges,
            &mut count,
        )
        .result()
        .unwrap();
        let nodes = if count == 0 {
            vec![]
        } else {
            std::slice::from_raw_parts(nodes, count).to_vec()
        };
        for i in 0..count {
            assert_eq!((*edges.add(i)).type_, 0);
        }
        (status, id, graph, nodes)
    }
}

#[test]
fn captures_tell_what_the_next_node_depends_on() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let (a, b) = (a.cu_stream(), b.cu_stream());
    assert_eq!(
        info(a).0,
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE
    );
    begin(a, LOCAL).result().unwrap();
    let (status, id, graph, nodes) = info(a);
    assert_eq!(
        status,
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE
    );
    assert!(nodes.is_empty());
    nothing(a).result().unwrap();
    let first = info(a).3;
    join(b, a);
    assert_eq!(info(b), (status, id, graph, first.clone()));
    nothing(b).result().unwrap();
    let second = info(b).3;
    join(a, b);
    assert_eq!(info(a).3, [first[0], second[0]]);
    // SAFETY: handles are looked up, lists are as long as they say.
    unsafe {
        let destroyed = sys::cuGraphDestroy(graph);
        assert_eq!(
            destroyed,
            CUresult::CUDA_ERROR_INVALID_VALUE,
            "streams capture into it"
        );
        let update = |nodes: &[sys::CUgraphNode], flags| {
            let list = nodes.as_ptr().cast_mut();
            sys::cuStreamUpdateCaptureDependencies_v2(a, list, null(), nodes.len(), flags)
        };
        assert_eq!(update(&first, 2), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(
            update(&[graph.cast()], 1),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        update(&second, 1).result().unwrap();
        assert_eq!(info(a).3, second);
        update(&first, 0).result().unwrap();
        assert_eq!(info(a).3, [second[0], first[0]]);
        let (code, ended) = end(a);
        assert_eq!((code, ended), (CUresult::CUDA_SUCCESS, graph));
        assert_eq!(update(&first, 1), CUresult::CUDA_ERROR_ILLEGAL_STATE);
        sys::cuGraphDestroy(graph).result().unwrap();
    }
    begin(a, LOCAL).result().unwrap();
    assert_ne!(info(a).1, id, "no two captures share a number");
    assert_eq!(end(a).0, CUresult::CUDA_SUCCESS);
}

#[test]
fn destroyed_streams_leave_their_capture() {
    let context = context();
    let kept = context.new_stream().unwrap();
    let kept = kept.cu_stream();
    // SAFETY: handles are looked up.
    let destroy = |stream| unsafe { result::stream::destroy(stream) }.unwrap();
    let forked = blocking_stream(&context);
    begin(kept, LOCAL).result().unwrap();
    join(forked, kept);
    nothing(forked).result().unwrap();
    destroy(forked);
    assert_eq!(end(kept).0, CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    let origin = blocking_stream(&context);
    begin(origin, LOCAL).result().unwrap();
    join(kept, origin);
    destroy(origin);
    assert_eq!(
        status(kept),
        CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE
    );
    nothing(kept).result().unwrap();
    context.synchronize().unwrap();
}

#[test]
fn external_events_are_for_captures() {
    let _serial = serial();
    let context = context();
    let stream = context.new_stream().unwrap();
    let raw = stream.cu_stream();
    let event = event();
    // SAFETY: handles are looked up.
    let calls: [&dyn Fn() -> CUresult; 2] = unsafe {
        [&|| sys::cuEventRecordWithFlags(event, raw, 1), &|| {
            sys::cuStreamWaitEvent(raw, event, 1)
        }]
    };
    for call in calls {
        assert_eq!(call(), CUresult::CUDA_ERROR_INVALID_VALUE);
        begin(raw, LOCAL).result().unwrap();
        assert_eq!(call(), CUresult::CUDA_ERROR_NOT_SUPPORTED, "not here");
        assert!(
            last_fault().contains("an external event"),
            "{}",
            last_fault()
        );
        assert_eq!(end(raw).0, INVALIDATED);
    }
}
