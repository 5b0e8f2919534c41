//! Graphs as objects: what they tell of themselves, copies, and handles that mean nothing.

use crate::faults::serial;
use crate::graphs::{Fixture, INVALID, LOCAL, begin, capture, end, instantiate, nodes, note, run};
use crate::streams::{log, read};
use crate::{code, kernels};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUgraphNodeType as Type, CUresult};
use std::ffi::c_void;
use std::ptr::{null, null_mut};

#[test]
fn graphs_tell_their_nodes_and_edges() {
    let fixture = Fixture::new();
    let other = fixture.context.new_stream().unwrap();
    let graph = capture(&fixture.stream, || {
        fixture.add(1);
        other.join(&fixture.stream).unwrap();
        // SAFETY: the memory has 16 bytes.
        unsafe {
            let stream = other.cu_stream();
            result::memset_d8_async(fixture.address, 0, 8, stream).unwrap();
            result::memcpy_dtod_async(fixture.address, fixture.address + 8, 8, stream).unwrap();
        }
        fixture.stream.join(&other).unwrap();
        note(fixture.stream.cu_stream(), log(), 'n');
    });
    let nodes = nodes(graph);
    let [kernel, fill, copy, host] = nodes[..] else {
        panic!("{} nodes", nodes.len());
    };
    let type_of = |node| {
        let mut found = Type::CU_GRAPH_NODE_TYPE_EMPTY;
        // SAFETY: the handle is looked up, and the result has its place.
        unsafe { sys::cuGraphNodeGetType(node, &mut found) }
            .result()
            .unwrap();
        found
    };
    assert_eq!(
        nodes.iter().map(|&node| type_of(node)).collect::<Vec<_>>(),
        [
            Type::CU_GRAPH_NODE_TYPE_KERNEL,
            Type::CU_GRAPH_NODE_TYPE_MEMSET,
            Type::CU_GRAPH_NODE_TYPE_MEMCPY,
            Type::CU_GRAPH_NODE_TYPE_HOST,
        ]
    );
    // SAFETY: lists are as long as they say.
    unsafe {
        let (mut roots, mut count) = ([host; 3], 3);
        sys::cuGraphGetRootNodes(graph, roots.as_mut_ptr(), &mut count)
            .result()
            .unwrap();
        assert_eq!((roots, count), ([kernel, null_mut(), null_mut()], 1));
        sys::cuGraphGetEdges_v2(graph, null_mut(), null_mut(), null_mut(), &mut count)
            .result()
            .unwrap();
        assert_eq!(count, 4);
        let (mut from, mut to, mut count) = ([host; 5], [host; 5], 5);
        sys::cuGraphGetEdges_v2(
            graph,
            from.as_mut_ptr(),
            to.as_mut_ptr(),
            null_mut(),
            &mut count,
        )
        .result()
        .unwrap();
        let mut edges: Vec<_> = from.into_iter().zip(to).collect();
        assert_eq!((edges.pop(), count), (Some((null_mut(), null_mut())), 4));
        edges.sort();
        let mut expected = [(kernel, fill), (fill, copy), (kernel, host), (copy, host)];
        expected.sort();
        assert_eq!(edges, expected);
        let half =
            sys::cuGraphGetEdges_v2(graph, from.as_mut_ptr(), null_mut(), null_mut(), &mut count);
        assert_eq!(half, INVALID);
        let mut after = [null_mut(); 2];
        count = 2;
        sys::cuGraphNodeGetDependencies_v2(host, after.as_mut_ptr(), null_mut(), &mut count)
            .result()
            .unwrap();
        assert_eq!((after, count), ([kernel, copy], 2));
        sys::cuGraphNodeGetDependentNodes_v2(kernel, after.as_mut_ptr(), null_mut(), &mut count)
            .result()
            .unwrap();
        assert_eq!((after, count), ([fill, host], 2));
    }
    let path = std::env::temp_dir().join(format!("gamut-vgpu-{}.dot", std::process::id()));
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the path ends in a zero byte.
    unsafe { sys::cuGraphDebugDotPrint(graph, name.as_ptr(), 0) }
        .result()
        .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(text.matches(" -> ").count(), 4, "{text}");
    assert!(text.contains("Kernel add"), "{text}");
}

#[test]
fn clones_are_graphs_of_their_own() {
    let fixture = Fixture::new();
    let graph = capture(&fixture.stream, || {
        fixture.add(1);
        fixture.add(2);
    });
    let original = nodes(graph);
    // SAFETY: handles are looked up, results have their places.
    unsafe {
        let (mut clone, mut twin) = (null_mut(), null_mut());
        sys::cuGraphClone(&mut clone, graph).result().unwrap();
        sys::cuGraphNodeFindInClone(&mut twin, original[1], clone)
            .result()
            .unwrap();
        assert_eq!(twin, nodes(clone)[1]);
        assert_ne!(twin, original[1]);
        assert_eq!(
            sys::cuGraphNodeFindInClone(&mut twin, original[1], graph),
            INVALID
        );
        sys::cuGraphDestroy(graph).result().unwrap();
        run(instantiate(clone), &fixture.stream);
    }
    assert_eq!(fixture.read(), [3; 4]);
}

