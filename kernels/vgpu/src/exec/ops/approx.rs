//! `.approx` and `.full` instructions (PTX ISA 9.7.3, 9.7.4), as the special function unit does
//! them.

use super::half_bits::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use super::rounding::Rounding;
use super::{double, rounding};
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::exec::mufu;
use crate::ptx::Type;

/// What an instruction's name says of its error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Precision {
    /// `.approx`.
    Approximate,
    /// `.full`: approximate over the full range.
    Full,
}

impl Precision {
    pub(super) fn parse(name: &str) -> Option<Precision> {
        Some(match name {
            "approx" => Precision::Approximate,
            "full" => Precision::Full,
            _ => return None,
        })
    }
}

/// A function of the unit, with subnormals flushed or not.
macro_rules! unit {
    ($ftz:expr, |$($x:ident),+| $function:ident) => {
        if $ftz {
            lanes!(|$($x: f32),+| -> f32 { mufu::$function::<true>($($x),+) })
        } else {
            lanes!(|$($x: f32),+| -> f32 { mufu::$function::<false>($($x),+) })
        }
    };
}

pub(super) fn alu(op: &Opcode<'_>, precision: Precision) -> Option<Alu> {
    let ftz = op.has("ftz");
    match (precision, op.ty()?) {
        (Precision::Full, Type::F32) if op.stem() == "div" => Some(unit!(ftz, |a, b| divide_full)),
        (Precision::Full, _) => None,
        (_, Type::F32) => single(op.stem(), ftz),
        (_, Type::F64) => wide(op.stem(), ftz),
        // For bf16 there is no `ex2` without `.ftz`, else no form with it.
        (_, ty) => half(op.stem(), ty, ftz),
    }
}

fn single(stem: &str, ftz: bool) -> Option<Alu> {
    Some(match stem {
        "ex2" => unit!(ftz, |a| ex2),
        "lg2" => unit!(ftz, |a| lg2),
        "rcp" => unit!(ftz, |a| rcp),
        "rsqrt" => unit!(ftz, |a| rsqrt),
        "sqrt" => unit!(ftz, |a| sqrt),
        "div" => unit!(ftz, |a, b| divide),
        "sin" => lanes!(|a: f32| -> f32 { mufu::sin(a) }),
        "cos" => lanes!(|a: f32| -> f32 { mufu::cos(a) }),
        "tanh" if !ftz => lanes!(|a: f32| -> f32 { mufu::tanh(a) }),
        _ => return None,
    })
}

fn half(stem: &str, ty: Type, ftz: bool) -> Option<Alu> {
    Some(match (stem, ty, ftz) {
        ("ex2", Type::F16, false) => lanes!(|a: u16| -> u16 { f16(a, mufu::ex2::<true>) }),
        ("ex2", Type::F16x2, false) => {
            lanes!(|a: u32| -> u32 { pair(a, |a| f16(a, mufu::ex2::<true>)) })
        }
        ("ex2", Type::Bf16, true) => lanes!(|a: u16| -> u16 { bf16(a, mufu::ex2::<true>) }),
        ("ex2", Type::Bf16x2, true) => {
            lanes!(|a: u32| -> u32 { pair(a, |a| bf16(a, mufu::ex2::<true>)) })
        }
        ("tanh", Type::F16, false) => lanes!(|a: u16| -> u16 { f16(a, mufu::tanh) }),
        ("tanh", Type::F16x2, false) => {
            lanes!(|a: u32| -> u32 { pair(a, |a| f16(a, mufu::tanh)) })
        }
        ("tanh", Type::Bf16, false) => lanes!(|a: u16| -> u16 { bf16(a, mufu::tanh) }),
        ("tanh", Type::Bf16x2, false) => {
            lanes!(|a: u32| -> u32 { pair(a, |a| bf16(a, mufu::tanh)) })
        }
        _ => return None,
    })
}

#[inline(always)]
fn pair(x: u32, function: impl Fn(u16) -> u16) -> u32 {
    u32::from(function((x >> 16) as u16)) << 16 | u32::from(function(x as u16))
}

