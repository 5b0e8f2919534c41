//! Which registers are live where.
//!
//! Lanes of a warp run different paths, yet a lane only ever writes its own part of a column, so
//! liveness along single paths is enough for sharing columns.

use super::draft::{Draft, Label, Register};
use std::ops::Range;

/// A register's first and last place in the code; none if it is never used.
pub(super) type Interval = Option<(u32, u32)>;

struct Block {
    code: Range<usize>,
    next: Vec<usize>,
    live_in: Set,
    live_out: Set,
}

/// For each register the stretch of code over which it may hold a value that is read later.
pub(super) fn intervals(
    drafts: &[Draft],
    registers: usize,
    place: impl Fn(Label) -> usize,
) -> Vec<Interval> {
    let mut blocks = blocks(drafts, registers, place);
    let mut changed = true;
    while changed {
        changed = false;
        for i in (0..blocks.len()).rev() {
            let mut live = std::mem::take(&mut blocks[i].live_out);
            for next in blocks[i].next.clone() {
                live.join(&blocks[next].live_in);
            }
            blocks[i].live_out = live.clone();
            for draft in drafts[blocks[i].code.clone()].iter().rev() {
                step_back(draft, &mut live);
            }
            changed |= blocks[i].live_in.join(&live);
        }
    }
    let mut intervals: Vec<Interval> = vec![None; registers];
    let mut touch = |register: Register, at: usize| {
        let at = at as u32;
        let interval = intervals[register as usize].get_or_insert((at, at));
        *interval = (interval.0.min(at), interval.1.max(at));
    };
    for block in &blocks {
        block
            .live_in
            .each(|register| touch(register, block.code.start));
        block
            .live_out
            .each(|register| touch(register, block.code.end - 1));
        for at in block.code.clone() {
            let draft = &drafts[at];
            draft
                .reads()
                .chain(draft.results.iter().copied())
                .for_each(|r| touch(r, at));
        }
    }
    intervals
}

fn step_back(draft: &Draft, live: &mut Set) {
    // A guarded instruction leaves some lanes as they were.
    if draft.guard.is_none() {
        draft
            .results
            .iter()
            .for_each(|&register| live.remove(register));
    }
    draft.reads().for_each(|register| live.insert(register));
}

fn blocks(drafts: &[Draft], registers: usize, place: impl Fn(Label) -> usize) -> Vec<Block> {
    let mut starts = vec![false; drafts.len() + 1];
    starts[0] = true;
    starts[drafts.len()] = true;
    for (at, draft) in drafts.iter().enumerate() {
        for &label in &draft.labels {
            starts[place(label)] = true;
        }
        starts[at + 1] |= !draft.labels.is_empty() || !draft.falls_through();
    }
    let bounds: Vec<usize> = (0..starts.len()).filter(|&at| starts[at]).collect();
    // The block that starts at a place.
    let mut block_at = vec![0; drafts.len() + 1];
    for (block, &at) in bounds.iter().enumerate() {
        block_at[at] = block;
    }
    let block = |bounds: &[usize]| {
        let (code, last) = (bounds[0]..bounds[1], &drafts[bounds[1] - 1]);
        let mut next: Vec<usize> = last.labels.iter().map(|&l| block_at[place(l)]).collect();
        if last.falls_through() && code.end < drafts.len() {
            next.push(block_at[code.end]);
        }
        Block {
            code,
            next,
            live_in: Set::new(registers),
            live_out: Set::new(registers),
        }
    };
    bounds.windows(2).map(block).collect()
}

/// A set of registers.
#[derive(Clone, Debug, Default)]
struct Set(Vec<u64>);

impl Set {
    fn new(registers: usize) -> Set {
        Set(vec![0; registers.div_ceil(64)])
    }

    fn insert(&mut self, register: Register) {
        self.0[register as usize / 64] |= 1 << (register % 64);
    }

    fn remove(&mut self, register: Register) {
        self.0[register as usize / 64] &= !(1 << (register % 64));
    }

    /// Adds the members of `other`; whether any was new.
    fn join(&mut self, other: &Set) -> bool {
        let mut grew = false;
        for (to, from) in self.0.iter_mut().zip(&other.0) {
            grew |= from & !*to != 0;
            *to |= from;
        }
        grew
    }

    fn each(&self, mut visit: impl FnMut(Register)) {
        for (i, &word) in self.0.iter().enumerate() {
            let mut word = word;
            while word != 0 {
                visit(i as Register * 64 + word.trailing_zeros());
                word &= word - 1;
            }
        }
    }
}
