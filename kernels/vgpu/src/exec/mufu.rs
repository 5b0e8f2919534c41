//! The special function unit of NVIDIA's Hopper, bit by bit.
//!
//! `.approx` instructions on singles are one instruction of this unit each, `MUFU`, with a few
//! multiplications around it in the forms without `.ftz`. The unit interpolates by the method of
//! Oberman and Siu ("A High-Performance Area-Efficient Multifunction Interpolator", ARITH 2005):
//! the argument's upper bits choose a segment, its lower 16 or 17 bits `x` give `constant +
//! linear x + quadratic x²` in fixed point, with a squarer that cuts the rows it adds ([`square`]).
//! The squarer's form, the sizes of the terms and their biases, and the handling of signs are those
//! that the envytools project found in the Tesla generation's unit (`nvhw/sfu.c`); Hopper's results
//! confirm them, and the code and coefficients here are our own.
//!
//! The coefficients were fitted to results of an H100 80GB HBM3 recorded on 2026-11-26: all 2^23
//! inputs of each of 12 binades of `tanh`, 10 of `ex2` (of both signs), 3 of `lg2`, 2 of `rcp`,
//! `rsqrt`, `sqrt` and `sin`, and 1 of `cos`. In every segment, of the pairs (linear, quadratic)
//! within 1 of the least-squares fit only one gives all results, with an interval of at most 32
//! for the constant; and its low bits (`bias` of [`Table::at`]) are the same in all segments of a
//! function. This module gives each of those 2^23 * 34 results again. Other binades follow by the
//! exponent, as 448 more results of each instruction, at any exponent, confirm.
//!
//! The parameter `FTZ` says whether the instruction has `.ftz` (PTX ISA 9.7.3). What surrounds
//! `MUFU` is what ptxas 13 emits for `sm_90a`.

mod tables;
mod tanh;

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;

pub(crate) use tanh::tanh;

use super::ops::rounding::{NAN, finish, flush};

/// Bits of a single's fraction.
const FRACTION: u32 = 23;
/// The least normal single: 1 in the exponent's place.
const NORMAL: u32 = 1 << FRACTION;
const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
/// The exponent of 1.
const BIAS: i32 = 127;
/// 2^24, by which subnormal numbers are brought among the normal ones.
const SCALE: f32 = 16_777_216.0;
/// Beyond this, 2^126, reciprocals are subnormal.
const LARGE: f32 = 8.507_059e37;

/// A function's segments.
struct Table<const N: usize> {
    constant: [i32; N],
    linear: [i32; N],
    quadratic: [i32; N],
}

impl<const N: usize> Table<N> {
    /// The polynomial of a segment (counted modulo `N`) at `x`, whose square is that of `root`, which has
    /// 17 bits; `bias` rounds the result, and makes up for what the squarer drops.
    #[inline(always)]
    fn at(&self, segment: u32, x: u32, root: u32, shift: u32, bias: i64) -> i64 {
        let segment = segment as usize % N;
        (i64::from(self.constant[segment]) << shift)
            + i64::from(self.linear[segment]) * i64::from(x)
            + i64::from(self.quadratic[segment]) * i64::from(square(root))
            + bias
    }
}

/// `x²` / 2^19 for 17 bits of `x`: each row of the product is cut before the rows are added.
#[inline(always)]
fn square(x: u32) -> u32 {
    let mut sum = 0;
    for bit in 2..17 {
        let taken = 0u32.wrapping_sub(x >> bit & 1);
        sum += x >> (18 - bit) & taken;
    }
    sum >> 1
}

/// The lower 17 bits.
#[inline(always)]
fn low17(x: u32) -> u32 {
    x & 0x1_ffff
}

/// The exponent and the 23 bits of fraction.
#[inline(always)]
fn split(bits: u32) -> (i32, u32) {
    ((bits >> FRACTION & 0xff) as i32, bits & (NORMAL - 1))
}

/// A single of `exponent` with `fraction`, which may be 2^23; zero if that is not normal.
#[inline(always)]
fn join(exponent: i32, fraction: i64) -> u32 {
    let bits = (exponent << FRACTION) + fraction as i32;
    if bits < NORMAL as i32 { 0 } else { bits as u32 }
}

/// The significand times 2^`shift`, cut to an integer; of its bits the lowest 32.
#[inline(always)]
fn fixed(fraction: u32, shift: i32) -> u32 {
    let significand = fraction | NORMAL;
    if shift >= 0 {
        significand.unbounded_shl(shift as u32)
    } else {
        significand.unbounded_shr(shift.unsigned_abs())
    }
}

/// `x` cut to 24 bits, as a single.
#[inline(always)]
fn truncate(x: f64) -> f32 {
    f64::from_bits(x.to_bits() & !0x1fff_ffff) as f32
}

/// 2^-n.
#[inline(always)]
const fn scale(n: u64) -> f64 {
    f64::from_bits((1023 - n) << 52)
}

