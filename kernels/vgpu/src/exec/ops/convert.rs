//! `cvt` (PTX ISA 9.7.9).

use super::half_bits::{
    bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, f32_to_tf32, f32_to_tf32_away, f64_to_bf16,
    f64_to_f16, nan_to_bf16, nan_to_f16, nan_to_f32,
};
use super::rounding::{Rounding, finish, flush, integral, narrow};
use super::single::saturation;
use super::{convert_f8, half, pairs};
use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::ptx::Type;

/// How a conversion rounds.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// To the result's precision.
    Float(Rounding),
    /// To an integer.
    Integer(Rounding),
    /// `.rna`: to nearest, ties away from zero.
    TiesAway,
}

impl Mode {
    fn parse(name: &str) -> Option<Mode> {
        Some(match name {
            "rni" => Mode::Integer(Rounding::Nearest),
            "rzi" => Mode::Integer(Rounding::Zero),
            "rmi" => Mode::Integer(Rounding::Down),
            "rpi" => Mode::Integer(Rounding::Up),
            "rna" => Mode::TiesAway,
            _ => Mode::Float(Rounding::parse(name)?),
        })
    }
}

/// Runs `$then` with `$M` as each rounding mode.
macro_rules! each_mode {
    ($rounding:expr, $M:ident, $then:expr) => {
        match $rounding {
            Rounding::Nearest => {
                const $M: Rounding = Rounding::Nearest;
                $then
            }
            Rounding::Zero => {
                const $M: Rounding = Rounding::Zero;
                $then
            }
            Rounding::Down => {
                const $M: Rounding = Rounding::Down;
                $then
            }
            Rounding::Up => {
                const $M: Rounding = Rounding::Up;
                $then
            }
        }
    };
}

macro_rules! each_integer {
    ($ty:expr, $T:ident, $then:expr) => {
        match $ty {
            Type::U8 => {
                type $T = u8;
                $then
            }
            Type::S8 => {
                type $T = i8;
                $then
            }
            Type::U16 => {
                type $T = u16;
                $then
            }
            Type::S16 => {
                type $T = i16;
                $then
            }
            Type::U32 => {
                type $T = u32;
                $then
            }
            Type::S32 => {
                type $T = i32;
                $then
            }
            Type::U64 => {
                type $T = u64;
                $then
            }
            Type::S64 => {
                type $T = i64;
                $then
            }
            _ => return None,
        }
    };
}

pub(super) fn alu(op: &Opcode<'_>) -> Option<Alu> {
    if op.has("pack") {
        return pairs::pack(op);
    }
    let eight_bits = ["e4m3x2", "e5m2x2"].into_iter().find(|name| op.has(name));
    if let Some(name) = eight_bits {
        return convert_f8::alu(op, name);
    }
    let mode = op.find(Mode::parse);
    let ftz = op.has("ftz");
    let sat = op.has("sat");
    let relu = op.has("relu");
    if op.has("tf32") {
        let known = op.ty()? == Type::F32 && !sat;
        return if known { tf32(mode, relu) } else { None };
    }
    let to = op.ty()?;
    let from = op.ty()?;
    if relu && !matches!(to, Type::F16 | Type::Bf16 | Type::F16x2 | Type::Bf16x2) {
        return None;
    }
    match (is_integer(to), is_integer(from)) {
        (true, true) => integers(to, from, sat),
        (false, true) => from_integer(to, from, mode, sat),
        (true, false) => to_integer(to, from, mode, ftz),
        (false, false) => floats(to, from, mode, ftz, sat, relu),
    }
}

fn is_integer(ty: Type) -> bool {
    !matches!(
        ty,
        Type::F16 | Type::Bf16 | Type::F16x2 | Type::Bf16x2 | Type::F32 | Type::F64 | Type::Pred
    )
}

fn integers(to: Type, from: Type, sat: bool) -> Option<Alu> {
    if sat {
        return Some(widen(from)?.then(Some(clamp(to, from.is_signed())?)));
    }
    // The source is extended as its own type, then cut.
    let steps = [extend(from), resize(to, from), cut(to)];
    let mut steps = steps.into_iter().flatten();
    let first = steps.next().unwrap_or_else(|| match to.bytes() {
        8 => lanes!(|x: u64| -> u64 { x }),
        _ => lanes!(|x: u32| -> u32 { x }),
    });
    Some(steps.fold(first, |all, step| all.then(Some(step))))
}

