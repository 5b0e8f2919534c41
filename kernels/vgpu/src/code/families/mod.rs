//! How each instruction becomes drafts, a family a file.

mod arithmetic;
mod async_copy;
mod atomic;
mod compare;
mod control;
mod matrix;
mod memory;
mod sync;

use super::Opcode;
use super::draft::Source;
use super::lower::Lowerer;
use crate::ptx::{Instruction, PtxError};

/// Lowers one instruction.
pub(super) fn lower<'m>(
    l: &mut Lowerer<'m>,
    op: &Opcode<'_>,
    inst: &Instruction<'m>,
) -> Result<(), PtxError> {
    match op.stem() {
        "ld" | "ldu" | "st" => memory::access(l, op, inst),
        "cvta" => memory::cvta(l, op, inst),
        "isspacep" => memory::isspacep(l, op, inst),
        "prefetch" | "prefetchu" | "discard" | "applypriority" => memory::hint(op),
        "atom" | "red" => atomic::lower(l, op, inst),
        "cp" => async_copy::lower(l, op, inst),
        "createpolicy" => memory::policy(l, op, inst),
        "bra" | "brx" | "ret" | "exit" | "trap" | "brkpt" | "nanosleep" | "pmevent" => {
            control::lower(l, op, inst)
        }
        "call" => control::call(l, op, inst),
        "bar" | "barrier" | "membar" | "fence" | "shfl" | "vote" | "match" | "redux"
        | "activemask" | "elect" | "griddepcontrol" | "setmaxnreg" => sync::lower(l, op, inst),
        "ldmatrix" | "stmatrix" | "movmatrix" | "mma" => matrix::lower(l, op, inst),
        "setp" | "set" | "selp" | "slct" | "testp" => compare::lower(l, op, inst),
        _ => arithmetic::lower(l, op, inst),
    }
}

/// The error for an instruction, or a form of one, that is not known.
fn unsupported(l: &Lowerer<'_>, op: &Opcode<'_>) -> PtxError {
    l.error(format!("instruction `{}` is not supported", op.text()))
}

/// A value converted by an instruction of one operand.
fn convert(l: &mut Lowerer<'_>, name: &str, value: Source) -> Result<Source, PtxError> {
    let op = Opcode::new(name);
    let Some(alu) = crate::exec::ops::alu(&op) else {
        return Err(unsupported(l, &op));
    };
    let to = l.fresh(alu.last_result());
    l.compute(alu, to, vec![value])?;
    Ok(Source::Register(to))
}
