//! Graphs: work that was written down to be executed later, and in which order it may be.
#![allow(unsafe_code)]

use super::State;
use super::abi::{EdgeData, In, Out, Text};
use super::code::Code;
use super::entry::{enter, refuse};
use super::table::{Handle, serial};
use super::work::Work;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, c_uint};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// A graph.
pub(super) struct Graph {
    /// In the order in which they were made: each one behind those that it depends on.
    pub(super) nodes: Vec<Handle>,
    /// Whether streams still capture into it.
    pub(super) in_capture: bool,
}

/// What a node is (`CU_GRAPH_NODE_TYPE_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum NodeType {
    Kernel = 0,
    Memcpy = 1,
    Memset = 2,
    Host = 3,
    Empty = 5,
    MemAlloc = 10,
}

impl NodeType {
    /// What work is as a node, if it can be one.
    fn of(work: &Work) -> Option<NodeType> {
        match work {
            Work::Nothing => Some(NodeType::Empty),
            Work::Launch(_) => Some(NodeType::Kernel),
            Work::Copy { .. } | Work::Write { .. } | Work::Read { .. } | Work::Move { .. } => {
                Some(NodeType::Memcpy)
            }
            Work::Fill { .. } => Some(NodeType::Memset),
            Work::Call { .. } => Some(NodeType::Host),
            Work::Allocate => Some(NodeType::MemAlloc),
            Work::Upload { .. } | Work::Free(_) | Work::Record(_) | Work::CallWithStream { .. } => {
                None
            }
        }
    }

    /// Whether graphs that are launched from the device may have such nodes.
    pub(super) fn runs_on_device(self) -> bool {
        matches!(self, NodeType::Kernel | NodeType::Memcpy | NodeType::Memset)
    }
}

/// A node of a graph.
pub(super) struct Node {
    pub(super) graph: Handle,
    /// The context that answers for the work.
    pub(super) context: Handle,
    /// The nodes that it depends on.
    pub(super) after: Vec<Handle>,
    pub(super) node_type: NodeType,
    pub(super) work: Work,
    /// Where the arguments of a kernel lie one by one, once somebody asked for it.
    pub(super) arguments: Vec<usize>,
    /// The node that it was cloned from.
    original: Option<Handle>,
}

impl Node {
    /// A node of a graph, if work can be one.
    pub(super) fn new(
        graph: Handle,
        context: Handle,
        after: Vec<Handle>,
        work: Work,
    ) -> Result<Node, Code> {
        Ok(Node {
            graph,
            context,
            after,
            node_type: NodeType::of(&work).ok_or(Code::StreamCaptureUnsupported)?,
            work,
            arguments: Vec::new(),
            original: None,
        })
    }
}

impl Graph {
    fn empty() -> Graph {
        Graph {
            nodes: Vec::new(),
            in_capture: false,
        }
    }

    /// One that streams begin to capture into.
    pub(super) fn captured() -> Graph {
        Graph {
            in_capture: true,
            ..Graph::empty()
        }
    }
}

impl State {
    pub(super) fn graph(&self, graph: Handle) -> Result<&Graph, Code> {
        self.graphs.get(graph, Code::InvalidValue)
    }

    pub(super) fn node(&self, node: Handle) -> Result<&Node, Code> {
        self.nodes.get(node, Code::InvalidValue)
    }

    /// The nodes of a graph with their handles, in the order in which they were made.
    pub(super) fn nodes_of(&self, graph: Handle) -> Result<Vec<(Handle, &Node)>, Code> {
        let nodes = self.graph(graph)?.nodes.iter();
        nodes
            .map(|&handle| Ok((handle, self.node(handle)?)))
            .collect()
    }

    /// Adds a node to its graph.
    pub(super) fn add_node(&mut self, node: Node) -> Result<Handle, Code> {
        let graph = self.graphs.get_mut(node.graph, Code::InvalidValue)?;
        let handle = self.nodes.insert(node);
        graph.nodes.push(handle);
        Ok(handle)
    }

    /// The nodes of a graph that a caller lists, each once and with plain edges.
    pub(super) fn dependencies(
        &self,
        graph: Handle,
        nodes: In<Handle>,
        edges: In<EdgeData>,
        count: usize,
    ) -> Result<Vec<Handle>, Code> {
        let mut seen = HashSet::new();
        let mut listed = Vec::new();
        for i in 0..count {
            let node = nodes.get(i)?;
            if self.node(node)?.graph != graph || !seen.insert(node) {
                return Err(Code::InvalidValue);
            }
            if !edges.is_null() && edges.get(i)? != EdgeData::default() {
                return Err(Code::NotSupported);
            }
            listed.push(node);
        }
        Ok(listed)
    }

