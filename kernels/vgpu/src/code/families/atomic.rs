//! `atom` and `red`.

use super::memory::{Order, imm, is_hint, place, space};
use super::unsupported;
use crate::code::draft::Draft;
use crate::code::lower::Lowerer;
use crate::code::{Opcode, Strength, Width};
use crate::exec::ops::address::Reach;
use crate::exec::ops::atomic::{self, Change, flag};
use crate::ptx::{Instruction, PtxError};

pub(super) fn lower<'m>(
    l: &mut Lowerer<'m>,
    op: &Opcode<'_>,
    inst: &Instruction<'m>,
) -> Result<(), PtxError> {
    let space = space(op);
    if !matches!(space, "" | "global" | "shared") {
        return Err(unsupported(l, op));
    }
    let order = Order::of(op, Strength::Device);
    op.ignore(is_hint);
    let (Some(change), Some(ty)) = (op.find(Change::parse), op.ty()) else {
        return Err(unsupported(l, op));
    };
    let Some(handler) = atomic::atomic(ty, change) else {
        return Err(unsupported(l, op));
    };
    let width = if ty.bytes() == 8 {
        Width::W64
    } else {
        Width::W32
    };
    let has_result = op.stem() == "atom";
    let (result, rest) = match inst.operands.as_slice() {
        [result, rest @ ..] if has_result => (Some(result), rest),
        rest => (None, rest),
    };
    let wanted = if change == Change::CompareAndSwap {
        3
    } else {
        2
    };
    let [address, values @ ..] = rest else {
        return Err(l.error("an address is wanted"));
    };
    // A cache policy may follow.
    if rest.len() < wanted {
        return Err(l.error(format!("{} operands, not {wanted}", rest.len())));
    }
    let place = place(l, space, address)?;
    let mut flags = change as u32;
    flags |= if place.reach == Reach::Shared {
        flag::SHARED
    } else {
        0
    };
    let mut sources = vec![place.base];
    for value in &values[..wanted - 1] {
        sources.push(l.value(value, width)?);
    }
    // The second value is read even where there is none.
    sources.resize(3, sources[1]);
    let mut results = Vec::new();
    if let Some(result) = result {
        results.push(l.register(result, width)?);
        flags |= flag::RESULT;
    }
    if order.releases {
        l.push(super::sync::fence(order.strength))?;
    }
    let draft = Draft::compute(handler, results, sources).imm(imm(place.offset, flags));
    l.push(draft.strength(order.strength))?;
    if order.acquires {
        l.push(super::sync::fence(order.strength))?;
    }
    Ok(())
}
