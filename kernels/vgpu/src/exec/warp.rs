//! The loop that runs a warp.
#![allow(unsafe_code)]

use super::barrier::{Arrival, action};
use super::column::{Column, FULL, LANES, lanes_of};
use super::fragments::{Fragment, Fragments, State};
use super::{BlockState, Cx, Grid, Threads, Trouble};
use crate::code::{Flow, Inst};
use crate::fault::FaultKind;

/// Why a warp stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Its turn is over.
    Turn,
    /// Its lanes wait for other warps.
    Blocked,
    /// All lanes have exited.
    Done,
}

/// A broken rule and the instruction that broke it.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) pc: u32,
    pub(crate) trouble: Box<Trouble>,
}

/// A warp's state.
#[derive(Debug, Default)]
pub(crate) struct Warp {
    columns: Vec<Column>,
    predicates: Vec<u32>,
    pub(crate) threads: Threads,
    fragments: Fragments,
    /// Lanes that have not exited.
    live: u32,
    /// Where the next turn starts to look for a fragment.
    from: u32,
    /// Decoded instructions that it ran.
    pub(crate) steps: u64,
    /// PTX instructions that it ran, and the same for each lane.
    pub(crate) counted: u64,
    pub(crate) lanes: u64,
}

impl Warp {
    /// Makes the warp ready to run `grid`'s program as warp `index` of a block with `live` lanes.
    pub(crate) fn restart(&mut self, grid: &Grid<'_>, index: u32, live: u32) {
        let program = grid.program;
        self.columns.clear();
        self.columns.resize(program.columns, Column::ZERO);
        self.predicates.clear();
        self.predicates.resize(program.predicates, 0);
        self.predicates[usize::from(crate::code::TRUE)] = FULL;
        self.threads.local.clear();
        self.threads
            .local
            .resize(program.local_bytes as usize * LANES, 0);
        self.threads.copies.clear();
        self.threads.warp = index;
        self.fragments.restart(live);
        self.live = live;
        self.from = 0;
        self.steps = 0;
        self.counted = 0;
        self.lanes = 0;
    }

    /// The first instruction that a fragment waits at, with its first lane.
    pub(crate) fn waits_at(&self) -> Option<(u32, usize)> {
        let first = self.fragments.iter().min_by_key(|f| f.pc)?;
        Some((first.pc, first.mask.trailing_zeros() as usize))
    }

    /// Runs `quantum` instructions, or until nothing can run.
    pub(crate) fn run(
        &mut self,
        grid: &Grid<'_>,
        block: &mut BlockState,
        quantum: u32,
    ) -> Result<Pause, Stop> {
        let mut turn = Turn {
            cx: Cx {
                columns: self.columns.as_mut_ptr(),
                constants: grid.program.constants.as_ptr(),
                predicates: &mut self.predicates,
                grid,
                block,
                threads: &mut self.threads,
            },
            fragments: &mut self.fragments,
            live: &mut self.live,
            from: &mut self.from,
            now: Fragment {
                pc: 0,
                mask: 0,
                state: State::Ready,
            },
            stop: 0,
            quantum,
            steps: 0,
            counted: 0,
            lanes: 0,
        };
        let result = match grid.tally {
            Some(_) => turn.run::<true>(),
            None => turn.run::<false>(),
        };
        let pc = turn.now.pc;
        self.steps += u64::from(turn.steps);
        self.counted += turn.counted;
        self.lanes += turn.lanes;
        result.map_err(|trouble| Stop { pc, trouble })
    }
}

/// A warp while it runs.
struct Turn<'a> {
    cx: Cx<'a>,
    fragments: &'a mut Fragments,
    live: &'a mut u32,
    from: &'a mut u32,
    /// The running fragment.
    now: Fragment,
    /// Where it must look around for others.
    stop: u32,
    /// Instructions that the turn has.
    quantum: u32,
    steps: u32,
    /// PTX instructions, and the same for each lane.
    counted: u64,
    lanes: u64,
}

