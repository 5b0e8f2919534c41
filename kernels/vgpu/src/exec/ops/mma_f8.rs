//! `mma.sync` of 8-bit floats (PTX ISA 9.7.14.5), as compute capability 9.0 does it: not with one
//! instruction, but with those of f16.
//!
//! Operands become f16, which is exact. Of every four elements along the inner side, one f16
//! product takes the first two, starting from zero, the next one the other two; `c` is added last,
//! by an ordinary addition.

use super::half_bits::e4m3_to_f32;
use super::mma::{Accumulator, COLUMNS, Column, F16, Format, Half, Numbers, ROWS, Side, Single};
use super::mma::{column, columns, in_range, side, store};
use super::mma_sum::ZERO;
use crate::code::Inst;
use crate::exec::vector::Vector;
use crate::exec::{Cx, Handler, Outcome, VectorOperation, vector_handler};
use crate::ptx::Type;
use std::marker::PhantomData;

/// The inner side.
const DEPTH: usize = 32;

/// Elements of a 32-bit register.
const PACKED: usize = 4;

struct E4m3;

impl Format for E4m3 {
    const PACKED: usize = PACKED;
    #[inline(always)]
    fn numbers<V: Vector>(v: V, registers: &[u32; ROWS], part: usize) -> Numbers {
        let values = registers.map(|register| e4m3_to_f32((register >> (8 * part)) as u8));
        (values, v.exponents(&values.map(f32::to_bits), ZERO))
    }
}

struct E5m2;

impl Format for E5m2 {
    const PACKED: usize = PACKED;
    #[inline(always)]
    fn numbers<V: Vector>(v: V, registers: &[u32; ROWS], part: usize) -> Numbers {
        F16::numbers(v, &registers.map(|register| register >> (8 * part) << 8), 0)
    }
}

/// The halves of a side that the two products take.
#[inline(always)]
fn halves(side: &Side<DEPTH>) -> [Side<{ DEPTH / 2 }>; 2] {
    let pick = |half: usize| Side {
        values: std::array::from_fn(|k| side.values[k / 2 * 4 + 2 * half + k % 2]),
        exponents: std::array::from_fn(|k| side.exponents[k / 2 * 4 + 2 * half + k % 2]),
    };
    [pick(0), pick(1)]
}

/// The list holds `d`, `a`, `b` and `c`.
struct MmaF8<L, R, A>(PhantomData<(L, R, A)>);

impl<L: Format, R: Format, A: Accumulator> VectorOperation for MmaF8<L, R, A> {
    #[inline(always)]
    fn run<V: Vector>(v: V, cx: &mut Cx<'_>, inst: &Inst, _: u32) -> Outcome {
        let first_a = A::REGISTERS;
        let first_b = first_a + DEPTH / (2 * PACKED);
        let first_c = first_b + DEPTH / (4 * PACKED);
        let a = side::<V, L, DEPTH>(v, cx, inst, first_a, 2);
        let b = side::<V, R, DEPTH>(v, cx, inst, first_b, 1);
        let in_range = in_range(&a, &b);
        let (a, b) = (halves(&a), halves(&b));
        let c = columns::<V, A>(v, cx, inst, first_c);
        let mut sums = [[0; ROWS]; COLUMNS];
        for (n, sums) in sums.iter_mut().enumerate() {
            let first = column::<V, A, _>(v, &a[0], &b[0], n, &Column::EMPTY, in_range);
            let (values, exponents) = A::numbers(v, &first, 0);
            let start = Column { values, exponents };
            *sums = column::<V, A, _>(v, &a[1], &b[1], n, &start, in_range);
            for (sum, c) in sums.iter_mut().zip(c[n].values) {
                *sum = A::add(*sum, c);
            }
        }
        store::<A>(cx, inst, &sums);
        Ok(())
    }
}

/// The handler for operands and an accumulator of these types.
pub(super) fn handler(a: &str, b: &str, c: Type) -> Option<Handler> {
    Some(match (a, b, c) {
        ("e4m3", "e4m3", Type::F32) => vector_handler::<MmaF8<E4m3, E4m3, Single>>(),
        ("e4m3", "e5m2", Type::F32) => vector_handler::<MmaF8<E4m3, E5m2, Single>>(),
        ("e5m2", "e4m3", Type::F32) => vector_handler::<MmaF8<E5m2, E4m3, Single>>(),
        ("e5m2", "e5m2", Type::F32) => vector_handler::<MmaF8<E5m2, E5m2, Single>>(),
        ("e4m3", "e4m3", Type::F16) => vector_handler::<MmaF8<E4m3, E4m3, Half>>(),
        ("e4m3", "e5m2", Type::F16) => vector_handler::<MmaF8<E4m3, E5m2, Half>>(),
        ("e5m2", "e4m3", Type::F16) => vector_handler::<MmaF8<E5m2, E4m3, Half>>(),
        ("e5m2", "e5m2", Type::F16) => vector_handler::<MmaF8<E5m2, E5m2, Half>>(),
        _ => return None,
    })
}
