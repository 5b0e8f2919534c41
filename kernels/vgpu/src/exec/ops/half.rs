//! Half-precision arithmetic: f16, bf16 and pairs of them (PTX ISA 9.7.4).
//!
//! Sums and products are exact in a double, or rounded to odd there, and rounded once.

use super::half_bits::{bf16_to_f32, f16_to_f32, f64_to_bf16, f64_to_f16};
use super::rounding::{Rounding, sum_to_odd};
use super::single::{max, min, spread_nan, xor_sign};
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::ptx::Type;

/// A half-precision format.
trait Format {
    /// Below this, a number rounded with no end to its exponent is below the smallest normal one.
    const NORMAL: f64;
    fn wide(bits: u16) -> f32;
    fn round(x: f64) -> u16;
    /// Whether the bits are a subnormal's.
    fn is_tiny(bits: u16) -> bool;
}

struct F16;

impl Format for F16 {
    const NORMAL: f64 = (1.0 - 1.0 / 4096.0) / 16384.0;
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
    const NORMAL: f64 = (1.0 - 1.0 / 512.0) * f32::MIN_POSITIVE as f64;
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
        "neg" => formats!(ty, ftz, |a| { -a }),
        "abs" => formats!(ty, ftz, |a| { a.abs() }),
        "min" | "max" => return extremum(op, ty, ftz),
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

/// `.relu`, done to a result: negative numbers and -0 become +0.
pub(super) fn relu(ty: Type) -> Option<Alu> {
    Some(formats!(ty, false, |a| { if a <= 0.0 { 0.0 } else { a } }))
}

fn extremum(op: &Opcode<'_>, ty: Type, ftz: bool) -> Option<Alu> {
    let nan = op.has("NaN");
    let sign = op.has("xorsign");
    if sign && !op.has("abs") {
        return None;
    }
    macro_rules! pick {
        (|$a:ident, $b:ident| $body:expr) => {
            formats!(ty, ftz, |x, y| {
                let ($a, $b) = (x as f32, y as f32);
                f64::from($body)
            })
        };
    }
    Some(match (op.stem() == "max", nan, sign) {
        (false, false, false) => pick!(|a, b| min(a, b)),
        (true, false, false) => pick!(|a, b| max(a, b)),
        (false, true, false) => pick!(|a, b| spread_nan(a, b, min(a, b))),
        (true, true, false) => pick!(|a, b| spread_nan(a, b, max(a, b))),
        (false, false, true) => pick!(|a, b| xor_sign(a, b, min(a.abs(), b.abs()))),
        (true, false, true) => pick!(|a, b| xor_sign(a, b, max(a.abs(), b.abs()))),
        (false, true, true) => {
            pick!(|a, b| xor_sign(a, b, spread_nan(a, b, min(a.abs(), b.abs()))))
        }
        (true, true, true) => {
            pick!(|a, b| xor_sign(a, b, spread_nan(a, b, max(a.abs(), b.abs()))))
        }
    })
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

/// Rounds; `FTZ` flushes what would be subnormal if its exponent had no end.
#[inline(always)]
fn write<F: Format, const FTZ: bool>(x: f64) -> u16 {
    let tiny = FTZ && x.abs() < F::NORMAL;
    F::round(if tiny { 0.0f64.copysign(x) } else { x })
}

/// An f16 as a single, flushed.
#[inline(always)]
pub(super) fn flushed_f16(bits: u16) -> f32 {
    read::<F16, true>(bits) as f32
}

/// Sums for `atom.add` and `red.add`: subnormals are kept.
pub(crate) fn add(ty: Type, a: u16, b: u16) -> u16 {
    if ty == Type::F16 {
        write::<F16, false>(sum_to_odd(read::<F16, false>(a), read::<F16, false>(b)))
    } else {
        write::<Bf16, false>(sum_to_odd(read::<Bf16, false>(a), read::<Bf16, false>(b)))
    }
}
