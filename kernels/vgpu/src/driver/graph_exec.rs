//! Executable graphs: launches.
#![allow(unsafe_code)]

use super::abi::{In, InstantiateParams, KernelNodeParams, Out};
use super::code::Code;
use super::entry::{enter, refuse};
use super::graph::NodeType;
use super::launch::Prepared;
use super::queue::{Operation, Ticket};
use super::stream::Named;
use super::table::Handle;
use super::trace::Kind;
use super::work::Work;
use super::{Driver, State};
use std::collections::{BinaryHeap, HashMap};

/// How graphs may be instantiated (`CUDA_GRAPH_INSTANTIATE_FLAG_…`).
mod flag {
    /// About nodes that allocate, which executable graphs have none of.
    pub(super) const AUTO_FREE_ON_LAUNCH: u64 = 1;
    pub(super) const UPLOAD: u64 = 2;
    pub(super) const DEVICE_LAUNCH: u64 = 4;
    /// About speed alone.
    const USE_NODE_PRIORITY: u64 = 8;
    pub(super) const ALL: u64 = AUTO_FREE_ON_LAUNCH | UPLOAD | DEVICE_LAUNCH | USE_NODE_PRIORITY;
}

/// What came of an instantiation (`CUDA_GRAPH_INSTANTIATE_…`).
mod instantiated {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const ERROR: u32 = 1;
}

/// An executable graph. It shares nothing with the graph that it was made from.
pub(super) struct GraphExec {
    flags: u64,
    pub(super) nodes: Vec<ExecNode>,
    /// The order in which the nodes join the queue. Of those that may be next it takes the one
    /// that was made last: a dependency that is missing shows, since the order of the program
    /// does not stand in for it.
    order: Vec<usize>,
    /// The nodes that no other depends on.
    pub(super) sinks: Vec<usize>,
    /// The end of its last launch; 0 before the first, which counts as done.
    last: Ticket,
}

/// A node of an executable graph.
pub(super) struct ExecNode {
    /// The graph's node that it was made from.
    origin: Handle,
    pub(super) context: Handle,
    /// The numbers of the nodes that it depends on, which are lower than its own.
    pub(super) after: Vec<usize>,
    pub(super) node_type: NodeType,
    pub(super) work: Work,
}

impl GraphExec {
    pub(super) fn new(flags: u64, nodes: Vec<ExecNode>) -> GraphExec {
        let mut dependents = vec![Vec::new(); nodes.len()];
        for (i, node) in nodes.iter().enumerate() {
            for &before in &node.after {
                if let Some(dependents) = dependents.get_mut(before) {
                    dependents.push(i);
                }
            }
        }
        let sinks = dependents.iter().enumerate();
        let sinks = sinks.filter(|(_, dependents)| dependents.is_empty());
        GraphExec {
            flags,
            sinks: sinks.map(|(i, _)| i).collect(),
            order: order(&nodes, &dependents),
            nodes,
            last: 0,
        }
    }
}

/// An order in which the nodes can run, with the highest numbers as early as possible.
fn order(nodes: &[ExecNode], dependents: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = nodes.iter().map(|node| node.after.len()).collect();
    let free = missing.iter().enumerate().filter(|(_, count)| **count == 0);
    let mut ready: BinaryHeap<usize> = free.map(|(i, _)| i).collect();
    let mut order = Vec::new();
    while let Some(next) = ready.pop() {
        order.push(next);
        for &dependent in dependents.get(next).into_iter().flatten() {
            if let Some(count) = missing.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    ready.push(dependent);
                }
            }
        }
    }
    order
}

impl State {
    pub(super) fn exec(&self, exec: Handle) -> Result<&GraphExec, Code> {
        self.execs.get(exec, Code::InvalidValue)
    }

    fn instantiate(&mut self, graph: Handle, flags: u64) -> Result<Handle, Code> {
        if flags & !flag::ALL != 0
            || flags & flag::DEVICE_LAUNCH != 0 && flags & flag::AUTO_FREE_ON_LAUNCH != 0
        {
            return Err(Code::InvalidValue);
        }
        let nodes = self.exec_nodes(graph)?;
        // What launches from the device need; no kernel here makes any.
        let on_device = |node: &ExecNode| node.node_type.runs_on_device();
        if flags & flag::DEVICE_LAUNCH != 0 && (nodes.is_empty() || !nodes.iter().all(on_device)) {
            return Err(Code::InvalidValue);
        }
        if nodes
            .iter()
            .any(|node| node.node_type == NodeType::MemAlloc)
        {
            self.last_fault = "a graph that allocates: not on the virtual GPU".to_owned();
            return Err(Code::NotSupported);
        }
        self.grant_memory()?;
        Ok(self.execs.insert(GraphExec::new(flags, nodes)))
    }

    /// What an executable graph takes over from a graph.
    pub(super) fn exec_nodes(&self, graph: Handle) -> Result<Vec<ExecNode>, Code> {
        let nodes = self.nodes_of(graph)?;
        let numbers = nodes.iter().enumerate();
        let numbers: HashMap<Handle, usize> =
            numbers.map(|(i, (handle, _))| (*handle, i)).collect();
        let taken = nodes.iter().map(|&(origin, node)| ExecNode {
            origin,
            context: node.context,
            after: node
                .after
                .iter()
                .filter_map(|each| numbers.get(each))
                .copied()
                .collect(),
            node_type: node.node_type,
            work: node.work.clone(),
        });
        Ok(taken.collect())
    }

    /// The launch that a graph's node has become in an executable graph.
    fn launch_in(&self, exec: Handle, node: Handle) -> Result<&Prepared, Code> {
        self.node(node)?;
        let mut nodes = self.exec(exec)?.nodes.iter();
        match nodes
            .find(|each| each.origin == node)
            .map(|found| &found.work)
        {
            Some(Work::Launch(launch)) => Ok(launch),
            _ => Err(Code::InvalidValue),
        }
    }