    /// The nodes and all that they depend on.
    pub(super) fn reached_from(&self, nodes: Vec<Handle>) -> HashSet<Handle> {
        let mut reached = HashSet::new();
        let mut open = nodes;
        while let Some(handle) = open.pop() {
            if let Ok(node) = self.node(handle)
                && reached.insert(handle)
            {
                open.extend(&node.after);
            }
        }
        reached
    }

    pub(super) fn destroy_graph(&mut self, graph: Handle) {
        if self.graphs.remove(graph, Code::InvalidValue).is_ok() {
            self.nodes.remove_where(|node| node.graph == graph);
        }
    }

    fn clone_graph(&mut self, graph: Handle) -> Result<Handle, Code> {
        let handles = self.graph(graph)?.nodes.clone();
        let clone = self.graphs.insert(Graph::empty());
        let mut twins = HashMap::new();
        for handle in handles {
            let node = self.node(handle)?;
            let after = node.after.iter().filter_map(|each| twins.get(each));
            let twin = Node {
                graph: clone,
                after: after.copied().collect(),
                work: node.work.clone(),
                arguments: Vec::new(),
                original: Some(handle),
                ..*node
            };
            twins.insert(handle, self.add_node(twin)?);
        }
        Ok(clone)
    }

    /// A graph in the DOT language.
    fn dot(&self, graph: Handle) -> Result<String, Code> {
        let mut text = String::from("digraph {\n");
        for (handle, node) in self.nodes_of(graph)? {
            let name = match &node.work {
                Work::Launch(launch) => launch.kernel.name(),
                _ => "",
            };
            let (id, kind) = (serial(handle), node.node_type);
            let _ = writeln!(text, "  n{id} [label=\"{id}: {kind:?} {name}\"];"); // To a string.
            for &before in &node.after {
                let _ = writeln!(text, "  n{} -> n{id};", serial(before));
            }
        }
        text.push_str("}\n");
        Ok(text)
    }
}

/// Writes the items into `room` places, fills what is left over and returns how many were written.
fn list<T: Copy + Default>(items: &[T], to: Out<T>, room: usize) -> Result<usize, Code> {
    for i in 0..room {
        to.at(i).set(items.get(i).copied().unwrap_or_default())?;
    }
    Ok(room.min(items.len()))
}

