//! Arithmetic, logic and moves.

use super::unsupported;
use crate::code::draft::{Draft, Source};
use crate::code::lower::Lowerer;
use crate::code::{Flow, Opcode, Width};
use crate::exec::handler;
use crate::exec::map::Alu;
use crate::exec::ops::{self, bits, carry, integer, select};
use crate::ptx::{Instruction, Operand, PtxError, Type};

pub(super) type Lowered = Result<(), PtxError>;

pub(super) fn lower<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    match op.stem() {
        "mov" => return mov(l, op, inst),
        "lop3" => return lop3(l, op, inst),
        "prmt" => return prmt(l, op, inst),
        "bfi" => return bfi(l, op, inst),
        "dp4a" | "dp2a" => return dot(l, op, inst),
        "addc" | "subc" | "madc" => return with_carry(l, op, inst),
        "add" | "sub" | "mad" if op.has("cc") => return with_carry(l, op, inst),
        "and" | "or" | "xor" | "not" if op.has("pred") => return predicates(l, op, inst),
        _ => {}
    }
    let Some(alu) = ops::alu(op) else {
        return Err(unsupported(l, op));
    };
    each(l, alu, &inst.operands)
}

/// The draft of an [`Alu`] on a result and its sources.
fn each<'m>(l: &mut Lowerer<'m>, alu: Alu, operands: &[Operand<'m>]) -> Lowered {
    let [result, sources @ ..] = operands else {
        return Err(l.error("no operands"));
    };
    if sources.len() != alu.operands.len() {
        let (found, wanted) = (sources.len(), alu.operands.len());
        return Err(l.error(format!("{found} source operands where {wanted} are wanted")));
    }
    let mut values = Vec::with_capacity(sources.len());
    for (source, &width) in sources.iter().zip(alu.operands) {
        values.push(value(l, source, width)?);
    }
    let to = l.register(result, alu.last_result())?;
    l.compute(alu, to, values)
}

/// A source, cut to 32 bits if its register has more.
fn value<'m>(l: &mut Lowerer<'m>, source: &Operand<'m>, width: Width) -> Result<Source, PtxError> {
    if width == Width::W32 && l.width(source) == Some(Width::W64) {
        let wide = l.value(source, Width::W64)?;
        return super::convert(l, "cvt.u32.u64", wide);
    }
    l.value(source, width)
}

pub(super) fn width_of(ty: Type) -> Width {
    match ty {
        Type::Pred => Width::Predicate,
        _ if ty.bytes() == 8 => Width::W64,
        _ => Width::W32,
    }
}

fn mov<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let Some(ty) = op.ty() else {
        return Err(unsupported(l, op));
    };
    if ty == Type::B128 {
        return Err(unsupported(l, op));
    }
    let width = width_of(ty);
    let [to, from] = l.operands(inst)?;
    let parts = |items: &[Operand<'_>]| items.len() as u64 | u64::from(width == Width::W64) << 8;
    // Parts of 64 bits may be halves of a 64-bit register only as 32-bit registers.
    let fits = |items: &[Operand<'_>]| matches!(items.len(), 2 | 4) && width != Width::Predicate;
    match (to, from) {
        (Operand::Vector(items), from) if fits(items) => {
            let mut results = Vec::new();
            for item in items {
                results.push(l.register(item, Width::W32)?);
            }
            let source = l.value(from, width)?;
            let draft = Draft::compute(handler::<select::Unpack>(), results, vec![source]);
            l.push(draft.listed().imm(parts(items)))
        }
        (to, Operand::Vector(items)) if fits(items) => {
            let mut sources = Vec::new();
            for item in items {
                sources.push(l.value(item, Width::W32)?);
            }
            let result = l.register(to, width)?;
            let draft = Draft::compute(handler::<select::Pack>(), vec![result], sources);
            l.push(draft.listed().imm(parts(items)))
        }
        (to, Operand::Number(number)) if width == Width::Predicate => {
            let result = l.register(to, width)?;
            let value = if number.as_u64() != 0 {
                select::logic::TRUE
            } else {
                select::logic::FALSE
            };
            let draft = Draft::compute(handler::<select::Logic>(), vec![result], Vec::new());
            l.push(draft.imm(value))
        }
        (to, from) => {
            let source = l.value(from, width)?;
            let result = l.register(to, width)?;
            l.push(Draft::compute(
                select::copy(width),
                vec![result],
                vec![source],
            ))
        }
    }
}

fn predicates<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let logic = match op.stem() {
        "and" => select::logic::AND,
        "or" => select::logic::OR,
        "xor" => select::logic::XOR,
        _ => select::logic::NOT,
    };
    let wanted = if logic == select::logic::NOT { 2 } else { 3 };
    if inst.operands.len() != wanted {
        return Err(l.error(format!("{} operands, not {wanted}", inst.operands.len())));
    }
    let result = l.register(&inst.operands[0], Width::Predicate)?;
    let mut sources = Vec::new();
    for operand in &inst.operands[1..] {
        sources.push(l.value(operand, Width::Predicate)?);
    }
    l.push(Draft::compute(handler::<select::Logic>(), vec![result], sources).imm(logic))
}

