//! How a tensor core adds up products.

use super::half_bits::f64_to_f16;
use super::rounding::{NAN, Rounding, narrow};

/// Bits below the largest exponent that a sum keeps.
pub(super) const FRACTION: i32 = 25;

/// The exponent of a zero, below that of any other number.
pub(super) const ZERO: i32 = -10_000;

/// The lowest exponent that terms are aligned to.
const LOWEST: i32 = -133;

/// An operand: its value and the exponent that its format gives it (that of a subnormal is the
/// lowest one, that of zero [`ZERO`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) value: f32,
    pub(super) exponent: i32,
}

/// The exact value that one `mma` rounds to its result: `c` plus all products of `a` and `b`.
///
/// Hopper's rule as published (arXiv 2511.10909): products are exact and carry the sum of their
/// operands' exponents; all of them and `c` are aligned to the largest exponent and cut, toward
/// zero, [`FRACTION`] bits below it; the integers that remain are added exactly. The caller rounds
/// once: toward zero for a single, to nearest for an f16. Infinities and NaN follow IEEE 754.
///
/// Results of an H100 (`tests/golden/hardware`) agree with all of that, and decide what it leaves
/// open: a product with a zero counts as a zero, whatever the other operand's exponent; terms are
/// aligned at 2^-133 at least (2^-132 and 2^-131 would agree as well, 2^-134 and 2^-130 do not);
/// and no result is -0, neither of zeros of one sign nor of a negative sum too small to show.
/// A step of `wgmma` of f16 or bf16 gives the same bits as `mma`.
///
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
    let top = exponents.fold(c.exponent.max(LOWEST), i32::max);
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

/// Rounds a sum to a single: toward zero, and to infinity beyond the range. None is -0.
#[inline(always)]
pub(super) fn to_single(sum: f64) -> u32 {
    if sum.is_nan() {
        NAN
    } else if sum.abs() >= power_of_two(128) {
        f32::INFINITY.copysign(sum as f32).to_bits()
    } else {
        (narrow(sum, Rounding::Zero) + 0.0).to_bits()
    }
}

/// Rounds a sum to an f16, to nearest. None is -0.
#[inline(always)]
pub(super) fn to_half(sum: f64) -> u32 {
    match f64_to_f16(sum, Rounding::Nearest) {
        0x8000 => 0,
        bits => bits.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGN: u32 = 1 << 31;

    /// A tf32 or a single.
    fn number(bits: u32) -> Number {
        let exponent = (bits >> 23 & 255).max(1) as i32 - 127;
        Number {
            value: f32::from_bits(bits),
            exponent: if bits << 1 == 0 { ZERO } else { exponent },
        }
    }

    /// Sums of tf32 products recorded on an H100, which [`LOWEST`] of -134 and -130 would miss.
    #[test]
    fn tiny_products_are_aligned_as_recorded() {
        let cases: [(&[[u32; 2]], u32); 2] = [
            (
                &[
                    [0, 0x7f7f_e000],
                    [0x1fa3_8000, 0x1ce9_6000],
                    [0x9bcd_c000, 0x1b4a_0000],
                    [0x1e0b_8000, 0x9b21_8000],
                ],
                0x0001_2731,
            ),
            (
                &[
                    [SIGN, 0x7f7f_e000],
                    [0x1c05_8000, 0x1b0f_4000],
                    [0x9c02_0000, 0x1b0b_4000],
                    [SIGN, 0x1fd1_8000],
                ],
                1,
            ),
        ];
        for (products, expected) in cases {
            let (a, b): (Vec<_>, Vec<_>) = products
                .iter()
                .map(|&[a, b]| (number(a), number(b)))
                .unzip();
            assert_eq!(to_single(sum(&a, &b, number(0))), expected);
        }
    }
}
