//! `cp.async` and what goes with it.

use super::memory::{Place, imm, is_hint, place};
use super::unsupported;
use crate::code::draft::{Draft, Source};
use crate::code::lower::Lowerer;
use crate::code::{Opcode, Width};
use crate::exec::handler;
use crate::exec::ops::address::Reach;
use crate::exec::ops::async_copy::{self, Begin, Commit, Wait};
use crate::ptx::{Instruction, PtxError};

pub(super) fn lower<'m>(
    l: &mut Lowerer<'m>,
    op: &Opcode<'_>,
    inst: &Instruction<'m>,
) -> Result<(), PtxError> {
    if !op.has("async") || op.has("bulk") || op.has("mbarrier") {
        return Err(unsupported(l, op));
    }
    if op.has("commit_group") {
        return l.push(Draft::compute(handler::<Commit>(), Vec::new(), Vec::new()));
    }
    let wait = Draft::compute(handler::<Wait>(), Vec::new(), Vec::new());
    if op.has("wait_all") {
        return l.push(wait.imm(u64::MAX));
    }
    if op.has("wait_group") {
        let [kept] = l.operands(inst)?;
        let kept = l.constant(kept)?;
        return l.push(wait.imm(kept.min(u64::from(u32::MAX))));
    }
    let only_l2 = op.has("cg");
    op.ignore(is_hint);
    let spaces = op.find(|part| matches!(part, "shared" | "shared::cta").then_some(()));
    if spaces.is_none() || !op.has("global") {
        return Err(unsupported(l, op));
    }
    let [to, from, bytes, rest @ ..] = inst.operands.as_slice() else {
        return Err(l.error("two addresses and a size are wanted"));
    };
    let bytes = l.constant(bytes)?;
    if !(matches!(bytes, 4 | 8) && !only_l2 || bytes == 16) {
        return Err(l.error(format!("copies of {bytes} bytes are not supported")));
    }
    let mut flags = bytes as u32;
    let to = place(l, "shared", to)?;
    let from = place(l, "global", from)?;
    let mut sources = vec![whole(l, to)?, whole(l, from)?];
    match rest.first() {
        Some(operand) if l.width(operand) == Some(Width::Predicate) => {
            sources.push(l.value(operand, Width::Predicate)?);
            flags |= async_copy::IGNORE_SOURCE;
        }
        // A cache policy has 64 bits, the bytes to read 32.
        Some(operand) if l.width(operand) != Some(Width::W64) => {
            sources.push(l.value(operand, Width::W32)?);
            flags |= async_copy::SOURCE_BYTES;
        }
        _ => {}
    }
    l.push(Draft::compute(handler::<Begin>(), Vec::new(), sources).imm(imm(0, flags)))
}

/// An address with its offset added.
fn whole(l: &mut Lowerer<'_>, place: Place) -> Result<Source, PtxError> {
    if place.offset == 0 {
        return Ok(place.base);
    }
    let (name, width, offset) = if place.reach == Reach::Shared {
        (
            "add.s32",
            Width::W32,
            Source::Constant32(place.offset as u32),
        )
    } else {
        (
            "add.s64",
            Width::W64,
            Source::Constant64(i64::from(place.offset) as u64),
        )
    };
    let op = Opcode::new(name);
    let Some(add) = crate::exec::ops::alu(&op) else {
        return Err(unsupported(l, &op));
    };
    let sum = l.fresh(width);
    l.push(Draft::compute(
        add.handler,
        vec![sum],
        vec![place.base, offset],
    ))?;
    Ok(Source::Register(sum))
}
