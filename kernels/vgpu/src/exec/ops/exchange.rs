//! Lanes that exchange values: `shfl`, `vote`, `match`, `redux`, `activemask`, `elect`
//! (PTX ISA 9.7.9, 9.7.13).

use crate::code::Inst;
use crate::exec::column::{LANES, Raw, lanes_of};
use crate::exec::{Cx, Handler, Operation, Outcome, Trouble, handler};
use crate::fault::FaultKind;
use crate::ptx::Type;
use std::marker::PhantomData;

/// How `shfl` finds a lane's source.
pub(crate) mod shuffle {
    pub(crate) const UP: u64 = 0;
    pub(crate) const DOWN: u64 = 1;
    pub(crate) const BUTTERFLY: u64 = 2;
    pub(crate) const INDEX: u64 = 3;
    /// Set where a predicate is wanted too.
    pub(crate) const PREDICATE: u64 = 4;
}

/// `shfl.sync`: value `a`, lane or distance `b`, limits `c`.
pub(crate) struct Shuffle;

impl Operation for Shuffle {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let (values, steps) = (*cx.read::<u32>(inst.a), *cx.read::<u32>(inst.b));
        let limits = *cx.read::<u32>(inst.c);
        let mut out = [0; LANES];
        let mut valid = 0;
        let mut from_outside = 0u32;
        for lane in 0..LANES as u32 {
            let i = lane as usize;
            let (step, clamp, segment) = (steps[i] & 31, limits[i] & 31, limits[i] >> 8 & 31);
            let low = lane & segment;
            let high = low | clamp & !segment;
            let (source, inside) = match inst.imm & 3 {
                shuffle::UP => {
                    let source = lane.wrapping_sub(step);
                    (source, source as i32 >= high as i32)
                }
                shuffle::DOWN => (lane + step, lane + step <= high),
                shuffle::BUTTERFLY => (lane ^ step, lane ^ step <= high),
                _ => (low | step & !segment, (low | step & !segment) <= high),
            };
            let source = if inside { source & 31 } else { lane };
            out[i] = values[source as usize];
            valid |= u32::from(inside) << lane;
            from_outside |= u32::from(mask >> source & 1 == 0) << lane;
        }
        if from_outside & mask != 0 {
            let lane = (from_outside & mask).trailing_zeros() as usize;
            let detail = format!("lane {lane} reads a lane that takes no part ({mask:#010x} do)");
            return Err(Trouble::new(FaultKind::Divergence, lane, detail));
        }
        cx.set(inst.d, mask, &out);
        if inst.imm & shuffle::PREDICATE != 0 {
            cx.set_predicate(inst.e, mask, valid);
        }
        Ok(())
    }
}

/// What `vote` asks.
pub(crate) mod vote {
    pub(crate) const ALL: u64 = 0;
    pub(crate) const ANY: u64 = 1;
    pub(crate) const UNIFORM: u64 = 2;
    pub(crate) const BALLOT: u64 = 3;
    /// Set where the predicate is negated.
    pub(crate) const NEGATED: u64 = 4;
}

/// `vote.sync`: predicate `a`; lanes with the same member mask vote together.
pub(crate) struct Vote;

impl Operation for Vote {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let flip = if inst.imm & vote::NEGATED != 0 {
            u32::MAX
        } else {
            0
        };
        let holds = (cx.predicate(inst.a) ^ flip) & mask;
        let members = *cx.read::<u32>(inst.members);
        let mut out = [0; LANES];
        let mut answer = 0;
        for lane in 0..LANES {
            let group = members[lane] & mask;
            let ballot = holds & group;
            let yes = match inst.imm & 3 {
                vote::ALL => ballot == group,
                vote::ANY => ballot != 0,
                _ => ballot == group || ballot == 0,
            };
            out[lane] = ballot;
            answer |= u32::from(yes) << lane;
        }
        if inst.imm & 3 == vote::BALLOT {
            cx.set(inst.d, mask, &out);
        } else {
            cx.set_predicate(inst.d, mask, answer);
        }
        Ok(())
    }
}

