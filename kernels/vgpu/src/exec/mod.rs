//! The interpreter: decoded instructions run a warp at a time.
//!
//! [`schedule`] runs the warps of a [`Block`] by turns, each in the loop of [`warp`]. That loop calls the
//! instruction's [`Handler`] on all active lanes, and carries out itself what concerns the lanes'
//! paths: branches, exits, barriers, and waiting for each other.
//!
//! All accesses to memory are located by [`ops::address`] and pass [`access`], where checks and
//! counters see them.
#![allow(
    clippy::needless_range_loop,
    reason = "a lane's number indexes several columns at once"
)]

pub(crate) mod access;
mod barrier;
mod block;
pub(crate) mod checks;
pub(crate) mod column;
mod fragments;
mod isa;
pub(crate) mod map;
mod mufu;
pub(crate) mod ops;
mod schedule;
mod space;
mod vector;
mod warp;

pub(crate) use barrier::action as barrier_action;
pub(crate) use block::{Block, Broken, Ran};
pub(crate) use isa::{Handler, Operation, VectorOperation, handler, vector_handler, wide_handler};
pub(crate) use schedule::run;
pub(crate) use space::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_START, SHARED_WINDOW};

use crate::code::Program;
use crate::count::Tally;
use crate::fault::FaultKind;
use crate::memory::Snapshot;
use barrier::Barriers;
use checks::{BlockChecks, GridChecks};
use column::Column;
use ops::async_copy::Copies;
use std::sync::Mutex;
use std::time::Instant;

/// What one grid's warps share.
#[derive(Debug)]
pub(crate) struct Grid<'a> {
    pub(crate) program: &'a Program,
    pub(crate) memory: Snapshot,
    pub(crate) params: &'a [u8],
    /// Blocks along x, y and z.
    pub(crate) grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub(crate) block: [u32; 3],
    /// Where dynamic shared memory ends.
    pub(crate) shared_end: u32,
    pub(crate) dynamic_shared: u32,
    pub(crate) multiprocessors: u32,
    /// Warp instructions that a block may run.
    pub(crate) step_limit: u64,
    pub(crate) start: Instant,
    /// Where blocks add what they counted, if anybody wants to know.
    pub(crate) tally: Option<Mutex<Tally>>,
    /// Whether anything below watches the grid's accesses.
    pub(crate) watched: bool,
    pub(crate) checks: Option<GridChecks<'a>>,
}

impl Grid<'_> {
    /// How many blocks it has.
    pub(crate) fn blocks(&self) -> u64 {
        self.grid.iter().map(|&side| u64::from(side)).product()
    }

    /// The position of a block by its number.
    pub(crate) fn position(&self, number: u64) -> [u32; 3] {
        let [x, y, _] = self.grid.map(u64::from);
        [number % x, number / x % y, number / x / y].map(|at| at as u32)
    }
}

/// What one block's warps share.
#[derive(Debug)]
pub(crate) struct BlockState {
    /// Position in the grid.
    pub(crate) index: [u32; 3],
    pub(crate) shared: Vec<u8>,
    pub(crate) barriers: Barriers,
    /// What the block did, where that is counted.
    pub(crate) tally: Option<Tally>,
    /// Where the grid has them.
    pub(crate) checks: Option<Box<BlockChecks>>,
}

/// What a warp's lanes own besides registers.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    /// Number of the warp in its block.
    pub(crate) warp: u32,
    /// Local memory, one lane after the other.
    pub(crate) local: Vec<u8>,
    /// Copies begun by `cp.async`.
    pub(crate) copies: Copies,
    /// The allocation that the last access to global memory found.
    pub(crate) hint: usize,
}

/// What a handler works on.
pub(crate) struct Cx<'a> {
    columns: *mut Column,
    constants: *const Column,
    predicates: &'a mut [u32],
    pub(crate) grid: &'a Grid<'a>,
    pub(crate) block: &'a mut BlockState,
    pub(crate) threads: &'a mut Threads,
}

/// A broken rule, before it is known where.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: FaultKind,
    pub(crate) lane: usize,
    pub(crate) detail: String,
    pub(crate) other: Option<Other>,
}

/// Another thread that had part in it.
#[derive(Debug)]
pub(crate) struct Other {
    /// Number of its block in the grid.
    pub(crate) block: u64,
    /// Its number in its block.
    pub(crate) thread: u32,
    /// The instruction, if it is known.
    pub(crate) pc: Option<u32>,
}

impl Cx<'_> {
    /// The checks of the grid and of the block, where there are any.
    pub(crate) fn checks(&mut self) -> Option<(&GridChecks<'_>, &mut BlockChecks)> {
        let block = self.block.checks.as_deref_mut()?;
        Some((self.grid.checks.as_ref()?, block))
    }
}

impl Trouble {
    #[cold]
    pub(crate) fn new(kind: FaultKind, lane: usize, detail: impl Into<String>) -> Box<Trouble> {
        Box::new(Trouble {
            kind,
            lane,
            detail: detail.into(),
            other: None,
        })
    }
}

/// What a handler returns: boxed, so that success costs a single register.
pub(crate) type Outcome = Result<(), Box<Trouble>>;

/// The handler of instructions that the warp's loop carries out itself.
pub(crate) struct Nothing;

impl Operation for Nothing {
    #[inline(always)]
    fn run(_: &mut Cx<'_>, _: &crate::code::Inst, _: u32) -> Outcome {
        Ok(())
    }
}
