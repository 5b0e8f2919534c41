//! Integer arithmetic (PTX ISA 9.7.1).

use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::ptx::Type;

/// Which part of a product is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    High,
    Low,
    Wide,
}

impl Part {
    pub(crate) fn parse(name: &str) -> Option<Part> {
        Some(match name {
            "hi" => Part::High,
            "lo" => Part::Low,
            "wide" => Part::Wide,
            _ => return None,
        })
    }
}

/// The same function for each integer type of the list.
macro_rules! by_type {
    ($ty:expr, [$($Variant:ident $T:ident),+], $arguments:tt $body:block) => {
        match $ty {
            $(Type::$Variant => Some(by_type!(@ $T, $arguments $body)),)+
            _ => None,
        }
    };
    (@ $T:ident, ($($x:ident),+) $body:block) => {
        lanes!(|$($x: $T),+| -> $T $body)
    };
}

macro_rules! all {
    ($ty:expr, |$($x:ident),+| $body:block) => {
        by_type!($ty, [U16 u16, U32 u32, U64 u64, S16 i16, S32 i32, S64 i64], ($($x),+) $body)
    };
}

macro_rules! signed {
    ($ty:expr, |$($x:ident),+| $body:block) => {
        by_type!($ty, [S16 i16, S32 i32, S64 i64], ($($x),+) $body)
    };
}

pub(super) fn alu(op: &Opcode<'_>, ty: Type, part: Option<Part>) -> Option<Alu> {
    let saturate = op.has("sat");
    if saturate {
        return match (op.stem(), ty) {
            ("add", Type::S32) => Some(lanes!(|a: i32, b: i32| -> i32 { a.saturating_add(b) })),
            ("sub", Type::S32) => Some(lanes!(|a: i32, b: i32| -> i32 { a.saturating_sub(b) })),
            ("mad", Type::S32) if part == Some(Part::High) => {
                Some(lanes!(|a: i32, b: i32, c: i32| -> i32 {
                    high32(a, b).saturating_add(c)
                }))
            }
            _ => None,
        };
    }
    let relu = op.has("relu");
    match op.stem() {
        "min" if relu && ty == Type::S32 => {
            Some(lanes!(|a: i32, b: i32| -> i32 { a.min(b).max(0) }))
        }
        "max" if relu && ty == Type::S32 => {
            Some(lanes!(|a: i32, b: i32| -> i32 { a.max(b).max(0) }))
        }
        _ if relu => None,
        "add" => all!(ty, |a, b| { a.wrapping_add(b) }),
        "sub" => all!(ty, |a, b| { a.wrapping_sub(b) }),
        "mul" => product(ty, part?),
        "mad" => sum(ty, part?),
        "mul24" => product24(ty, part?, false),
        "mad24" => product24(ty, part?, true),
        // Division by zero is unspecified; all ones is what hardware gives.
        "div" => all!(ty, |a, b| { if b == 0 { !0 } else { a.wrapping_div(b) } }),
        "rem" => all!(ty, |a, b| { if b == 0 { !0 } else { a.wrapping_rem(b) } }),
        "abs" => signed!(ty, |a| { a.wrapping_abs() }),
        "neg" => signed!(ty, |a| { a.wrapping_neg() }),
        "min" => all!(ty, |a, b| { a.min(b) }),
        "max" => all!(ty, |a, b| { a.max(b) }),
        "sad" => all!(ty, |a, b, c| {
            c.wrapping_add(a.max(b).wrapping_sub(a.min(b)))
        }),
        _ => None,
    }
}

fn high32(a: i32, b: i32) -> i32 {
    ((i64::from(a) * i64::from(b)) >> 32) as i32
}

fn product(ty: Type, part: Part) -> Option<Alu> {
    match part {
        Part::Low => all!(ty, |a, b| { a.wrapping_mul(b) }),
        Part::High => Some(match ty {
            Type::U16 => {
                lanes!(|a: u16, b: u16| -> u16 { ((u32::from(a) * u32::from(b)) >> 16) as u16 })
            }
            Type::S16 => {
                lanes!(|a: i16, b: i16| -> i16 { ((i32::from(a) * i32::from(b)) >> 16) as i16 })
            }
            Type::U32 => {
                lanes!(|a: u32, b: u32| -> u32 { ((u64::from(a) * u64::from(b)) >> 32) as u32 })
            }
            Type::S32 => lanes!(|a: i32, b: i32| -> i32 { high32(a, b) }),
            Type::U64 => {
                lanes!(|a: u64, b: u64| -> u64 { ((u128::from(a) * u128::from(b)) >> 64) as u64 })
            }
            Type::S64 => {
                lanes!(|a: i64, b: i64| -> i64 { ((i128::from(a) * i128::from(b)) >> 64) as i64 })
            }
            _ => return None,
        }),
        Part::Wide => Some(match ty {
            Type::U16 => lanes!(|a: u16, b: u16| -> u32 { u32::from(a) * u32::from(b) }),
            Type::S16 => lanes!(|a: i16, b: i16| -> i32 { i32::from(a) * i32::from(b) }),
            Type::U32 => lanes!(|a: u32, b: u32| -> u64 { u64::from(a) * u64::from(b) }),
            Type::S32 => lanes!(|a: i32, b: i32| -> i64 { i64::from(a) * i64::from(b) }),
            _ => return None,
        }),
    }
}

