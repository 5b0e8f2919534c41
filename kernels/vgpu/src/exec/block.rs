//! A block: its state and its warps, one of which runs at a time.

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
    /// Warps that have not ended, a bit each.
    left: u32,
    /// Those that have not moved since another one did.
    stuck: u32,
    /// Decoded instructions that all warps ran.
    steps: u64,
}

/// What a block ran.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ran {
    /// Lane instructions.
    pub(crate) lanes: u64,
    /// Warp instructions.
    pub(crate) warps: u64,
}

impl Ran {
    pub(crate) fn and(self, other: Ran) -> Ran {
        Ran {
            lanes: self.lanes + other.lanes,
            warps: self.warps + other.warps,
        }
    }
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
        let state = BlockState {
            index: [0; 3],
            shared: Vec::new(),
            barriers: Barriers::new(0),
            checks: None,
            tally: None,
        };
        Block {
            state,
            warps: Vec::new(),
            left: 0,
            stuck: 0,
            steps: 0,
        }
    }

    /// Makes ready to run the grid's block number `number`.
    pub(crate) fn start(&mut self, grid: &Grid<'_>, number: u64) {
        let threads: u32 = grid.block.iter().product();
        let count = threads.div_ceil(32);
        self.state.index = grid.position(number);
        self.state.shared.clear();
        self.state.shared.resize(grid.shared_end as usize, 0);
        self.state.barriers = Barriers::new(threads);
        if let Some(checks) = &grid.checks {
            let own = self.state.checks.get_or_insert_default();
            own.start(grid, checks, number);
        }
        self.warps.resize_with(count as usize, Warp::default);
        for (i, warp) in (0..count).zip(&mut self.warps) {
            let lanes = (threads - i * 32).min(32);
            warp.restart(grid, i, u32::MAX >> (32 - lanes));
        }
        if grid.tally.is_some() && self.state.tally.is_none() {
            self.state.tally = Some(Tally::new(grid.program.code.len()));
        }
        self.left = u32::MAX >> (32 - count);
        self.stuck = 0;
        self.steps = 0;
    }

    /// Warps that have not ended, a bit each.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// What all warps ran so far.
    pub(crate) fn ran(&self) -> Ran {
        let sum = |of: fn(&Warp) -> u64| self.warps.iter().map(of).sum();
        Ran {
            lanes: sum(|w| w.lanes),
            warps: sum(|w| w.counted),
        }
    }

    /// Runs a warp for at most `quantum` instructions.
    pub(crate) fn turn(
        &mut self,
        grid: &Grid<'_>,
        number: u32,
        quantum: u32,
    ) -> Result<(), Broken> {
        let Some(warp) = self.warps.get_mut(number as usize) else {
            return Ok(());
        };
        let before = warp.steps;
        let ran = warp.run(grid, &mut self.state, quantum);
        let moved = warp.steps - before;
        let pause = ran.map_err(|stop| self.broken(number, stop))?;
        self.steps += moved;
        if pause == Pause::Done {
            self.left &= !(1 << number);
            self.hand_in(grid);
        }
        // An end may let others go on, as an instruction may.
        if moved > 0 || pause == Pause::Done {
            self.stuck = 0;
        } else {
            self.stuck |= 1 << number;
        }
        let (kind, detail) = if self.left != 0 && self.stuck & self.left == self.left {
            (FaultKind::Deadlock, self.explain(grid))
        } else if self.steps > grid.step_limit {
            let detail = format!("{} warp instructions in one block", self.steps);
            (FaultKind::StepLimit, detail)
        } else {
            return Ok(());
        };
        let mut all = self.warps.iter();
        let waiting = all.find_map(|w| w.waits_at().map(|(pc, lane)| (w.threads.warp, pc, lane)));
        let (warp, pc, lane) = waiting.unwrap_or((0, 0, 0));
        let trouble = Trouble::new(kind, lane, detail);
        Err(self.broken(warp, Stop { pc, trouble }))
    }

    /// Adds what a block that has ended counted to the grid's tally.
    fn hand_in(&mut self, grid: &Grid<'_>) {
        if self.left == 0
            && let (Some(all), Some(own)) = (&grid.tally, &mut self.state.tally)
        {
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .absorb(own);
        }
    }

    fn broken(&self, warp: u32, Stop { pc, trouble }: Stop) -> Broken {
        Broken {
            pc,
            block: self.state.index,
            thread: warp * 32 + trouble.lane as u32,
            trouble,
        }
    }

    /// Who waits where in a block in which nobody can go on.
    fn explain(&self, grid: &Grid<'_>) -> String {
        let mut text = String::from("every warp waits and nobody can release one");
        text += &self.state.barriers.explain();
        for warp in &self.warps {
            if let Some((pc, _)) = warp.waits_at() {
                let line = grid.program.origins.get(pc as usize).map_or(0, |o| o.line);
                text += &format!("; warp {} waits at PTX line {line}", warp.threads.warp);
            }
        }
        text
    }
}
