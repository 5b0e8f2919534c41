//! `cp.async` and its groups (PTX ISA 9.7.9.25).
//!
//! A copy happens when its group is waited for, as late as it may: whoever reads the destination
//! earlier gets the old bytes.
#![allow(unsafe_code)]

use super::address::{Reach, locate};
use crate::code::Inst;
use crate::exec::access::Action;
use crate::exec::column::{LANES, lanes_of, lanes_where};
use crate::exec::{Cx, Operation, Outcome, SHARED_START, Trouble};
use crate::fault::FaultKind;

/// Copies that a warp's lanes began and did not wait for.
#[derive(Debug)]
pub(crate) struct Copies {
    pending: Vec<Copy>,
    /// Groups that each lane has closed.
    closed: [u32; LANES],
}

impl Default for Copies {
    fn default() -> Copies {
        Copies {
            pending: Vec::new(),
            closed: [0; LANES],
        }
    }
}

impl Copies {
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.closed = [0; LANES];
    }
}

/// One instruction's copies.
#[derive(Debug)]
struct Copy {
    /// Lanes whose copy has not happened.
    lanes: u32,
    /// The group of each lane.
    groups: [u32; LANES],
    to: [u32; LANES],
    from: [u64; LANES],
    /// Bytes to read; the rest of `bytes` becomes zero.
    reads: [u8; LANES],
    bytes: u8,
    /// The instruction's number.
    pc: u32,
    /// When it began, for those who check.
    began: u32,
}

impl Copy {
    /// Shows the copies of some lanes to those who watch.
    fn watch(&self, cx: &mut Cx<'_>, mask: u32, read: Action, write: Action) -> Outcome {
        let inst = &cx.grid.program.code[self.pc as usize];
        let mut rest = lanes_where(mask, |lane| self.reads[lane] > 0);
        while rest != 0 {
            let bytes = self.reads[rest.trailing_zeros() as usize];
            let same = lanes_where(rest, |lane| self.reads[lane] == bytes);
            cx.watch(inst, read, Reach::Generic, &self.from, same, bytes.into())?;
            rest &= !same;
        }
        let to = self.to.map(u64::from);
        cx.watch(inst, write, Reach::Shared, &to, mask, self.bytes.into())
    }
}

/// Begins a copy: `a` is the shared, `b` the global address. `flags` holds the bytes to write, and
/// what `c` is.
pub(crate) struct Begin;

/// Set in `flags` where `c` holds the bytes to read.
pub(crate) const SOURCE_BYTES: u32 = 1 << 8;
/// Set where predicate `c` says that nothing is read.
pub(crate) const IGNORE_SOURCE: u32 = 1 << 9;

impl Operation for Begin {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        begin(cx, inst, mask)
    }
}

fn begin(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
    let bytes = inst.flags() & 255;
    // Offsets of both addresses were added before.
    let mut copy = Copy {
        lanes: mask,
        groups: cx.threads.copies.closed,
        to: *cx.read(inst.a),
        from: *cx.read(inst.b),
        reads: [bytes as u8; LANES],
        bytes: bytes as u8,
        pc: cx.pc(inst),
        began: 0,
    };
    if inst.flags() & SOURCE_BYTES != 0 {
        for (lane, &reads) in cx.read::<u32>(inst.c).iter().enumerate() {
            if reads > bytes && mask >> lane & 1 != 0 {
                let detail = format!("a copy of {bytes} bytes reads {reads}");
                return Err(Trouble::new(FaultKind::IllegalInstruction, lane, detail));
            }
            copy.reads[lane] = reads as u8;
        }
    }
    if inst.flags() & IGNORE_SOURCE != 0 {
        let ignored = cx.predicate(inst.c);
        for lane in lanes_of(ignored & mask) {
            copy.reads[lane] = 0;
        }
    }
    // Addresses are checked now, so that a fault names this instruction.
    for lane in lanes_of(mask) {
        if shared(cx, copy.to[lane], bytes).is_none() {
            let to = copy.to[lane].into();
            locate(cx, Reach::Shared, lane, to, bytes as usize)?;
        }
        if copy.reads[lane] > 0 {
            let from = copy.from[lane];
            if !from.is_multiple_of(u64::from(bytes)) {
                locate(cx, Reach::Generic, lane, from, bytes as usize)?;
            }
            source(cx, lane, from, copy.reads[lane])?;
        }
    }
    if cx.grid.watched {
        copy.watch(cx, mask, Action::BeginRead, Action::BeginWrite)?;
        let warp = cx.threads.warp;
        copy.began = cx.checks().map_or(0, |(_, block)| block.time(warp));
    }
    cx.threads.copies.pending.push(copy);
    Ok(())
}

