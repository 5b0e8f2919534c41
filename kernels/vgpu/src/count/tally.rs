//! Counts in the making, by instruction.

use super::banks::{self, Wavefronts};
use super::sectors::{self, Footprint, Requests};
use super::{Class, merge};
use crate::code::Program;
use crate::exec::access::{Access, Action, Space};
use serde::Serialize;

/// How often an instruction ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Executed {
    /// Once for each warp, or part of one that had diverged; active lanes or not.
    pub warps: u64,
    /// Once for each active lane.
    pub lanes: u64,
}

merge!(Executed: warps, lanes);

/// What a request does to global memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Load,
    Store,
    Atomic,
}

/// The counts of one decoded instruction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) executed: Executed,
    /// What its requests to global memory do, once there were any.
    pub(crate) direction: Option<Direction>,
    pub(crate) global: Requests,
    pub(crate) shared: Wavefronts,
}

/// The counts of a grid, or of a block of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By program counter.
    pub(crate) entries: Vec<Entry>,
    pub(crate) read: Footprint,
    pub(crate) written: Footprint,
}

impl Tally {
    /// For a program of so many instructions.
    pub(crate) fn new(instructions: usize) -> Tally {
        Tally {
            entries: vec![Entry::default(); instructions],
            ..Tally::default()
        }
    }

    /// An instruction ran on the lanes of a mask.
    #[inline]
    pub(crate) fn executed(&mut self, pc: u32, mask: u32) {
        if let Some(entry) = self.entries.get_mut(pc as usize) {
            entry.executed.warps += 1;
            entry.executed.lanes += u64::from(mask.count_ones());
        }
    }

    /// A warp's instruction asked for memory.
    pub(crate) fn access(&mut self, program: &Program, access: &Access<'_>) {
        let Some(entry) = self.entries.get_mut(access.pc as usize) else {
            return;
        };
        let kind = program.origins.get(access.pc as usize).map(|at| at.kind);
        let direction = match access.action {
            // Copies count when they are asked for.
            Action::LateRead | Action::LateWrite => return,
            Action::Read | Action::BeginRead => Direction::Load,
            Action::Write | Action::BeginWrite => Direction::Store,
            Action::Atomic => Direction::Atomic,
        };
        match access.space {
            Space::Shared => {
                let addresses = access.addresses.map(|address| address as u32);
                entry.shared += banks::count(access.mask, &addresses, access.bytes as usize);
            }
            // Constants have a cache of their own.
            Space::Global if kind.is_none_or(|kind| kind.class != Class::Constant) => {
                let (read, written) = (&mut self.read, &mut self.written);
                entry.direction = Some(direction);
                entry.global += sectors::count(access, |first, last| {
                    if direction != Direction::Store {
                        read.add(first, last);
                    }
                    if direction != Direction::Load {
                        written.add(first, last);
                    }
                });
            }
            Space::Global | Space::Local | Space::Param => {}
        }
    }

    /// Adds the counts of another tally of the program and empties it.
    pub(crate) fn absorb(&mut self, other: &mut Tally) {
        for (to, from) in self.entries.iter_mut().zip(&mut other.entries) {
            let from = std::mem::take(from);
            to.executed += from.executed;
            to.direction = to.direction.or(from.direction);
            to.global += from.global;
            to.shared += from.shared;
        }
        self.read.absorb(&mut other.read);
        self.written.absorb(&mut other.written);
    }
}
