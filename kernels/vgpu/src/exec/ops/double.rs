//! Double-precision arithmetic (PTX ISA 9.7.3).

use super::rounding::{Rounding, direct, two_sum};
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};

macro_rules! rounded {
    ($rounding:expr, |$($x:ident),+| $near:block, $error:block) => {
        match $rounding {
            Rounding::Nearest => lanes!(|$($x: f64),+| -> f64 $near),
            Rounding::Zero => lanes!(|$($x: f64),+| -> f64 { direct($near, $error, Rounding::Zero) }),
            Rounding::Down => lanes!(|$($x: f64),+| -> f64 { direct($near, $error, Rounding::Down) }),
            Rounding::Up => lanes!(|$($x: f64),+| -> f64 { direct($near, $error, Rounding::Up) }),
        }
    };
}

pub(super) fn alu(op: &Opcode<'_>) -> Option<Alu> {
    // `rcp.approx.ftz.f64` and its like are for the first step of a division: exact ones serve.
    let approximate = op.has("approx") && op.has("ftz");
    let mode = op.find(Rounding::parse).unwrap_or(Rounding::Nearest);
    Some(match op.stem() {
        "add" => rounded!(mode, |a, b| { a + b }, { two_sum(a, b).1 }),
        "sub" => rounded!(mode, |a, b| { a - b }, { two_sum(a, -b).1 }),
        "mul" => rounded!(mode, |a, b| { a * b }, { a.mul_add(b, -(a * b)) }),
        "fma" | "mad" => rounded!(mode, |a, b, c| { a.mul_add(b, c) }, { fma_error(a, b, c) }),
        "div" => rounded!(mode, |a, b| { a / b }, {
            let rest = (-(a / b)).mul_add(b, a);
            if b < 0.0 { -rest } else { rest }
        }),
        "sqrt" => rounded!(mode, |a| { a.sqrt() }, { (-a.sqrt()).mul_add(a.sqrt(), a) }),
        "rcp" if approximate => lanes!(|a: f64| -> f64 { 1.0 / a }),
        "rsqrt" if approximate => lanes!(|a: f64| -> f64 { 1.0 / a.sqrt() }),
        "rcp" => rounded!(mode, |a| { 1.0 / a }, {
            let rest = (-(1.0 / a)).mul_add(a, 1.0);
            if a < 0.0 { -rest } else { rest }
        }),
        "abs" => lanes!(|a: f64| -> f64 { a.abs() }),
        "neg" => lanes!(|a: f64| -> f64 { -a }),
        "copysign" => lanes!(|a: f64, b: f64| -> f64 { b.copysign(a) }),
        "min" => lanes!(|a: f64, b: f64| -> f64 { min(a, b) }),
        "max" => lanes!(|a: f64, b: f64| -> f64 { -min(-a, -b) }),
        _ => return None,
    })
}

/// The sign of what `fma` in nearest mode left out (Boldo and Muller, 2011).
fn fma_error(a: f64, b: f64, c: f64) -> f64 {
    let near = a.mul_add(b, c);
    let product = a * b;
    let product_error = a.mul_add(b, -product);
    let (alpha, alpha_error) = two_sum(c, product_error);
    let (beta, beta_error) = two_sum(product, alpha);
    let gamma = (beta - near) + beta_error;
    gamma + alpha_error
}

/// The smaller, where -0 is below +0 and a number wins over NaN.
#[inline(always)]
fn min(a: f64, b: f64) -> f64 {
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
