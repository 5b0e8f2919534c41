//! Double-precision arithmetic (PTX ISA 9.7.3).
//!
//! A NaN keeps its sign and payload and becomes quiet. Which one of several is given is the
//! hardware's choice.

use super::exact;
use super::rounding::Rounding;
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};

/// A function rounded to nearest, or where its operands are `$regular` exactly in another mode;
/// of NaN operands it gives the first one of `$nans`.
macro_rules! rounded {
    ($mode:expr, |$($x:ident),+| $near:block, nans $nans:tt, if $regular:block $M:ident $exact:block) => {
        match $mode {
            Rounding::Nearest => lanes!(|$($x: f64),+| -> f64 { settle($near, $nans) }),
            Rounding::Zero => rounded!(@ Zero, |$($x),+| $near, $nans, $regular $M $exact),
            Rounding::Down => rounded!(@ Down, |$($x),+| $near, $nans, $regular $M $exact),
            Rounding::Up => rounded!(@ Up, |$($x),+| $near, $nans, $regular $M $exact),
        }
    };
    (@ $mode:ident, |$($x:ident),+| $near:block, $nans:tt, $regular:block $M:ident $exact:block) => {
        lanes!(|$($x: f64),+| -> f64 {
            const $M: Rounding = Rounding::$mode;
            if $regular { $exact } else { settle($near, $nans) }
        })
    };
}

pub(super) fn alu(op: &Opcode<'_>) -> Option<Alu> {
    let mode = op.find(Rounding::parse).unwrap_or(Rounding::Nearest);
    Some(match op.stem() {
        "add" => rounded!(mode, |a, b| { a + b }, nans [b, a],
            if { a.is_finite() && b.is_finite() } M { exact::add(a, b, M) }),
        "sub" => rounded!(mode, |a, b| { a - b }, nans [b, a],
            if { a.is_finite() && b.is_finite() } M { exact::add(a, -b, M) }),
        "mul" => rounded!(mode, |a, b| { a * b }, nans [b, a],
            if { a.is_finite() && b.is_finite() } M { exact::mul(a, b, M) }),
        "fma" | "mad" => rounded!(mode, |a, b, c| { a.mul_add(b, c) }, nans [b, c, a],
            if { a.is_finite() && b.is_finite() && c.is_finite() } M { exact::fma(a, b, c, M) }),
        "div" => rounded!(mode, |a, b| { a / b }, nans [a, b],
            if { divides(a, b) } M { exact::div(a, b, M) }),
        "rcp" => rounded!(mode, |a| { 1.0 / a }, nans [a],
            if { divides(1.0, a) } M { exact::div(1.0, a, M) }),
        "sqrt" => rounded!(mode, |a| { a.sqrt() }, nans [a],
            if { a > 0.0 && a.is_finite() } M { exact::sqrt(a, M) }),
        "abs" => lanes!(|a: f64| -> f64 { if a.is_nan() { quiet(a) } else { a.abs() } }),
        "neg" => lanes!(|a: f64| -> f64 { if a.is_nan() { quiet(a) } else { -a } }),
        "copysign" => lanes!(|a: f64, b: f64| -> f64 { b.copysign(a) }),
        "min" => lanes!(|a: f64, b: f64| -> f64 { extremum(a, b, |a, b| a < b) }),
        "max" => lanes!(|a: f64, b: f64| -> f64 { extremum(a, b, |a, b| a > b) }),
        _ => return None,
    })
}

/// Whether a / b is a finite number that is not zero, before rounding.
#[inline(always)]
fn divides(a: f64, b: f64) -> bool {
    a.is_finite() && b.is_finite() && a != 0.0 && b != 0.0
}

/// What an operation gives that no number answers.
pub(super) const INVALID: f64 = f64::from_bits(0xfff8_0000_0000_0000);

#[inline(always)]
pub(super) fn quiet(nan: f64) -> f64 {
    f64::from_bits(nan.to_bits() | 1 << 51)
}

/// A result, where a NaN is the first one of `operands` or says that there was none.
#[inline(always)]
pub(super) fn settle<const N: usize>(result: f64, operands: [f64; N]) -> f64 {
    if !result.is_nan() {
        return result;
    }
    let nan = operands.into_iter().find(|x| x.is_nan());
    nan.map_or(INVALID, quiet)
}

/// `a` where it is `beyond` `b`, else `b`; -0 is below +0 and a number wins over NaN.
#[inline(always)]
fn extremum(a: f64, b: f64, beyond: impl Fn(f64, f64) -> bool) -> f64 {
    let sign = |x: f64| if x.is_sign_negative() { -1.0 } else { 1.0 };
    if a.is_nan() {
        if b.is_nan() { quiet(b) } else { b }
    } else if b.is_nan() || beyond(a, b) || a == b && beyond(sign(a), sign(b)) {
        a
    } else {
        b
    }
}
