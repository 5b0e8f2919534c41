//! `mma.sync` with 16 rows and 8 columns (PTX ISA 9.7.14.5).

use super::half_bits::{bf16_to_f32, f16_to_f32, f64_to_f16};
use super::mma_sum::{FRACTION, Number, ZERO, exponent, power_of_two, sum, to_single};
use super::rounding::{Rounding, narrow};
use crate::code::Inst;
use crate::exec::column::{FULL, LANES};
use crate::exec::vector::Vector;
use crate::exec::{Cx, Handler, Operation, Outcome, VectorOperation, handler, vector_handler};
use crate::ptx::Type;
use std::marker::PhantomData;

/// Rows of `a` and of the result.
const ROWS: usize = 16;

/// Columns of `b` and of the result.
const COLUMNS: usize = 8;

/// Products that one 32-bit sum takes.
const HALF: usize = 8;

/// A format of the operands.
trait Format {
    /// Elements of a 32-bit register.
    const PACKED: usize;
    fn number(register: u32, part: usize) -> (f32, i32);
}

struct Bf16;

impl Format for Bf16 {
    const PACKED: usize = 2;
    #[inline(always)]
    fn number(register: u32, part: usize) -> (f32, i32) {
        let value = bf16_to_f32((register >> (16 * part)) as u16);
        (value, exponent(value.to_bits()))
    }
}

struct F16;

impl Format for F16 {
    const PACKED: usize = 2;
    #[inline(always)]
    fn number(register: u32, part: usize) -> (f32, i32) {
        let bits = (register >> (16 * part)) as u16;
        let field = i32::from(bits >> 10 & 31);
        // Infinities and NaN get the exponent that singles give them.
        let exponent = if field == 31 { 128 } else { field.max(1) - 15 };
        (f16_to_f32(bits), if bits << 1 == 0 { ZERO } else { exponent })
    }
}

struct Tf32;

impl Format for Tf32 {
    const PACKED: usize = 1;
    #[inline(always)]
    fn number(register: u32, _: usize) -> (f32, i32) {
        // The low 13 bits are not looked at.
        let bits = register & !0x1fff;
        (f32::from_bits(bits), exponent(bits))
    }
}

/// A side of the product: `values[k]` are the elements at depth `k`, one a row or column.
struct Side<const N: usize, const DEPTH: usize> {
    values: [[f32; N]; DEPTH],
    exponents: [[i32; N]; DEPTH],
}

/// A column of `c`.
#[derive(Clone, Copy)]
struct Column {
    values: [f32; ROWS],
    exponents: [i32; ROWS],
}

/// Reads `a` (`ROWS` of them: two registers hold rows 0..8 and 8..16) or `b`.
#[inline(always)]
fn side<F: Format, const N: usize, const DEPTH: usize>(
    cx: &Cx<'_>,
    inst: &Inst,
    first: usize,
) -> Side<N, DEPTH> {
    let mut side = Side { values: [[0.0; N]; DEPTH], exponents: [[ZERO; N]; DEPTH] };
    let halves = N / COLUMNS;
    for register in 0..DEPTH * halves / (4 * F::PACKED) {
        let column = cx.read::<u32>(cx.listed(inst, first + register));
        let (half, step) = (register % halves, register / halves * 4 * F::PACKED);
        for part in 0..F::PACKED {
            let mut values = [0.0; LANES];
            let mut exponents = [0; LANES];
            for lane in 0..LANES {
                (values[lane], exponents[lane]) = F::number(column[lane], part);
            }
            for quarter in 0..4 {
                let k = step + F::PACKED * quarter + part;
                for group in 0..8 {
                    side.values[k][8 * half + group] = values[4 * group + quarter];
                    side.exponents[k][8 * half + group] = exponents[4 * group + quarter];
                }
            }
        }
    }
    side
}

/// The largest exponent of a side.
#[inline(always)]
fn largest<const N: usize, const DEPTH: usize>(side: &Side<N, DEPTH>) -> i32 {
    let mut top = [ZERO; N];
    for row in &side.exponents {
        for i in 0..N {
            top[i] = top[i].max(row[i]);
        }
    }
    top.into_iter().fold(ZERO, i32::max)
}

/// Exponents between which the fast sum is exact: products neither leave the range of singles nor
/// lose bits that count, and neither does the result.
const LOWEST: i32 = -100;
const HIGHEST: i32 = 120;