/// Where a copy reads; its length need not be a power of two.
fn source(cx: &mut Cx<'_>, lane: usize, from: u64, reads: u8) -> Result<*const u8, Box<Trouble>> {
    match cx
        .grid
        .memory
        .resolve(from, reads.into(), &mut cx.threads.hint)
    {
        Some(pointer) => Ok(pointer.cast_const()),
        None => {
            let detail = format!(
                "{reads} bytes at {from:#x}: {}",
                cx.grid.memory.explain(from)
            );
            Err(Trouble::new(FaultKind::OutOfBounds, lane, detail))
        }
    }
}

/// Closes the active lanes' group.
pub(crate) struct Commit;

impl Operation for Commit {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, _: &Inst, mask: u32) -> Outcome {
        for (lane, closed) in cx.threads.copies.closed.iter_mut().enumerate() {
            *closed += mask >> lane & 1;
        }
        Ok(())
    }
}

/// Waits until at most `imm` of the active lanes' latest groups are pending; all ones: for all
/// copies.
pub(crate) struct Wait;

impl Operation for Wait {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        wait(cx, inst, mask)
    }
}

fn wait(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
    let mut pending = std::mem::take(&mut cx.threads.copies.pending);
    let closed = cx.threads.copies.closed;
    for copy in &mut pending {
        let done = lanes_where(copy.lanes & mask, |lane| match inst.imm {
            u64::MAX => true,
            kept => u64::from(copy.groups[lane]) + kept < u64::from(closed[lane]),
        });
        if cx.grid.watched && done != 0 {
            if let Some((_, block)) = cx.checks() {
                block.copy_began = copy.began;
            }
            copy.watch(cx, done, Action::LateRead, Action::LateWrite)?;
        }
        copy.lanes &= !done;
        for lane in lanes_of(done) {
            perform(cx, copy, lane)?;
        }
    }
    pending.retain(|copy| copy.lanes != 0);
    cx.threads.copies.pending = pending;
    Ok(())
}

fn perform(cx: &mut Cx<'_>, copy: &Copy, lane: usize) -> Outcome {
    let reads = copy.reads[lane];
    let mut bytes = [0u8; 16];
    if reads > 0 {
        let from = source(cx, lane, copy.from[lane], reads)?;
        read(from, &mut bytes[..usize::from(reads)]);
    }
    let count = usize::from(copy.bytes);
    if let Some(to) = shared(cx, copy.to[lane], copy.bytes.into()) {
        to.copy_from_slice(&bytes[..count]);
    }
    Ok(())
}

/// The destination of a copy, if it is aligned and inside the block's shared memory.
#[inline(always)]
fn shared<'a>(cx: &'a mut Cx<'_>, to: u32, bytes: u32) -> Option<&'a mut [u8]> {
    if !to.is_multiple_of(bytes) || to < SHARED_START {
        return None;
    }
    cx.block
        .shared
        .get_mut(to as usize..to as usize + bytes as usize)
}

/// Reads device memory that was resolved, aligned to 4 bytes.
fn read(from: *const u8, to: &mut [u8]) {
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
    if to.len().is_multiple_of(8) && from.addr().is_multiple_of(8) {
        for (i, word) in to.chunks_exact_mut(8).enumerate() {
            // SAFETY: `source` found the bytes; others write them by atomics only.
            let value = unsafe { AtomicU64::from_ptr(from.cast_mut().add(8 * i).cast()) };
            word.copy_from_slice(&value.load(Relaxed).to_ne_bytes());
        }
        return;
    }
    for (i, byte) in to.iter_mut().enumerate() {
        // SAFETY: as above.
        *byte = unsafe { AtomicU8::from_ptr(from.cast_mut().add(i)) }.load(Relaxed);
    }
}
