//! The one place that every access to memory passes, for those who watch.
//!
//! Whatever reads or writes memory calls [`Cx::watch`] once for a warp's instruction, after the
//! addresses were found to be in order and before anything is read or written; a strong read calls
//! [`Cx::obtained`] afterwards. Where nobody watches the grid each costs a branch.

use super::column::{LANES, lanes_where};
use super::ops::address::Reach;
use super::space::{WINDOW_BYTES, inside};
use super::{Cx, LOCAL_WINDOW, Outcome, PARAM_WINDOW, SHARED_WINDOW};
use crate::code::{Inst, Strength};

/// What is done to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Write,
    /// Reads and writes as one.
    Atomic,
    /// `cp.async` begins and will read here.
    BeginRead,
    /// `cp.async` begins and will write here.
    BeginWrite,
    /// The read of a `cp.async` that was waited for.
    LateRead,
    /// The write of a `cp.async` that was waited for.
    LateWrite,
}

/// Where memory lies, once windows of generic addresses are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Shared,
    Local,
    Param,
}

/// A warp instruction's access to one space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    pub(crate) action: Action,
    pub(crate) space: Space,
    /// The instruction's number in the program's code.
    pub(crate) pc: u32,
    /// Lanes that take part.
    pub(crate) mask: u32,
    /// Bytes of each lane.
    pub(crate) bytes: u32,
    /// The lanes' addresses in the space; those of other lanes mean nothing.
    pub(crate) addresses: &'a [u64; LANES],
}

impl Cx<'_> {
    /// Tells those who watch of an access of `bytes` by each lane of `mask`.
    #[inline(always)]
    pub(crate) fn watch(
        &mut self,
        inst: &Inst,
        action: Action,
        reach: Reach,
        addresses: &[u64; LANES],
        mask: u32,
        bytes: usize,
    ) -> Outcome {
        if !self.grid.watched {
            return Ok(());
        }
        let access = Access {
            action,
            space: Space::Global,
            pc: self.pc(inst),
            mask,
            bytes: bytes as u32,
            addresses,
        };
        split(self, inst, reach, access, see)
    }

    /// Tells those who watch that a strong read of some lanes has happened.
    #[inline(always)]
    pub(crate) fn obtained(
        &mut self,
        inst: &Inst,
        reach: Reach,
        addresses: &[u64; LANES],
        mask: u32,
    ) -> Outcome {
        if !self.grid.watched || inst.strength == Strength::Weak {
            return Ok(());
        }
        let access = Access {
            action: Action::Read,
            space: Space::Global,
            pc: self.pc(inst),
            mask,
            bytes: 0,
            addresses,
        };
        split(self, inst, reach, access, obtain)
    }

    /// The number of an instruction of the grid's program.
    pub(crate) fn pc(&self, inst: &Inst) -> u32 {
        let start = self.grid.program.code.as_ptr().addr();
        ((std::ptr::from_ref(inst).addr() - start) / size_of::<Inst>()) as u32
    }
}

/// Who gets to see an access.
type Visit = fn(&mut Cx<'_>, &Inst, &Access<'_>) -> Outcome;

/// Takes an access apart by the spaces that its addresses lie in.
#[inline(never)]
fn split(cx: &mut Cx<'_>, inst: &Inst, reach: Reach, access: Access<'_>, visit: Visit) -> Outcome {
    let space = match reach {
        Reach::Shared => Space::Shared,
        Reach::Local => Space::Local,
        Reach::Generic => return generic(cx, inst, &access, visit),
    };
    visit(cx, inst, &Access { space, ..access })
}

fn generic(cx: &mut Cx<'_>, inst: &Inst, access: &Access<'_>, visit: Visit) -> Outcome {
    const WINDOWS: [(Space, u64); 3] = [
        (Space::Shared, SHARED_WINDOW),
        (Space::Local, LOCAL_WINDOW),
        (Space::Param, PARAM_WINDOW),
    ];
    let mut rest = access.mask;
    for (space, window) in WINDOWS {
        let mask = lanes_where(rest, |lane| inside(window, access.addresses[lane]));
        if mask != 0 {
            let addresses = access.addresses.map(|address| address % WINDOW_BYTES);
            let part = Access {
                space,
                mask,
                addresses: &addresses,
                ..*access
            };
            visit(cx, inst, &part)?;
            rest &= !mask;
        }
    }
    if rest == 0 {
        return Ok(());
    }
    let part = Access {
        mask: rest,
        ..*access
    };
    visit(cx, inst, &part)
}

/// Shows an access that is about to be made to those who watch.
fn see(cx: &mut Cx<'_>, inst: &Inst, access: &Access<'_>) -> Outcome {
    let grid = cx.grid;
    if let Some(tally) = &mut cx.block.tally {
        tally.access(grid.program, access);
    }
    if let Some(checks) = &grid.checks
        && let Some(mut block) = cx.block.checks.take()
    {
        let outcome = block.access(cx, checks, inst, access);
        cx.block.checks = Some(block);
        outcome?;
    }
    Ok(())
}

/// Shows a strong read that was made to those who watch.
fn obtain(cx: &mut Cx<'_>, _: &Inst, access: &Access<'_>) -> Outcome {
    let warp = cx.threads.warp;
    if let Some((grid, block)) = cx.checks() {
        block.obtain(warp, grid, access);
    }
    Ok(())
}
