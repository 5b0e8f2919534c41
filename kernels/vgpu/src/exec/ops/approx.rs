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
        ("rcp", true) => lanes!(|a: f64| -> f64 { high_word(a, -1, mufu::rcp::<true>) }),
        ("rsqrt", true) => lanes!(|a: f64| -> f64 { reciprocal_root_high(a) }),
        ("rsqrt", false) => lanes!(|a: f64| -> f64 { reciprocal_root(a) }),
        _ => return None,
    })
}

/// The bits of a double's fraction that lie in its high word.
const HIGH_FRACTION: u32 = 20;

/// `MUFU.RCP64H` and `MUFU.RSQ64H`: of a double's high word the high word of `function`, which
/// raises to the power `power` / 2.
#[inline(always)]
fn high_word(x: f64, power: i32, function: impl Fn(f32) -> f32) -> f64 {
    todo!()
}
