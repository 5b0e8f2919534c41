//! `mma.sync` with 16 rows and 8 columns (PTX ISA 9.7.14.5).

use super::half_bits::{f16_to_f32, f64_to_f16};
use super::mma_f8;
use super::mma_sum::{FRACTION, Number, ZERO, power_of_two, sum, to_half, to_single};
use super::rounding::{NAN, Rounding, narrow};
use crate::code::Inst;
use crate::exec::column::{FULL, LANES};
use crate::exec::vector::Vector;
use crate::exec::{Cx, Handler, Operation, Outcome, VectorOperation, handler, vector_handler};
use crate::ptx::Type;
use std::marker::PhantomData;

/// Rows of `a` and of the result.
pub(super) const ROWS: usize = 16;

/// Columns of `b` and of the result.
pub(super) const COLUMNS: usize = 8;

/// Products that one 32-bit sum takes.
const HALF: usize = 8;

/// Sixteen values and their exponents.
pub(super) type Numbers = ([f32; ROWS], [i32; ROWS]);

/// A format of the operands.
pub(super) trait Format {
    /// Elements of a 32-bit register.
    const PACKED: usize;
    /// Element `part` of each register.
    fn numbers<V: Vector>(v: V, registers: &[u32; ROWS], part: usize) -> Numbers;
}

/// The numbers that singles of these bits are.
#[inline(always)]
fn singles<V: Vector>(v: V, bits: &[u32; ROWS]) -> Numbers {
    let mut values = [0.0; ROWS];
    for i in 0..ROWS {
        values[i] = f32::from_bits(bits[i]);
    }
    (values, v.exponents(bits, ZERO))
}

struct Bf16;

impl Format for Bf16 {
    const PACKED: usize = 2;
    #[inline(always)]
    fn numbers<V: Vector>(v: V, registers: &[u32; ROWS], part: usize) -> Numbers {
        singles(
            v,
            &v.bits(registers, if part == 0 { 16 } else { 0 }, 0xffff_0000),
        )
    }
}

pub(super) struct F16;

impl Format for F16 {
    const PACKED: usize = 2;
    #[inline(always)]
    fn numbers<V: Vector>(_: V, registers: &[u32; ROWS], part: usize) -> Numbers {
        let (mut values, mut exponents) = ([0.0; ROWS], [0; ROWS]);
        for i in 0..ROWS {
            let bits = (registers[i] >> (16 * part)) as u16;
            let field = i32::from(bits >> 10 & 31);
            // Infinities and NaN get the exponent that singles give them.
            let exponent = if field == 31 { 128 } else { field.max(1) - 15 };
            values[i] = f16_to_f32(bits);
            exponents[i] = if bits << 1 == 0 { ZERO } else { exponent };
        }
        (values, exponents)
    }
}

struct Tf32;

impl Format for Tf32 {
    const PACKED: usize = 1;
    #[inline(always)]
    fn numbers<V: Vector>(v: V, registers: &[u32; ROWS], _: usize) -> Numbers {
        // The low 13 bits are not looked at.
        singles(v, &v.bits(registers, 0, !0x1fff))
    }
}

/// A side of the product: `values[k]` are the elements at depth `k`, one a row or column. Columns
/// come twice, to be as many as rows.
pub(super) struct Side<const DEPTH: usize> {
    pub(super) values: [[f32; ROWS]; DEPTH],
    pub(super) exponents: [[i32; ROWS]; DEPTH],
}

/// A column of `c`.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) values: [f32; ROWS],
    pub(super) exponents: [i32; ROWS],
}

impl Column {
    /// Zeros.
    pub(super) const EMPTY: Column = Column {
        values: [0.0; ROWS],
        exponents: [ZERO; ROWS],
    };
}

/// Reads `a`, whose rows are in pairs of registers, or `b`, whose columns are in one.
#[inline(always)]
pub(super) fn side<V: Vector, F: Format, const DEPTH: usize>(
    v: V,
    cx: &Cx<'_>,
    inst: &Inst,
    first: usize,
    registers: usize,
) -> Side<DEPTH> {
    let mut side = Side {
        values: [[0.0; ROWS]; DEPTH],
        exponents: [[ZERO; ROWS]; DEPTH],
    };
    for step in 0..DEPTH / (4 * F::PACKED) {
        let lanes = |i: usize| cx.read(cx.listed(inst, first + step * registers + i));
        let places = v.by_place([lanes(0), lanes(registers - 1)]);
        for (place, words) in places.iter().enumerate() {
            for part in 0..F::PACKED {
                let k = (4 * step + place) * F::PACKED + part;
                (side.values[k], side.exponents[k]) = F::numbers(v, words, part);
            }
        }
    }
    side
}