/// `MUFU.EX2`: 2^x, where `x` counts in steps of 2^-23.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    let bits = x.to_bits();
    let (exponent, fraction) = split(bits);
    let negative = bits & SIGN != 0;
    let huge = exponent >= BIAS + 7;
    let tiny = exponent == 0;
    let steps = if huge || tiny {
        0
    } else {
        fixed(fraction, exponent - BIAS)
    };
    // Negative numbers are complemented, not negated, unless they are whole.
    let whole = steps & (NORMAL - 1) == 0;
    let steps = match (negative, whole) {
        (false, _) => steps as i32,
        (true, true) => -(steps as i32),
        (true, false) => !(steps as i32),
    };
    let offset = steps as u32 & (NORMAL - 1);
    let x = low17(offset);
    let sum = tables::EX2.at(offset >> 17, x, x, 13, 0x77e2);
    let power = join((steps >> FRACTION) + BIAS, sum >> 15);
    let beyond = if negative { 0 } else { INFINITY };
    let result = if huge { beyond } else { power };
    f32::from_bits(if bits & !SIGN > INFINITY { NAN } else { result })
}

/// `MUFU.RCP`: 1 / x.
#[inline(always)]
fn reciprocal(x: f32) -> f32 {
    let bits = x.to_bits();
    let (exponent, fraction) = split(bits);
    let x = fraction & 0xffff;
    let sum = tables::RCP.at(fraction >> 16, x, x << 1, 13, 0x47e7);
    let power = join(2 * BIAS - 1 - exponent, sum >> 15);
    let result = if exponent == 255 { 0 } else { power };
    let result = if exponent == 0 { INFINITY } else { result };
    let nan = bits & !SIGN > INFINITY;
    f32::from_bits(if nan { NAN } else { result | bits & SIGN })
}

/// The exponent of 4^n in `x` = m 4^n with m in 1..4, and m's fraction above 1 or 2 after a bit that
/// says which.
#[inline(always)]
fn quarter(bits: u32) -> (i32, u32) {
    let (exponent, fraction) = split(bits);
    let exponent = exponent - BIAS;
    (exponent >> 1, fraction | (exponent as u32 & 1) << FRACTION)
}

/// `MUFU.RSQ`: 1 / sqrt(x).
#[inline(always)]
fn reciprocal_root(x: f32) -> f32 {
    let bits = x.to_bits();
    let (exponent, fraction) = quarter(bits);
    let x = low17(fraction);
    let sum = tables::RSQRT.at(fraction >> 17, x, x, 14, 0x7fff);
    // The polynomial misses the powers of four.
    let sum = if fraction == 0 {
        i64::from(NORMAL)
    } else {
        sum >> 16
    };
    let power = join(BIAS - 1 - exponent, sum);
    let result = match split(bits) {
        (0, _) => INFINITY | bits & SIGN,
        _ if bits > INFINITY => NAN,
        (255, _) => 0,
        _ => power,
    };
    f32::from_bits(result)
}

/// `MUFU.SQRT`: the square root.
#[inline(always)]
fn root(x: f32) -> f32 {
    let bits = x.to_bits();
    let (exponent, fraction) = quarter(bits);
    let x = low17(fraction);
    let sum = tables::SQRT.at(fraction >> 17, x, x, 15, 0x7fff);
    let power = join(BIAS + exponent, sum >> 17);
    let result = match split(bits) {
        (0, _) => bits & SIGN,
        _ if bits > INFINITY => NAN,
        (255, _) => INFINITY,
        _ => power,
    };
    f32::from_bits(result)
}

/// `MUFU.LG2`: the logarithm to the base 2, cut after 36 binary places and then to 24 bits.
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    let bits = x.to_bits();
    let (exponent, fraction) = split(bits);
    let x = low17(fraction);
    let sum = tables::LG2.at(fraction >> 17, x, x, 12, 0x3345) >> 2;
    let sum = sum + (i64::from(exponent - BIAS) << 36);
    // Negative numbers are complemented, not negated.
    let size = if sum < 0 { !sum } else { sum };
    let size = (truncate(size as f64 * scale(36))).to_bits();
    let sign = if sum < 0 { SIGN } else { 0 };
    let result = match (exponent, fraction) {
        (0, _) => INFINITY | SIGN,
        _ if bits > INFINITY => NAN,
        (255, _) => INFINITY,
        (BIAS, 0) => 0,
        _ => size | sign,
    };
    f32::from_bits(result)
}

/// `MUFU.SIN` and, a `quarter` of a turn ahead, `MUFU.COS` of x turns, cut to steps of 2^-25.
#[inline(always)]
fn wave(x: f32, quarter: bool) -> f32 {
    let bits = x.to_bits();
    let (exponent, fraction) = split(bits);
    let steps = if exponent == 0 {
        0
    } else {
        fixed(fraction, exponent - BIAS + 2)
    };
    let steps = if quarter {
        steps.wrapping_add(NORMAL)
    } else {
        steps
    };
    // Odd quarters run backwards.
    let offset = if steps & NORMAL == 0 { steps } else { !steps };
    let x = low17(offset);
    let sum = tables::SIN.at(offset >> 17, x, x, 12, 0);
    let sign = if quarter { 0 } else { bits & SIGN };
    let sign = sign ^ (steps >> (FRACTION + 1) & 1) << 31;
    let result = truncate(sum as f64 * scale(37)).to_bits() | sign;
    f32::from_bits(if exponent == 255 { NAN } else { result })
}