#[test]
fn graphs_can_be_built_node_by_node() {
    let fixture = Fixture::new();
    let log = log();
    let seen = capture(&fixture.stream, || {
        fixture.add(4);
        note(fixture.stream.cu_stream(), log, 'h');
    });
    let seen = nodes(seen);
    // SAFETY: handles are looked up, results have their places, lists are as long as they say.
    unsafe {
        let (mut kernel, mut host) = (std::mem::zeroed(), std::mem::zeroed());
        sys::cuGraphKernelNodeGetParams_v2(seen[0], &mut kernel)
            .result()
            .unwrap();
        sys::cuGraphHostNodeGetParams(seen[1], &mut host)
            .result()
            .unwrap();
        assert_eq!(sys::cuGraphHostNodeGetParams(seen[0], &mut host), INVALID);
        let (mut graph, mut made) = (null_mut(), [null_mut(); 3]);
        sys::cuGraphCreate(&mut graph, 0).result().unwrap();
        sys::cuGraphAddKernelNode_v2(&mut made[0], graph, null(), 0, &kernel)
            .result()
            .unwrap();
        let first = made[0];
        sys::cuGraphAddEmptyNode(&mut made[1], graph, &first, 1)
            .result()
            .unwrap();
        let second = made[1];
        sys::cuGraphAddHostNode(&mut made[2], graph, &second, 1, &host)
            .result()
            .unwrap();
        assert_eq!(nodes(graph), made);
        let foreign = sys::cuGraphAddEmptyNode(&mut made[1], graph, &seen[0], 1);
        assert_eq!(foreign, INVALID, "a node of another graph");
        let twice = sys::cuGraphAddEmptyNode(&mut made[1], graph, [first; 2].as_ptr(), 2);
        assert_eq!(twice, INVALID);
        kernel.blockDimX = 0;
        let refused = sys::cuGraphAddKernelNode_v2(&mut made[0], graph, null(), 0, &kernel);
        assert_eq!(refused, INVALID, "no threads");
        run(instantiate(graph), &fixture.stream);
    }
    assert_eq!(fixture.read(), [4; 4]);
    assert_eq!(read(log), "h");
}

#[test]
fn handles_of_graphs_are_checked() {
    let _serial = serial();
    let fixture = Fixture::new();
    let stream = fixture.stream.cu_stream();
    let graph = capture(&fixture.stream, || fixture.add(1));
    let (exec, node) = (instantiate(graph), nodes(graph)[0]);
    // SAFETY: handles are looked up, results have their places.
    unsafe {
        let mut params: sys::CUDA_GRAPH_INSTANTIATE_PARAMS = std::mem::zeroed();
        params.flags = 2 | 8;
        params.hUploadStream = stream;
        let mut second = null_mut();
        sys::cuGraphInstantiateWithParams(&mut second, graph, &mut params)
            .result()
            .unwrap();
        assert_eq!(params.result_out as u32, 0);
        let mut found = 0;
        sys::cuGraphExecGetFlags(second, &mut found)
            .result()
            .unwrap();
        assert_eq!(found, 2 | 8);
        sys::cuGraphDestroy(graph).result().unwrap();
        let mut count = 0;
        assert_eq!(sys::cuGraphDestroy(graph), INVALID);
        assert_eq!(sys::cuGraphGetNodes(graph, null_mut(), &mut count), INVALID);
        let mut kind = Type::CU_GRAPH_NODE_TYPE_EMPTY;
        assert_eq!(sys::cuGraphNodeGetType(node, &mut kind), INVALID);
        assert_eq!(sys::cuGraphLaunch(graph.cast(), stream), INVALID);
        sys::cuGraphExecDestroy(exec).result().unwrap();
        assert_eq!(sys::cuGraphExecDestroy(exec), INVALID);
        assert_eq!(sys::cuGraphLaunch(exec, stream), INVALID);
        begin(stream, LOCAL).result().unwrap();
        let nested = sys::cuGraphLaunch(second, stream);
        assert_eq!(
            nested,
            CUresult::CUDA_ERROR_NOT_SUPPORTED,
            "a graph in a graph"
        );
        assert_eq!(
            end(stream).0,
            CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
        );
    }
}

#[test]
fn a_graph_outlives_what_it_uses_only_to_fail() {
    let _serial = serial();
    let fixture = Fixture::new();
    let image = std::ffi::CString::new(kernels::PTX).unwrap();
    let stream = fixture.stream.cu_stream();
    // SAFETY: handles are looked up, sides have their sizes, and the virtual GPU checks accesses.
    unsafe {
        let module = result::module::load_data(image.as_ptr().cast()).unwrap();
        let add = result::module::get_function(module, c"add".to_owned()).unwrap();
        let (mut address, mut amount) = (fixture.address, 1u32);
        let mut params: [*mut c_void; 2] = [(&raw mut address).cast(), (&raw mut amount).cast()];
        let kernel = instantiate(capture(&fixture.stream, || {
            let (list, none) = (params.as_mut_ptr(), null_mut());
            sys::cuLaunchKernel(add, 1, 1, 1, 4, 1, 1, 0, stream, list, none)
                .result()
                .unwrap();
        }));
        result::module::unload(module).unwrap();
        let launched = code(result::graph::launch(kernel, stream));
        assert_eq!(launched, CUresult::CUDA_ERROR_INVALID_HANDLE);
        let memory = result::malloc_sync(16).unwrap();
        let fill = instantiate(capture(&fixture.stream, || {
            result::memset_d8_async(memory, 0, 16, stream).unwrap();
        }));
        result::free_sync(memory).unwrap();
        run(fill, &fixture.stream);
        let illegal = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
        assert_eq!(code(fixture.stream.synchronize()), illegal);
        // The context is spoilt now, and then it is gone.
        let other = Fixture::new();
        let raw = other.stream.cu_stream();
        assert_eq!(code(result::graph::launch(fill, raw)), illegal);
        drop(fixture);
        other.context.bind_to_thread().unwrap();
        let destroyed = CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED;
        assert_eq!(code(result::graph::launch(fill, raw)), destroyed);
        other.stream.synchronize().unwrap();
    }
}
