//! Graphs: what is captured, and how it is executed.

use crate::streams::{log, read};
use crate::{context, function, launch, pinned};
use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUgraphNode, CUresult, CUstream};
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DevicePtr, result};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};
pub(crate) use sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as LOCAL;

pub(crate) const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

pub(crate) fn begin(stream: CUstream, mode: sys::CUstreamCaptureMode) -> CUresult {
    // SAFETY: the handle is looked up.
    unsafe { sys::cuStreamBeginCapture_v2(stream, mode) }
}

pub(crate) fn end(stream: CUstream) -> (CUresult, CUgraph) {
    let mut graph = 0x10 as CUgraph;
    // SAFETY: the handle is looked up, and the result has its place.
    let code = unsafe { sys::cuStreamEndCapture(stream, &mut graph) };
    (code, graph)
}

/// The graph of what `body` does in a stream.
pub(crate) fn capture(stream: &CudaStream, body: impl FnOnce()) -> CUgraph {
    begin(stream.cu_stream(), LOCAL).result().unwrap();
    body();
    let (code, graph) = end(stream.cu_stream());
    code.result().unwrap();
    graph
}

pub(crate) fn instantiate(graph: CUgraph) -> CUgraphExec {
    // SAFETY: the handle is looked up.
    unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) }.unwrap()
}

pub(crate) fn run(exec: CUgraphExec, stream: &CudaStream) {
    // SAFETY: handles are looked up.
    unsafe { result::graph::launch(exec, stream.cu_stream()) }.unwrap();
}

pub(crate) fn nodes(graph: CUgraph) -> Vec<CUgraphNode> {
    let mut nodes = vec![null_mut(); node_count(graph)];
    let mut count = nodes.len();
    // SAFETY: the list is as long as it says.
    unsafe { sys::cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count) }
        .result()
        .unwrap();
    assert_eq!(count, nodes.len());
    nodes
}

pub(crate) fn node_count(graph: CUgraph) -> usize {
    let mut count = 0;
    // SAFETY: the handle is looked up, and the result has its place.
    unsafe { sys::cuGraphGetNodes(graph, null_mut(), &mut count) }
        .result()
        .unwrap();
    count
}

/// A context with a stream, the kernel `add` and some zeroed words of device memory.
pub(crate) struct Fixture {
    pub(crate) context: Arc<CudaContext>,
    pub(crate) stream: Arc<CudaStream>,
    pub(crate) add: CudaFunction,
    pub(crate) words: cudarc::driver::CudaSlice<u32>,
    pub(crate) address: u64,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let context = context();
        let stream = context.new_stream().unwrap();
        let add = function(&context, "add");
        let words = stream.alloc_zeros::<u32>(4).unwrap();
        let address = words.device_ptr(&stream).0;
        stream.synchronize().unwrap();
        Fixture {
            context,
            stream,
            add,
            words,
            address,
        }
    }

    /// Adds an amount to all words.
    pub(crate) fn add(&self, amount: u32) {
        launch(&self.stream, &self.add, 4, self.address, amount).unwrap();
    }

    pub(crate) fn read(&self) -> Vec<u32> {
        self.stream.clone_dtoh(&self.words).unwrap()
    }
}