/// A short integer in 32 bits.
fn extend(from: Type) -> Option<Alu> {
    Some(match from {
        Type::U8 => lanes!(|x: u8| -> u32 { x.into() }),
        Type::S8 => lanes!(|x: i8| -> i32 { x.into() }),
        Type::U16 => lanes!(|x: u16| -> u32 { x.into() }),
        Type::S16 => lanes!(|x: i16| -> i32 { x.into() }),
        _ => return None,
    })
}

/// 32 bits from 64, or the reverse.
fn resize(to: Type, from: Type) -> Option<Alu> {
    match (to.bytes() == 8, from.bytes() == 8) {
        (true, false) if from.is_signed() => Some(lanes!(|x: i32| -> i64 { x.into() })),
        (true, false) => Some(lanes!(|x: u32| -> u64 { x.into() })),
        (false, true) => Some(lanes!(|x: u64| -> u32 { x as u32 })),
        _ => None,
    }
}

/// 32 bits cut to a short integer.
fn cut(to: Type) -> Option<Alu> {
    Some(match to {
        Type::U8 => lanes!(|x: u32| -> u8 { x as u8 }),
        Type::S8 => lanes!(|x: u32| -> i8 { x as i8 }),
        Type::U16 => lanes!(|x: u32| -> u16 { x as u16 }),
        Type::S16 => lanes!(|x: u32| -> i16 { x as i16 }),
        _ => return None,
    })
}

/// An integer of any type in 64 bits.
fn widen(from: Type) -> Option<Alu> {
    integers(
        if from.is_signed() {
            Type::S64
        } else {
            Type::U64
        },
        from,
        false,
    )
}

/// 64 bits clamped to a type's range.
fn clamp(to: Type, signed: bool) -> Option<Alu> {
    Some(if signed {
        each_integer!(
            to,
            To,
            lanes!(|x: i64| -> To { i128::from(x).clamp(To::MIN.into(), To::MAX.into()) as To })
        )
    } else {
        each_integer!(
            to,
            To,
            lanes!(|x: u64| -> To { u128::from(x).min(To::MAX as u128) as To })
        )
    })
}

/// Rounds an integer to a single exactly once.
#[inline(always)]
fn integer_to_single(x: i128, mode: Rounding) -> f32 {
    let near = x as f32;
    let back = near as i128;
    match mode {
        Rounding::Zero if back.abs() > x.abs() => f32::from_bits(near.to_bits() - 1),
        Rounding::Down if back > x => near.next_down(),
        Rounding::Up if back < x => near.next_up(),
        _ => near,
    }
}

#[inline(always)]
fn integer_to_double(x: i128, mode: Rounding) -> f64 {
    let near = x as f64;
    let back = near as i128;
    match mode {
        Rounding::Zero if back.abs() > x.abs() => f64::from_bits(near.to_bits() - 1),
        Rounding::Down if back > x => near.next_down(),
        Rounding::Up if back < x => near.next_up(),
        _ => near,
    }
}

/// Conversions of a 64-bit integer.
macro_rules! from_wide {
    ($From:ty, $to:expr, $rounding:expr) => {
        each_mode!($rounding, M, {
            match $to {
                Type::F32 => lanes!(|x: $From| -> f32 { integer_to_single(x.into(), M) }),
                Type::F64 => lanes!(|x: $From| -> f64 { integer_to_double(x.into(), M) }),
                Type::F16 => {
                    lanes!(|x: $From| -> u16 { f64_to_f16(integer_to_odd(x.into()), M) })
                }
                Type::Bf16 => {
                    lanes!(|x: $From| -> u16 { f64_to_bf16(integer_to_odd(x.into()), M) })
                }
                _ => return None,
            }
        })
    };
}

