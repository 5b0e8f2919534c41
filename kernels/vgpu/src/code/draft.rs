//! Instructions over virtual registers.

use super::{Flow, Origin, Strength};
use crate::exec::{Handler, Nothing, handler};

/// A virtual register.
pub(super) type Register = u32;

/// A place in the code.
pub(super) type Label = u32;

/// What an instruction reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Register(Register),
    Constant32(u32),
    Constant64(u64),
}

/// An instruction before its registers have columns.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) handler: Handler,
    pub(super) flow: Flow,
    pub(super) guard: Option<(Register, bool)>,
    /// Results: `d`, `e`, or a list.
    pub(super) results: Vec<Register>,
    /// Sources: `a`, `b`, `c`, or a list behind the results.
    pub(super) sources: Vec<Source>,
    /// Whether the operands also go into [`Program::lists`](super::Program::lists).
    pub(super) listed: bool,
    pub(super) members: Option<Source>,
    pub(super) imm: u64,
    pub(super) strength: Strength,
    /// Where it may go: one label for a branch, more for a table.
    pub(super) labels: Vec<Label>,
    pub(super) origin: Origin,
    /// Whether it is the last step of a PTX instruction.
    pub(super) counts: bool,
}

impl Draft {
    /// An instruction that computes.
    pub(super) fn compute(handler: Handler, results: Vec<Register>, sources: Vec<Source>) -> Draft {
        Draft {
            handler,
            flow: Flow::Lanes,
            guard: None,
            results,
            sources,
            listed: false,
            members: None,
            imm: 0,
            strength: Strength::Weak,
            labels: Vec::new(),
            origin: Origin::default(),
            counts: false,
        }
    }

    /// An instruction that the warp's loop carries out.
    pub(super) fn control(flow: Flow) -> Draft {
        Draft {
            flow,
            ..Draft::compute(handler::<Nothing>(), Vec::new(), Vec::new())
        }
    }

    pub(super) fn imm(self, imm: u64) -> Draft {
        Draft { imm, ..self }
    }

    pub(super) fn strength(self, strength: Strength) -> Draft {
        Draft { strength, ..self }
    }

    pub(super) fn flow(self, flow: Flow) -> Draft {
        Draft { flow, ..self }
    }

    pub(super) fn members(self, members: Source) -> Draft {
        Draft {
            members: Some(members),
            flow: Flow::Together,
            ..self
        }
    }

    pub(super) fn listed(self) -> Draft {
        Draft {
            listed: true,
            ..self
        }
    }

    /// Registers that it reads, the guard included.
    pub(super) fn reads(&self) -> impl Iterator<Item = Register> + '_ {
        let sources = self.sources.iter().chain(&self.members);
        let registers = sources.filter_map(|source| match source {
            Source::Register(register) => Some(*register),
            _ => None,
        });
        registers.chain(self.guard.map(|(register, _)| register))
    }

    /// Whether the instruction behind it can be reached through it.
    pub(super) fn falls_through(&self) -> bool {
        let leaves = matches!(self.flow, Flow::Branch | Flow::BranchTable | Flow::Exit);
        !leaves || self.guard.is_some()
    }
}
