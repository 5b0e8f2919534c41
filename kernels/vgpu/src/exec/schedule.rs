//! The order in which the blocks of a grid and their warps run.

use super::{Block, Broken, Grid, Ran};
use crate::options::Schedule;
use rayon::prelude::*;

/// Instructions that a warp runs before another warp gets its turn.
const QUANTUM: u32 = 4096;

/// Blocks that a random schedule runs at once.
const RESIDENT: usize = 4;

/// Turns after which a random schedule takes up one block more, in case those that run wait for it.
const PATIENCE: u64 = 1 << 12;

/// Runs all blocks on the current pool of threads.
pub(crate) fn run(grid: &Grid<'_>, schedule: Schedule) -> Result<Ran, Broken> {
    let blocks = grid.blocks();
    match schedule {
        Schedule::Forward => parallel(grid, |i| i, |left| left.trailing_zeros()),
        Schedule::Reversed => parallel(grid, |i| blocks - 1 - i, |left| left.ilog2()),
        Schedule::Random(seed) => random(grid, seed),
    }
}

/// Runs blocks in parallel, in the order that `number` gives. Of a block's warps that have yet to
/// get their turn, `pick` says which is next.
fn parallel(
    grid: &Grid<'_>,
    number: impl Fn(u64) -> u64 + Sync,
    pick: impl Fn(u32) -> u32 + Sync,
) -> Result<Ran, Broken> {
    (0..grid.blocks())
        .into_par_iter()
        .map_init(Block::new, |block, i| {
            block.start(grid, number(i));
            while block.left() != 0 {
                let mut round = block.left();
                while round != 0 {
                    let warp = pick(round);
                    block.turn(grid, warp, QUANTUM)?;
                    round &= !(1 << warp);
                }
            }
            Ok(block.ran())
        })
        .try_reduce(Ran::default, |a, b| Ok(a.and(b)))
}

/// Runs a few blocks at once, for a few instructions of a warp at a time.
fn random(grid: &Grid<'_>, seed: u64) -> Result<Ran, Broken> {
    let mut dice = Dice(seed);
    let mut waiting = 0..grid.blocks();
    let mut running: Vec<Block> = Vec::new();
    let mut free = Vec::new();
    let (mut ran, mut turns, mut room) = (Ran::default(), 0_u64, RESIDENT);
    loop {
        while running.len() < room
            && let Some(number) = waiting.next()
        {
            let mut block = free.pop().unwrap_or_else(Block::new);
            block.start(grid, number);
            running.push(block);
        }
        if running.is_empty() {
            return Ok(ran);
        }
        turns += 1;
        room += usize::from(turns.is_multiple_of(PATIENCE));
        let place = dice.below(running.len() as u32) as usize;
        let block = &mut running[place];
        let warp = dice.bit_of(block.left());
        let quantum = match dice.below(4) {
            0 | 1 => 1,
            2 => 1 + dice.below(16),
            _ => 1 + dice.below(256),
        };
        block.turn(grid, warp, quantum)?;
        if block.left() == 0 {
            let block = running.swap_remove(place);
            ran = ran.and(block.ran());
            free.push(block);
        }
    }
}

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u32) -> u32 {
        (((self.next() >> 32) * u64::from(limit)) >> 32) as u32
    }

    /// The place of one of the bits of `mask`, which is not 0.
    fn bit_of(&mut self, mut mask: u32) -> u32 {
        for _ in 0..self.below(mask.count_ones()) {
            mask &= mask - 1;
        }
        mask.trailing_zeros()
    }
}
