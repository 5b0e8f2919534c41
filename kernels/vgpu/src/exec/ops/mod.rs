//! What the instructions do, a family a file.

pub(crate) mod address;
pub(crate) mod approx;
pub(crate) mod async_copy;
pub(crate) mod atomic;
pub(crate) mod bits;
pub(crate) mod carry;
pub(crate) mod compare;
pub(crate) mod convert;
mod convert_f8;
pub(crate) mod debug;
pub(crate) mod double;
mod exact;
pub(crate) mod exchange;
pub(crate) mod half;
pub(crate) mod half_bits;
pub(crate) mod integer;
pub(crate) mod matrix;
pub(crate) mod memory;
pub(crate) mod mma;
mod mma_f8;
pub(crate) mod mma_sum;
mod pairs;
pub(crate) mod rounding;
pub(crate) mod select;
pub(crate) mod single;
pub(crate) mod special;
pub(crate) mod window;

use super::map::Alu;
use crate::code::Opcode;

/// The instruction that computes each lane from the same lane of its operands, if `op` is one.
pub(crate) fn alu(op: &Opcode<'_>) -> Option<Alu> {
    if let Some(precision) = op.find(approx::Precision::parse) {
        return approx::alu(op, precision);
    }
    match op.stem() {
        "and" | "or" | "xor" | "not" | "cnot" | "shl" | "shr" | "shf" | "popc" | "clz"
        | "bfind" | "brev" | "bfe" | "szext" | "bmsk" | "fns" => bits::alu(op),
        "cvt" => convert::alu(op),
        _ => arithmetic(op),
    }
}

fn arithmetic(op: &Opcode<'_>) -> Option<Alu> {
    use crate::ptx::Type;
    let kind = match op.stem() {
        "mul" | "mad" | "mul24" | "mad24" => op.find(|part| match part {
            "hi" | "lo" | "wide" => Some(integer::Part::parse(part)),
            _ => None,
        }),
        _ => None,
    };
    if let Some(signed) = op.find(pairs::signed) {
        return pairs::alu(op, signed);
    }
    let ty = op.ty()?;
    match ty {
        Type::F32 => single::alu(op),
        Type::F64 => double::alu(op),
        Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 => half::alu(op, ty),
        _ => integer::alu(op, ty, kind.flatten()),
    }
}