/// The largest exponent of a side.
#[inline(always)]
fn largest<const DEPTH: usize>(side: &Side<DEPTH>) -> i32 {
    let mut top = [ZERO; ROWS];
    for row in &side.exponents {
        for i in 0..ROWS {
            top[i] = top[i].max(row[i]);
        }
    }
    let mut largest = ZERO;
    for exponent in top {
        largest = largest.max(exponent);
    }
    largest
}

/// Exponents between which the fast sum is exact: products neither leave the range of singles nor
/// lose bits that count, and neither does the result.
const LOWEST: i32 = -100;
const HIGHEST: i32 = 120;

/// Whether no product leaves the range of the fast sum, or is infinite or NaN.
#[inline(always)]
pub(super) fn in_range<const DEPTH: usize>(a: &Side<DEPTH>, b: &Side<DEPTH>) -> bool {
    let (top_a, top_b) = (largest(a), largest(b));
    top_a + top_b <= HIGHEST && top_a.max(top_b) < 128
}

/// One column of the result: [`sum`] for all rows at a time, rounded.
#[inline(always)]
pub(super) fn column<V: Vector, A: Accumulator, const DEPTH: usize>(
    v: V,
    a: &Side<DEPTH>,
    b: &Side<DEPTH>,
    n: usize,
    c: &Column,
    in_range: bool,
) -> [u32; ROWS] {
    let mut top = v.ints(&c.exponents);
    for k in 0..DEPTH {
        let exponents = v.add(v.ints(&a.exponents[k]), v.splat_int(b.exponents[k][n]));
        top = v.max(top, exponents);
    }
    let top = v.store(top);
    let mut fast = in_range;
    let mut scale = [0.0; ROWS];
    for i in 0..ROWS {
        fast &= top[i] <= HIGHEST && (top[i] >= LOWEST || top[i] <= ZERO / 2);
        let exponent = FRACTION - top[i].clamp(LOWEST, HIGHEST);
        scale[i] = f32::from_bits(((exponent + 127) as u32) << 23);
    }
    if !fast {
        return slow_column::<A, DEPTH>(a, b, n, c);
    }
    let scale = v.floats(&scale);
    // Eight terms below 2^27 and one below 2^26 fit an i32, sixteen do not. (Plain loops: closures
    // would not be compiled for the vectors.)
    let mut low = v.cut(v.mul(v.floats(&c.values), scale));
    let mut high = v.splat_int(0);
    for k in 0..HALF.min(DEPTH) {
        let products = v.mul(v.floats(&a.values[k]), v.splat(b.values[k][n]));
        low = v.add(low, v.cut(v.mul(products, scale)));
    }
    for k in HALF..DEPTH {
        let products = v.mul(v.floats(&a.values[k]), v.splat(b.values[k][n]));
        high = v.add(high, v.cut(v.mul(products, scale)));
    }
    let (low, high) = (v.store(low), v.store(high));
    let mut out = [0; ROWS];
    for i in 0..ROWS {
        let unit = power_of_two(top[i].max(LOWEST) - FRACTION);
        out[i] = A::round_finite((f64::from(low[i]) + f64::from(high[i])) * unit);
    }
    out
}

#[cold]
#[inline(never)]
fn slow_column<A: Accumulator, const DEPTH: usize>(
    a: &Side<DEPTH>,
    b: &Side<DEPTH>,
    n: usize,
    c: &Column,
) -> [u32; ROWS] {
    std::array::from_fn(|i| {
        let number = |value: f32, exponent: i32| Number { value, exponent };
        let row: [Number; DEPTH] =
            std::array::from_fn(|k| number(a.values[k][i], a.exponents[k][i]));
        let column: [Number; DEPTH] =
            std::array::from_fn(|k| number(b.values[k][n], b.exponents[k][n]));
        A::round(sum(&row, &column, number(c.values[i], c.exponents[i])))
    })
}

/// A format of `c` and `d`: the registers of the first, in a row of the list.
pub(super) trait Accumulator {
    const REGISTERS: usize;
    /// Element `part` of each register.
    fn numbers<V: Vector>(v: V, registers: &[u32; ROWS], part: usize) -> Numbers;
    /// Rounds a sum.
    fn round(sum: f64) -> u32;
    /// The same for a sum that is finite and within the range of singles.
    fn round_finite(sum: f64) -> u32;
    /// An ordinary addition, rounded to nearest.
    fn add(sum: u32, c: f32) -> u32;
    /// Elements of a register.
    const PACKED: usize;
}