/// Has a stream append a letter to a log whenever its turn comes.
pub(crate) fn note(stream: CUstream, log: &'static Mutex<String>, letter: char) {
    unsafe extern "C" fn append(data: *mut c_void) {
        // SAFETY: made below, and never freed.
        let (log, letter) = unsafe { &*data.cast::<(&'static Mutex<String>, char)>() };
        log.lock().unwrap().push(*letter);
    }
    let data: *mut _ = Box::leak(Box::new((log, letter)));
    // SAFETY: the callback takes what it is given.
    unsafe { result::stream::launch_host_function(stream, append, data.cast()) }.unwrap();
}

#[test]
fn a_captured_launch_runs_with_each_launch_of_the_graph_and_not_before() {
    let fixture = Fixture::new();
    let mut amount = 5;
    let graph = capture(&fixture.stream, || {
        fixture.add(amount);
        amount = 1000; // The parameter was copied.
        fixture.add(20);
    });
    assert_eq!(amount, 1000);
    assert_eq!(fixture.read(), [0; 4]);
    let exec = instantiate(graph);
    // SAFETY: the handle is live. An executable graph does not need the graph.
    unsafe { result::graph::destroy(graph) }.unwrap();
    run(exec, &fixture.stream);
    fixture.add(100);
    run(exec, &fixture.stream);
    assert_eq!(fixture.read(), [150; 4]);
}

#[test]
fn cudarc_captures_and_launches() {
    let context = context();
    // SAFETY: all work is on one stream.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let add = function(&context, "add");
    let mut words = stream.clone_htod(&[1u32; 4]).unwrap();
    let address = words.device_ptr(&stream).0;
    stream.begin_capture(LOCAL).unwrap();
    let active = sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_ACTIVE;
    assert_eq!(stream.capture_status(), Ok(active));
    stream.memset_zeros(&mut words).unwrap();
    launch(&stream, &add, 4, address, 3).unwrap();
    let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    let graph = stream.end_capture(flags).unwrap().unwrap();
    assert_eq!(stream.clone_dtoh(&words).unwrap(), [1; 4]);
    graph.upload().unwrap();
    for _ in 0..2 {
        graph.launch().unwrap();
        assert_eq!(stream.clone_dtoh(&words).unwrap(), [3; 4]);
    }
}

#[test]
fn copies_find_pageable_memory_when_they_run() {
    let fixture = Fixture::new();
    let (mut source, mut target) = (vec![1u32; 4], vec![0u32; 4]);
    let stream = fixture.stream.cu_stream();
    let pinned = pinned(&fixture.context, 4);
    let (from, to) = (source.as_mut_ptr(), target.as_mut_ptr());
    let kept = pinned.as_mut_ptr();
    let graph = capture(&fixture.stream, || {
        // SAFETY: all sides have 16 bytes and outlive the launches.
        unsafe {
            sys::cuMemcpyHtoDAsync_v2(fixture.address, from.cast(), 16, stream)
                .result()
                .unwrap();
            fixture.add(10);
            sys::cuMemcpyDtoHAsync_v2(to.cast(), fixture.address, 16, stream)
                .result()
                .unwrap();
            sys::cuMemcpyDtoHAsync_v2(kept.cast(), fixture.address, 16, stream)
                .result()
                .unwrap();
            sys::cuMemsetD32Async(fixture.address, 77, 1, stream)
                .result()
                .unwrap();
        }
    });
    let exec = instantiate(graph);
    for round in 1..4 {
        source.fill(round);
        run(exec, &fixture.stream);
        fixture.stream.synchronize().unwrap();
        assert_eq!(target, [round + 10; 4]);
        assert_eq!(*pinned, [round + 10; 4]);
        assert_eq!(fixture.read(), [77, round + 10, round + 10, round + 10]);
    }
}

#[test]
fn launches_of_a_graph_wait_for_each_other_and_for_their_streams() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let log = log();
    let graph = capture(&a, || note(a.cu_stream(), log, 'g'));
    let exec = instantiate(graph);
    note(a.cu_stream(), log, '1');
    run(exec, &a);
    note(a.cu_stream(), log, 'x');
    run(exec, &b);
    note(b.cu_stream(), log, '2');
    assert_eq!(read(log), "");
    // SAFETY: the handle is live; the launches go on without it.
    unsafe { result::graph::exec_destroy(exec) }.unwrap();
    b.synchronize().unwrap();
    assert_eq!(read(log), "1gg2");
    context.synchronize().unwrap();
    assert_eq!(read(log), "1gg2x");
}

/// The branch that was captured last runs first, so that a join that is missing shows.
#[test]
fn branches_run_in_an_order_that_the_program_does_not_suggest() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let log = log();
    let graph = capture(&a, || {
        note(a.cu_stream(), log, 'r');
        b.join(&a).unwrap();
        note(a.cu_stream(), log, '1');
        note(b.cu_stream(), log, '2');
        a.join(&b).unwrap();
        note(a.cu_stream(), log, 's');
    });
    let exec = instantiate(graph);
    run(exec, &b);
    b.synchronize().unwrap();
    assert_eq!(read(log), "r21s");
}

/// Random captures: whatever order the nodes ran in, it must be one that the streams and events
/// of the program allow.
#[test]
fn random_graphs_run_in_an_allowed_order() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % below
    };
    let context = context();
    let streams: Vec<_> = (0..4).map(|_| context.new_stream().unwrap()).collect();
    for program in 0..30 {
        let log = log();
        // For each stream, which steps (by number) come before its next one.
        let mut known: Vec<Vec<bool>> = vec![vec![false; 60]; streams.len()];
        let mut before: Vec<Vec<bool>> = Vec::new();
        let graph = capture(&streams[0], || {
            let join = |known: &mut Vec<Vec<bool>>, at: usize, other: usize| {
                streams[at].join(&streams[other]).unwrap();
                let other = known[other].clone();
                known[at]
                    .iter_mut()
                    .zip(other)
                    .for_each(|(own, other)| *own |= other);
            };
            (1..4).for_each(|at| join(&mut known, at, 0));
            for _ in 0..60 {
                let (at, other) = (random(4), random(4));
                if random(3) == 0 {
                    join(&mut known, at, other);
                    continue;
                }
                let step = before.len();
                let letter = char::from_u32(0x100 + step as u32).unwrap();
                note(streams[at].cu_stream(), log, letter);
                before.push(known[at].clone());
                known[at][step] = true;
            }
            (1..4).for_each(|other| join(&mut known, 0, other));
        });
        let exec = instantiate(graph);
        run(exec, &streams[1]);
        streams[1].synchronize().unwrap();
        let order: Vec<usize> = read(log).chars().map(|c| c as usize - 0x100).collect();
        let place = |step: usize| order.iter().position(|&done| done == step).unwrap();
        assert_eq!(order.len(), before.len());
        for (step, before) in before.iter().enumerate() {
            for earlier in (0..step).filter(|&earlier| before[earlier]) {
                assert!(
                    place(earlier) < place(step),
                    "program {program}: {earlier}, {step}"
                );
            }
        }
    }
}
