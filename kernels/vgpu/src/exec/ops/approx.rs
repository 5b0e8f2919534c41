//! `.approx` functions of singles (PTX ISA 9.7.3): computed in doubles and rounded, well within the
//! documented errors.

use super::half;
use super::rounding::{finish, flush};
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::ptx::Type;
use std::f64::consts::{LN_2, LOG2_E};

macro_rules! approx {
    ($ftz:expr, |$x:ident| $body:expr) => {
        if $ftz {
            lanes!(|a: f32| -> f32 {
                let $x = f64::from(flush::<true>(a));
                finish::<true>($body as f32)
            })
        } else {
            lanes!(|a: f32| -> f32 {
                let $x = f64::from(a);
                finish::<false>($body as f32)
            })
        }
    };
}

pub(super) fn alu(op: &Opcode<'_>) -> Option<Alu> {
    if !op.has("approx") {
        return None;
    }
    let ftz = op.has("ftz");
    let ty = op.ty()?;
    match (op.stem(), ty) {
        (_, Type::F32) => {}
        ("rsqrt", Type::F64) if ftz => return Some(lanes!(|a: f64| -> f64 { 1.0 / a.sqrt() })),
        (_, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2) => return half::alu(op, ty),
        _ => return None,
    }
    Some(match op.stem() {
        "ex2" => approx!(ftz, |x| exp2(x)),
        "lg2" => approx!(ftz, |x| log2(x)),
        "sin" => approx!(ftz, |x| x.sin()),
        "cos" => approx!(ftz, |x| x.cos()),
        "tanh" => approx!(ftz, |x| x.tanh()),
        "rsqrt" => approx!(ftz, |x| 1.0 / x.sqrt()),
        _ => return None,
    })
}

/// 2^x for a single's or a half's `x`, as a single: a Taylor sum, whose error is below 2^-30.
#[inline(always)]
pub(super) fn exp2(x: f64) -> f32 {
    // Beyond these the result is infinite or zero in any format.
    let clamped = if x > 160.0 { 160.0 } else { x };
    let clamped = if clamped < -200.0 { -200.0 } else { clamped };
    let whole = clamped.round_ties_even();
    let t = (clamped - whole) * LN_2;
    let mut sum = 1.0;
    for n in [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        sum = sum * t * (1.0 / n) + 1.0;
    }
    // NaN passes through the sum; its exponent does not matter.
    let scale = f64::from_bits(((whole as i64 + 1023) as u64) << 52);
    (sum * scale) as f32
}

/// The base-2 logarithm of a single's value.
#[inline(always)]
fn log2(x: f64) -> f64 {
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)); singles are normal as doubles.
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(0x3fe6_a09e_667f_3bcd);
    let exponent = (shifted as i64) >> 52;
    let m = f64::from_bits(bits.wrapping_sub((exponent as u64) << 52));
    // log m = 2 atanh s; |s| < 0.172.
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for n in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / n;
    }
    let result = 2.0 * LOG2_E * s * sum + exponent as f64;
    if x == 0.0 {
        f64::NEG_INFINITY
    } else if x < 0.0 || x.is_nan() {
        f64::NAN
    } else if x.is_infinite() {
        x
    } else {
        result
    }
}