/// As [`list`], with the room in `count`. Without a list it says how many items there are.
fn list_or_count(items: &[Handle], to: Out<Handle>, count: Out<usize>) -> Result<(), Code> {
    count.set(if to.check().is_ok() {
        list(items, to, count.get()?)?
    } else {
        items.len()
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphCreate(graph: Out<Handle>, flags: c_uint) -> Code {
    enter(|driver| {
        graph.check()?;
        if flags != 0 {
            return Err(Code::InvalidValue);
        }
        graph.set(driver.state().graphs.insert(Graph::empty()))
    })
}

/// A graph that streams capture into is theirs to destroy.
#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(graph: Handle) -> Code {
    enter(|driver| {
        let mut state = driver.state();
        if state.graph(graph)?.in_capture {
            return Err(Code::IllegalState);
        }
        state.destroy_graph(graph);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphClone(clone: Out<Handle>, graph: Handle) -> Code {
    enter(|driver| {
        clone.check()?;
        clone.set(driver.state().clone_graph(graph)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphNodeFindInClone(found: Out<Handle>, original: Handle, clone: Handle) -> Code {
    enter(|driver| {
        let state = driver.state();
        let nodes = state.nodes_of(clone)?;
        let mut twins = nodes.iter().filter(|(_, n)| n.original == Some(original));
        found.set(twins.next().ok_or(Code::InvalidValue)?.0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphGetNodes(graph: Handle, nodes: Out<Handle>, count: Out<usize>) -> Code {
    enter(|driver| list_or_count(&driver.state().graph(graph)?.nodes, nodes, count))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphGetRootNodes(graph: Handle, nodes: Out<Handle>, count: Out<usize>) -> Code {
    enter(|driver| {
        let state = driver.state();
        let all = state.nodes_of(graph)?.into_iter();
        let roots = all.filter(|(_, node)| node.after.is_empty());
        let roots: Vec<Handle> = roots.map(|(handle, _)| handle).collect();
        list_or_count(&roots, nodes, count)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphGetEdges_v2(
    graph: Handle,
    from: Out<Handle>,
    to: Out<Handle>,
    edges: Out<EdgeData>,
    count: Out<usize>,
) -> Code {
    enter(|driver| {
        let (no_from, no_to) = (from.check().is_err(), to.check().is_err());
        if no_from != no_to || (no_from && edges.check().is_ok()) {
            return Err(Code::InvalidValue);
        }
        let state = driver.state();
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for (handle, node) in state.nodes_of(graph)? {
            starts.extend(&node.after);
            ends.extend(node.after.iter().map(|_| handle));
        }
        if no_from {
            return count.set(starts.len());
        }
        let room = count.get()?;
        list(&ends, to, room)?;
        if edges.check().is_ok() {
            list(&vec![EdgeData::default(); ends.len()], edges, room)?;
        }
        count.set(list(&starts, from, room)?)
    })
}

/// As [`list`], for the nodes on one side of a node's edges.
fn neighbours(
    nodes: &[Handle],
    to: Out<Handle>,
    edges: Out<EdgeData>,
    count: Out<usize>,
) -> Result<(), Code> {
    if to.check().is_err() && edges.check().is_ok() {
        return Err(Code::InvalidValue);
    }
    if edges.check().is_ok() {
        list(&vec![EdgeData::default(); nodes.len()], edges, count.get()?)?;
    }
    list_or_count(nodes, to, count)
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphNodeGetDependencies_v2(
    node: Handle,
    nodes: Out<Handle>,
    edges: Out<EdgeData>,
    count: Out<usize>,
) -> Code {
    enter(|driver| neighbours(&driver.state().node(node)?.after, nodes, edges, count))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphNodeGetDependentNodes_v2(
    node: Handle,
    nodes: Out<Handle>,
    edges: Out<EdgeData>,
    count: Out<usize>,
) -> Code {
    enter(|driver| {
        let state = driver.state();
        let all = state.nodes_of(state.node(node)?.graph)?.into_iter();
        let dependent = all.filter(|(_, each)| each.after.contains(&node));
        let dependent: Vec<Handle> = dependent.map(|(handle, _)| handle).collect();
        neighbours(&dependent, nodes, edges, count)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphNodeGetType(node: Handle, node_type: Out<NodeType>) -> Code {
    enter(|driver| node_type.set(driver.state().node(node)?.node_type))
}

/// The flags ask for more than names and edges, which is all there is.
#[unsafe(no_mangle)]
extern "C" fn cuGraphDebugDotPrint(graph: Handle, path: Text, _flags: c_uint) -> Code {
    enter(|driver| {
        let text = driver.state().dot(graph)?;
        let path = OsStr::from_bytes(path.get()?.to_bytes());
        std::fs::write(path, text).map_err(|_| Code::OperatingSystem)
    })
}

// Nodes of other kinds, edges and nodes that are changed one by one, and what programs attach.
refuse! {
    cuDeviceGetGraphMemAttribute
    cuDeviceGraphMemTrim
    cuDeviceSetGraphMemAttribute
    cuGraphAddBatchMemOpNode
    cuGraphAddChildGraphNode
    cuGraphAddDependencies_v2
    cuGraphAddEventRecordNode
    cuGraphAddEventWaitNode
    cuGraphAddExternalSemaphoresSignalNode
    cuGraphAddExternalSemaphoresWaitNode
    cuGraphAddMemAllocNode
    cuGraphAddMemFreeNode
    cuGraphAddMemcpyNode
    cuGraphAddMemsetNode
    cuGraphAddNode_v2
    cuGraphBatchMemOpNodeGetParams
    cuGraphBatchMemOpNodeSetParams
    cuGraphChildGraphNodeGetGraph
    cuGraphConditionalHandleCreate
    cuGraphDestroyNode
    cuGraphEventRecordNodeGetEvent
    cuGraphEventRecordNodeSetEvent
    cuGraphEventWaitNodeGetEvent
    cuGraphEventWaitNodeSetEvent
    cuGraphExternalSemaphoresSignalNodeGetParams
    cuGraphExternalSemaphoresSignalNodeSetParams
    cuGraphExternalSemaphoresWaitNodeGetParams
    cuGraphExternalSemaphoresWaitNodeSetParams
    cuGraphHostNodeSetParams
    cuGraphKernelNodeCopyAttributes
    cuGraphKernelNodeGetAttribute
    cuGraphKernelNodeSetAttribute
    cuGraphMemAllocNodeGetParams
    cuGraphMemFreeNodeGetParams
    cuGraphMemcpyNodeGetParams
    cuGraphMemcpyNodeSetParams
    cuGraphMemsetNodeGetParams
    cuGraphMemsetNodeSetParams
    cuGraphNodeGetEnabled
    cuGraphNodeSetEnabled
    cuGraphNodeSetParams
    cuGraphReleaseUserObject
    cuGraphRemoveDependencies_v2
    cuGraphRetainUserObject
    cuUserObjectCreate
    cuUserObjectRelease
    cuUserObjectRetain
}