fn lop3<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    if op.ty() != Some(Type::B32) {
        return Err(unsupported(l, op));
    }
    let [to, a, b, c, table] = l.operands(inst)?;
    let table = l.constant(table)?;
    let mut sources = Vec::new();
    for operand in [a, b, c] {
        sources.push(l.value(operand, Width::W32)?);
    }
    let result = l.register(to, Width::W32)?;
    l.push(Draft::compute(handler::<select::Lop3>(), vec![result], sources).imm(table & 255))
}

fn prmt<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let mode = ["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"]
        .into_iter()
        .find(|mode| op.has(mode));
    if op.ty() != Some(Type::B32) {
        return Err(unsupported(l, op));
    }
    match bits::permute(mode) {
        Some(alu) => each(l, alu, &inst.operands),
        None => Err(unsupported(l, op)),
    }
}

/// `bfi d, a, b, at, n` in three steps: a mask, `a` shifted there, and the choice between bits.
fn bfi<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let ty = op.ty();
    let (Some([mask, shift]), Some(blend)) = (ty.and_then(bits::insert), ty.and_then(bits::blend))
    else {
        return Err(unsupported(l, op));
    };
    let width = blend.result;
    let [to, a, b, at, n] = l.operands(inst)?;
    let (a, b) = (l.value(a, width)?, l.value(b, width)?);
    let (at, n) = (l.value(at, Width::W32)?, l.value(n, Width::W32)?);
    let (field, shifted) = (l.fresh(width), l.fresh(width));
    l.push(Draft::compute(mask.handler, vec![field], vec![at, n]))?;
    l.push(Draft::compute(shift.handler, vec![shifted], vec![a, at]))?;
    let sources = vec![Source::Register(field), Source::Register(shifted), b];
    let result = l.register(to, width)?;
    l.push(Draft::compute(blend.handler, vec![result], sources))
}

fn dot<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let high = op.find(|part| matches!(part, "lo" | "hi").then(|| part == "hi"));
    let (Some(a), Some(b)) = (op.ty(), op.ty()) else {
        return Err(unsupported(l, op));
    };
    let alu = match (op.stem(), high) {
        ("dp4a", None) => integer::dot4(a, b),
        ("dp2a", Some(high)) => integer::dot2(a, b, high),
        _ => None,
    };
    match alu {
        Some(alu) => each(l, alu, &inst.operands),
        None => Err(unsupported(l, op)),
    }
}

/// `add.cc`, `addc`, `mad.lo.cc` and their like.
fn with_carry<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let writes = op.stem() != "addc" && op.stem() != "subc" && op.stem() != "madc" || op.has("cc");
    let reads = op.stem().ends_with('c');
    let product = op.find(|part| matches!(part, "lo" | "hi").then(|| part == "hi"));
    let Some(ty) = op.ty() else {
        return Err(unsupported(l, op));
    };
    let width = width_of(ty);
    if !matches!(
        ty,
        Type::U32 | Type::S32 | Type::B32 | Type::U64 | Type::S64
    ) {
        return Err(unsupported(l, op));
    }
    let is_mad = op.stem().starts_with("mad");
    let (to, a, b) = match (inst.operands.as_slice(), product) {
        ([to, a, b], None) if !is_mad => (to, l.value(a, width)?, l.value(b, width)?),
        ([to, a, b, c], Some(high)) if is_mad => {
            let name = match (ty, high) {
                (Type::U32, false) => "mul.lo.u32",
                (Type::U32, true) => "mul.hi.u32",
                (Type::S32, false) => "mul.lo.s32",
                (Type::S32, true) => "mul.hi.s32",
                (Type::U64, false) => "mul.lo.u64",
                (Type::U64, true) => "mul.hi.u64",
                (_, false) => "mul.lo.s64",
                (_, true) => "mul.hi.s64",
            };
            let Some(alu) = ops::alu(&Opcode::new(name)) else {
                return Err(unsupported(l, op));
            };
            let sources = vec![l.value(a, width)?, l.value(b, width)?];
            let c = l.value(c, width)?;
            let product = l.fresh(width);
            l.push(Draft::compute(alu.handler, vec![product], sources))?;
            (to, Source::Register(product), c)
        }
        _ => return Err(unsupported(l, op)),
    };
    let carry_register = l.carry();
    let mut results = vec![l.register(to, width)?];
    let mut imm = 0;
    if writes {
        results.push(carry_register);
        imm |= carry::WRITE;
    }
    if reads {
        imm |= carry::READ;
    }
    if op.stem().starts_with("sub") {
        imm |= carry::SUBTRACT;
    }
    let sources = vec![a, b, Source::Register(carry_register)];
    let handler = carry::add_carry(width == Width::W64);
    l.push(
        Draft::compute(handler, results, sources)
            .imm(imm)
            .flow(Flow::Lanes),
    )
}