fn from_integer(to: Type, from: Type, mode: Option<Mode>, sat: bool) -> Option<Alu> {
    let rounding = match mode {
        Some(Mode::Float(rounding)) => rounding,
        // A double holds 32-bit integers exactly.
        None if to == Type::F64 && from.bytes() <= 4 => Rounding::Nearest,
        _ => return None,
    };
    if sat && to != Type::F32 {
        return None;
    }
    let alu = match (to, rounding) {
        (Type::F32, Rounding::Nearest) => {
            each_integer!(from, From, lanes!(|x: From| -> f32 { x as f32 }))
        }
        (Type::F64, Rounding::Nearest) => {
            each_integer!(from, From, lanes!(|x: From| -> f64 { x as f64 }))
        }
        _ if from.is_signed() => widen(from)?.then(Some(from_wide!(i64, to, rounding))),
        _ => widen(from)?.then(Some(from_wide!(u64, to, rounding))),
    };
    Some(alu.then(sat.then(saturation)))
}

/// Rounds an integer to a double, to odd.
#[inline(always)]
fn integer_to_odd(x: i128) -> f64 {
    let toward = integer_to_double(x, Rounding::Zero);
    f64::from_bits(toward.to_bits() | u64::from(toward as i128 != x))
}

fn to_integer(to: Type, from: Type, mode: Option<Mode>, ftz: bool) -> Option<Alu> {
    let Some(Mode::Integer(rounding)) = mode else {
        return None;
    };
    // Values beyond the range are clamped, as Rust's casts do. NaN becomes 0, but the number with
    // the highest bit alone if either side has 64 bits.
    let convert = each_mode!(rounding, M, {
        if from == Type::F64 {
            each_integer!(
                to,
                To,
                lanes!(|x: f64| -> To {
                    if x.is_nan() {
                        1 << (To::BITS - 1)
                    } else {
                        integral(x, M) as To
                    }
                })
            )
        } else {
            each_integer!(
                to,
                To,
                lanes!(|x: f32| -> To {
                    let nan = if To::BITS == 64 {
                        1 << (To::BITS - 1)
                    } else {
                        0
                    };
                    if x.is_nan() {
                        nan
                    } else {
                        integral(x.into(), M) as To
                    }
                })
            )
        }
    });
    Some(match from {
        Type::F32 if ftz => single_to_single(None, true, false)?.then(Some(convert)),
        Type::F32 | Type::F64 => convert,
        short => floats(Type::F32, short, None, false, false, false)?.then(Some(convert)),
    })
}

fn floats(
    to: Type,
    from: Type,
    mode: Option<Mode>,
    ftz: bool,
    sat: bool,
    relu: bool,
) -> Option<Alu> {
    match (to, from) {
        (Type::F32, Type::F32) => return single_to_single(mode, ftz, sat),
        (Type::F64, Type::F64) => {
            return match mode {
                Some(Mode::Integer(rounding)) => each_mode!(rounding, M, {
                    Some(lanes!(|x: f64| -> f64 { integral(x, M) }))
                }),
                _ => None,
            };
        }
        _ => {}
    }
    if let (Some(Mode::Integer(rounding)), true) = (mode, to == from) {
        return each_mode!(rounding, M, {
            match to {
                Type::F16 => Some(lanes!(|x: u16| -> u16 {
                    f64_to_f16(integral(f16_to_f32(x).into(), M), M)
                })),
                Type::Bf16 => Some(lanes!(|x: u16| -> u16 {
                    f64_to_bf16(integral(bf16_to_f32(x).into(), M), M)
                })),
                _ => None,
            }
        });
    }
    let rounding = match mode {
        Some(Mode::Float(rounding)) => rounding,
        None => Rounding::Nearest,
        _ => return None,
    };
    if matches!(to, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2) {
        return to_half(to, from, rounding, relu, sat);
    }
    match (to, from) {
        (Type::F32, Type::F64) => each_mode!(rounding, M, {
            let alu = if ftz {
                lanes!(|x: f64| -> f32 {
                    if x.is_nan() {
                        nan_to_f32(x)
                    } else {
                        flush::<true>(narrow(x, M))
                    }
                })
            } else {
                lanes!(|x: f64| -> f32 {
                    if x.is_nan() {
                        nan_to_f32(x)
                    } else {
                        narrow(x, M)
                    }
                })
            };
            Some(alu.then(sat.then(saturation)))
        }),
        (Type::F64, Type::F32) if ftz => Some(lanes!(|x: f32| -> f64 { finish::<true>(x).into() })),
        (Type::F64, Type::F32) => Some(lanes!(|x: f32| -> f64 { x.into() })),
        (Type::F32, Type::F16) => {
            let alu = lanes!(|x: u16| -> f32 { finish::<false>(f16_to_f32(x)) });
            Some(alu.then(sat.then(saturation)))
        }
        (Type::F32, Type::Bf16) => {
            let alu = lanes!(|x: u16| -> f32 { bf16_to_f32(x) });
            Some(alu.then(sat.then(saturation)))
        }
        (Type::F64, Type::F16) => Some(lanes!(|x: u16| -> f64 { f16_to_f32(x).into() })),
        (Type::F64, Type::Bf16) => Some(lanes!(|x: u16| -> f64 { bf16_to_f32(x).into() })),
        _ => None,
    }
}

