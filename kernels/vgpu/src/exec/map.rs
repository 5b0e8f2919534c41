//! Instructions that compute each lane from the same lane of their operands.

use super::column::{FULL, LANES, Raw, Value};
use super::isa::{Handler, Operation, handler};
use super::{Cx, Outcome};
use crate::code::{Inst, Width};
use std::marker::PhantomData;

/// A handler with the widths of its result and its operands.
#[derive(Clone, Debug)]
pub(crate) struct Alu {
    pub(crate) handler: Handler,
    pub(crate) result: Width,
    pub(crate) operands: &'static [Width],
    /// What is done to the result next: something with one operand of its width.
    pub(crate) then: Option<Box<Alu>>,
}

impl Alu {
    /// The width of what the last step gives.
    pub(crate) fn last_result(&self) -> Width {
        self.then
            .as_ref()
            .map_or(self.result, |then| then.last_result())
    }

    /// The same with a further step, if there is one.
    pub(crate) fn then(mut self, next: Option<Alu>) -> Alu {
        self.then = match (self.then, next) {
            (Some(then), next) => Some(Box::new(then.then(next))),
            (None, next) => next.map(Box::new),
        };
        self
    }
}

/// A function of `N` operands.
pub(crate) trait Map<const N: usize> {
    type A: Value;
    type B: Value;
    type C: Value;
    type R: Value;
    fn apply(a: Self::A, b: Self::B, c: Self::C) -> Self::R;

    /// Whether some results of `apply` are in doubt, so seldom that finding them among 32 and doing
    /// those again is the fastest way.
    const DOUBTS: bool = false;
    /// Whether a result is in doubt.
    #[inline(always)]
    fn doubtful(_: Self::R) -> bool {
        false
    }
    /// The result where that of `apply` is in doubt.
    #[inline(always)]
    fn again(a: Self::A, b: Self::B, c: Self::C) -> Self::R {
        Self::apply(a, b, c)
    }
}

struct Each<M, const N: usize>(PhantomData<M>);

impl<M: Map<N>, const N: usize> Operation for Each<M, N> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        // The first operand stands in for those that are not there, with its own type.
        let a = cx.read(inst.a);
        let b = cx.read(if N > 1 { inst.b } else { inst.a });
        let c = cx.read(if N > 2 { inst.c } else { inst.a });
        let mut out = [<M::R as Value>::Raw::default(); LANES];
        for i in 0..LANES {
            let (a, b, c) = (
                M::A::from_raw(a[i]),
                M::B::from_raw(b[i]),
                M::C::from_raw(c[i]),
            );
            out[i] = M::apply(a, b, c).raw();
        }
        if M::DOUBTS && out.iter().any(|&raw| M::doubtful(M::R::from_raw(raw))) {
            for i in 0..LANES {
                if M::doubtful(M::R::from_raw(out[i])) {
                    let (a, b, c) = (
                        M::A::from_raw(a[i]),
                        M::B::from_raw(b[i]),
                        M::C::from_raw(c[i]),
                    );
                    out[i] = M::again(a, b, c).raw();
                }
            }
        }
        cx.set(inst.d, mask, &out);
        Ok(())
    }
}

const fn widths<M: Map<N>, const N: usize>() -> [Width; 3] {
    [
        <M::A as Value>::Raw::WIDTH,
        <M::B as Value>::Raw::WIDTH,
        <M::C as Value>::Raw::WIDTH,
    ]
}

struct Widths<M, const N: usize>(PhantomData<M>);

impl<M: Map<N> + 'static, const N: usize> Widths<M, N> {
    const ALL: &'static [Width; 3] = &widths::<M, N>();
}

/// The [`Alu`] of a function.
pub(crate) fn map<M: Map<N> + 'static, const N: usize>(_: M) -> Alu {
    Alu {
        handler: handler::<Each<M, N>>(),
        result: <M::R as Value>::Raw::WIDTH,
        operands: &Widths::<M, N>::ALL[..N],
        then: None,
    }
}

