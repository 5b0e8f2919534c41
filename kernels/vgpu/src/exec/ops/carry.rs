//! Additions with the carry of the condition code (PTX ISA 9.7.2).
//!
//! The carry is a predicate; a subtraction's is its borrow.

use crate::code::Inst;
use crate::exec::column::{LANES, Raw};
use crate::exec::{Cx, Handler, Operation, Outcome, handler};
use std::marker::PhantomData;

/// Set in `Inst::imm` where the carry is read.
pub(crate) const READ: u64 = 1;

/// Set where it is written.
pub(crate) const WRITE: u64 = 2;

/// Set for a subtraction.
pub(crate) const SUBTRACT: u64 = 4;

trait Word: Raw {
    fn step(a: Self, b: Self, carry: bool, subtract: bool) -> (Self, bool);
}

macro_rules! word {
    ($($T:ty)*) => {$(
        impl Word for $T {
            #[inline(always)]
            fn step(a: $T, b: $T, carry: bool, subtract: bool) -> ($T, bool) {
                let carry = <$T>::from(carry);
                let ((sum, first), (sum2, second));
                if subtract {
                    (sum, first) = a.overflowing_sub(b);
                    (sum2, second) = sum.overflowing_sub(carry);
                } else {
                    (sum, first) = a.overflowing_add(b);
                    (sum2, second) = sum.overflowing_add(carry);
                }
                (sum2, first || second)
            }
        }
    )*};
}

word!(u32 u64);

struct AddCarry<T>(PhantomData<T>);

impl<T: Word> Operation for AddCarry<T> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let carry = if inst.imm & READ != 0 {
            cx.predicate(inst.c)
        } else {
            0
        };
        let subtract = inst.imm & SUBTRACT != 0;
        let (a, b) = (cx.read::<T>(inst.a), cx.read::<T>(inst.b));
        let mut out = [T::default(); LANES];
        let mut carries = 0;
        for i in 0..LANES {
            let (sum, carried) = T::step(a[i], b[i], carry >> i & 1 != 0, subtract);
            out[i] = sum;
            carries |= u32::from(carried) << i;
        }
        cx.set(inst.d, mask, &out);
        if inst.imm & WRITE != 0 {
            cx.set_predicate(inst.e, mask, carries);
        }
        Ok(())
    }
}

/// The handler for 32 or 64 bits.
pub(crate) fn add_carry(wide: bool) -> Handler {
    if wide {
        handler::<AddCarry<u64>>()
    } else {
        handler::<AddCarry<u32>>()
    }
}