fn single_to_single(mode: Option<Mode>, ftz: bool, sat: bool) -> Option<Alu> {
    let alu = match mode {
        None if ftz => lanes!(|x: f32| -> f32 { finish::<true>(x) }),
        None => lanes!(|x: f32| -> f32 { x }),
        Some(Mode::Integer(rounding)) => each_mode!(rounding, M, {
            if ftz {
                lanes!(|x: f32| -> f32 {
                    finish::<true>(integral(flush::<true>(x).into(), M) as f32)
                })
            } else {
                lanes!(|x: f32| -> f32 { finish::<false>(integral(x.into(), M) as f32) })
            }
        }),
        _ => return None,
    };
    Some(alu.then(sat.then(saturation)))
}

fn to_half(to: Type, from: Type, rounding: Rounding, relu: bool, sat: bool) -> Option<Alu> {
    // Between the two halves through a single, which holds both.
    if matches!(from, Type::F16 | Type::Bf16) {
        let wide = floats(Type::F32, from, None, false, false, false)?;
        return Some(wide.then(Some(to_half(to, Type::F32, rounding, relu, sat)?)));
    }
    let alu = each_mode!(rounding, M, {
        match (to, from) {
            (Type::F16, Type::F32) => lanes!(|x: f32| -> u16 { f32_to_f16(x, M) }),
            (Type::Bf16, Type::F32) => lanes!(|x: f32| -> u16 { f32_to_bf16(x, M) }),
            (Type::F16, Type::F64) => {
                lanes!(|x: f64| -> u16 {
                    if x.is_nan() {
                        nan_to_f16(x)
                    } else {
                        f64_to_f16(x, M)
                    }
                })
            }
            (Type::Bf16, Type::F64) => lanes!(|x: f64| -> u16 {
                if x.is_nan() {
                    nan_to_bf16(x)
                } else {
                    f64_to_bf16(x, M)
                }
            }),
            // The first operand becomes the high half.
            (Type::F16x2, Type::F32) => lanes!(|high: f32, low: f32| -> u32 {
                u32::from(f32_to_f16(high, M)) << 16 | u32::from(f32_to_f16(low, M))
            }),
            (Type::Bf16x2, Type::F32) => lanes!(|high: f32, low: f32| -> u32 {
                u32::from(f32_to_bf16(high, M)) << 16 | u32::from(f32_to_bf16(low, M))
            }),
            _ => return None,
        }
    });
    let last = match (relu, sat) {
        (true, false) => Some(half::relu(to)?),
        (false, true) => Some(half::saturation(to)?),
        (false, false) => None,
        (true, true) => return None,
    };
    Some(alu.then(last))
}

fn tf32(mode: Option<Mode>, relu: bool) -> Option<Alu> {
    let alu = match mode? {
        Mode::TiesAway if !relu => lanes!(|x: f32| -> u32 { f32_to_tf32_away(x) }),
        Mode::Float(Rounding::Nearest) => {
            lanes!(|x: f32| -> u32 { f32_to_tf32(x, Rounding::Nearest) })
        }
        Mode::Float(Rounding::Zero) => lanes!(|x: f32| -> u32 { f32_to_tf32(x, Rounding::Zero) }),
        _ => return None,
    };
    let positive = || lanes!(|x: f32| -> f32 { if x <= 0.0 { 0.0 } else { x } });
    Some(alu.then(relu.then(positive)))
}
