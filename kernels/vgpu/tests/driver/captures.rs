//! What captures do beyond the calls that an H100's driver was asked, which
//! `driver_capture_record` makes. The rules are those of the CUDA driver API's documentation
//! ("Stream Management", "Event Management") and of the CUDA C++ Programming Guide, "Creating a
//! Graph Using Stream Capture".
//!
//! Captures are thread-local or relaxed here: global ones would reach into other tests.

use crate::faults::serial;
use crate::graphs::{begin, end, node_count, nodes};
use crate::{context, last_fault};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUresult, CUstream, CUstreamCaptureStatus};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use sys::CUstreamCaptureMode::{
    CU_STREAM_CAPTURE_MODE_GLOBAL as GLOBAL, CU_STREAM_CAPTURE_MODE_RELAXED as RELAXED,
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as LOCAL,
};

const INVALIDATED: CUresult = CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
const UNSUPPORTED: CUresult = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;

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
fn streams_join_a_capture_by_waiting_and_leave_it_joined() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let (a, b) = (a.cu_stream(), b.cu_stream());
    begin(a, LOCAL).result().unwrap();
    join(b, a);
    nothing(b).result().unwrap();
    join(a, b);
    let (code, graph) = end(a);
    assert_eq!((code, node_count(graph)), (CUresult::CUDA_SUCCESS, 1));
    for stream in [a, b] {
        // SAFETY: the handle is live.
        unsafe { result::stream::synchronize(stream) }.unwrap();
    }
}

#[test]
fn any_thread_ends_a_relaxed_capture() {
    let context = context();
    let stream = context.new_stream().unwrap();
    begin(stream.cu_stream(), RELAXED).result().unwrap();
    let ended = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            context.bind_to_thread().unwrap();
            end(stream.cu_stream()).0
        });
        other.join().unwrap()
    });
    assert_eq!(ended, CUresult::CUDA_SUCCESS);
}

#[test]
fn an_event_that_is_recorded_anew_leaves_its_capture_behind() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let event = event();
    begin(a.cu_stream(), LOCAL).result().unwrap();
    record(event, a.cu_stream()).result().unwrap();
    end(a.cu_stream()).0.result().unwrap();
    record(event, b.cu_stream()).result().unwrap();
    assert_eq!(wait(a.cu_stream(), event), CUresult::CUDA_SUCCESS);
}

#[test]
fn a_graph_whose_handle_was_asked_for_needs_no_place_at_the_end() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let raw = stream.cu_stream();
    begin(raw, LOCAL).result().unwrap();
    nothing(raw).result().unwrap();
    let graph = info(raw).2;
    // SAFETY: handles are looked up, and null is no place.
    unsafe {
        sys::cuStreamEndCapture(raw, null_mut()).result().unwrap();
        assert_eq!(node_count(graph), 1);
        sys::cuGraphDestroy(graph).result().unwrap();
    }
}

#[test]
fn graphs_that_allocate_are_captured_and_not_instantiated() {
    let _serial = serial();
    let context = context();
    let stream = context.new_stream().unwrap();
    let raw = stream.cu_stream();
    let mut address = 0;
    begin(raw, LOCAL).result().unwrap();
    // SAFETY: handles are looked up, results have their places, and the memory has its size.
    unsafe {
        sys::cuMemAllocAsync(&mut address, 64, raw)
            .result()
            .unwrap();
        sys::cuMemsetD8Async(address, 0, 64, raw).result().unwrap();
        let (code, graph) = end(raw);
        assert_eq!((code, node_count(graph)), (CUresult::CUDA_SUCCESS, 2));
        let mut kind = sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_EMPTY;
        sys::cuGraphNodeGetType(nodes(graph)[0], &mut kind)
            .result()
            .unwrap();
        assert_eq!(kind, sys::CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEM_ALLOC);
        let made = sys::cuGraphInstantiateWithFlags(&mut null_mut(), graph, 0);
        assert_eq!(made, CUresult::CUDA_ERROR_NOT_SUPPORTED, "not here");
    }
    assert!(last_fault().contains("allocates"), "{}", last_fault());
}

#[test]
fn a_thread_that_asks_for_it_is_not_guarded_from_its_own_captures() {
    let context = context();
    let (stream, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let raw = stream.cu_stream();
    context.bind_to_thread().unwrap();
    let done = event();
    // SAFETY: handles are looked up, and results have their places.
    let calls: [(&str, &dyn Fn() -> CUresult); 5] = unsafe {
        [
            ("allocate", &|| sys::cuMemAlloc_v2(&mut 0, 64)),
            ("allocate pinned", &|| {
                sys::cuMemHostAlloc(&mut null_mut(), 64, 0)
            }),
            ("synchronize", &|| {
                sys::cuStreamSynchronize(other.cu_stream())
            }),
            ("query", &|| sys::cuStreamQuery(other.cu_stream())),
            ("event query", &|| sys::cuEventQuery(done)),
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
        assert_eq!(exchange(RELAXED), GLOBAL);
        assert_eq!(call(), CUresult::CUDA_SUCCESS, "{what}");
        assert_eq!(exchange(GLOBAL), RELAXED);
        assert_eq!(end(raw).0, CUresult::CUDA_SUCCESS, "{what}");
        begin(raw, LOCAL).result().unwrap();
        assert_eq!(call(), UNSUPPORTED, "{what}");
        assert_eq!(end(raw).0, INVALIDATED, "{what}");
    }
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
        sys::cuGraphDestroy(graph).result().unwrap();
    }
    begin(a, LOCAL).result().unwrap();
    assert_ne!(info(a).1, id, "no two captures share a number");
    assert_eq!(end(a).0, CUresult::CUDA_SUCCESS);
}

#[test]
fn external_events_are_no_nodes_here() {
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