#[inline(always)]
fn f16(x: u16, function: impl Fn(f32) -> f32) -> u16 {
    f32_to_f16(mufu::cut_f16(function(f16_to_f32(x))), Rounding::Nearest)
}

#[inline(always)]
fn bf16(x: u16, function: impl Fn(f32) -> f32) -> u16 {
    f32_to_bf16(mufu::cut_bf16(function(bf16_to_f32(x))), Rounding::Nearest)
}

fn wide(stem: &str, ftz: bool) -> Option<Alu> {
    Some(match (stem, ftz) {
        ("rcp", true) => lanes!(|a: f64| -> f64 { reciprocal_high(a) }),
        ("rsqrt", true) => lanes!(|a: f64| -> f64 { reciprocal_root_high(a) }),
        ("rsqrt", false) => lanes!(|a: f64| -> f64 { reciprocal_root(a) }),
        _ => return None,
    })
}

/// A double's high word: its sign in place, its exponent and 20 bits of fraction.
fn high_word(x: f64) -> (u32, i32, u32) {
    let high = (x.to_bits() >> 32) as u32;
    (high & 1 << 31, (high >> 20 & 0x7ff) as i32, high & 0xf_ffff)
}

/// The double of this high word, whose low word is zero.
fn from_high(high: u32) -> f64 {
    f64::from_bits(u64::from(high) << 32)
}

/// A double of the significand of `x`, which has bits to spare, and an exponent besides.
fn scaled(sign: u32, exponent: i32, x: f32) -> f64 {
    let (more, fraction) = (x.to_bits() >> 23, x.to_bits() & 0x7f_ffff);
    let exponent = exponent + more as i32 - 127;
    let body = if exponent > 0 {
        (exponent as u32) << 20 | fraction >> 3
    } else {
        0
    };
    from_high(sign | body)
}

/// `MUFU.RCP64H`: 1 / x by the high word, to 20 bits; subnormals are flushed.
fn reciprocal_high(x: f64) -> f64 {
    let (sign, exponent, fraction) = high_word(x);
    match exponent {
        0x7ff if fraction != 0 => from_high(rounding::NAN),
        0 => from_high(sign | 0x7ff0_0000),
        0x7ff => from_high(sign),
        _ => {
            let significand = f32::from_bits(127 << 23 | fraction << 3);
            scaled(sign, 2046 - exponent, mufu::rcp::<true>(significand))
        }
    }
}

/// `MUFU.RSQ64H`: 1 / sqrt(x) likewise.
fn reciprocal_root_high(x: f64) -> f64 {
    let (sign, exponent, fraction) = high_word(x);
    match exponent {
        0x7ff if fraction != 0 => from_high(rounding::NAN),
        0 => from_high(sign | 0x7ff0_0000),
        _ if sign != 0 => from_high(rounding::NAN),
        0x7ff => 0.0,
        _ => {
            // x = m 4^n with m from 1 to 4.
            let exponent = exponent - 1023;
            let odd = exponent as u32 & 1;
            let m = f32::from_bits((127 + odd) << 23 | fraction << 3);
            scaled(0, 1023 - (exponent >> 1), mufu::rsqrt::<true>(m))
        }
    }
}

/// `rsqrt.approx.f64`: a step of Newton's method from there, which ptxas puts around the unit.
fn reciprocal_root(x: f64) -> f64 {
    let step = |x: f64| {
        let near = reciprocal_root_high(x);
        let error = x.mul_add(-(near * near), 1.0);
        error.mul_add(0.375, 0.5).mul_add(near * error, near)
    };
    if x.is_nan() {
        double::quiet(x)
    } else if x == 0.0 {
        f64::INFINITY.copysign(x)
    } else if x < 0.0 {
        double::INVALID
    } else if x.is_infinite() {
        0.0
    } else if x.is_subnormal() {
        step(x * 2f64.powi(54)) * 2f64.powi(27)
    } else {
        step(x)
    }
}
