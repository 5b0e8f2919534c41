//! Updates of an executable graph from a graph of the same shape.
#![allow(unsafe_code)]

use super::Driver;
use super::abi::{Out, UpdateInfo};
use super::code::Code;
use super::entry::enter;
use super::graph_exec::{ExecNode, GraphExec};
use super::table::Handle;
use super::work::Work;
use crate::memory::Kind;

/// What came of an update (`CU_GRAPH_EXEC_UPDATE_…`).
mod outcome {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const ERROR: u32 = 1;
    pub(super) const TOPOLOGY_CHANGED: u32 = 2;
    pub(super) const NODE_TYPE_CHANGED: u32 = 3;
    pub(super) const PARAMETERS_CHANGED: u32 = 5;
    pub(super) const UNSUPPORTED_FUNCTION_CHANGE: u32 = 7;
    pub(super) const ATTRIBUTES_CHANGED: u32 = 8;
}

/// Why a graph cannot be updated from another: the number of the new graph's node in question, and
/// of the dependency.
struct Mismatch {
    outcome: u32,
    node: Option<usize>,
    from: Option<usize>,
}

impl Mismatch {
    fn topology(node: Option<usize>, from: Option<usize>) -> Mismatch {
        Mismatch {
            outcome: outcome::TOPOLOGY_CHANGED,
            node,
            from,
        }
    }
}

/// For each node of the new graph, the one of the old graph in its place. Pairs are found as
/// documented for `cuGraphExecUpdate`: from the ends of both graphs backwards, edge by edge in the
/// order in which they were made.
fn pair(old: &GraphExec, new: &GraphExec) -> Result<Vec<usize>, Mismatch> {
    let mismatch = Mismatch::topology;
    if old.nodes.len() != new.nodes.len() {
        return Err(mismatch(None, None));
    }
    if let Some(&surplus) = new.sinks.get(old.sinks.len()) {
        return Err(mismatch(Some(surplus), None));
    }
    let mut partners = vec![None; new.nodes.len()];
    let mut taken = vec![false; old.nodes.len()];
    let ends = new.sinks.iter().zip(&old.sinks);
    let mut open: Vec<_> = ends.map(|(&new, &old)| (None, new, old)).collect();
    while let Some((dependent, at, partner)) = open.pop() {
        let (Some(paired), Some(taken)) = (partners.get_mut(at), taken.get_mut(partner)) else {
            continue;
        };
        if *paired == Some(partner) {
            continue;
        }
        if paired.is_some() || *taken {
            return Err(match dependent {
                Some(dependent) => mismatch(Some(dependent), Some(at)),
                None => mismatch(Some(at), None),
            });
        }
        (*paired, *taken) = (Some(partner), true);
        let (Some(now), Some(before)) = (new.nodes.get(at), old.nodes.get(partner)) else {
            continue;
        };
        if now.after.len() != before.after.len() {
            return Err(mismatch(Some(at), None));
        }
        let edges = now.after.iter().zip(&before.after);
        open.extend(edges.map(|(&new, &old)| (Some(at), new, old)));
    }
    partners
        .into_iter()
        .collect::<Option<_>>()
        .ok_or(mismatch(None, None))
}

impl Driver {
    /// Whether each side of a copy or fill is device memory.
    fn sides(&self, work: &Work) -> Option<[bool; 2]> {
        let device = |address| {
            let found = self.gpu.memory().find(address);
            found.is_some_and(|found| found.kind == Kind::Device)
        };
        match *work {
            Work::Copy { to, from, .. } => Some([device(to), device(from)]),
            Work::Write { to, .. } => Some([device(to), false]),
            Work::Read { from, .. } => Some([false, device(from)]),
            Work::Move { .. } => Some([false, false]),
            Work::Fill { to, .. } => Some([device(to); 2]),
            _ => None,
        }
    }

    /// Whether a node can take over another's work; if not, why.
    fn compare(&self, old: &ExecNode, new: &ExecNode) -> Result<(), u32> {
        if old.node_type != new.node_type {
            return Err(outcome::NODE_TYPE_CHANGED);
        }
        match (&old.work, &new.work) {
            (Work::Launch(old), Work::Launch(new)) => {
                if old.context != new.context {
                    return Err(outcome::UNSUPPORTED_FUNCTION_CHANGE);
                }
                if old.request.cooperative != new.request.cooperative {
                    return Err(outcome::ATTRIBUTES_CHANGED);
                }
            }
            (old, new) if self.sides(old) != self.sides(new) => {
                return Err(outcome::PARAMETERS_CHANGED);
            }
            _ => {}
        }
        Ok(())
    }

    /// The work of the new graph's nodes by the numbers of the old one's, if it fits there.
    fn replacements(
        &self,
        old: &GraphExec,
        new: GraphExec,
    ) -> Result<Vec<(usize, Work)>, Mismatch> {
        let partners = pair(old, &new)?;
        let mut replacements = Vec::new();
        for (at, (node, partner)) in new.nodes.into_iter().zip(partners).enumerate() {
            let Some(before) = old.nodes.get(partner) else {
                continue;
            };
            self.compare(before, &node).map_err(|outcome| Mismatch {
                outcome,
                node: Some(at),
                from: None,
            })?;
            replacements.push((partner, node.work));
        }
        Ok(replacements)
    }
}

/// Later launches have the new parameters; those that wait keep theirs.
#[unsafe(no_mangle)]
extern "C" fn cuGraphExecUpdate_v2(exec: Handle, graph: Handle, info: Out<UpdateInfo>) -> Code {
    let tell = |result, error_node, error_from_node| {
        info.set_if_wanted(UpdateInfo {
            result,
            error_node,
            error_from_node,
        });
    };
    enter(|driver| {
        tell(outcome::ERROR, 0, 0);
        let mut state = driver.state();
        let handles = state.graph(graph)?.nodes.clone();
        let new = GraphExec::new(0, state.exec_nodes(graph)?);
        match driver.replacements(state.exec(exec)?, new) {
            Ok(replacements) => {
                let old = state.execs.get_mut(exec, Code::InvalidValue)?;
                for (at, work) in replacements {
                    if let Some(node) = old.nodes.get_mut(at) {
                        node.work = work;
                    }
                }
                tell(outcome::SUCCESS, 0, 0);
                Ok(())
            }
            Err(mismatch) => {
                let handle = |number: Option<usize>| {
                    let handle = number.and_then(|number| handles.get(number));
                    handle.copied().unwrap_or(0)
                };
                let (node, from) = (handle(mismatch.node), handle(mismatch.from));
                tell(mismatch.outcome, node, from);
                Err(Code::GraphExecUpdateFailure)
            }
        }
    })
}
