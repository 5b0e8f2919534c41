//! Half-precision arithmetic: f16, bf16 and pairs of them (PTX ISA 9.7.4).
//!
//! Sums and products are exact in a double, or rounded to odd there, and rounded once.

use super::half_bits::{bf16_to_f32, f16_to_f32, f64_to_bf16, f64_to_f16};
use super::rounding::{Rounding, sum_to_odd};
use super::single;
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::ptx::Type;

/// A half-precision format.
trait Format {
    fn wide(bits: u16) -> f32;
    fn round(x: f64) -> u16;
    /// Whether the bits are a subnormal's.
    fn is_tiny(bits: u16) -> bool;
}

struct F16;

impl Format for F16 {
    #[inline(always)]
    fn wide(bits: u16) -> f32 {
        f16_to_f32(bits)
    }
    #[inline(always)]
    fn round(x: f64) -> u16 {
        f64_to_f16(x, Rounding::Nearest)
    }
    #[inline(always)]
    fn is_tiny(bits: u16) -> bool {
        bits & 0x7c00 == 0
    }
}

struct Bf16;

impl Format for Bf16 {
    #[inline(always)]
    fn wide(bits: u16) -> f32 {
        bf16_to_f32(bits)
    }
    #[inline(always)]
    fn round(x: f64) -> u16 {
        f64_to_bf16(x, Rounding::Nearest)
    }
    #[inline(always)]
    fn is_tiny(bits: u16) -> bool {
        bits & 0x7f80 == 0
    }
}

macro_rules! format {
    (one, $F:ident, $ftz:literal, |$($x:ident),+| $body:block) => {
        lanes!(|$($x: u16),+| -> u16 {
            $(let $x = read::<$F, $ftz>($x);)+
            write::<$F, $ftz>($body)
        })
    };
    (two, $F:ident, $ftz:literal, |$($x:ident),+| $body:block) => {
        lanes!(|$($x: u32),+| -> u32 {
            let low = {
                $(let $x = read::<$F, $ftz>($x as u16);)+
                write::<$F, $ftz>($body)
            };
            let high = {
                $(let $x = read::<$F, $ftz>(($x >> 16) as u16);)+
                write::<$F, $ftz>($body)
            };
            u32::from(high) << 16 | u32::from(low)
        })
    };
}

macro_rules! formats {
    ($ty:expr, $ftz:expr, |$($x:ident),+| $body:block) => {
        match ($ty, $ftz) {
            (Type::F16, false) => format!(one, F16, false, |$($x),+| $body),
            (Type::F16, true) => format!(one, F16, true, |$($x),+| $body),
            (Type::F16x2, false) => format!(two, F16, false, |$($x),+| $body),
            (Type::F16x2, true) => format!(two, F16, true, |$($x),+| $body),
            (Type::Bf16, false) => format!(one, Bf16, false, |$($x),+| $body),
            (Type::Bf16x2, false) => format!(two, Bf16, false, |$($x),+| $body),
            _ => return None,
        }
    };
}

pub(super) fn alu(op: &Opcode<'_>, ty: Type) -> Option<Alu> {
    let ftz = op.has("ftz");
    op.has("rn");
    let last = if op.has("sat") {
        Some(saturation(ty)?)
    } else if op.has("relu") {
        Some(relu(ty)?)
    } else {
        None
    };
    let alu = match op.stem() {
        "add" => formats!(ty, ftz, |a, b| { sum_to_odd(a, b) }),
        "sub" => formats!(ty, ftz, |a, b| { sum_to_odd(a, -b) }),
        "mul" => formats!(ty, ftz, |a, b| { a * b }),
        "fma" => formats!(ty, ftz, |a, b, c| { sum_to_odd(a * b, c) }),
        _ if last.is_some() => return None,
        "neg" => sign(ty, true),
        "abs" => sign(ty, false),
        "min" | "max" => return extremum(ty, ftz, op.has("NaN"), op.stem() == "max"),
        // For bf16 it exists only with `.ftz`.
        "ex2" => match ty {
            Type::Bf16 if ftz => {
                format!(one, Bf16, true, |a| { f64::from(super::approx::exp2(a)) })
            }
            Type::Bf16x2 if ftz => {
                format!(two, Bf16, true, |a| { f64::from(super::approx::exp2(a)) })
            }
            Type::F16 | Type::F16x2 => {
                formats!(ty, ftz, |a| { f64::from(super::approx::exp2(a)) })
            }
            _ => return None,
        },
        "tanh" => formats!(ty, ftz, |a| { a.tanh() }),
        _ => return None,
    };
    Some(alu.then(last))
}

/// `.sat`, done to a result: clamped to 0..1, where NaN becomes +0.
pub(super) fn saturation(ty: Type) -> Option<Alu> {
    Some(formats!(ty, false, |a| {
        let low = if a > 0.0 { a } else { 0.0 };
        if low > 1.0 { 1.0 } else { low }
    }))
}

/// `.relu`, done to a result: negative numbers become +0.
pub(super) fn relu(ty: Type) -> Option<Alu> {
    Some(formats!(ty, false, |a| { if a < 0.0 { 0.0 } else { a } }))
}

fn extremum(ty: Type, ftz: bool, nan: bool, largest: bool) -> Option<Alu> {
    macro_rules! pick {
        (|$a:ident, $b:ident| $body:expr) => {
            formats!(ty, ftz, |x, y| {
                let ($a, $b) = (x as f32, y as f32);
                f64::from($body)
            })
        };
    }
    Some(match (largest, nan) {
        (false, false) => pick!(|a, b| single::min(a, b)),
        (true, false) => pick!(|a, b| single::max(a, b)),
        (false, true) => pick!(|a, b| single::spread_nan(a, b, single::min(a, b))),
        (true, true) => pick!(|a, b| single::spread_nan(a, b, single::max(a, b))),
    })
}

fn sign(ty: Type, flip: bool) -> Alu {
    let pair = matches!(ty, Type::F16x2 | Type::Bf16x2);
    match (pair, flip) {
        (false, true) => lanes!(|a: u16| -> u16 { a ^ 0x8000 }),
        (false, false) => lanes!(|a: u16| -> u16 { a & 0x7fff }),
        (true, true) => lanes!(|a: u32| -> u32 { a ^ 0x8000_8000 }),
        (true, false) => lanes!(|a: u32| -> u32 { a & 0x7fff_7fff }),
    }
}

#[inline(always)]
fn read<F: Format, const FTZ: bool>(bits: u16) -> f64 {
    let kept = if FTZ && F::is_tiny(bits) {
        bits & 0x8000
    } else {
        bits
    };
    f64::from(F::wide(kept))
}

#[inline(always)]
fn write<F: Format, const FTZ: bool>(x: f64) -> u16 {
    let bits = F::round(x);
    if FTZ && F::is_tiny(bits) {
        bits & 0x8000
    } else {
        bits
    }
}

/// Sums for `atom.add` and `red.add`: subnormals are kept.
pub(crate) fn add(ty: Type, a: u16, b: u16) -> u16 {
    if ty == Type::F16 {
        write::<F16, false>(sum_to_odd(read::<F16, false>(a), read::<F16, false>(b)))
    } else {
        write::<Bf16, false>(sum_to_odd(read::<Bf16, false>(a), read::<Bf16, false>(b)))
    }
}
