//! Checks of what accesses hardware lets pass: races, copies that nobody waited for, and bytes that
//! nobody wrote.
//!
//! Each word of memory remembers who wrote and who read it last, and each warp how far it knows
//! other warps to be: an access to bytes that another wrote, or a write to bytes that another read,
//! at a time that the warp does not know to be over is a race. Barriers, fences with strong
//! accesses (PTX ISA 8.8) and `bar.warp.sync` pass such knowledge on. In their order:
//!
//! - [`record`] is what a word remembers, [`clock`] what a warp knows.
//! - [`shared`] checks the block's memory, [`global`] the device's.
//!
//! Nothing is reported that is not a race, but some races are missed: a word remembers one writer,
//! and of readers those that read the same bytes at the same time (in device memory one of them);
//! what one lane fences or waits for counts for its whole warp; a strong write passes on what
//! earlier ones to its address did; and a relaxed access is ordered by any later fence.

mod clock;
mod global;
mod record;
mod shared;

use super::access::{Access, Action, Space};
use super::column::LANES;
use super::{Cx, Grid, Other, Outcome, Trouble};
use crate::code::{Inst, Strength};
use crate::fault::FaultKind;
use clock::{Flag, Knowledge};
use record::{Actor, Record};
use shared::SharedCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// How many times a block takes at once.
const CHUNK: u32 = 64;

/// The next time that no warp of a device has had. The first ones are never given.
#[derive(Debug)]
pub(crate) struct Times(AtomicU32);

impl Times {
    pub(crate) fn new() -> Times {
        Times(AtomicU32::new(CHUNK))
    }

    /// The first time that a launch can get. `forget` is called before times start again.
    pub(crate) fn begin(&self, forget: impl FnOnce()) -> u32 {
        if self.0.load(Relaxed) > u32::MAX / 2 {
            forget();
            self.0.store(CHUNK, Relaxed);
        }
        self.0.load(Relaxed)
    }

    /// The next ones; the last of all again and again, should they ever run out in a launch.
    fn take(&self) -> Range<u32> {
        let take = |next: u32| Some(next.saturating_add(CHUNK));
        let first = self.0.fetch_update(Relaxed, Relaxed, take);
        let first = first.unwrap_or_else(|next| next);
        first..first.saturating_add(CHUNK)
    }
}

/// What the checks of a grid's blocks share.
#[derive(Debug)]
pub(crate) struct GridChecks<'a> {
    times: &'a Times,
    /// The launch's first time: older records are another launch's.
    first: u32,
    /// Which block has the times from a first one on, ascending.
    owners: Mutex<Vec<(u32, u64)>>,
    /// What was handed on through device memory.
    flags: Mutex<HashMap<u64, Flag>>,
}

impl<'a> GridChecks<'a> {
    pub(crate) fn new(times: &'a Times, first: u32) -> GridChecks<'a> {
        GridChecks {
            times,
            first,
            owners: Mutex::default(),
            flags: Mutex::default(),
        }
    }

    fn take(&self, block: u64) -> Range<u32> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let times = self.times.take();
        owners.push((times.start, block));
        times
    }

    /// The block that had a time, if it is one of this launch.
    fn owner(&self, time: u32) -> Option<u64> {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let above = owners.partition_point(|&(first, _)| first <= time);
        let &(first, block) = owners.get(above.checked_sub(1)?)?;
        (time - first < CHUNK).then_some(block)
    }
}

/// The checks of one block's accesses. They serve one block of a grid after the other.
#[derive(Debug, Default)]
pub(crate) struct BlockChecks {
    /// The block's number in the grid.
    block: u64,
    /// The block's first time: older records in its own memory are another block's.
    first: u32,
    /// Times that it has to give.
    left: Range<u32>,
    /// Those that it took before.
    taken: Vec<Range<u32>>,
    warps: Vec<Knowledge>,
    /// When the copy began whose end is being checked.
    pub(crate) copy_began: u32,
    barriers: Vec<Meeting>,
    /// A cell for each word of shared memory.
    shared: Vec<SharedCell>,
    /// What was handed on through shared memory.
    flags: HashMap<u64, Flag>,
}

/// What the warps that arrive at a barrier know.
#[derive(Debug, Default)]
struct Meeting {
    /// The barrier's phase that they arrive in.
    phase: u64,
    arriving: Knowledge,
    /// What those of the phase before knew, and the time at which they went on.
    opened: Knowledge,
    time: u32,
}

