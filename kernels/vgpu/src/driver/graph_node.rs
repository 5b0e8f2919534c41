//! Nodes that are made or changed one by one, and what kernel and host nodes hold.
#![allow(unsafe_code)]

use super::abi::{HostNodeParams, In, KernelNodeParams, Out};
use super::code::Code;
use super::entry::enter;
use super::graph::Node;
use super::launch::{Prepared, Request};
use super::table::Handle;
use super::work::{HostPointer, Work};
use super::{Driver, State};

impl Driver {
    /// Checks what a kernel node is to launch, and copies the arguments. Whether the launch is
    /// cooperative is an attribute of the node and no part of it.
    pub(super) fn prepare_node(
        &self,
        params: &KernelNodeParams,
        cooperative: bool,
    ) -> Result<Prepared, Code> {
        if params.function == 0 && params.kernel != 0 {
            return Err(Code::NotSupported); // Libraries are.
        }
        let request = Request {
            grid: params.grid,
            block: params.block,
            dynamic_shared: params.shared,
            cooperative,
        };
        let arguments = (params.params, params.extras);
        let prepared = self.prepare(params.function, request, arguments)?;
        if params.context != 0 && params.context != prepared.context {
            return Err(Code::InvalidValue);
        }
        Ok(prepared)
    }

    /// Adds a node that depends on the listed ones to a graph.
    fn add(
        &self,
        graph: Handle,
        dependencies: (In<Handle>, usize),
        context: Handle,
        work: Work,
    ) -> Result<Handle, Code> {
        let mut state = self.state();
        let (nodes, count) = dependencies;
        let after = state.dependencies(graph, nodes, In::null(), count)?;
        state.add_node(Node::new(graph, context, after, work)?)
    }
}

impl State {
    /// The launch of a kernel node.
    pub(super) fn launch_of(&self, node: Handle) -> Result<&Prepared, Code> {
        match &self.node(node)?.work {
            Work::Launch(launch) => Ok(launch),
            _ => Err(Code::InvalidValue),
        }
    }
}

/// The addresses of a kernel's arguments.
fn addresses(launch: &Prepared) -> Vec<usize> {
    let base = launch.params.as_ptr().expose_provenance();
    let params = launch.kernel.params().iter();
    params.map(|param| base + param.offset).collect()
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphAddKernelNode_v2(
    node: Out<Handle>,
    graph: Handle,
    dependencies: In<Handle>,
    count: usize,
    params: In<KernelNodeParams>,
) -> Code {
    enter(|driver| {
        node.check()?;
        let launch = driver.prepare_node(&params.get(0)?, false)?;
        let context = launch.context;
        let work = Work::Launch(launch);
        node.set(driver.add(graph, (dependencies, count), context, work)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphAddEmptyNode(
    node: Out<Handle>,
    graph: Handle,
    dependencies: In<Handle>,
    count: usize,
) -> Code {
    enter(|driver| {
        node.check()?;
        let context = driver.current()?;
        node.set(driver.add(graph, (dependencies, count), context, Work::Nothing)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphAddHostNode(
    node: Out<Handle>,
    graph: Handle,
    dependencies: In<Handle>,
    count: usize,
    params: In<HostNodeParams>,
) -> Code {
    enter(|driver| {
        node.check()?;
        let context = driver.current()?;
        let HostNodeParams { function, data } = params.get(0)?;
        let work = Work::Call {
            function: function.ok_or(Code::InvalidValue)?,
            data: HostPointer(data),
        };
        node.set(driver.add(graph, (dependencies, count), context, work)?)
    })
}

/// The arguments stay where they are until the node is changed or destroyed.
#[unsafe(no_mangle)]
extern "C" fn cuGraphKernelNodeGetParams_v2(node: Handle, params: Out<KernelNodeParams>) -> Code {
    enter(|driver| {
        let mut state = driver.state();
        let launch = state.launch_of(node)?;
        let (function, context, request) = (launch.function, launch.context, launch.request);
        let arguments = addresses(launch);
        let entry = state.nodes.get_mut(node, Code::InvalidValue)?;
        if entry.arguments.is_empty() {
            entry.arguments = arguments;
        }
        params.set(KernelNodeParams {
            function,
            grid: request.grid,
            block: request.block,
            shared: request.dynamic_shared,
            params: In::from_address(entry.arguments.as_ptr().expose_provenance()),
            extras: In::null(),
            kernel: 0,
            context,
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphKernelNodeSetParams_v2(node: Handle, params: In<KernelNodeParams>) -> Code {
    enter(|driver| {
        let cooperative = driver.state().launch_of(node)?.request.cooperative;
        let launch = driver.prepare_node(&params.get(0)?, cooperative)?;
        let mut state = driver.state();
        let entry = state.nodes.get_mut(node, Code::InvalidValue)?;
        entry.context = launch.context;
        entry.work = Work::Launch(launch);
        entry.arguments.clear();
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphHostNodeGetParams(node: Handle, params: Out<HostNodeParams>) -> Code {
    enter(|driver| match driver.state().node(node)?.work {
        Work::Call { function, data } => params.set(HostNodeParams {
            function: Some(function),
            data: data.0,
        }),
        _ => Err(Code::InvalidValue),
    })
}
