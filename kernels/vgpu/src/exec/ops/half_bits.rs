//! The bits of f16, bf16, tf32 and e4m3.

use super::rounding::{Rounding, narrow_to_odd};

/// The NaN that half-precision instructions give.
pub(crate) const HALF_NAN: u16 = 0x7fff;

/// An f16 as a single; exact.
#[inline(always)]
pub(crate) fn f16_to_f32(x: u16) -> f32 {
    let sign = u32::from(x & 0x8000) << 16;
    let body = u32::from(x & 0x7fff) << 13;
    // The exponent's bias differs by 112; a multiplication mends subnormals too.
    let scaled = f32::from_bits(body) * f32::from_bits((127 + 112) << 23);
    let special = body >= 0x7c00 << 13;
    f32::from_bits(
        sign | if special {
            body | 0x7f80_0000
        } else {
            scaled.to_bits()
        },
    )
}

/// A bf16 as a single; exact.
#[inline(always)]
pub(crate) fn bf16_to_f32(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// An e4m3 as a single; exact.
#[inline(always)]
pub(crate) fn e4m3_to_f32(x: u8) -> f32 {
    let code = u16::from(x);
    // In the place of an f16's bits, whose exponent's bias is greater by 8.
    let value = f16_to_f32((code & 0x80) << 8 | (code & 0x7f) << 7) * 256.0;
    if code & 0x7f == 0x7f { f32::NAN } else { value }
}

/// Drops the low `n` bits of a magnitude, rounding.
#[inline(always)]
fn drop_bits(bits: u32, n: u32, negative: bool, rounding: Rounding) -> u32 {
    let half = match rounding {
        Rounding::Nearest => (1 << (n - 1)) - 1 + (bits >> n & 1),
        Rounding::Zero => 0,
        Rounding::Down => {
            if negative {
                (1 << n) - 1
            } else {
                0
            }
        }
        Rounding::Up => {
            if negative {
                0
            } else {
                (1 << n) - 1
            }
        }
    };
    // Lanes whose result is not taken may come with any bits.
    bits.wrapping_add(half) >> n
}

/// A single rounded to bf16.
#[inline(always)]
pub(crate) fn f32_to_bf16(x: f32, rounding: Rounding) -> u16 {
    let bits = x.to_bits();
    let sign = bits >> 16 & 0x8000;
    let rounded = drop_bits(bits & 0x7fff_ffff, 16, sign != 0, rounding);
    // Toward zero, an infinity stays one.
    if x.is_nan() {
        HALF_NAN
    } else {
        (sign | rounded) as u16
    }
}

/// A single rounded to f16.
#[inline(always)]
pub(crate) fn f32_to_f16(x: f32, rounding: Rounding) -> u16 {
    let bits = x.to_bits();
    let (sign, body) = (bits >> 16 & 0x8000, bits & 0x7fff_ffff);
    let negative = sign != 0;
    let normal = drop_bits(body.wrapping_sub(112 << 23), 13, negative, rounding);
    // Below 2^-14 results are multiples of 2^-24: shift the significand there.
    let exponent = body >> 23;
    let significand = body & 0x7f_ffff | if exponent > 0 { 0x80_0000 } else { 0 };
    let shift = 126u32.wrapping_sub(exponent.max(1)).min(25);
    // What a longer shift would lose is kept as a sticky bit.
    let sticky = u32::from(shift == 25 && significand != 0);
    let kept = if shift == 25 { sticky } else { significand };
    let small = drop_bits(
        kept,
        if shift < 14 { 14 } else { shift },
        negative,
        rounding,
    );
    let finite = if body < 113 << 23 { small } else { normal };
    let largest = match rounding {
        Rounding::Nearest => 0x7c00,
        Rounding::Zero => 0x7bff,
        Rounding::Down => {
            if negative {
                0x7c00
            } else {
                0x7bff
            }
        }
        Rounding::Up => {
            if negative {
                0x7bff
            } else {
                0x7c00
            }
        }
    };
    let body = if body >= 0x7f80_0000 {
        if x.is_nan() { return HALF_NAN } else { 0x7c00 }
    } else if body >= 143 << 23 || finite >= 0x7c00 {
        largest
    } else {
        finite
    };
    (sign | body) as u16
}

/// A double rounded to f16, once.
#[inline(always)]
pub(crate) fn f64_to_f16(x: f64, rounding: Rounding) -> u16 {
    f32_to_f16(narrow_to_odd(x), rounding)
}

/// A double rounded to bf16, once.
#[inline(always)]
pub(crate) fn f64_to_bf16(x: f64, rounding: Rounding) -> u16 {
    f32_to_bf16(narrow_to_odd(x), rounding)
}

/// A single rounded to tf32: 10 bits of fraction, kept as the single's high bits.
#[inline(always)]
pub(crate) fn f32_to_tf32(x: f32, rounding: Rounding) -> u32 {
    let bits = x.to_bits();
    let (sign, body) = (bits & 0x8000_0000, bits & 0x7fff_ffff);
    let rounded = drop_bits(body, 13, sign != 0, rounding) << 13;
    if x.is_nan() {
        super::rounding::NAN & !0x1fff
    } else if x.is_infinite() {
        bits
    } else {
        sign | rounded
    }
}

/// The same with ties away from zero; of a NaN it drops the low bits.
#[inline(always)]
pub(crate) fn f32_to_tf32_away(x: f32) -> u32 {
    let bits = x.to_bits();
    let half = if x.is_finite() { 1 << 12 } else { 0 };
    (bits + half) & !0x1fff
}

/// A NaN's sign and the upper bits of its payload, quieted, in f32.
#[inline(always)]
pub(crate) fn nan_to_f32(x: f64) -> f32 {
    let bits = x.to_bits();
    let sign = (bits >> 32) as u32 & 0x8000_0000;
    f32::from_bits(sign | 0x7fc0_0000 | (bits >> 29) as u32 & 0x003f_ffff)
}

/// The same in f16.
#[inline(always)]
pub(crate) fn nan_to_f16(x: f64) -> u16 {
    let bits = x.to_bits();
    (bits >> 48) as u16 & 0x8000 | 0x7e00 | (bits >> 42) as u16 & 0x01ff
}

/// The same in bf16.
#[inline(always)]
pub(crate) fn nan_to_bf16(x: f64) -> u16 {
    let bits = x.to_bits();
    (bits >> 48) as u16 & 0x8000 | 0x7fc0 | (bits >> 45) as u16 & 0x003f
}