/// One column of the result: [`sum`] for all rows at a time, rounded.
#[inline(always)]
fn column<V: Vector, A: Accumulator, const DEPTH: usize>(
    v: V,
    a: &Side<ROWS, DEPTH>,
    b: &Side<COLUMNS, DEPTH>,
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
    a: &Side<ROWS, DEPTH>,
    b: &Side<COLUMNS, DEPTH>,
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
trait Accumulator {
    const REGISTERS: usize;
    /// Element `part` of a register.
    fn number(register: u32, part: usize) -> (f32, i32);
    /// Rounds a sum.
    fn round(sum: f64) -> u32;
    /// The same for a sum that is finite and within the range of singles.
    fn round_finite(sum: f64) -> u32;
    /// Elements of a register.
    const PACKED: usize;
}

struct Single;

impl Accumulator for Single {
    const REGISTERS: usize = 4;
    const PACKED: usize = 1;
    #[inline(always)]
    fn number(register: u32, _: usize) -> (f32, i32) {
        (f32::from_bits(register), exponent(register))
    }
    fn round(sum: f64) -> u32 {
        to_single(sum)
    }
    #[inline(always)]
    fn round_finite(sum: f64) -> u32 {
        narrow(sum, Rounding::Zero).to_bits()
    }
}

struct Half;

impl Accumulator for Half {
    const REGISTERS: usize = 2;
    const PACKED: usize = 2;
    #[inline(always)]
    fn number(register: u32, part: usize) -> (f32, i32) {
        F16::number(register, part)
    }
    fn round(sum: f64) -> u32 {
        f64_to_f16(sum, Rounding::Nearest).into()
    }
    #[inline(always)]
    fn round_finite(sum: f64) -> u32 {
        f64_to_f16(sum, Rounding::Nearest).into()
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
        let a = side::<F, ROWS, DEPTH>(cx, inst, first_a);
        let b = side::<F, COLUMNS, DEPTH>(cx, inst, first_b);
        let (top_a, top_b) = (largest(&a), largest(&b));
        let in_range = top_a + top_b <= HIGHEST && top_a.max(top_b) < 128;
        let c = columns::<A>(cx, inst, first_c);
        let mut sums = [[0; ROWS]; COLUMNS];
        for n in 0..COLUMNS {
            sums[n] = column::<V, A, DEPTH>(v, &a, &b, n, &c[n], in_range);
        }
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
        Ok(())
    }
}

/// The columns of `c`: row r, column n is element n % 2 of lane 4 (r % 8) + n / 2.
#[inline(always)]
fn columns<A: Accumulator>(cx: &Cx<'_>, inst: &Inst, first: usize) -> [Column; COLUMNS] {
    let empty = Column { values: [0.0; ROWS], exponents: [ZERO; ROWS] };
    let mut columns = [empty; COLUMNS];
    for half in 0..2 {
        for register in 0..A::REGISTERS / 2 {
            let slot = cx.listed(inst, first + half * A::REGISTERS / 2 + register);
            let lanes = cx.read::<u32>(slot);
            for part in 0..A::PACKED {
                let mut values = [0.0; LANES];
                let mut exponents = [0; LANES];
                for lane in 0..LANES {
                    (values[lane], exponents[lane]) = A::number(lanes[lane], part);
                }
                for quarter in 0..4 {
                    let column = &mut columns[2 * quarter + register * A::PACKED + part];
                    for group in 0..8 {
                        column.values[8 * half + group] = values[4 * group + quarter];
                        column.exponents[8 * half + group] = exponents[4 * group + quarter];
                    }
                }
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
            if signed { i64::from(byte as i8) } else { i64::from(byte) }
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
                *out = if clamped { sum.clamp(limits.0, limits.1) as u32 } else { sum as u32 };
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
        ("u8", "u8", Type::S32, 16 | 32) => (4, handler::<MmaBytes<false, false>>()),
        ("u8", "s8", Type::S32, 16 | 32) => (4, handler::<MmaBytes<false, true>>()),
        ("s8", "u8", Type::S32, 16 | 32) => (4, handler::<MmaBytes<true, false>>()),
        ("s8", "s8", Type::S32, 16 | 32) => (4, handler::<MmaBytes<true, true>>()),
        _ => return None,
    };
    let d = if c == Type::F16 { 2 } else { 4 };
    let (a, b) = (depth / (2 * packed), depth / (4 * packed));
    Some(Shape { handler, depth, d, a, b })
}
