//! Comparisons (PTX ISA 9.7.6).

use crate::exec::map::{Condition, test};
use crate::exec::ops::half::flushed_f16;
use crate::exec::ops::half_bits::{bf16_to_f32, f16_to_f32};
use crate::exec::ops::rounding::flush;
use crate::ptx::Type;

/// The four tests that all comparisons are made of.
#[derive(Clone, Copy)]
enum Base {
    Equal,
    Less,
    AtMost,
    /// Neither is NaN.
    Numbers,
}

/// A comparison by another name: its operands may change places, its answer may be turned.
#[derive(Clone, Copy)]
struct Form {
    base: Base,
    swapped: bool,
    inverted: bool,
}

fn form(name: &str, float: bool) -> Option<Form> {
    let (base, swapped, inverted) = match name {
        "eq" => (Base::Equal, false, false),
        "lt" | "lo" => (Base::Less, false, false),
        "le" | "ls" => (Base::AtMost, false, false),
        "gt" | "hi" => (Base::Less, true, false),
        "ge" | "hs" => (Base::AtMost, true, false),
        "ne" if !float => (Base::Equal, false, true),
        _ if !float => return None,
        "neu" => (Base::Equal, false, true),
        "ltu" => (Base::AtMost, true, true),
        "leu" => (Base::Less, true, true),
        "gtu" => (Base::AtMost, false, true),
        "geu" => (Base::Less, false, true),
        "num" => (Base::Numbers, false, false),
        "nan" => (Base::Numbers, false, true),
        _ => return None,
    };
    Some(Form {
        base,
        swapped,
        inverted,
    })
}

macro_rules! tests {
    ($base:expr, $T:ty, |$x:ident| $read:expr) => {{
        fn read($x: $T) -> impl PartialOrd {
            $read
        }
        match $base {
            Base::Equal => test!(|a, b: $T| { read(a) == read(b) }),
            Base::Less => test!(|a, b: $T| { read(a) < read(b) }),
            Base::AtMost => test!(|a, b: $T| { read(a) <= read(b) }),
            Base::Numbers => test!(|a, b: $T| { read(a).partial_cmp(&read(b)).is_some() }),
        }
    }};
}

/// Unequal numbers: the one comparison of floats that is none of the four.
macro_rules! unequal {
    ($T:ty, |$x:ident| $read:expr) => {{
        fn read($x: $T) -> impl PartialOrd {
            $read
        }
        test!(|a, b: $T| { read(a) < read(b) || read(a) > read(b) })
    }};
}

/// The condition `name` on operands of type `ty`.
pub(crate) fn condition(name: &str, ty: Type, ftz: bool) -> Option<Condition> {
    let float = matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64);
    if matches!(name, "ne" | "equ") && float {
        let unequal = match ty {
            Type::F32 if ftz => unequal!(f32, |x| flush::<true>(x)),
            Type::F32 => unequal!(f32, |x| x),
            Type::F64 => unequal!(f64, |x| x),
            Type::F16 if ftz => unequal!(u16, |x| flushed_f16(x)),
            Type::F16 => unequal!(u16, |x| f16_to_f32(x)),
            _ => unequal!(u16, |x| bf16_to_f32(x)),
        };
        return Some(Condition {
            inverted: name == "equ",
            ..unequal
        });
    }
    let Form {
        base,
        swapped,
        inverted,
    } = form(name, float)?;
    let condition = match ty {
        Type::F32 if ftz => tests!(base, f32, |x| flush::<true>(x)),
        Type::F32 => tests!(base, f32, |x| x),
        Type::F64 => tests!(base, f64, |x| x),
        Type::F16 if ftz => tests!(base, u16, |x| flushed_f16(x)),
        Type::F16 => tests!(base, u16, |x| f16_to_f32(x)),
        Type::Bf16 => tests!(base, u16, |x| bf16_to_f32(x)),
        Type::S16 => tests!(base, i16, |x| x),
        Type::S32 => tests!(base, i32, |x| x),
        Type::S64 => tests!(base, i64, |x| x),
        Type::U16 | Type::B16 => tests!(base, u16, |x| x),
        Type::U32 | Type::B32 => tests!(base, u32, |x| x),
        Type::U64 | Type::B64 => tests!(base, u64, |x| x),
        _ => return None,
    };
    Some(Condition {
        swapped,
        inverted,
        ..condition
    })
}