/// x / (2 pi), rounded toward zero: `sin` and `cos` turn radians into turns so.
#[inline(always)]
fn turns(x: f32) -> f32 {
    // 1 / (2 pi) as a single; the product of two singles is exact.
    const TURN: f32 = f32::from_bits(0x3e22_f983);
    truncate(f64::from(x) * f64::from(TURN))
}

/// `ex2.approx{.ftz}.f32`: 2^x.
#[inline(always)]
pub(crate) fn ex2<const FTZ: bool>(x: f32) -> f32 {
    // The half's power squared is subnormal where the unit would give zero.
    let small = !FTZ && x < -126.0;
    let power = exponential(if small { 0.5 * x } else { x });
    if small { power * power } else { power }
}

/// `rcp.approx{.ftz}.f32`: 1 / x.
#[inline(always)]
pub(crate) fn rcp<const FTZ: bool>(x: f32) -> f32 {
    let scale = if FTZ {
        1.0
    } else if x.abs() < f32::MIN_POSITIVE {
        SCALE
    } else if x.abs() > LARGE {
        0.25
    } else {
        1.0
    };
    finish::<FTZ>(reciprocal(x * scale) * scale)
}

/// `rsqrt.approx{.ftz}.f32`: 1 / sqrt(x).
#[inline(always)]
pub(crate) fn rsqrt<const FTZ: bool>(x: f32) -> f32 {
    let small = !FTZ && x.abs() < f32::MIN_POSITIVE;
    let result = reciprocal_root(if small { x * SCALE } else { x });
    finish::<false>(if small { result * 4096.0 } else { result })
}

/// `sqrt.approx{.ftz}.f32`: the square root.
#[inline(always)]
pub(crate) fn sqrt<const FTZ: bool>(x: f32) -> f32 {
    let small = !FTZ && x.abs() < f32::MIN_POSITIVE;
    let result = root(if small { x * SCALE } else { x });
    finish::<false>(if small { result / 4096.0 } else { result })
}

/// `lg2.approx{.ftz}.f32`: the logarithm to the base 2.
#[inline(always)]
pub(crate) fn lg2<const FTZ: bool>(x: f32) -> f32 {
    let small = !FTZ && x.abs() < f32::MIN_POSITIVE;
    let result = logarithm(if small { x * SCALE } else { x });
    finish::<false>(if small { result - 24.0 } else { result })
}

/// `sin.approx{.ftz}.f32`, of radians; both forms flush.
#[inline(always)]
pub(crate) fn sin(x: f32) -> f32 {
    wave(turns(x), false)
}

/// `cos.approx{.ftz}.f32`, of radians.
#[inline(always)]
pub(crate) fn cos(x: f32) -> f32 {
    wave(turns(x), true)
}

/// `div.approx{.ftz}.f32`: a / b as a product with the reciprocal.
#[inline(always)]
pub(crate) fn divide<const FTZ: bool>(a: f32, b: f32) -> f32 {
    let small = !FTZ && b.abs() < f32::MIN_POSITIVE;
    let scale = if small { SCALE } else { 1.0 };
    product::<FTZ>(reciprocal(b * scale), a * scale)
}

/// `div.full{.ftz}.f32`: the same where `b` is above 2^126 too.
#[inline(always)]
pub(crate) fn divide_full<const FTZ: bool>(a: f32, b: f32) -> f32 {
    let large = b.abs() > LARGE;
    let scale = if large { 0.25 } else { 1.0 };
    divide::<FTZ>(flush::<FTZ>(a) * scale, b * scale)
}

/// `FMUL{.FTZ}`.
#[inline(always)]
fn product<const FTZ: bool>(a: f32, b: f32) -> f32 {
    finish::<FTZ>(flush::<FTZ>(a) * flush::<FTZ>(b))
}

/// A result as `MUFU` with `.F16` writes it, cut to f16's places; above f16's range it stays so.
#[inline(always)]
pub(crate) fn cut_f16(x: f32) -> f32 {
    let bits = x.to_bits();
    let (exponent, _) = split(bits);
    // Below 2^-14 the places end at 2^-24.
    let dropped = (13 + (113 - exponent).max(0)).min(31) as u32;
    let kept = if dropped > FRACTION {
        SIGN
    } else {
        u32::MAX << dropped
    };
    f32::from_bits(bits & kept)
}

/// A result as `MUFU` with `.BF16` writes it, cut to bf16's places.
#[inline(always)]
pub(crate) fn cut_bf16(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0xffff_0000)
}
