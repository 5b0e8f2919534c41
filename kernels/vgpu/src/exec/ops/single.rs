//! Single-precision arithmetic (PTX ISA 9.7.3).

use super::rounding::{
    Rounding, finish, flush, narrow, narrow_flushed, quotient_to_odd, root, root_to_odd, saturate,
    signed_zero, sum_to_odd,
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

/// The same for each rounding mode. The directed ones round a double that was rounded to odd.
macro_rules! rounded {
    ($mode:expr, $ftz:expr, |$($x:ident),+| $near:block, $M:ident $exact:block) => {
        match $mode {
            Rounding::Nearest => single!($ftz, |$($x),+| $near),
            Rounding::Zero => rounded!(@ Zero, $ftz, |$($x),+| $M $exact),
            Rounding::Down => rounded!(@ Down, $ftz, |$($x),+| $M $exact),
            Rounding::Up => rounded!(@ Up, $ftz, |$($x),+| $M $exact),
        }
    };
    (@ $mode:ident, $ftz:expr, |$($x:ident),+| $M:ident $exact:block) => {
        single!($ftz, |$($x),+| {
            const $M: Rounding = Rounding::$mode;
            narrow($exact, $M)
        })
    };
}

/// The same for products and what is added to them. `.ftz` flushes what would be subnormal if its
/// exponent had no end, even where it rounds to the smallest normal number as subnormals do.
macro_rules! product {
    ($mode:expr, $ftz:expr, |$($x:ident),+| $near:block, $M:ident $exact:block) => {
        match ($mode, $ftz) {
            (mode, false) => rounded!(mode, false, |$($x),+| $near, $M $exact),
            (Rounding::Nearest, true) => lanes!(|$($x: f32),+| -> f32 {
                $(let $x = flush::<true>($x);)+
                finish::<true>($near)
            } doubt |r| {
                r.abs() == f32::MIN_POSITIVE
            } {
                product!(@ Nearest, |$($x),+| $M $exact)
            }),
            (Rounding::Zero, true) => product!(Zero, |$($x),+| $M $exact),
            (Rounding::Down, true) => product!(Down, |$($x),+| $M $exact),
            (Rounding::Up, true) => product!(Up, |$($x),+| $M $exact),
        }
    };
    ($mode:ident, |$($x:ident),+| $M:ident $exact:block) => {
        lanes!(|$($x: f32),+| -> f32 { product!(@ $mode, |$($x),+| $M $exact) })
    };
    (@ $mode:ident, |$($x:ident),+| $M:ident $exact:block) => {{
        const $M: Rounding = Rounding::$mode;
        $(let $x = flush::<true>($x);)+
        finish::<true>(narrow_flushed($exact, $M))
    }};
}

/// `.sat`, done to a result.
pub(super) fn saturation() -> Alu {
    lanes!(|x: f32| -> f32 { saturate(x) })
}

pub(super) fn alu(op: &Opcode<'_>) -> Option<Alu> {
    let ftz = op.has("ftz");
    Some(match op.stem() {
        "add" | "sub" | "mul" | "fma" | "mad" | "div" | "sqrt" | "rcp" => return rounding(op, ftz),
        "abs" => single!(ftz, |a| { a.abs() }),
        "neg" => single!(ftz, |a| { -a }),
        "copysign" => lanes!(|a: f32, b: f32| -> f32 { b.copysign(a) }),
        "min" | "max" => return extremum(op, ftz),
        _ => return None,
    })
}

fn rounding(op: &Opcode<'_>, ftz: bool) -> Option<Alu> {
    let mode = op.find(Rounding::parse).unwrap_or(Rounding::Nearest);
    let sat = op.has("sat");
    let alu = match op.stem() {
        "add" => rounded!(mode, ftz, |a, b| { a + b }, M { sum(a.into(), b.into(), M) }),
        "sub" => rounded!(mode, ftz, |a, b| { a - b }, M { sum(a.into(), (-b).into(), M) }),
        "mul" => product!(mode, ftz, |a, b| { a * b }, M { f64::from(a) * f64::from(b) }),
        "fma" | "mad" => product!(mode, ftz, |a, b, c| { a.mul_add(b, c) }, M {
            sum(f64::from(a) * f64::from(b), c.into(), M)
        }),
        _ if sat => return None,
        "div" => rounded!(mode, ftz, |a, b| { a / b }, M { quotient_to_odd(a, b) }),
        "rcp" => rounded!(mode, ftz, |a| { 1.0 / a }, M { quotient_to_odd(1.0, a) }),
        "sqrt" => rounded!(mode, ftz, |a| { root(a) }, M { root_to_odd(a) }),
        _ => return None,
    };
    Some(alu.then(sat.then(saturation)))
}

/// `a + b`, rounded to odd.
#[inline(always)]
fn sum(a: f64, b: f64, mode: Rounding) -> f64 {
    signed_zero(sum_to_odd(a, b), a, b, mode)
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
pub(super) fn xor_sign(a: f32, b: f32, x: f32) -> f32 {
    let sign = (a.to_bits() ^ b.to_bits()) & 0x8000_0000;
    f32::from_bits(x.to_bits() | sign)
}
