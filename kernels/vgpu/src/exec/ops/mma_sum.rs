//! How a tensor core adds up products.

use super::rounding::{NAN, Rounding, narrow};

/// Bits below the largest exponent that a sum keeps.
pub(super) const FRACTION: i32 = 25;

/// The exponent of a zero, below that of any other number.
pub(super) const ZERO: i32 = -10_000;

/// An operand: its value and the exponent that its format gives it (that of a subnormal is the
/// lowest one, that of zero [`ZERO`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) value: f32,
    pub(super) exponent: i32,
}

/// The exact value that one `mma` rounds to its result: `c` plus all products of `a` and `b`.
///
/// Hopper's rule as published (arXiv 2511.10909), with which all results recorded on an H100 agree
/// (`tests/golden/hardware`): products are exact and carry the sum of their
/// operands' exponents; all of them and `c` are aligned to the largest exponent and cut, toward
/// zero, [`FRACTION`] bits below it; the integers that remain are added exactly. The caller rounds
/// once: toward zero for a single, to nearest for an f16. Infinities and NaN follow IEEE 754.
/// [`super::mma`] has the same for many sums at a time.
pub(super) fn sum(a: &[Number], b: &[Number], c: Number) -> f64 {
    let products = || {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(a.value) * f64::from(b.value))
    };
    let plain: f64 = products().sum::<f64>() + f64::from(c.value);
    if !plain.is_finite() {
        return plain;
    }
    let exponents = a.iter().zip(b).map(|(a, b)| a.exponent + b.exponent);
    let top = exponents.max().unwrap_or(ZERO).max(c.exponent);
    if top <= ZERO / 2 {
        return 0.0;
    }
    let scale = power_of_two(FRACTION - top);
    let terms = products()
        .chain([f64::from(c.value)])
        .map(|term| (term * scale) as i64);
    terms.sum::<i64>() as f64 / scale
}

/// 2^n for a normal double.
#[inline(always)]
pub(super) fn power_of_two(n: i32) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// Rounds a sum to a single: toward zero, and to infinity beyond the range.
#[inline(always)]
pub(super) fn to_single(sum: f64) -> u32 {
    if sum.is_nan() {
        NAN
    } else if sum.abs() >= power_of_two(128) {
        f32::INFINITY.copysign(sum as f32).to_bits()
    } else {
        narrow(sum, Rounding::Zero).to_bits()
    }
}
