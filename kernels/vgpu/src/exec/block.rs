//! The loop that runs a block's warps by turns.

use super::barrier::Barriers;
use super::warp::{Pause, Stop, Warp};
use super::{BlockState, Grid, Trouble};
use crate::count::Tally;
use crate::fault::FaultKind;
use std::sync::PoisonError;

/// A worker's block, whose memory serves one block of a grid after the other.
#[derive(Debug)]
pub(crate) struct Block {
    state: BlockState,
    warps: Vec<Warp>,
}

/// What a block ran.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ran {
    /// Lane instructions.
    pub(crate) lanes: u64,
    /// Warp instructions.
    pub(crate) warps: u64,
}

/// A broken rule and who broke it.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) pc: u32,
    pub(crate) block: [u32; 3],
    /// Number of the thread in its block.
    pub(crate) thread: u32,
    pub(crate) trouble: Box<Trouble>,
}

impl Block {
    pub(crate) fn new() -> Block {
        let barriers = Barriers::new(0);
        let state = BlockState {
            index: [0; 3],
            shared: Vec::new(),
            barriers,
            tally: None,
        };
        Block {
            state,
            warps: Vec::new(),
        }
    }

    /// Runs the block at `index` to its end.
    pub(crate) fn run(&mut self, grid: &Grid<'_>, index: [u32; 3]) -> Result<Ran, Broken> {
        let threads: u32 = grid.block.iter().product();
        let count = threads.div_ceil(32);
        self.state.index = index;
        self.state.shared.clear();
        self.state.shared.resize(grid.shared_end as usize, 0);
        self.state.barriers = Barriers::new(threads);
        self.warps.resize_with(count as usize, Warp::default);
        for (i, warp) in (0..count).zip(&mut self.warps) {
            let lanes = (threads - i * 32).min(32);
            warp.restart(grid, i, u32::MAX >> (32 - lanes));
        }
        if grid.tally.is_some() && self.state.tally.is_none() {
            self.state.tally = Some(Tally::new(grid.program.code.len()));
        }
        self.turns(grid)?;
        if let (Some(all), Some(own)) = (&grid.tally, &mut self.state.tally) {
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .absorb(own);
        }
        let sum = |of: fn(&Warp) -> u64| self.warps.iter().map(of).sum();
        Ok(Ran {
            lanes: sum(|w| w.lanes),
            warps: sum(|w| w.counted),
        })
    }

    fn turns(&mut self, grid: &Grid<'_>) -> Result<(), Broken> {
        let index = self.state.index;
        let broken = |warp: u32, Stop { pc, trouble }: Stop| Broken {
            pc,
            block: index,
            thread: warp * 32 + trouble.lane as u32,
            trouble,
        };
        loop {
            let (mut moved, mut left, mut steps) = (false, false, 0);
            for warp in &mut self.warps {
                let before = warp.steps;
                let number = warp.threads.warp;
                let pause = warp
                    .run(grid, &mut self.state)
                    .map_err(|stop| broken(number, stop))?;
                moved |= warp.steps != before;
                left |= pause != Pause::Done;
                steps += warp.steps;
            }
            if !left {
                return Ok(());
            }
            let waiting = || {
                let mut all = self.warps.iter();
                all.find_map(|w| w.waits_at().map(|(pc, lane)| (w.threads.warp, pc, lane)))
            };
            let (kind, detail) = if !moved {
                let why = self.state.barriers.explain();
                (
                    FaultKind::Deadlock,
                    format!("every warp waits and nobody can release one{why}"),
                )
            } else if steps > grid.step_limit {
                (
                    FaultKind::StepLimit,
                    format!("{steps} warp instructions in one block"),
                )
            } else {
                continue;
            };
            let (warp, pc, lane) = waiting().unwrap_or((0, 0, 0));
            return Err(broken(
                warp,
                Stop {
                    pc,
                    trouble: Trouble::new(kind, lane, detail),
                },
            ));
        }
    }
}
