//! Single-precision arithmetic (PTX ISA 9.7.3).

use super::rounding::{
    Rounding, finish, flush, narrow, quotient_to_odd, root_to_odd, saturate, signed_zero,
    sum_to_odd,
};
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};

/// A function of singles, with subnormals flushed or not.
macro_rules! single {
    ($ftz:expr, |$($x:ident),+| $body:block) => {
        if $ftz {
            single!(@ true, |$($x),+| $body)
        } else {
            single!(@ false, |$($x),+| $body)
        }
    };
    (@ $ftz:literal, |$($x:ident),+| $body:block) => {
        lanes!(|$($x: f32),+| -> f32 {
            $(let $x = flush::<$ftz>($x);)+
            finish::<$ftz>($body)
        })
    };
}

/// The same for each rounding mode.
macro_rules! rounded {
    ($rounding:expr, $ftz:expr, |$($x:ident),+| $near:block, $mode:ident $exact:block) => {
        match $rounding {
            Rounding::Nearest => single!($ftz, |$($x),+| $near),
            Rounding::Zero => single!($ftz, |$($x),+| {
                const $mode: Rounding = Rounding::Zero;
                $exact
            }),
            Rounding::Down => single!($ftz, |$($x),+| {
                const $mode: Rounding = Rounding::Down;
                $exact
            }),
            Rounding::Up => single!($ftz, |$($x),+| {
                const $mode: Rounding = Rounding::Up;
                $exact
            }),
        }
    };
}

/// `.sat`, done to a result.
pub(super) fn saturation() -> Alu {
    lanes!(|x: f32| -> f32 { saturate(x) })
}

pub(super) fn alu(op: &Opcode<'_>) -> Option<Alu> {
    let ftz = op.has("ftz");
    Some(match op.stem() {
        "add" | "sub" | "mul" | "fma" | "mad" | "div" | "sqrt" | "rcp" => return rounding(op, ftz),
        "abs" if ftz => lanes!(|a: f32| -> f32 { flush::<true>(a).abs() }),
        "abs" => lanes!(|a: f32| -> f32 { a.abs() }),
        "neg" if ftz => lanes!(|a: f32| -> f32 { -flush::<true>(a) }),
        "neg" => lanes!(|a: f32| -> f32 { -a }),
        "copysign" => lanes!(|a: f32, b: f32| -> f32 { b.copysign(a) }),
        "min" | "max" => return extremum(op, ftz),
        _ => return None,
    })
}

fn rounding(op: &Opcode<'_>, ftz: bool) -> Option<Alu> {
    let stem = op.stem();
    // Approximate forms may err; these do not.
    let approximate =
        matches!(stem, "div" | "sqrt" | "rcp") && (op.has("approx") || op.has("full"));
    let mode = match op.find(Rounding::parse) {
        Some(_) if approximate => return None,
        Some(mode) => mode,
        None => Rounding::Nearest,
    };
    let sat = op.has("sat");
    let alu = match stem {
        "add" => rounded!(mode, ftz, |a, b| { a + b }, M { directed_sum(a.into(), b.into(), M) }),
        "sub" => {
            rounded!(mode, ftz, |a, b| { a - b }, M { directed_sum(a.into(), (-b).into(), M) })
        }
        "mul" => {
            rounded!(mode, ftz, |a, b| { a * b }, M { narrow(f64::from(a) * f64::from(b), M) })
        }
        "fma" | "mad" => rounded!(mode, ftz, |a, b, c| { a.mul_add(b, c) }, M {
            directed_sum(f64::from(a) * f64::from(b), c.into(), M)
        }),
        _ if sat => return None,
        "div" => rounded!(mode, ftz, |a, b| { a / b }, M { narrow(quotient_to_odd(a, b), M) }),
        "rcp" => rounded!(mode, ftz, |a| { 1.0 / a }, M { narrow(quotient_to_odd(1.0, a), M) }),
        "sqrt" => rounded!(mode, ftz, |a| { a.sqrt() }, M { narrow(root_to_odd(a), M) }),
        _ => return None,
    };
    Some(alu.then(sat.then(saturation)))
}

#[inline(always)]
fn directed_sum(a: f64, b: f64, mode: Rounding) -> f32 {
    narrow(signed_zero(sum_to_odd(a, b), a, b, mode), mode)
}

fn extremum(op: &Opcode<'_>, ftz: bool) -> Option<Alu> {
    let nan = op.has("NaN");
    let sign = op.has("xorsign");
    if sign && !op.has("abs") {
        return None;
    }
    Some(match (op.stem() == "max", nan, sign) {
        (false, false, false) => single!(ftz, |a, b| { min(a, b) }),
        (true, false, false) => single!(ftz, |a, b| { max(a, b) }),
        (false, true, false) => single!(ftz, |a, b| { spread_nan(a, b, min(a, b)) }),
        (true, true, false) => single!(ftz, |a, b| { spread_nan(a, b, max(a, b)) }),
        (false, false, true) => single!(ftz, |a, b| { xor_sign(a, b, min(a.abs(), b.abs())) }),
        (true, false, true) => single!(ftz, |a, b| { xor_sign(a, b, max(a.abs(), b.abs())) }),
        (false, true, true) => single!(ftz, |a, b| {
            xor_sign(a, b, spread_nan(a, b, min(a.abs(), b.abs())))
        }),
        (true, true, true) => single!(ftz, |a, b| {
            xor_sign(a, b, spread_nan(a, b, max(a.abs(), b.abs())))
        }),
    })
}

/// The smaller, where -0 is below +0 and a number wins over NaN.
#[inline(always)]
pub(super) fn min(a: f32, b: f32) -> f32 {
    let low = if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    };
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        low
    }
}

/// The larger, likewise.
#[inline(always)]
pub(super) fn max(a: f32, b: f32) -> f32 {
    let high = if a > b || (a == b && a.is_sign_positive()) {
        a
    } else {
        b
    };
    if a.is_nan() {
        b
    } else if b.is_nan() {
        a
    } else {
        high
    }
}

#[inline(always)]
pub(super) fn spread_nan(a: f32, b: f32, x: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else {
        x
    }
}

#[inline(always)]
fn xor_sign(a: f32, b: f32, x: f32) -> f32 {
    let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
    f32::from_bits(x.to_bits() | sign)
}
