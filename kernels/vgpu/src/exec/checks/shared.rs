//! Accesses to the block's shared memory.

use super::record::{Actor, Record, words};
use super::{BlockChecks, conflict, reads, same_store, strong, verb, writes};
use crate::code::{Flow, Inst, Strength};
use crate::exec::access::{Access, Action};
use crate::exec::column::lanes_of;
use crate::exec::{Cx, Outcome, Trouble};
use crate::fault::FaultKind;

/// What is known of a word of shared memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SharedCell {
    write: Record,
    /// The last read.
    read: Record,
    /// The warps that read the same bytes at the same time.
    readers: u32,
    /// The lanes of the last of them.
    lanes: u32,
    /// The first time of the block that all this is about.
    owner: u32,
    /// Bytes that were written, a bit each.
    written: u8,
    /// Bytes that a copy will write which nobody has waited for.
    pending: u8,
    /// Whether the last read was strong.
    strong_read: bool,
}

impl SharedCell {
    /// Adds a read. A strong one adds nothing to a weak one of the same time.
    #[inline]
    fn add_read(&mut self, record: Record, lane_mask: u32, strong: bool) {
        let same = self.read.time() == record.time() && self.read.bytes() == record.bytes();
        if same && strong && !self.strong_read {
            return;
        }
        let same = same && strong == self.strong_read;
        self.strong_read = strong;
        let warp = 1 << record.warp();
        if same && self.read.warp() == record.warp() {
            self.lanes |= lane_mask;
        } else {
            self.lanes = lane_mask;
        }
        self.readers = if same { self.readers | warp } else { warp };
        self.read = record;
    }
}

impl BlockChecks {
    pub(super) fn shared(&mut self, cx: &Cx<'_>, inst: &Inst, access: &Access<'_>) -> Outcome {
        let actor = self.actor(cx.threads.warp, access.pc);
        let stamp = actor.record();
        let (reads, writes) = (reads(access.action), writes(access.action));
        let late = access.action == Action::LateWrite;
        // What matrix loads read goes to all lanes of the warp.
        let together = inst.flow == Flow::Aligned && reads;
        let strong = inst.strength != Strength::Weak;
        for lane in lanes_of(access.mask) {
            for (word, bytes) in words(access.addresses[lane], access.bytes) {
                let Some(&cell) = self.shared.get(word as usize) else {
                    continue;
                };
                let mut cell = if cell.owner == self.first {
                    cell
                } else {
                    SharedCell {
                        owner: self.first,
                        ..SharedCell::default()
                    }
                };
                let find = Find {
                    cx,
                    inst,
                    access,
                    actor,
                    lane,
                    word,
                    bytes,
                };
                if cell.pending & bytes != 0 && !late {
                    return Err(find.pending(self, &cell));
                }
                if reads && cell.written & bytes != bytes {
                    return Err(find.unwritten(&cell));
                }
                let record = stamp.of(lane, bytes);
                let conflicts = cell.write.bytes() & bytes != 0;
                if conflicts && !late && !self.after(actor, lane, cell.write) {
                    find.race(self, cell.write, true)?;
                }
                if writes {
                    if cell.read.bytes() & bytes != 0
                        && !late
                        && let Some(other) = self.unordered_reader(actor, lane, &cell)
                    {
                        find.race(self, other, false)?;
                    }
                    if !strong || !conflicts || !self.keeps(cx, cell.write) {
                        cell.write = record;
                    }
                    cell.written |= bytes;
                    if late {
                        cell.pending &= !bytes;
                    } else if access.action == Action::BeginWrite {
                        cell.pending |= bytes;
                    }
                }
                if reads {
                    cell.add_read(record, if together { u32::MAX } else { 1 << lane }, strong);
                }
                if let Some(place) = self.shared.get_mut(word as usize) {
                    *place = cell;
                }
            }
        }
        Ok(())
    }

    /// A reader of a word that `actor`'s `lane` does not come after.
    #[inline]
    fn unordered_reader(&self, actor: Actor, lane: usize, cell: &SharedCell) -> Option<Record> {
        let read = cell.read;
        let known = &self.warps[actor.warp as usize].now.warps;
        for warp in lanes_of(cell.readers) {
            if warp as u32 != actor.warp {
                if read.time() > known[warp] {
                    return Some(read.with_warp(warp as u32));
                }
            } else if warp as u32 == read.warp() && read.time() == actor.time {
                let others = cell.lanes & !(1 << lane);
                if others != 0 {
                    return Some(read.with_lane(others.trailing_zeros() as usize));
                }
            }
        }
        None
    }
}

/// An access to a word that something may be wrong with.
struct Find<'a> {
    cx: &'a Cx<'a>,
    inst: &'a Inst,
    access: &'a Access<'a>,
    actor: Actor,
    lane: usize,
    word: u64,
    bytes: u8,
}

impl Find<'_> {
    /// What is done, and where.
    fn describe(&self) -> String {
        let Access { action, bytes, .. } = self.access;
        let address = self.access.addresses[self.lane];
        format!(
            "{} of {bytes} bytes at {address:#x} in shared memory",
            verb(*action)
        )
    }

    #[cold]
    fn pending(&self, checks: &BlockChecks, cell: &SharedCell) -> Box<Trouble> {
        let detail = format!("{}, which a copy is yet to write", self.describe());
        conflict(
            FaultKind::PendingCopy,
            self.lane,
            detail,
            checks.block,
            cell.write,
        )
    }

    #[cold]
    fn unwritten(&self, cell: &SharedCell) -> Box<Trouble> {
        let missing = self.bytes & !cell.written;
        let first = 4 * self.word + u64::from(missing.trailing_zeros());
        let detail = format!("{}, where nobody wrote byte {first:#x}", self.describe());
        Trouble::new(FaultKind::Uninitialised, self.lane, detail)
    }

    /// Reports a race with `other`, unless both are strong or write the same.
    #[cold]
    fn race(&self, checks: &BlockChecks, other: Record, wrote: bool) -> Outcome {
        let Find {
            cx,
            inst,
            access,
            actor,
            lane,
            ..
        } = *self;
        let same_pc = other.pc() == Some(access.pc);
        let one_store = same_pc && other.warp() == actor.warp && wrote;
        if strong(cx, inst, other, true)
            || one_store && same_store(cx, inst, access, lane, other.lane())
        {
            return Ok(());
        }
        let what = if wrote { "wrote" } else { "read" };
        let detail = format!("{}, which another thread {what}", self.describe());
        Err(conflict(
            FaultKind::SharedRace,
            lane,
            detail,
            checks.block,
            other,
        ))
    }
}