    /// Has a graph's nodes join the queue, behind the stream and its last launch.
    fn launch_graph(&mut self, exec: Handle, named: Named) -> Result<Ticket, Code> {
        let graph = self.exec(exec)?;
        for node in &graph.nodes {
            self.healthy(node.context)?;
            if let Work::Launch(launch) = &node.work {
                self.function(launch.function)?;
            }
        }
        let mut before = self.awaited(named.stream)?;
        before.push(graph.last);
        before.retain(|&ticket| !self.queue.is_done(ticket));
        let graph = self.execs.get_mut(exec, Code::InvalidValue)?;
        let mut tickets: HashMap<usize, Ticket> = HashMap::new();
        for &i in &graph.order {
            let Some(node) = graph.nodes.get(i) else {
                continue;
            };
            let after = if node.after.is_empty() {
                before.clone()
            } else {
                let tickets = node.after.iter().filter_map(|i| tickets.get(i));
                tickets.copied().collect()
            };
            let operation = Operation::new(node.context, after, node.work.clone());
            tickets.insert(i, self.queue.push(operation));
        }
        let sinks = graph.sinks.iter().filter_map(|i| tickets.get(i));
        before.extend(sinks);
        let end = Operation::new(named.context, before, Work::Nothing);
        graph.last = self.queue.push(end);
        let end = graph.last;
        self.streams
            .get_mut(named.stream, Code::InvalidHandle)?
            .last = end;
        Ok(end)
    }
}

impl Driver {
    /// Orders a stream's later work behind a graph's launches so far. All that there is to upload
    /// is there.
    fn upload(&self, exec: Handle, stream: Handle) -> Result<(), Code> {
        let named = self.stream(stream)?;
        let mut state = self.state();
        let last = state.exec(exec)?.last;
        state.refuse_capture(named.stream, Code::StreamCaptureUnsupported)?;
        let end = state.enqueue(named.stream, Some(last), Work::Nothing)?;
        drop(state);
        self.make_room(named.context, end);
        Ok(())
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphInstantiateWithFlags(exec: Out<Handle>, graph: Handle, flags: u64) -> Code {
    enter(|driver| {
        exec.check()?;
        if flags & flag::UPLOAD != 0 {
            return Err(Code::InvalidValue); // There is no stream to do it in.
        }
        exec.set(driver.state().instantiate(graph, flags)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphInstantiateWithParams(
    exec: Out<Handle>,
    graph: Handle,
    params: Out<InstantiateParams>,
) -> Code {
    enter(|driver| {
        exec.check()?;
        let wanted = params.get()?;
        let made = driver.state().instantiate(graph, wanted.flags);
        params.set(InstantiateParams {
            error_node: 0,
            result: match made {
                Ok(_) => instantiated::SUCCESS,
                Err(_) => instantiated::ERROR,
            },
            ..wanted
        })?;
        let made = made?;
        exec.set(made)?;
        if wanted.flags & flag::UPLOAD != 0 {
            driver.upload(made, wanted.upload)?;
        }
        Ok(())
    })
}

/// Launches that wait stay in the queue.
#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(exec: Handle) -> Code {
    enter(|driver| {
        let mut state = driver.state();
        state.execs.remove(exec, Code::InvalidValue).map(drop)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecGetFlags(exec: Handle, flags: Out<u64>) -> Code {
    enter(|driver| flags.set(driver.state().exec(exec)?.flags))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphUpload(exec: Handle, stream: Handle) -> Code {
    enter(|driver| driver.upload(exec, stream))
}

/// A launch in a stream that captures would be a node that is a graph: it is refused.
#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(exec: Handle, stream: Handle) -> Code {
    enter(|driver| {
        let named = driver.stream(stream)?;
        let mut state = driver.state();
        state.exec(exec)?;
        state.refuse_node(named.stream, "a graph launch")?;
        driver.trace.note(Kind::Graph, String::new);
        let end = state.launch_graph(exec, named)?;
        drop(state);
        driver.make_room(named.context, end);
        Ok(())
    })
}

/// Later launches have the new parameters; those that wait keep theirs.
#[unsafe(no_mangle)]
extern "C" fn cuGraphExecKernelNodeSetParams_v2(
    exec: Handle,
    node: Handle,
    params: In<KernelNodeParams>,
) -> Code {
    enter(|driver| {
        let cooperative = driver.state().launch_in(exec, node)?.request.cooperative;
        let launch = driver.prepare_node(&params.get(0)?, cooperative)?;
        let mut state = driver.state();
        let graph = state.execs.get_mut(exec, Code::InvalidValue)?;
        let found = graph.nodes.iter_mut().find(|each| each.origin == node);
        let found = found.ok_or(Code::InvalidValue)?;
        if found.context != launch.context {
            return Err(Code::InvalidValue);
        }
        found.work = Work::Launch(launch);
        Ok(())
    })
}

// Parameters of other nodes, which an update of the whole graph can change.
refuse! {
    cuGraphExecBatchMemOpNodeSetParams
    cuGraphExecChildGraphNodeSetParams
    cuGraphExecEventRecordNodeSetEvent
    cuGraphExecEventWaitNodeSetEvent
    cuGraphExecExternalSemaphoresSignalNodeSetParams
    cuGraphExecExternalSemaphoresWaitNodeSetParams
    cuGraphExecHostNodeSetParams
    cuGraphExecMemcpyNodeSetParams
    cuGraphExecMemsetNodeSetParams
    cuGraphExecNodeSetParams
}
