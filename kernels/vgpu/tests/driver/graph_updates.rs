//! Graphs whose parameters change: node by node, and as a whole.

use crate::graphs::{Fixture, INVALID, capture, instantiate, nodes, run};
use crate::{launch, pinned};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUgraphNode, CUresult};
use std::ffi::c_void;
use std::ptr::null_mut;
use sys::CUgraphExecUpdateResult as Outcome;

fn params(node: CUgraphNode) -> sys::CUDA_KERNEL_NODE_PARAMS {
    // SAFETY: all zeros is a valid value, and the result has its place.
    unsafe {
        let mut params = std::mem::zeroed();
        sys::cuGraphKernelNodeGetParams_v2(node, &mut params)
            .result()
            .unwrap();
        params
    }
}

#[test]
fn kernel_nodes_tell_and_take_their_parameters() {
    let fixture = Fixture::new();
    let mut graph = null_mut();
    for amount in [7, 8] {
        graph = capture(&fixture.stream, || fixture.add(amount));
    }
    let node = nodes(graph)[0];
    let mut found = params(node);
    assert_eq!(
        (found.gridDimX, found.blockDimX, found.sharedMemBytes),
        (1, 4, 0)
    );
    // SAFETY: the kernel takes a long and a word.
    let (address, amount) = unsafe {
        (
            (*found.kernelParams).cast::<u64>().read_unaligned(),
            (*found.kernelParams.add(1)).cast::<u32>().read_unaligned(),
        )
    };
    assert_eq!((address, amount), (fixture.address, 8));
    let exec = instantiate(graph);
    let (mut address, mut amount) = (fixture.address + 4, 50u32);
    let mut list: [*mut c_void; 2] = [(&raw mut address).cast(), (&raw mut amount).cast()];
    found.kernelParams = list.as_mut_ptr();
    found.blockDimX = 3;
    // SAFETY: handles are looked up, and the lists are as the kernel wants them.
    unsafe {
        run(exec, &fixture.stream);
        sys::cuGraphExecKernelNodeSetParams_v2(exec, node, &found)
            .result()
            .unwrap();
        run(exec, &fixture.stream);
        assert_eq!(
            fixture.read(),
            [8, 58, 58, 58],
            "launches that wait are as they were"
        );
        run(instantiate(graph), &fixture.stream);
        assert_eq!(
            fixture.read(),
            [16, 66, 66, 66],
            "the graph's node is as it was"
        );
        sys::cuGraphKernelNodeSetParams_v2(node, &found)
            .result()
            .unwrap();
        run(instantiate(graph), &fixture.stream);
        assert_eq!(fixture.read(), [16, 116, 116, 116]);
        assert_eq!(params(node).blockDimX, 3);
        let other = instantiate(capture(&fixture.stream, || fixture.add(1)));
        let foreign = sys::cuGraphExecKernelNodeSetParams_v2(other, node, &found);
        assert_eq!(foreign, INVALID, "a node of another graph");
        found.blockDimX = 2000;
        assert_eq!(
            sys::cuGraphExecKernelNodeSetParams_v2(exec, node, &found),
            INVALID
        );
    }
}

/// Tries an update: the code, the outcome, and the nodes in question.
fn update(exec: CUgraphExec, graph: CUgraph) -> (CUresult, Outcome, CUgraphNode, CUgraphNode) {
    let mut info = sys::CUgraphExecUpdateResultInfo {
        result: Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_FUNCTION_CHANGED,
        errorNode: null_mut(),
        errorFromNode: null_mut(),
    };
    // SAFETY: handles are looked up, and the result has its place.
    let code = unsafe { sys::cuGraphExecUpdate_v2(exec, graph, &mut info) };
    (code, info.result, info.errorNode, info.errorFromNode)
}

const FAILURE: CUresult = CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;

#[test]
fn a_graph_of_the_same_shape_brings_new_parameters() {
    let fixture = Fixture::new();
    let other = fixture.context.new_stream().unwrap();
    let captured = |amount, first: bool| {
        capture(&fixture.stream, || {
            fixture.add(amount);
            other.join(&fixture.stream).unwrap();
            // In which order two streams are used makes no difference to the shape.
            let branch = || {
                launch(&other, &fixture.add, 1, fixture.address, amount * 10).unwrap();
            };
            if first {
                branch();
            }
            launch(
                &fixture.stream,
                &fixture.add,
                1,
                fixture.address + 4,
                amount * 100,
            )
            .unwrap();
            if !first {
                branch();
            }
            fixture.stream.join(&other).unwrap();
            fixture.add(0);
        })
    };
    let exec = instantiate(captured(1, true));
    run(exec, &fixture.stream);
    for (amount, first) in [(2, true), (3, false)] {
        let updated = update(exec, captured(amount, first));
        let success = Outcome::CU_GRAPH_EXEC_UPDATE_SUCCESS;
        assert_eq!(
            updated,
            (CUresult::CUDA_SUCCESS, success, null_mut(), null_mut())
        );
        run(exec, &fixture.stream);
    }
    assert_eq!(fixture.read(), [66, 606, 6, 6]);
}