pub(super) struct Single;

impl Accumulator for Single {
    const REGISTERS: usize = 4;
    const PACKED: usize = 1;
    #[inline(always)]
    fn numbers<V: Vector>(v: V, registers: &[u32; ROWS], _: usize) -> Numbers {
        singles(v, registers)
    }
    fn round(sum: f64) -> u32 {
        to_single(sum)
    }
    #[inline(always)]
    fn round_finite(sum: f64) -> u32 {
        narrow(sum, Rounding::Zero).to_bits()
    }
    #[inline(always)]
    fn add(sum: u32, c: f32) -> u32 {
        let sum = f32::from_bits(sum) + c;
        if sum.is_nan() { NAN } else { sum.to_bits() }
    }
}

pub(super) struct Half;

impl Accumulator for Half {
    const REGISTERS: usize = 2;
    const PACKED: usize = 2;
    #[inline(always)]
    fn numbers<V: Vector>(v: V, registers: &[u32; ROWS], part: usize) -> Numbers {
        F16::numbers(v, registers, part)
    }
    fn round(sum: f64) -> u32 {
        to_half(sum)
    }
    #[inline(always)]
    fn round_finite(sum: f64) -> u32 {
        to_half(sum)
    }
    #[inline(always)]
    fn add(sum: u32, c: f32) -> u32 {
        let exact = f64::from(f16_to_f32(sum as u16)) + f64::from(c);
        f64_to_f16(exact, Rounding::Nearest).into()
    }
}

/// `mma` of floating-point operands. The list holds `d`, `a`, `b` and `c`.
struct Mma<F, A, const DEPTH: usize>(PhantomData<(F, A)>);

impl<F: Format, A: Accumulator, const DEPTH: usize> VectorOperation for Mma<F, A, DEPTH> {
    #[inline(always)]
    fn run<V: Vector>(v: V, cx: &mut Cx<'_>, inst: &Inst, _: u32) -> Outcome {
        let first_a = A::REGISTERS;
        let first_b = first_a + DEPTH / (2 * F::PACKED);
        let first_c = first_b + DEPTH / (4 * F::PACKED);
        let a = side::<V, F, DEPTH>(v, cx, inst, first_a, 2);
        let b = side::<V, F, DEPTH>(v, cx, inst, first_b, 1);
        let in_range = in_range(&a, &b);
        let c = columns::<V, A>(v, cx, inst, first_c);
        let mut sums = [[0; ROWS]; COLUMNS];
        for n in 0..COLUMNS {
            sums[n] = column::<V, A, DEPTH>(v, &a, &b, n, &c[n], in_range);
        }
        store::<A>(cx, inst, &sums);
        Ok(())
    }
}

/// Writes the columns of `d`, laid out as those of `c`.
#[inline(always)]
pub(super) fn store<A: Accumulator>(cx: &mut Cx<'_>, inst: &Inst, sums: &[[u32; ROWS]; COLUMNS]) {
    for half in 0..2 {
        for register in 0..A::REGISTERS / 2 {
            let mut out = [0; LANES];
            for part in 0..A::PACKED {
                for lane in 0..LANES {
                    let n = lane % 4 * 2 + register * A::PACKED + part;
                    out[lane] |= sums[n][8 * half + lane / 4] << (16 * part);
                }
            }
            let to = cx.listed(inst, half * A::REGISTERS / 2 + register);
            cx.set(to, FULL, &out);
        }
    }
}

/// The columns of `c`: row r, column n is element n % 2 of lane 4 (r % 8) + n / 2.
#[inline(always)]
pub(super) fn columns<V: Vector, A: Accumulator>(
    v: V,
    cx: &Cx<'_>,
    inst: &Inst,
    first: usize,
) -> [Column; COLUMNS] {
    let mut columns = [Column::EMPTY; COLUMNS];
    let registers = A::REGISTERS / 2;
    for register in 0..registers {
        let lanes = |half: usize| cx.read(cx.listed(inst, first + half * registers + register));
        let places = v.by_place([lanes(0), lanes(1)]);
        for (place, words) in places.iter().enumerate() {
            for part in 0..A::PACKED {
                let column = &mut columns[2 * place + register * A::PACKED + part];
                (column.values, column.exponents) = A::numbers(v, words, part);
            }
        }
    }
    columns
}