impl BlockChecks {
    /// Makes ready for the grid's block number `block`.
    pub(crate) fn start(&mut self, grid: &Grid<'_>, checks: &GridChecks<'_>, block: u64) {
        let threads: u32 = grid.block.iter().product();
        self.block = block;
        self.left = checks.take(block);
        self.first = self.left.start;
        self.taken.clear();
        let time = self.next(checks);
        self.warps.clear();
        self.warps
            .resize_with(threads.div_ceil(32) as usize, Knowledge::default);
        for (warp, knowledge) in self.warps.iter_mut().enumerate() {
            knowledge.now.warps[warp] = time;
        }
        self.barriers.clear();
        self.barriers
            .resize_with(super::barrier::BARRIERS, Meeting::default);
        self.shared
            .resize(grid.shared_end.div_ceil(4) as usize, SharedCell::default());
        self.flags.clear();
    }

    /// A time that nobody had.
    fn next(&mut self, checks: &GridChecks<'_>) -> u32 {
        if self.left.is_empty() {
            let taken = checks.take(self.block);
            self.taken.push(taken.clone());
            self.left = taken;
        }
        self.left.next().unwrap_or(u32::MAX)
    }

    /// Starts a new time of a warp.
    fn advance(&mut self, checks: &GridChecks<'_>, warp: u32) {
        let time = self.next(checks);
        self.warps[warp as usize].now.warps[warp as usize] = time;
    }

    /// `bar.warp.sync`.
    pub(crate) fn join_lanes(&mut self, checks: &GridChecks<'_>, warp: u32) {
        self.advance(checks, warp);
    }

    /// A fence by a warp.
    pub(crate) fn fence(&mut self, checks: &GridChecks<'_>, warp: u32, strength: Strength) {
        self.warps[warp as usize].fence(strength);
        self.advance(checks, warp);
    }

    /// Lanes of a warp arrive at a barrier in its `phase`. Those that go on, because they do not
    /// wait or others of the warp do not, are at a new time from then on.
    pub(crate) fn arrive(
        &mut self,
        checks: &GridChecks<'_>,
        warp: u32,
        (barrier, phase): (usize, u64),
        goes_on: bool,
    ) {
        self.turn(checks, barrier, phase);
        let meeting = &mut self.barriers[barrier];
        meeting.arriving.join(&self.warps[warp as usize]);
        if goes_on {
            self.advance(checks, warp);
        }
    }

    /// Lanes of a warp leave a barrier that they arrived at in its `phase`.
    pub(crate) fn leave(
        &mut self,
        checks: &GridChecks<'_>,
        warp: u32,
        (barrier, phase): (usize, u64),
    ) {
        self.turn(checks, barrier, phase + 1);
        let meeting = &self.barriers[barrier];
        let knowledge = &mut self.warps[warp as usize];
        knowledge.join(&meeting.opened);
        let time = &mut knowledge.now.warps[warp as usize];
        *time = meeting.time.max(*time);
    }

    /// Notes that a barrier has opened before `phase`.
    fn turn(&mut self, checks: &GridChecks<'_>, barrier: usize, phase: u64) {
        if self.barriers[barrier].phase < phase {
            let time = self.next(checks);
            let meeting = &mut self.barriers[barrier];
            meeting.opened = std::mem::take(&mut meeting.arriving);
            meeting.phase = phase;
            meeting.time = time;
        }
    }

    /// The time that a warp is at.
    pub(crate) fn time(&self, warp: u32) -> u32 {
        self.warps[warp as usize].now.warps[warp as usize]
    }

    fn actor(&self, warp: u32, pc: u32) -> Actor {
        Actor {
            time: self.time(warp),
            pc,
            warp,
        }
    }

    /// Whether a record of this block is of something that `actor`'s `lane` comes after.
    #[inline]
    fn after(&self, actor: Actor, lane: usize, record: Record) -> bool {
        if record.warp() == actor.warp {
            record.time() < actor.time || record.lane() == lane
        } else {
            let known = &self.warps[actor.warp as usize].now.warps;
            record.time() <= known[record.warp() as usize]
        }
    }

    /// Whether a record of this block says more than that of a strong write after it would: a weak
    /// write that a warp does not know of yet races with strong ones as well.
    #[cold]
    fn keeps(&self, cx: &Cx<'_>, record: Record) -> bool {
        let code = &cx.grid.program.code;
        let inst = record.pc().and_then(|pc| code.get(pc as usize));
        let weak = inst.is_some_and(|inst| inst.strength == Strength::Weak);
        let known = |w: &Knowledge| record.time() <= w.now.warps[record.warp() as usize];
        let own = &self.warps[record.warp() as usize].now.warps[record.warp() as usize];
        let to_all = self.warps.iter().all(known) && record.time() < *own;
        weak && !to_all
    }