/// The [`Alu`] of a closure-like function of one to three operands:
/// `lanes!(|a: u32, b: u32| -> u32 { a & b })`, with `doubt |r| { r == 0 } { a | b }` behind it where
/// some results have to be computed in another way.
macro_rules! lanes {
    (|$a:ident: $A:ty| -> $R:ty $body:block $($doubt:tt)*) => {
        lanes!(@ 1, $a: $A, _b: $A, _c: $A, $R, $body $($doubt)*)
    };
    (|$a:ident: $A:ty, $b:ident: $B:ty| -> $R:ty $body:block $($doubt:tt)*) => {
        lanes!(@ 2, $a: $A, $b: $B, _c: $A, $R, $body $($doubt)*)
    };
    (|$a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty| -> $R:ty $body:block $($doubt:tt)*) => {
        lanes!(@ 3, $a: $A, $b: $B, $c: $C, $R, $body $($doubt)*)
    };
    (@ $n:literal, $a:ident: $A:ty, $b:ident: $B:ty, $c:ident: $C:ty, $R:ty, $body:block
        $(doubt |$r:ident| $doubtful:block $again:block)?) => {{
        struct Function;
        impl $crate::exec::map::Map<$n> for Function {
            type A = $A;
            type B = $B;
            type C = $C;
            type R = $R;
            #[inline(always)]
            fn apply($a: $A, $b: $B, $c: $C) -> $R {
                $body
            }
            $(
                const DOUBTS: bool = true;
                #[inline(always)]
                fn doubtful($r: $R) -> bool {
                    $doubtful
                }
                #[inline(always)]
                fn again($a: $A, $b: $B, $c: $C) -> $R {
                    $again
                }
            )?
        }
        $crate::exec::map::map::<Function, $n>(Function)
    }};
}
pub(crate) use lanes;

/// A condition on two operands.
pub(crate) trait Test {
    type A: Value;
    fn holds(a: Self::A, b: Self::A) -> bool;
}

/// How `setp` joins its condition with a predicate.
pub(crate) mod join {
    pub(crate) const NONE: u64 = 0;
    pub(crate) const AND: u64 = 1;
    pub(crate) const OR: u64 = 2;
    pub(crate) const XOR: u64 = 3;
    /// Set where the predicate is negated.
    pub(crate) const NEGATED: u64 = 4;
    /// Set where a second result is wanted.
    pub(crate) const PAIR: u64 = 8;
    /// Set where the condition itself is negated.
    pub(crate) const INVERTED: u64 = 16;
}

struct SetPredicate<T>(PhantomData<T>);

impl<T: Test> Operation for SetPredicate<T> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let all_if = |bit: u64| if inst.imm & bit != 0 { FULL } else { 0 };
        let found = found::<T>(cx, inst) ^ all_if(join::INVERTED);
        if inst.imm & !join::INVERTED == join::NONE {
            cx.set_predicate(inst.d, mask, found);
            return Ok(());
        }
        let other = cx.predicate(inst.c) ^ all_if(join::NEGATED);
        let joined = |found: u32| match inst.imm & 3 {
            join::AND => found & other,
            join::OR => found | other,
            join::XOR => found ^ other,
            _ => found,
        };
        cx.set_predicate(inst.d, mask, joined(found));
        if inst.imm & join::PAIR != 0 {
            cx.set_predicate(inst.e, mask, joined(!found));
        }
        Ok(())
    }
}

#[inline(always)]
fn found<T: Test>(cx: &Cx<'_>, inst: &Inst) -> u32 {
    let (a, b) = (cx.read(inst.a), cx.read(inst.b));
    let mut found = 0;
    for i in 0..LANES {
        found |= u32::from(T::holds(T::A::from_raw(a[i]), T::A::from_raw(b[i]))) << i;
    }
    found
}

/// A condition's handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition {
    pub(crate) handler: Handler,
    /// Its operands change places.
    pub(crate) swapped: bool,
    /// Its answer is turned.
    pub(crate) inverted: bool,
}

/// The [`Condition`] of a test.
pub(crate) fn condition<T: Test>(_: T) -> Condition {
    Condition {
        handler: handler::<SetPredicate<T>>(),
        swapped: false,
        inverted: false,
    }
}

/// The [`Condition`] of a closure-like test: `test!(|a: u32, b: u32| { a < b })`.
macro_rules! test {
    (|$a:ident, $b:ident: $A:ty| $body:block) => {{
        struct Function;
        impl $crate::exec::map::Test for Function {
            type A = $A;
            #[inline(always)]
            fn holds($a: $A, $b: $A) -> bool {
                $body
            }
        }
        $crate::exec::map::condition(Function)
    }};
}
pub(crate) use test;
