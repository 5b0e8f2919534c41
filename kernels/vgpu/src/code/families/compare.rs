//! Comparisons, and choices by them.

use super::arithmetic::{Lowered, width_of};
use super::unsupported;
use crate::code::draft::{Draft, Register, Source};
use crate::code::lower::Lowerer;
use crate::code::{Opcode, Width};
use crate::exec::handler;
use crate::exec::map::join;
use crate::exec::ops::{self, compare, select};
use crate::ptx::{Instruction, Operand, PtxError, Type};

pub(super) fn lower<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    match op.stem() {
        "setp" => setp(l, op, inst),
        "set" => set(l, op, inst),
        "selp" => selp(l, op, inst),
        "slct" => slct(l, op, inst),
        _ => testp(l, op, inst),
    }
}

/// What `setp` and `set` compare.
struct Comparison {
    name: &'static str,
    ftz: bool,
    operands: [Source; 2],
    /// The operator that joins the answer with a predicate (its bits say whether that is negated),
    /// and the predicate.
    joined: Option<(u64, Register)>,
}

impl Comparison {
    /// Takes up the operands behind the result and the names before the types, and returns the
    /// result as well as the type of the operands. The type of `set`'s result comes before that.
    fn parse<'i, 'm>(
        l: &mut Lowerer<'m>,
        op: &Opcode<'_>,
        inst: &'i Instruction<'m>,
    ) -> Result<(&'i Operand<'m>, Type, Comparison), PtxError> {
        let ftz = op.has("ftz");
        let operator = op.find(|part| match part {
            "and" => Some(join::AND),
            "or" => Some(join::OR),
            "xor" => Some(join::XOR),
            _ => None,
        });
        let (Some(name), Some(ty)) = (op.find(comparison), op.ty()) else {
            return Err(unsupported(l, op));
        };
        let (to, a, b, joined) = match (inst.operands.as_slice(), operator) {
            ([to, a, b], None) => (to, a, b, None),
            ([to, a, b, other], Some(operator)) => {
                let (register, negated) = predicate(l, other)?;
                let negation = if negated { join::NEGATED } else { 0 };
                (to, a, b, Some((operator | negation, register)))
            }
            _ => return Err(l.error("a wrong number of operands")),
        };
        let operands = [l.value(a, width_of(ty))?, l.value(b, width_of(ty))?];
        let comparison = Comparison {
            name,
            ftz,
            operands,
            joined,
        };
        Ok((to, ty, comparison))
    }

    /// Compares as numbers of type `ty`; with two results the second has the opposite answer.
    fn push(
        &self,
        l: &mut Lowerer<'_>,
        op: &Opcode<'_>,
        ty: Type,
        results: Vec<Register>,
    ) -> Lowered {
        let Some(condition) = compare::condition(self.name, ty, self.ftz) else {
            return Err(unsupported(l, op));
        };
        let mut sources = self.operands.to_vec();
        if condition.swapped {
            sources.reverse();
        }
        let mut imm = join::NONE;
        if condition.inverted {
            imm |= join::INVERTED;
        }
        if results.len() > 1 {
            imm |= join::PAIR;
        }
        if let Some((operator, register)) = self.joined {
            imm |= operator;
            sources.push(Source::Register(register));
        }
        l.push(Draft::compute(condition.handler, results, sources).imm(imm))
    }

    /// Compares the low and the high halves, which are of type `ty`.
    fn push_halves(
        &self,
        l: &mut Lowerer<'_>,
        op: &Opcode<'_>,
        ty: Type,
    ) -> Result<[Register; 2], PtxError> {
        let results = [l.fresh(Width::Predicate), l.fresh(Width::Predicate)];
        // What reads 16 bits takes the low ones.
        self.push(l, op, ty, vec![results[0]])?;
        let mut operands = self.operands;
        for operand in &mut operands {
            let sources = vec![*operand, Source::Constant32(16)];
            *operand = compute(l, "shr.u32", sources)?;
        }
        let high = Comparison { operands, ..*self };
        high.push(l, op, ty, vec![results[1]])?;
        Ok(results)
    }
}

/// The result of the instruction `name`, of 32 bits.
fn compute(l: &mut Lowerer<'_>, name: &str, sources: Vec<Source>) -> Result<Source, PtxError> {
    let op = Opcode::new(name);
    let Some(alu) = ops::alu(&op) else {
        return Err(unsupported(l, &op));
    };
    let to = l.fresh(Width::W32);
    l.compute(alu, to, sources)?;
    Ok(Source::Register(to))
}

/// What a pair consists of.
fn half_of(ty: Type) -> Option<Type> {
    match ty {
        Type::F16x2 => Some(Type::F16),
        Type::Bf16x2 => Some(Type::Bf16),
        _ => None,
    }
}

fn setp<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let (to, ty, comparison) = Comparison::parse(l, op, inst)?;
    let mut results = Vec::new();
    for result in match to {
        Operand::Pair(pair) => pair.as_slice(),
        single => std::slice::from_ref(single),
    } {
        results.push(l.register(result, Width::Predicate)?);
    }
    let Some(half) = half_of(ty) else {
        return comparison.push(l, op, ty, results);
    };
    let found = comparison.push_halves(l, op, half)?;
    if results.len() != 2 {
        return Err(l.error("two predicates are wanted"));
    }
    for (result, found) in results.into_iter().zip(found) {
        let copy = select::copy(Width::Predicate);
        l.push(Draft::compute(
            copy,
            vec![result],
            vec![Source::Register(found)],
        ))?;
    }
    Ok(())
}

