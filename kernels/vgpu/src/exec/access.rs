//! The one place that every access to memory passes, for those who watch.
//!
//! Whatever reads or writes memory calls [`Cx::watch`] once for a warp's instruction, after the
//! addresses were found to be in order and before anything is read or written. Where nobody watches
//! the grid that costs a branch.

use super::column::{LANES, lanes_where};
use super::ops::address::Reach;
use super::space::{WINDOW_BYTES, inside};
use super::{Cx, LOCAL_WINDOW, Outcome, PARAM_WINDOW, SHARED_WINDOW};
use crate::code::Inst;

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
        split(self, inst, action, reach, addresses, mask, bytes)
    }

    /// The number of an instruction of the grid's program.
    pub(crate) fn pc(&self, inst: &Inst) -> u32 {
        let start = self.grid.program.code.as_ptr().addr();
        ((std::ptr::from_ref(inst).addr() - start) / size_of::<Inst>()) as u32
    }
}

/// Takes an access apart by the spaces that generic addresses lie in.
#[inline(never)]
fn split(
    cx: &mut Cx<'_>,
    inst: &Inst,
    action: Action,
    reach: Reach,
    addresses: &[u64; LANES],
    mask: u32,
    bytes: usize,
) -> Outcome {
    let access = Access {
        action,
        space: Space::Global,
        pc: cx.pc(inst),
        mask,
        bytes: bytes as u32,
        addresses,
    };
    match reach {
        Reach::Shared => see(
            cx,
            inst,
            &Access {
                space: Space::Shared,
                ..access
            },
        ),
        Reach::Local => see(
            cx,
            inst,
            &Access {
                space: Space::Local,
                ..access
            },
        ),
        Reach::Generic => generic(cx, inst, &access),
    }
}

fn generic(cx: &mut Cx<'_>, inst: &Inst, access: &Access<'_>) -> Outcome {
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
            see(cx, inst, &part)?;
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
    see(cx, inst, &part)
}

/// Shows an access to those who watch.
fn see(cx: &mut Cx<'_>, _: &Inst, access: &Access<'_>) -> Outcome {
    if let Some(tally) = &mut cx.block.tally {
        tally.access(cx.grid.program, access);
    }
    Ok(())
}