    /// Checks an access that is about to be made.
    pub(crate) fn access(
        &mut self,
        cx: &mut Cx<'_>,
        checks: &GridChecks<'_>,
        inst: &Inst,
        access: &Access<'_>,
    ) -> Outcome {
        match access.space {
            Space::Shared => self.shared(cx, inst, access)?,
            Space::Global => self.global(cx, checks, inst, access)?,
            Space::Local | Space::Param => return Ok(()),
        }
        let writes = matches!(access.action, Action::Write | Action::Atomic);
        if inst.strength != Strength::Weak && writes {
            self.publish(cx, checks, access);
        }
        Ok(())
    }

    /// Hands on what the warp fenced, through the words that it is about to write.
    fn publish(&mut self, cx: &Cx<'_>, checks: &GridChecks<'_>, access: &Access<'_>) {
        let knowledge = &self.warps[cx.threads.warp as usize];
        if !knowledge.has_fenced() {
            return;
        }
        let mut outer;
        let flags = if access.space == Space::Shared {
            &mut self.flags
        } else {
            outer = checks.flags.lock().unwrap_or_else(PoisonError::into_inner);
            &mut *outer
        };
        for address in addresses(access) {
            knowledge.publish(self.block, flags.entry(address).or_default());
        }
    }

    /// Notes what others handed on through words that the warp has read.
    pub(crate) fn obtain(&mut self, warp: u32, checks: &GridChecks<'_>, access: &Access<'_>) {
        let outer;
        let flags = if access.space == Space::Shared {
            &self.flags
        } else {
            outer = checks.flags.lock().unwrap_or_else(PoisonError::into_inner);
            &*outer
        };
        if flags.is_empty() {
            return;
        }
        for address in addresses(access) {
            if let Some(flag) = flags.get(&address) {
                self.warps[warp as usize].see(self.block, flag);
            }
        }
    }
}

/// The addresses of an access, repetitions that follow each other left out.
fn addresses(access: &Access<'_>) -> impl Iterator<Item = u64> {
    let mut last = None;
    super::column::lanes_of(access.mask)
        .map(|lane| access.addresses[lane])
        .filter(move |&address| last.replace(address) != Some(address))
}

/// Whether an action reads what is there.
fn reads(action: Action) -> bool {
    matches!(
        action,
        Action::Read | Action::Atomic | Action::BeginRead | Action::LateRead
    )
}

/// Whether an action writes.
fn writes(action: Action) -> bool {
    !matches!(action, Action::Read | Action::BeginRead | Action::LateRead)
}

/// Whether two accesses are strong enough for each other, so that they cannot race.
fn strong(cx: &Cx<'_>, inst: &Inst, other: Record, same_block: bool) -> bool {
    let Some(pc) = other.pc() else {
        return true;
    };
    let needed = if same_block {
        Strength::Block
    } else {
        Strength::Device
    };
    let other = cx.grid.program.code.get(pc as usize);
    inst.strength >= needed && other.is_none_or(|other| other.strength >= needed)
}

/// Whether two lanes of one store write the same bytes to the same place.
fn same_store(cx: &Cx<'_>, inst: &Inst, access: &Access<'_>, lane: usize, other: usize) -> bool {
    let both = 1 << lane | 1 << other;
    let plain = access.action == Action::Write && inst.flow == crate::code::Flow::Lanes;
    if !plain || access.mask & both != both || access.addresses[lane] != access.addresses[other] {
        return false;
    }
    let count = (inst.flags() & 255) as usize;
    let bits = u64::MAX >> (64 - 8 * (access.bytes as usize / count.max(1)).clamp(1, 8));
    (0..count).all(|element| {
        let slot = if count == 1 {
            inst.b
        } else {
            cx.listed(inst, 1 + element)
        };
        let value = |lane: usize| match bits {
            u64::MAX => cx.read::<u64>(slot)[lane],
            _ => u64::from(cx.read::<u32>(slot)[lane]) & bits,
        };
        value(lane) == value(other)
    })
}

/// The report of an access that `other` made impossible.
#[cold]
fn conflict(
    kind: FaultKind,
    lane: usize,
    detail: String,
    block: u64,
    other: Record,
) -> Box<Trouble> {
    let mut trouble = Trouble::new(kind, lane, detail);
    trouble.other = Some(Other {
        block,
        thread: other.warp() * LANES as u32 + other.lane() as u32,
        pc: other.pc(),
    });
    trouble
}

/// What an action is called.
fn verb(action: Action) -> &'static str {
    match action {
        Action::Read => "a read",
        Action::Write => "a write",
        Action::Atomic => "an atomic operation",
        Action::BeginRead | Action::LateRead => "the read of an asynchronous copy",
        Action::BeginWrite | Action::LateWrite => "the write of an asynchronous copy",
    }
}