impl Turn<'_> {
    /// `COUNTING`: whether the block keeps a tally.
    fn run<const COUNTING: bool>(&mut self) -> Result<Pause, Box<Trouble>> {
        self.wake();
        let from = std::mem::take(self.from);
        if let Some(pause) = self.switch(from)? {
            return Ok(pause);
        }
        if from != 0 {
            // Others were starved: this one runs on alone for a turn.
            self.stop = u32::MAX;
        }
        let code = &self.cx.grid.program.code;
        loop {
            if self.now.pc >= self.stop {
                self.fragments
                    .park(self.now.pc, self.now.mask, State::Ready);
                if let Some(pause) = self.switch(0)? {
                    return Ok(pause);
                }
            }
            if self.steps >= self.quantum {
                return Ok(self.end_turn());
            }
            let inst = &code[self.now.pc as usize];
            let guard = self.cx.predicate(inst.guard) ^ inst.negate;
            let mask = self.now.mask & guard;
            self.steps += 1;
            if inst.flow == Flow::Lanes {
                self.count::<COUNTING>(inst, mask);
                if mask != 0 {
                    self.call(inst, mask)?;
                }
                self.now.pc += 1;
            } else if let Some(pause) = self.control::<COUNTING>(inst, mask)? {
                return Ok(pause);
            }
        }
    }

    /// Counts an instruction that goes ahead, which one that waits for others does only once.
    #[inline(always)]
    fn count<const COUNTING: bool>(&mut self, inst: &Inst, mask: u32) {
        if !inst.counts {
            return;
        }
        self.counted += 1;
        self.lanes += u64::from(if mask == FULL { 32 } else { mask.count_ones() });
        if COUNTING && let Some(tally) = &mut self.cx.block.tally {
            tally.executed(self.now.pc, mask);
        }
    }

    #[inline(always)]
    fn call(&mut self, inst: &Inst, mask: u32) -> Result<(), Box<Trouble>> {
        // SAFETY: the instruction was lowered for this handler on this machine.
        unsafe { (inst.handler)(&mut self.cx, inst, mask) }
    }

    fn control<const COUNTING: bool>(
        &mut self,
        inst: &Inst,
        mask: u32,
    ) -> Result<Option<Pause>, Box<Trouble>> {
        let may_wait = matches!(inst.flow, Flow::Together | Flow::Aligned | Flow::Barrier);
        if !may_wait || mask == 0 {
            self.count::<COUNTING>(inst, mask);
        }
        match inst.flow {
            Flow::Branch => {
                let rest = self.now.mask & !mask;
                if rest == 0 {
                    self.now.pc = inst.target;
                } else if mask == 0 {
                    self.now.pc += 1;
                } else {
                    let (low, high) = if inst.target <= self.now.pc {
                        ((inst.target, mask), (self.now.pc + 1, rest))
                    } else {
                        ((self.now.pc + 1, rest), (inst.target, mask))
                    };
                    self.fragments.park(high.0, high.1, State::Ready);
                    (self.now.pc, self.now.mask) = low;
                    self.stop = self.fragments.next_stop();
                }
                return Ok(None);
            }
            Flow::BranchTable => self.branch_table(inst, mask)?,
            Flow::Exit => {
                *self.live &= !mask;
                self.cx.block.barriers.exit(mask.count_ones());
                // Those who wait for the lanes that left must look again.
                for fragment in self.fragments.iter_mut() {
                    if fragment.state == State::Together {
                        fragment.state = State::Ready;
                    }
                }
                self.fragments
                    .park(self.now.pc + 1, self.now.mask & !mask, State::Ready);
            }
            Flow::Together | Flow::Aligned => {
                if mask == 0 || self.complete(inst, mask)? {
                    if mask != 0 {
                        self.count::<COUNTING>(inst, mask);
                        self.call(inst, mask)?;
                    }
                    self.now.pc += 1;
                    return Ok(None);
                }
                self.wait_together(mask);
            }
            Flow::Barrier => {
                if mask == 0 {
                    self.now.pc += 1;
                    return Ok(None);
                }
                if inst.imm & action::ALIGNED != 0 && mask != *self.live {
                    self.wait_together(mask);
                } else {
                    self.count::<COUNTING>(inst, mask);
                    self.arrive(inst, mask)?;
                    self.wake();
                }
            }
            Flow::Yield => {
                self.now.pc += 1;
                return Ok(Some(self.end_turn()));
            }
            Flow::Lanes => return Ok(None),
        }
        self.switch(0)
    }

    /// Parks the running fragment; the next turn starts with one behind it.
    fn end_turn(&mut self) -> Pause {
        let alone = self.fragments.next_stop() == u32::MAX;
        *self.from = if alone { 0 } else { self.now.pc + 1 };
        self.fragments
            .park(self.now.pc, self.now.mask, State::Ready);
        Pause::Turn
    }

    /// Takes up the next fragment, or says why there is none.
    fn switch(&mut self, from: u32) -> Result<Option<Pause>, Box<Trouble>> {
        if let Some(next) = self.fragments.pick(from) {
            self.now = next;
            self.stop = self.fragments.next_stop();
            return Ok(None);
        }
        if *self.live == 0 {
            return Ok(Some(Pause::Done));
        }
        if self.fragments.iter().any(|f| f.state != State::Together) {
            return Ok(Some(Pause::Blocked));
        }
        let waiting: Vec<_> = self.fragments.iter().copied().collect();
        let mut detail = String::from("no lane can go on");
        for fragment in &waiting {
            let line = self.cx.grid.program.origins[fragment.pc as usize].line;
            detail += &format!("; lanes {:#010x} wait at PTX line {line}", fragment.mask);
        }
        let lane = waiting
            .first()
            .map_or(0, |f| f.mask.trailing_zeros() as usize);
        self.now.pc = waiting.first().map_or(0, |f| f.pc);
        Err(Trouble::new(FaultKind::Divergence, lane, detail))
    }

    /// Lets lanes go on that wait at barriers that have opened.
    fn wake(&mut self) {
        for fragment in self.fragments.iter_mut() {
            let State::Barrier { id, phase } = fragment.state else {
                continue;
            };
            let Some((threads, held)) = self.cx.block.barriers.opened(id, phase) else {
                continue;
            };
            let warp = self.cx.threads.warp;
            if let Some((grid, block)) = self.cx.checks() {
                block.leave(grid, warp, (id, phase));
            }
            let inst = &self.cx.grid.program.code[fragment.pc as usize];
            let all = |yes: bool| if yes { FULL } else { 0 };
            match inst.imm & action::MASK {
                action::COUNT => self.cx.set(inst.d, fragment.mask, &[held; LANES]),
                action::AND => self
                    .cx
                    .set_predicate(inst.d, fragment.mask, all(held == threads)),
                action::OR => self.cx.set_predicate(inst.d, fragment.mask, all(held > 0)),
                _ => {}
            }
            fragment.pc += 1;
            fragment.state = State::Ready;
        }
    }

    /// Whether all lanes are there that the instruction speaks of.
    fn complete(&self, inst: &Inst, mask: u32) -> Result<bool, Box<Trouble>> {
        if inst.flow == Flow::Aligned {
            if *self.live != FULL {
                let detail = format!(
                    "an instruction for all 32 lanes of a warp that has {:#010x} left",
                    self.live
                );
                return Err(Trouble::new(FaultKind::Divergence, 0, detail));
            }
            return Ok(mask == FULL);
        }
        let members = self.cx.read::<u32>(inst.members);
        let mut needed = 0;
        for lane in lanes_of(mask) {
            let named = members[lane];
            if named >> lane & 1 == 0 {
                let detail = format!("lane {lane} is not in its own member mask {named:#010x}");
                return Err(Trouble::new(FaultKind::Divergence, lane, detail));
            }
            needed |= named;
        }
        Ok(needed & *self.live & !mask == 0)
    }

    /// Parks the lanes of `mask` until others join them; lanes that the guard excludes go on.
    fn wait_together(&mut self, mask: u32) {
        // A fragment that ran on alone comes to others without having looked around.
        let joined = self.fragments.join(self.now.pc);
        if joined != 0 {
            let mask = self.now.mask | joined;
            self.fragments.park(self.now.pc, mask, State::Ready);
            return;
        }
        self.fragments
            .park(self.now.pc + 1, self.now.mask & !mask, State::Ready);
        self.fragments.park(self.now.pc, mask, State::Together);
    }

    fn arrive(&mut self, inst: &Inst, mask: u32) -> Result<(), Box<Trouble>> {
        let lane = mask.trailing_zeros() as usize;
        let id = self.cx.read::<u32>(inst.a)[lane] as usize;
        let negate = if inst.imm & action::NEGATED != 0 {
            FULL
        } else {
            0
        };
        let arrival = Arrival {
            id,
            expected: self.cx.read::<u32>(inst.b)[lane],
            threads: mask.count_ones(),
            whole_warp: mask == *self.live,
            held: ((self.cx.predicate(inst.c) ^ negate) & mask).count_ones(),
        };
        let same = |column: u16| {
            let values = self.cx.read::<u32>(column);
            lanes_of(mask).all(|i| values[i] == values[lane])
        };
        if !same(inst.a) || !same(inst.b) {
            let detail = "lanes of a warp name different barriers";
            return Err(Trouble::new(FaultKind::IllegalInstruction, lane, detail));
        }
        let arrived = self.cx.block.barriers.arrive(arrival);
        let phase =
            arrived.map_err(|why| Trouble::new(FaultKind::IllegalInstruction, lane, why))?;
        let waits = inst.imm & action::MASK != action::ARRIVE;
        let goes_on = !waits || !arrival.whole_warp;
        let warp = self.cx.threads.warp;
        if let Some((grid, block)) = self.cx.checks() {
            block.arrive(grid, warp, (id, phase), goes_on);
        }
        let (pc, rest) = (self.now.pc, self.now.mask & !mask);
        self.fragments.park(pc + 1, rest, State::Ready);
        if !waits {
            self.fragments.park(pc + 1, mask, State::Ready);
        } else {
            self.fragments.park(pc, mask, State::Barrier { id, phase });
        }
        Ok(())
    }

    fn branch_table(&mut self, inst: &Inst, mask: u32) -> Result<(), Box<Trouble>> {
        let indices = *self.cx.read::<u32>(inst.a);
        let first = inst.list as usize;
        let table = &self.cx.grid.program.lists[first..first + inst.imm as usize];
        for lane in lanes_of(mask) {
            let Some(&target) = table.get(indices[lane] as usize) else {
                let detail = format!("entry {} of a table of {}", indices[lane], table.len());
                return Err(Trouble::new(FaultKind::IllegalInstruction, lane, detail));
            };
            self.fragments.park(target, 1 << lane, State::Ready);
        }
        self.fragments
            .park(self.now.pc + 1, self.now.mask & !mask, State::Ready);
        Ok(())
    }
}