fn sum(ty: Type, part: Part) -> Option<Alu> {
    match part {
        Part::Low => all!(ty, |a, b, c| { a.wrapping_mul(b).wrapping_add(c) }),
        Part::High => Some(match ty {
            Type::U32 => lanes!(|a: u32, b: u32, c: u32| -> u32 {
                (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
            }),
            Type::S32 => lanes!(|a: i32, b: i32, c: i32| -> i32 { high32(a, b).wrapping_add(c) }),
            Type::U64 => lanes!(|a: u64, b: u64, c: u64| -> u64 {
                (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c)
            }),
            Type::S64 => lanes!(|a: i64, b: i64, c: i64| -> i64 {
                (((i128::from(a) * i128::from(b)) >> 64) as i64).wrapping_add(c)
            }),
            _ => return None,
        }),
        Part::Wide => Some(match ty {
            Type::U16 => lanes!(|a: u16, b: u16, c: u32| -> u32 {
                (u32::from(a) * u32::from(b)).wrapping_add(c)
            }),
            Type::S16 => lanes!(|a: i16, b: i16, c: i32| -> i32 {
                (i32::from(a) * i32::from(b)).wrapping_add(c)
            }),
            Type::U32 => lanes!(|a: u32, b: u32, c: u64| -> u64 {
                (u64::from(a) * u64::from(b)).wrapping_add(c)
            }),
            Type::S32 => lanes!(|a: i32, b: i32, c: i64| -> i64 {
                (i64::from(a) * i64::from(b)).wrapping_add(c)
            }),
            _ => return None,
        }),
    }
}

/// The low 24 bits of a 32-bit integer.
fn low24(x: u32) -> i64 {
    (x & 0xff_ffff).into()
}

/// The same with the highest of them as the sign.
fn signed24(x: u32) -> i64 {
    ((x << 8) as i32 >> 8).into()
}

/// `mul24` and `mad24`: `.lo` takes the low 32 of the product's 48 bits, `.hi` the high 32.
fn product24(ty: Type, part: Part, addend: bool) -> Option<Alu> {
    macro_rules! product24 {
        ($low:ident, $shift:literal) => {
            if addend {
                lanes!(|a: u32, b: u32, c: u32| -> u32 {
                    ((($low(a) * $low(b)) >> $shift) as u32).wrapping_add(c)
                })
            } else {
                lanes!(|a: u32, b: u32| -> u32 { (($low(a) * $low(b)) >> $shift) as u32 })
            }
        };
    }
    Some(match (ty, part) {
        (Type::U32, Part::Low) => product24!(low24, 0),
        (Type::U32, Part::High) => product24!(low24, 16),
        (Type::S32, Part::Low) => product24!(signed24, 0),
        (Type::S32, Part::High) => product24!(signed24, 16),
        _ => return None,
    })
}

/// `dp4a`: four products of bytes and a sum. The types are those of the two operands.
pub(crate) fn dot4(a: Type, b: Type) -> Option<Alu> {
    Some(match (a, b) {
        (Type::U32, Type::U32) => {
            lanes!(|a: u32, b: u32, c: u32| -> u32 { dot(bytes(a), bytes(b), c) })
        }
        (Type::S32, Type::S32) => {
            lanes!(|a: u32, b: u32, c: u32| -> u32 { dot(signed_bytes(a), signed_bytes(b), c) })
        }
        (Type::U32, Type::S32) => {
            lanes!(|a: u32, b: u32, c: u32| -> u32 { dot(bytes(a), signed_bytes(b), c) })
        }
        (Type::S32, Type::U32) => {
            lanes!(|a: u32, b: u32, c: u32| -> u32 { dot(signed_bytes(a), bytes(b), c) })
        }
        _ => return None,
    })
}

/// `dp2a`: the halves of `a` with two bytes of `b`, the upper ones if `high`, and a sum.
pub(crate) fn dot2(a: Type, b: Type, high: bool) -> Option<Alu> {
    macro_rules! dot2 {
        ($halves:ident, $bytes:ident) => {
            if high {
                lanes!(|a: u32, b: u32, c: u32| -> u32 {
                    let [_, _, x, y] = $bytes(b);
                    dot($halves(a), [x, y], c)
                })
            } else {
                lanes!(|a: u32, b: u32, c: u32| -> u32 {
                    let [x, y, _, _] = $bytes(b);
                    dot($halves(a), [x, y], c)
                })
            }
        };
    }
    Some(match (a, b) {
        (Type::U32, Type::U32) => dot2!(halves, bytes),
        (Type::U32, Type::S32) => dot2!(halves, signed_bytes),
        (Type::S32, Type::U32) => dot2!(signed_halves, bytes),
        (Type::S32, Type::S32) => dot2!(signed_halves, signed_bytes),
        _ => return None,
    })
}

fn halves(x: u32) -> [i32; 2] {
    [x & 0xffff, x >> 16].map(|half| half as i32)
}

fn signed_halves(x: u32) -> [i32; 2] {
    [x as i16, (x >> 16) as i16].map(i32::from)
}

fn bytes(x: u32) -> [i32; 4] {
    x.to_le_bytes().map(i32::from)
}

fn signed_bytes(x: u32) -> [i32; 4] {
    x.to_le_bytes().map(|byte| i32::from(byte as i8))
}

fn dot<const N: usize>(a: [i32; N], b: [i32; N], c: u32) -> u32 {
    let products = a.iter().zip(b).map(|(a, b)| a * b);
    products.fold(c, |sum, product| sum.wrapping_add(product as u32))
}