#[test]
fn a_graph_of_another_shape_is_refused() {
    let fixture = Fixture::new();
    let (a, b) = (&fixture.stream, fixture.context.new_stream().unwrap());
    let fill = |stream: &cudarc::driver::CudaStream| {
        // SAFETY: the memory has as many bytes.
        unsafe { result::memset_d8_async(fixture.address, 0, 4, stream.cu_stream()) }.unwrap();
    };
    let exec = instantiate(capture(a, || {
        fixture.add(1);
        fill(a);
        fill(a);
    }));
    let topology = Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    let shorter = capture(a, || fixture.add(1));
    assert_eq!(
        update(exec, shorter),
        (FAILURE, topology, null_mut(), null_mut())
    );
    // Two ends instead of one.
    let forked = capture(a, || {
        fixture.add(1);
        b.join(a).unwrap();
        fill(a);
        fill(&b);
        forget(&b);
    });
    let (code, outcome, node, _) = update(exec, forked);
    assert_eq!((code, outcome), (FAILURE, topology));
    assert!(
        nodes(forked)[1..].contains(&node),
        "an end of the new graph"
    );
    // An edge more.
    let tied = capture(a, || {
        fixture.add(1);
        b.join(a).unwrap();
        fill(a);
        a.join(&b).unwrap();
        fill(a);
    });
    assert_eq!(
        update(exec, tied),
        (FAILURE, topology, nodes(tied)[2], null_mut())
    );
    let retyped = capture(a, || {
        fixture.add(1);
        fixture.add(1);
        fill(a);
    });
    let node_type = Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    assert_eq!(
        update(exec, retyped),
        (FAILURE, node_type, nodes(retyped)[1], null_mut())
    );
    // Nothing of all that was done.
    run(exec, a);
    assert_eq!(fixture.read(), [0, 1, 1, 1]);
    // SAFETY: the handle is looked up.
    unsafe { result::graph::destroy(shorter) }.unwrap();
    let (code, outcome, ..) = update(exec, shorter);
    assert_eq!(
        (code, outcome),
        (INVALID, Outcome::CU_GRAPH_EXEC_UPDATE_ERROR)
    );
}

/// A graph of empty nodes that depend on the listed ones.
fn wired(edges: &[&[usize]]) -> CUgraph {
    let (mut graph, mut made) = (null_mut(), Vec::new());
    // SAFETY: the results have their places, and lists are as long as they say.
    unsafe {
        sys::cuGraphCreate(&mut graph, 0).result().unwrap();
        for after in edges {
            let after: Vec<CUgraphNode> = after.iter().map(|&i| made[i]).collect();
            let mut node = null_mut();
            sys::cuGraphAddEmptyNode(&mut node, graph, after.as_ptr(), after.len())
                .result()
                .unwrap();
            made.push(node);
        }
    }
    graph
}

#[test]
fn as_many_edges_between_other_nodes_are_another_shape() {
    let _fixture = Fixture::new();
    let exec = instantiate(wired(&[&[], &[], &[0, 1], &[2, 1]]));
    assert_eq!(
        update(exec, wired(&[&[], &[], &[0, 1], &[2, 1]])).0,
        CUresult::CUDA_SUCCESS
    );
    let crossed = wired(&[&[], &[], &[0, 1], &[2, 0]]);
    let (code, outcome, node, from) = update(exec, crossed);
    let topology = Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    assert_eq!((code, outcome), (FAILURE, topology));
    let nodes = nodes(crossed);
    assert!(
        nodes[2..].contains(&node),
        "a node with a dependency that differs"
    );
    assert!(nodes[..2].contains(&from), "the dependency");
}

/// Has a stream forget what it did, so that nobody needs to join it.
fn forget(stream: &cudarc::driver::CudaStream) {
    let (stream, none, plain) = (stream.cu_stream(), null_mut(), std::ptr::null());
    // SAFETY: the list is empty.
    unsafe { sys::cuStreamUpdateCaptureDependencies_v2(stream, none, plain, 0, 1) }
        .result()
        .unwrap();
}

#[test]
fn nodes_keep_their_kinds_of_memory_and_of_launch() {
    let fixture = Fixture::new();
    let (stream, raw) = (&fixture.stream, fixture.stream.cu_stream());
    let host = pinned(&fixture.context, 4).as_mut_ptr();
    let copy = |to: u64, from: u64| {
        capture(stream, || {
            // SAFETY: both sides have 8 bytes.
            unsafe { sys::cuMemcpyAsync(to, from, 8, raw) }
                .result()
                .unwrap()
        })
    };
    let exec = instantiate(copy(fixture.address, fixture.address + 8));
    assert_eq!(
        update(exec, copy(fixture.address + 8, fixture.address)).0,
        CUresult::CUDA_SUCCESS
    );
    let up = copy(fixture.address, host as u64);
    let parameters = Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
    assert_eq!(
        update(exec, up),
        (FAILURE, parameters, nodes(up)[0], null_mut())
    );
    let pageable = [9u32; 2];
    let exec = instantiate(up);
    let moved = update(exec, copy(fixture.address, pageable.as_ptr() as u64));
    assert_eq!(moved.0, CUresult::CUDA_SUCCESS, "host memory both");
    run(exec, stream);
    assert_eq!(fixture.read(), [9, 9, 0, 0]);
    let launched = |cooperative: bool| {
        use cudarc::driver::{LaunchConfig, PushKernelArg};
        let config = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (1, 1, 1),
            shared_mem_bytes: 0,
        };
        capture(stream, || {
            let mut builder = stream.launch_builder(&fixture.add);
            builder.arg(&fixture.address).arg(&1u32);
            // SAFETY: the virtual GPU checks every access.
            let launched = unsafe {
                if cooperative {
                    builder.launch_cooperative(config)
                } else {
                    builder.launch(config)
                }
            };
            launched.map(drop).unwrap();
        })
    };
    let cooperative = launched(true);
    let attributes = Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED;
    let changed = update(instantiate(launched(false)), cooperative);
    assert_eq!(
        changed,
        (FAILURE, attributes, nodes(cooperative)[0], null_mut())
    );
}
