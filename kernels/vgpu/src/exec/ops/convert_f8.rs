//! `cvt` to and from pairs of 8-bit floats (PTX ISA 9.7.9.21).

use super::half_bits::{HALF_NAN, e4m3_to_f32, f16_to_f32, f32_to_f16};
use super::rounding::Rounding;
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::ptx::Type;

/// An 8-bit format.
trait Format {
    /// Bits of the fraction.
    const FRACTION: u32;
    /// The exponent of the smallest normal number.
    const LOWEST: i32;
    /// The code of the largest number, and of NaN.
    const LARGEST: u32;
    const NAN: u8;
    /// The value of a code, exact.
    fn wide(code: u8) -> f32;
}

struct E4m3;

impl Format for E4m3 {
    const FRACTION: u32 = 3;
    const LOWEST: i32 = -6;
    const LARGEST: u32 = 0x7e;
    const NAN: u8 = 0x7f;
    #[inline(always)]
    fn wide(code: u8) -> f32 {
        e4m3_to_f32(code)
    }
}

struct E5m2;

impl Format for E5m2 {
    const FRACTION: u32 = 2;
    const LOWEST: i32 = -14;
    const LARGEST: u32 = 0x7b;
    const NAN: u8 = 0x7f;
    #[inline(always)]
    fn wide(code: u8) -> f32 {
        f16_to_f32(u16::from(code) << 8)
    }
}

/// Rounds to nearest; what is beyond the largest number, infinities too, becomes that.
#[inline(always)]
fn narrow<F: Format, const RELU: bool>(x: f32) -> u8 {
    if x.is_nan() {
        return F::NAN;
    }
    let bits = x.to_bits();
    let negative = bits >> 31 != 0;
    if RELU && negative {
        return 0;
    }
    // Both formats end below 2^16.
    let size = x.abs().min(65536.0);
    let exponent = ((size.to_bits() >> 23) as i32 - 127).max(F::LOWEST);
    // In units of the last place, a power of two away.
    let unit = f32::from_bits(((127 + F::FRACTION as i32 - exponent) as u32) << 23);
    let units = (size * unit).round_ties_even() as u32;
    let code = (((exponent - F::LOWEST) as u32) << F::FRACTION) + units;
    (code.min(F::LARGEST) | u32::from(negative) << 7) as u8
}

#[inline(always)]
fn widen<F: Format, const RELU: bool>(code: u8) -> u16 {
    let x = F::wide(code);
    if x.is_nan() {
        HALF_NAN
    } else if RELU && code & 0x80 != 0 {
        0
    } else {
        f32_to_f16(x, Rounding::Nearest)
    }
}

macro_rules! conversions {
    ($F:ident, $relu:literal, $from:expr) => {
        match $from {
            // The first operand becomes the high half.
            Some(Type::F32) => lanes!(|high: f32, low: f32| -> u16 {
                u16::from(narrow::<$F, $relu>(high)) << 8 | u16::from(narrow::<$F, $relu>(low))
            }),
            Some(Type::F16x2) => lanes!(|x: u32| -> u16 {
                let [low, high] = [x as u16, (x >> 16) as u16].map(f16_to_f32);
                u16::from(narrow::<$F, $relu>(high)) << 8 | u16::from(narrow::<$F, $relu>(low))
            }),
            _ => lanes!(|x: u16| -> u32 {
                let [low, high] = x.to_le_bytes().map(widen::<$F, $relu>);
                u32::from(high) << 16 | u32::from(low)
            }),
        }
    };
}

/// The conversion that `op` is, if one of its types is `name`.
pub(super) fn alu(op: &Opcode<'_>, name: &str) -> Option<Alu> {
    let relu = op.has("relu");
    if !op.has("rn") {
        return None;
    }
    let other = op.ty()?;
    let from = if op.text().ends_with(name) {
        // Every code has its f16.
        (other == Type::F16x2).then_some(None)?
    } else {
        let known = matches!(other, Type::F32 | Type::F16x2) && op.has("satfinite");
        known.then_some(Some(other))?
    };
    Some(match (name, relu) {
        ("e4m3x2", false) => conversions!(E4m3, false, from),
        ("e4m3x2", true) => conversions!(E4m3, true, from),
        (_, false) => conversions!(E5m2, false, from),
        (_, true) => conversions!(E5m2, true, from),
    })
}
