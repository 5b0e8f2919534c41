//! Accesses to the device's memory.

use super::record::{Actor, Record, words};
use super::{BlockChecks, GridChecks, conflict, reads, same_store, strong, verb, writes};
use crate::code::{Inst, Strength};
use crate::exec::access::{Access, Action};
use crate::exec::column::lanes_of;
use crate::exec::{Cx, Outcome, Trouble};
use crate::fault::FaultKind;
use crate::memory::{Cell, Shadow};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

impl BlockChecks {
    pub(super) fn global(
        &mut self,
        cx: &mut Cx<'_>,
        checks: &GridChecks<'_>,
        inst: &Inst,
        access: &Access<'_>,
    ) -> Outcome {
        let grid = cx.grid;
        let Some(shadow) = grid.memory.shadow() else {
            return Ok(());
        };
        let actor = self.actor(cx.threads.warp, access.pc);
        let (reads, writes) = (reads(access.action), writes(access.action));
        for lane in lanes_of(access.mask) {
            let (address, bytes) = (access.addresses[lane], access.bytes as usize);
            let memory = &grid.memory;
            let Some(allocation) = memory.allocation(address, bytes, &mut cx.threads.hint) else {
                continue;
            };
            if reads && allocation.tracked && access.action != Action::LateRead {
                written(cx, shadow, access, lane)?;
            }
            for (word, mask) in words(address, access.bytes) {
                let Some(cell) = shadow.cell(4 * word) else {
                    continue;
                };
                let find = Find {
                    cx,
                    checks,
                    inst,
                    access,
                    actor,
                    lane,
                    mask,
                };
                self.word(&find, cell)?;
            }
            if writes {
                shadow.mark(address, bytes);
            }
        }
        Ok(())
    }

    /// Checks an access to a word and leaves a record of it. Of two blocks that do so in the same
    /// moment, one at least finds the other: each leaves its record before it looks, in one order
    /// that all agree on.
    #[inline]
    fn word(&self, find: &Find<'_>, cell: &Cell) -> Outcome {
        let Find {
            checks,
            actor,
            lane,
            mask,
            ..
        } = *find;
        let [last_write, last_read] = cell;
        let now = |record: Record| record.time() >= checks.first && record.bytes() & mask != 0;
        let record = actor.record().of(lane, mask);
        if writes(find.access.action) {
            let mut wrote = Record(last_write.load(Relaxed));
            let strong = find.inst.strength != Strength::Weak;
            let own = strong && now(wrote) && self.owns(wrote.time());
            if !(own && self.keeps(find.cx, wrote)) {
                wrote = Record(last_write.swap(record.0, SeqCst));
            }
            if now(wrote) {
                find.race(self, wrote, true)?;
            }
            let read = Record(last_read.load(SeqCst));
            if now(read) {
                find.race(self, read, false)?;
            }
            return Ok(());
        }
        let read = Record(last_read.load(Relaxed));
        // Of several blocks that read, the first is remembered.
        if read != record && (read.time() < checks.first || self.owns(read.time())) {
            last_read.swap(record.0, SeqCst);
        }
        let wrote = Record(last_write.load(SeqCst));
        if now(wrote) {
            find.race(self, wrote, true)?;
        }
        Ok(())
    }

    /// Whether a time is this block's.
    #[inline]
    fn owns(&self, time: u32) -> bool {
        (self.first..self.first + super::CHUNK).contains(&time)
            || self.taken.iter().any(|taken| taken.contains(&time))
    }
}

/// Checks that somebody wrote what a lane reads.
#[inline]
fn written(cx: &Cx<'_>, shadow: &Shadow, access: &Access<'_>, lane: usize) -> Outcome {
    let (address, bytes) = (access.addresses[lane], access.bytes);
    let Some(first) = shadow.first_unwritten(address, bytes as usize) else {
        return Ok(());
    };
    let at = address + first as u64;
    let place = cx.grid.memory.explain(at);
    let detail = format!(
        "{} of {bytes} bytes at {address:#x}, where nobody wrote byte {at:#x}: {place}",
        verb(access.action)
    );
    Err(Trouble::new(FaultKind::Uninitialised, lane, detail))
}

/// An access to a word that something may be wrong with.
struct Find<'a> {
    cx: &'a Cx<'a>,
    checks: &'a GridChecks<'a>,
    inst: &'a Inst,
    access: &'a Access<'a>,
    actor: Actor,
    lane: usize,
    mask: u8,
}

impl Find<'_> {
    /// Reports a race with `other`, unless it is known to be over, or both are strong or write the
    /// same.
    #[inline]
    fn race(&self, own: &BlockChecks, other: Record, wrote: bool) -> Outcome {
        if own.owns(other.time()) {
            let meanwhile = self.access.action == Action::LateRead && other.time() > own.copy_began;
            if !meanwhile && own.after(self.actor, self.lane, other) {
                return Ok(());
            }
            return self.report(own, own.block, other, wrote);
        }
        self.race_of_blocks(own, other, wrote)
    }

    fn race_of_blocks(&self, own: &BlockChecks, other: Record, wrote: bool) -> Outcome {
        let Some(block) = self.checks.owner(other.time()) else {
            return Ok(());
        };
        let known = &own.warps[self.actor.warp as usize].now;
        if known.knows(block, other.warp(), other.time()) {
            return Ok(());
        }
        self.report(own, block, other, wrote)
    }

    #[cold]
    fn report(&self, own: &BlockChecks, block: u64, other: Record, wrote: bool) -> Outcome {
        let Find {
            cx,
            inst,
            access,
            lane,
            ..
        } = *self;
        let same_block = block == own.block;
        let same_pc = other.pc() == Some(access.pc);
        let one_store = same_pc && same_block && other.warp() == self.actor.warp && wrote;
        if strong(cx, inst, other, same_block)
            || one_store && same_store(cx, inst, access, lane, other.lane())
        {
            return Ok(());
        }
        let (address, bytes) = (access.addresses[lane], access.bytes);
        let place = cx.grid.memory.explain(address);
        let what = if wrote { "wrote" } else { "read" };
        let who = if same_block { "thread" } else { "block" };
        let detail = format!(
            "{} of {bytes} bytes at {address:#x} ({place}), which another {who} {what}",
            verb(access.action)
        );
        Err(conflict(FaultKind::GlobalRace, lane, detail, block, other))
    }
}
