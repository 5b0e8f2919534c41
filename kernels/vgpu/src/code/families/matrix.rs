//! Matrix instructions of a warp.

use super::memory::{imm, place};
use super::unsupported;
use crate::code::draft::{Draft, Register, Source};
use crate::code::lower::Lowerer;
use crate::code::{Flow, Opcode, Width};
use crate::exec::handler;
use crate::exec::ops::address::Reach;
use crate::exec::ops::matrix::{GENERIC, LoadMatrix, StoreMatrix, TRANSPOSE, TransposeMatrix};
use crate::exec::ops::mma;
use crate::ptx::{Instruction, Operand, PtxError, Type};

type Lowered = Result<(), PtxError>;

pub(super) fn lower<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    if !op.has("sync") || !op.has("aligned") {
        return Err(unsupported(l, op));
    }
    match op.stem() {
        "mma" => multiply(l, op, inst),
        "movmatrix" => {
            if !(op.has("m8n8") && op.has("trans") && op.has("b16")) {
                return Err(unsupported(l, op));
            }
            let [to, from] = l.operands(inst)?;
            let source = l.value(from, Width::W32)?;
            let result = l.register(to, Width::W32)?;
            let draft = Draft::compute(handler::<TransposeMatrix>(), vec![result], vec![source]);
            l.push(draft.flow(Flow::Aligned))
        }
        _ => move_matrices(l, op, inst),
    }
}

/// The registers of a vector operand, or of a single one.
fn items<'a, 'm>(operand: &'a Operand<'m>) -> &'a [Operand<'m>] {
    match operand {
        Operand::Vector(items) => items,
        single => std::slice::from_ref(single),
    }
}

fn results<'m>(l: &mut Lowerer<'m>, operand: &Operand<'m>) -> Result<Vec<Register>, PtxError> {
    items(operand)
        .iter()
        .map(|item| l.register(item, Width::W32))
        .collect()
}

fn sources<'m>(l: &mut Lowerer<'m>, operand: &Operand<'m>) -> Result<Vec<Source>, PtxError> {
    items(operand)
        .iter()
        .map(|item| l.value(item, Width::W32))
        .collect()
}

/// `ldmatrix` and `stmatrix`.
fn move_matrices<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let load = op.stem() == "ldmatrix";
    let count = op.find(|part| match part {
        "x1" => Some(1),
        "x2" => Some(2),
        "x4" => Some(4),
        _ => None,
    });
    let (Some(count), true) = (count, op.has("m8n8")) else {
        return Err(unsupported(l, op));
    };
    let transpose = op.has("trans");
    let shared = op.find(|part| matches!(part, "shared" | "shared::cta").then_some(()));
    if !op.has("b16") {
        return Err(unsupported(l, op));
    }
    let [first, second] = l.operands(inst)?;
    let (registers, address) = if load {
        (first, second)
    } else {
        (second, first)
    };
    if items(registers).len() != count {
        return Err(l.error(format!("{} registers, not {count}", items(registers).len())));
    }
    let place = place(l, if shared.is_some() { "shared" } else { "" }, address)?;
    let mut flags = count as u32;
    flags |= if transpose { TRANSPOSE } else { 0 };
    flags |= if place.reach == Reach::Generic {
        GENERIC
    } else {
        0
    };
    let draft = if load {
        let results = results(l, registers)?;
        Draft::compute(handler::<LoadMatrix>(), results, vec![place.base])
    } else {
        let mut all = vec![place.base];
        all.extend(sources(l, registers)?);
        Draft::compute(handler::<StoreMatrix>(), Vec::new(), all)
    };
    l.push(
        draft
            .listed()
            .flow(Flow::Aligned)
            .imm(imm(place.offset, flags)),
    )
}

fn multiply<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let depth = op.find(|part| part.strip_prefix("m16n8k")?.parse::<usize>().ok());
    let saturate = op.has("satfinite");
    if !(op.has("row") && op.has("col")) {
        return Err(unsupported(l, op));
    }
    const OPERANDS: [&str; 7] = ["bf16", "f16", "tf32", "e4m3", "e5m2", "u8", "s8"];
    let d = op.ty();
    let operand = || op.find(|part| OPERANDS.into_iter().find(|&name| name == part));
    let (a, b) = (operand(), operand());
    let c = op.ty();
    let (Some(depth), Some(d), Some(a), Some(b), Some(c)) = (depth, d, a, b, c) else {
        return Err(unsupported(l, op));
    };
    let shape = mma::shape(depth, a, b, c).filter(|_| d == c && (!saturate || c == Type::S32));
    let Some(shape) = shape else {
        return Err(unsupported(l, op));
    };
    let [d, a, b, c] = l.operands(inst)?;
    let mut all = Vec::new();
    for (operand, count) in [(a, shape.a), (b, shape.b), (c, shape.d)] {
        let values = sources(l, operand)?;
        if values.len() != count {
            return Err(l.error(format!("{} registers, not {count}", values.len())));
        }
        all.extend(values);
    }
    let results = results(l, d)?;
    if results.len() != shape.d {
        return Err(l.error(format!("{} results, not {}", results.len(), shape.d)));
    }
    let imm = shape.depth as u64 | if saturate { mma::SATURATE } else { 0 };
    let draft = Draft::compute(shape.handler, results, all);
    l.push(draft.listed().flow(Flow::Aligned).imm(imm))
}
