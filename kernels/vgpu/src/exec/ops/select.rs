//! Moves, choices and predicates.

use super::bits;
use crate::code::{Inst, Width};
use crate::exec::column::{LANES, Raw};
use crate::exec::{Cx, Handler, Operation, Outcome, handler};
use std::marker::PhantomData;

struct Move<T>(PhantomData<T>);

impl<T: Raw> Operation for Move<T> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let values = *cx.read::<T>(inst.a);
        cx.set(inst.d, mask, &values);
        Ok(())
    }
}

struct MovePredicate;

impl Operation for MovePredicate {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        cx.set_predicate(inst.d, mask, cx.predicate(inst.a));
        Ok(())
    }
}

/// `mov` within a width.
pub(crate) fn copy(width: Width) -> Handler {
    match width {
        Width::Predicate => handler::<MovePredicate>(),
        Width::W32 => handler::<Move<u32>>(),
        Width::W64 => handler::<Move<u64>>(),
    }
}

/// Source `a` where predicate `c` holds, else `b`.
struct Select<T>(PhantomData<T>);

impl<T: Raw> Operation for Select<T> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let (a, b) = (cx.read::<T>(inst.a), cx.read::<T>(inst.b));
        let choice = cx.predicate(inst.c);
        let mut out = [T::default(); LANES];
        for i in 0..LANES {
            out[i] = if choice >> i & 1 != 0 { a[i] } else { b[i] };
        }
        cx.set(inst.d, mask, &out);
        Ok(())
    }
}

/// `selp`.
pub(crate) fn select(width: Width) -> Handler {
    match width {
        Width::W64 => handler::<Select<u64>>(),
        _ => handler::<Select<u32>>(),
    }
}

/// What `Inst::imm` of a predicate's logic holds.
pub(crate) mod logic {
    pub(crate) const AND: u64 = 0;
    pub(crate) const OR: u64 = 1;
    pub(crate) const XOR: u64 = 2;
    pub(crate) const NOT: u64 = 3;
    /// A constant: all lanes false or true.
    pub(crate) const FALSE: u64 = 4;
    pub(crate) const TRUE: u64 = 5;
}

/// Logic of predicates.
pub(crate) struct Logic;

impl Operation for Logic {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let (a, b) = (cx.predicate(inst.a), cx.predicate(inst.b));
        let value = match inst.imm {
            logic::AND => a & b,
            logic::OR => a | b,
            logic::XOR => a ^ b,
            logic::NOT => !a,
            logic::TRUE => u32::MAX,
            _ => 0,
        };
        cx.set_predicate(inst.d, mask, value);
        Ok(())
    }
}

/// `lop3`, with its table in `imm`.
pub(crate) struct Lop3;

impl Operation for Lop3 {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let (a, b, c) = (
            cx.read::<u32>(inst.a),
            cx.read::<u32>(inst.b),
            cx.read::<u32>(inst.c),
        );
        let table = inst.imm as u32;
        let mut out = [0; LANES];
        for i in 0..LANES {
            out[i] = bits::lop3(table, a[i], b[i], c[i]);
        }
        cx.set(inst.d, mask, &out);
        Ok(())
    }
}

/// Parts of a register's bits as registers of their own: `imm` parts, listed before the source.
pub(crate) struct Unpack;

impl Operation for Unpack {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let (parts, wide) = (inst.imm & 255, inst.imm >> 8 != 0);
        let values: [u64; LANES] = if wide {
            *cx.read::<u64>(inst.a)
        } else {
            cx.read::<u32>(inst.a).map(u64::from)
        };
        let bits = if wide { 64 } else { 32 } / parts;
        for part in 0..parts {
            let to = cx.listed(inst, part as usize);
            let low = u32::MAX >> (32 - bits);
            let out = values.map(|value| (value >> (part * bits)) as u32 & low);
            cx.set(to, mask, &out);
        }
        Ok(())
    }
}

/// The reverse: the result is listed before `imm` parts.
pub(crate) struct Pack;

impl Operation for Pack {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let (parts, wide) = (inst.imm & 255, inst.imm >> 8 != 0);
        let bits = if wide { 64 } else { 32 } / parts;
        let low = u32::MAX >> (32 - bits);
        let mut out = [0u64; LANES];
        for part in 0..parts {
            let from = cx.read::<u32>(cx.listed(inst, 1 + part as usize));
            for i in 0..LANES {
                out[i] |= u64::from(from[i] & low) << (part * bits);
            }
        }
        if wide {
            cx.set(inst.d, mask, &out);
        } else {
            cx.set(inst.d, mask, &out.map(|value| value as u32));
        }
        Ok(())
    }
}

/// `testp`: which classes of singles (or doubles) hold.
pub(crate) struct TestClass<const WIDE: bool>;

/// What `testp` asks for.
pub(crate) mod class {
    pub(crate) const FINITE: u64 = 0;
    pub(crate) const INFINITE: u64 = 1;
    pub(crate) const NUMBER: u64 = 2;
    pub(crate) const NOT_A_NUMBER: u64 = 3;
    /// Zeros count.
    pub(crate) const NORMAL: u64 = 4;
    pub(crate) const SUBNORMAL: u64 = 5;
}

impl<const WIDE: bool> Operation for TestClass<WIDE> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let mut found = 0;
        for i in 0..LANES {
            let class = if WIDE {
                f64::from_bits(cx.read::<u64>(inst.a)[i]).classify()
            } else {
                f32::from_bits(cx.read::<u32>(inst.a)[i]).classify()
            };
            use std::num::FpCategory::{Infinite, Nan, Normal, Subnormal, Zero};
            let holds = match inst.imm {
                class::FINITE => !matches!(class, Infinite | Nan),
                class::INFINITE => class == Infinite,
                class::NUMBER => class != Nan,
                class::NOT_A_NUMBER => class == Nan,
                class::NORMAL => matches!(class, Normal | Zero),
                _ => class == Subnormal,
            };
            found |= u32::from(holds) << i;
        }
        cx.set_predicate(inst.d, mask, found);
        Ok(())
    }
}