/// `mma` of bytes: exact sums modulo 2^32, or clamped where `e` bits of `imm` above the depth say
/// so.
struct MmaBytes<const SIGNED_A: bool, const SIGNED_B: bool>;

/// Set in `Inst::imm` for `.satfinite`.
pub(crate) const SATURATE: u64 = 1 << 8;

impl<const SIGNED_A: bool, const SIGNED_B: bool> Operation for MmaBytes<SIGNED_A, SIGNED_B> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, _: u32) -> Outcome {
        let depth = (inst.imm & 255) as usize;
        let byte = |register: u32, part: usize, signed: bool| {
            let byte = (register >> (8 * part)) as u8;
            if signed {
                i64::from(byte as i8)
            } else {
                i64::from(byte)
            }
        };
        let (first_b, first_c) = (4 + depth / 8, 4 + depth / 8 + depth / 16);
        let mut out = [[0u32; LANES]; 4];
        for (register, out) in out.iter_mut().enumerate() {
            for (lane, out) in out.iter_mut().enumerate() {
                let (row, n) = (lane / 4 + register / 2 * 8, lane % 4 * 2 + register % 2);
                let c = cx.read::<u32>(cx.listed(inst, first_c + register))[lane];
                let mut sum = i64::from(c as i32);
                for k in 0..depth {
                    let (step, quarter, part) = (k / 16, k % 16 / 4, k % 4);
                    let a = cx.listed(inst, 4 + 2 * step + row / 8);
                    let a = cx.read::<u32>(a)[4 * (row % 8) + quarter];
                    let b = cx.read::<u32>(cx.listed(inst, first_b + step))[4 * n + quarter];
                    sum += byte(a, part, SIGNED_A) * byte(b, part, SIGNED_B);
                }
                let limits = (i64::from(i32::MIN), i64::from(i32::MAX));
                let clamped = inst.imm & SATURATE != 0;
                *out = if clamped {
                    sum.clamp(limits.0, limits.1) as u32
                } else {
                    sum as u32
                };
            }
        }
        for (register, values) in out.iter().enumerate() {
            let to = cx.listed(inst, register);
            cx.set(to, FULL, values);
        }
        Ok(())
    }
}

/// A shape of `mma`: handler, and registers of `d` (and `c`), `a` and `b`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) handler: Handler,
    pub(crate) depth: usize,
    pub(crate) d: usize,
    pub(crate) a: usize,
    pub(crate) b: usize,
}

/// The shape `m16n8k<depth>` for operands and an accumulator of these types.
pub(crate) fn shape(depth: usize, a: &str, b: &str, c: Type) -> Option<Shape> {
    let (packed, handler) = match (a, b, c, depth) {
        ("bf16", "bf16", Type::F32, 8) => (2, vector_handler::<Mma<Bf16, Single, 8>>()),
        ("bf16", "bf16", Type::F32, 16) => (2, vector_handler::<Mma<Bf16, Single, 16>>()),
        ("f16", "f16", Type::F32, 8) => (2, vector_handler::<Mma<F16, Single, 8>>()),
        ("f16", "f16", Type::F32, 16) => (2, vector_handler::<Mma<F16, Single, 16>>()),
        ("f16", "f16", Type::F16, 8) => (2, vector_handler::<Mma<F16, Half, 8>>()),
        ("f16", "f16", Type::F16, 16) => (2, vector_handler::<Mma<F16, Half, 16>>()),
        ("tf32", "tf32", Type::F32, 4) => (1, vector_handler::<Mma<Tf32, Single, 4>>()),
        ("tf32", "tf32", Type::F32, 8) => (1, vector_handler::<Mma<Tf32, Single, 8>>()),
        ("e4m3" | "e5m2", "e4m3" | "e5m2", _, 32) => (4, mma_f8::handler(a, b, c)?),
        ("u8", "u8", Type::S32, 16 | 32) => (4, handler::<MmaBytes<false, false>>()),
        ("u8", "s8", Type::S32, 16 | 32) => (4, handler::<MmaBytes<false, true>>()),
        ("s8", "u8", Type::S32, 16 | 32) => (4, handler::<MmaBytes<true, false>>()),
        ("s8", "s8", Type::S32, 16 | 32) => (4, handler::<MmaBytes<true, true>>()),
        _ => return None,
    };
    let d = if c == Type::F16 { 2 } else { 4 };
    let (a, b) = (depth / (2 * packed), depth / (4 * packed));
    Some(Shape {
        handler,
        depth,
        d,
        a,
        b,
    })
}