/// `set`: a predicate as a number.
fn set<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let yes = match op.ty() {
        Some(Type::F32) => 1.0f32.to_bits(),
        Some(Type::U32 | Type::S32) => u32::MAX,
        Some(Type::U16 | Type::S16) => 0xffff,
        Some(Type::F16 | Type::F16x2) => 0x3c00,
        Some(Type::Bf16 | Type::Bf16x2) => 0x3f80,
        _ => return Err(unsupported(l, op)),
    };
    let (to, ty, comparison) = Comparison::parse(l, op, inst)?;
    let result = l.register(to, Width::W32)?;
    let number = |l: &mut Lowerer<'_>, yes: u32, to: Register, found: Register| {
        let choices = [Source::Constant32(yes), Source::Constant32(0)];
        let sources = choices
            .into_iter()
            .chain([Source::Register(found)])
            .collect();
        l.push(Draft::compute(
            select::select(Width::W32),
            vec![to],
            sources,
        ))
    };
    let Some(half) = half_of(ty) else {
        let found = l.fresh(Width::Predicate);
        comparison.push(l, op, ty, vec![found])?;
        return number(l, yes, result, found);
    };
    let found = comparison.push_halves(l, op, half)?;
    let parts = [l.fresh(Width::W32), l.fresh(Width::W32)];
    number(l, yes, parts[0], found[0])?;
    number(l, yes << 16, parts[1], found[1])?;
    let both = compute(l, "or.b32", parts.map(Source::Register).to_vec())?;
    l.push(Draft::compute(
        select::copy(Width::W32),
        vec![result],
        vec![both],
    ))
}

fn comparison(part: &str) -> Option<&'static str> {
    const NAMES: [&str; 18] = [
        "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu",
        "gtu", "geu", "num", "nan",
    ];
    NAMES.into_iter().find(|&name| name == part)
}

/// A predicate operand and whether it is negated.
fn predicate<'m>(l: &mut Lowerer<'m>, operand: &Operand<'m>) -> Result<(u32, bool), PtxError> {
    match operand {
        Operand::Not(name) => Ok((l.register(&Operand::Name(name), Width::Predicate)?, true)),
        other => Ok((l.register(other, Width::Predicate)?, false)),
    }
}

fn selp<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let Some(ty) = op.ty() else {
        return Err(unsupported(l, op));
    };
    let width = width_of(ty);
    let [to, a, b, choice] = l.operands(inst)?;
    let (a, b) = (l.value(a, width)?, l.value(b, width)?);
    let (choice, negated) = predicate(l, choice)?;
    let (a, b) = if negated { (b, a) } else { (a, b) };
    let sources = vec![a, b, Source::Register(choice)];
    let result = l.register(to, width)?;
    l.push(Draft::compute(select::select(width), vec![result], sources))
}

/// `slct`: by the sign of the third source, which -0 and NaN settle as "not below zero" and "below".
fn slct<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let ftz = op.has("ftz");
    let (Some(ty), Some(by)) = (op.ty(), op.ty()) else {
        return Err(unsupported(l, op));
    };
    let Some(condition) = compare::condition("ge", by, ftz) else {
        return Err(unsupported(l, op));
    };
    let width = width_of(ty);
    let [to, a, b, choice] = l.operands(inst)?;
    let choice = l.value(choice, Width::W32)?;
    let chosen = l.fresh(Width::Predicate);
    // "At least" is "at most" with the operands swapped.
    let zero = Source::Constant32(0);
    l.push(Draft::compute(
        condition.handler,
        vec![chosen],
        vec![zero, choice],
    ))?;
    let sources = vec![
        l.value(a, width)?,
        l.value(b, width)?,
        Source::Register(chosen),
    ];
    let result = l.register(to, width)?;
    l.push(Draft::compute(select::select(width), vec![result], sources))
}

fn testp<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    use select::class;
    let class = op.find(|part| match part {
        "finite" => Some(class::FINITE),
        "infinite" => Some(class::INFINITE),
        "number" => Some(class::NUMBER),
        "notanumber" => Some(class::NOT_A_NUMBER),
        "normal" => Some(class::NORMAL),
        "subnormal" => Some(class::SUBNORMAL),
        _ => None,
    });
    let (Some(class), Some(ty)) = (class, op.ty()) else {
        return Err(unsupported(l, op));
    };
    let (handler, width) = match ty {
        Type::F32 => (handler::<select::TestClass<false>>(), Width::W32),
        Type::F64 => (handler::<select::TestClass<true>>(), Width::W64),
        _ => return Err(unsupported(l, op)),
    };
    let [to, a] = l.operands(inst)?;
    let source = l.value(a, width)?;
    let result = l.register(to, Width::Predicate)?;
    l.push(Draft::compute(handler, vec![result], vec![source]).imm(class))
}