/// `match.sync`: lanes whose `a` is the same. `imm` is 1 for `.all`, which also sets predicate `e`.
struct Match<T>(PhantomData<T>);

impl<T: Raw + PartialEq> Operation for Match<T> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let values = *cx.read::<T>(inst.a);
        let members = *cx.read::<u32>(inst.members);
        let mut out = [0; LANES];
        let mut all = 0;
        for lane in lanes_of(mask) {
            let group = members[lane] & mask;
            let same = lanes_of(group).filter(|&other| values[other] == values[lane]);
            let same = same.fold(0u32, |found, other| found | 1 << other);
            if inst.imm == 0 {
                out[lane] = same;
            } else if same == group {
                out[lane] = group;
                all |= 1 << lane;
            }
        }
        cx.set(inst.d, mask, &out);
        if inst.imm != 0 {
            cx.set_predicate(inst.e, mask, all);
        }
        Ok(())
    }
}

/// The handler of `match`.
pub(crate) fn matches(wide: bool) -> Handler {
    if wide {
        handler::<Match<u64>>()
    } else {
        handler::<Match<u32>>()
    }
}

trait Reduce {
    fn join(a: u32, b: u32) -> u32;
}

macro_rules! reduce {
    ($($Name:ident |$a:ident, $b:ident| $body:expr;)*) => {$(
        struct $Name;
        impl Reduce for $Name {
            #[inline(always)]
            fn join($a: u32, $b: u32) -> u32 { $body }
        }
    )*};
}

reduce! {
    Sum |a, b| a.wrapping_add(b);
    MinUnsigned |a, b| a.min(b);
    MaxUnsigned |a, b| a.max(b);
    MinSigned |a, b| (a as i32).min(b as i32) as u32;
    MaxSigned |a, b| (a as i32).max(b as i32) as u32;
    And |a, b| a & b;
    Or |a, b| a | b;
    Xor |a, b| a ^ b;
}

/// `redux.sync`: the reduction of `a` over the lanes with the same member mask.
struct Redux<F>(PhantomData<F>);

impl<F: Reduce> Operation for Redux<F> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let values = *cx.read::<u32>(inst.a);
        let members = *cx.read::<u32>(inst.members);
        let mut out = [0; LANES];
        let mut left = mask;
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let group = members[first] & mask;
            let others = lanes_of(group & !(1 << first)).map(|lane| values[lane]);
            let result = others.fold(values[first], F::join);
            for lane in lanes_of(group) {
                out[lane] = result;
            }
            left &= !(group | 1 << first);
        }
        cx.set(inst.d, mask, &out);
        Ok(())
    }
}

/// The handler of `redux`.
pub(crate) fn redux(name: &str, ty: Type) -> Option<Handler> {
    Some(match (name, ty) {
        ("add", Type::U32 | Type::S32) => handler::<Redux<Sum>>(),
        ("min", Type::U32) => handler::<Redux<MinUnsigned>>(),
        ("max", Type::U32) => handler::<Redux<MaxUnsigned>>(),
        ("min", Type::S32) => handler::<Redux<MinSigned>>(),
        ("max", Type::S32) => handler::<Redux<MaxSigned>>(),
        ("and", Type::B32) => handler::<Redux<And>>(),
        ("or", Type::B32) => handler::<Redux<Or>>(),
        ("xor", Type::B32) => handler::<Redux<Xor>>(),
        _ => return None,
    })
}

/// `activemask`.
pub(crate) struct ActiveMask;

impl Operation for ActiveMask {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        cx.set(inst.d, mask, &[mask; LANES]);
        Ok(())
    }
}

/// `elect.sync`: the lowest lane of the member mask.
pub(crate) struct Elect;

impl Operation for Elect {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let members = *cx.read::<u32>(inst.members);
        let leaders = members.map(|members| (members & mask).trailing_zeros() & 31);
        let elected = lanes_of(mask).filter(|&lane| leaders[lane] as usize == lane);
        let elected = elected.fold(0u32, |found, lane| found | 1 << lane);
        cx.set(inst.d, mask, &leaders);
        cx.set_predicate(inst.e, mask, elected);
        Ok(())
    }
}
