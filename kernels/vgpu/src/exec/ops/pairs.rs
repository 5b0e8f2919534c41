//! Integers of 16 and 8 bits packed in a register (PTX ISA 9.7.1, 9.7.9.22).

use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::ptx::Type;

/// Whether a type of pairs is signed.
pub(super) fn signed(name: &str) -> Option<bool> {
    match name {
        "u16x2" => Some(false),
        "s16x2" => Some(true),
        _ => None,
    }
}

macro_rules! each {
    ($T:ty, |$a:ident, $b:ident| $body:expr) => {
        lanes!(|a: u32, b: u32| -> u32 {
            let part = |shift: u32| {
                let ($a, $b) = ((a >> shift) as $T, (b >> shift) as $T);
                u32::from($body as u16)
            };
            part(16) << 16 | part(0)
        })
    };
}

pub(super) fn alu(op: &Opcode<'_>, signed: bool) -> Option<Alu> {
    let relu = op.has("relu");
    Some(match (op.stem(), signed, relu) {
        ("add", _, false) => each!(u16, |a, b| a.wrapping_add(b)),
        ("min", false, false) => each!(u16, |a, b| a.min(b)),
        ("max", false, false) => each!(u16, |a, b| a.max(b)),
        ("min", true, false) => each!(i16, |a, b| a.min(b)),
        ("max", true, false) => each!(i16, |a, b| a.max(b)),
        ("min", true, true) => each!(i16, |a, b| a.min(b).max(0)),
        ("max", true, true) => each!(i16, |a, b| a.max(b).max(0)),
        _ => return None,
    })
}

/// `cvt.pack`: two integers clamped to a shorter type, side by side, the second one lowest; bytes
/// push the lower half of the third operand up.
pub(super) fn pack(op: &Opcode<'_>) -> Option<Alu> {
    macro_rules! clamp {
        ($T:ty, $U:ty, $x:ident) => {
            u32::from($x.clamp(<$T>::MIN.into(), <$T>::MAX.into()) as $U)
        };
    }
    macro_rules! halves {
        ($T:ty) => {
            lanes!(|high: i32, low: i32| -> u32 {
                let [high, low] = [high, low].map(|x| clamp!($T, u16, x));
                high << 16 | low
            })
        };
    }
    macro_rules! bytes {
        ($T:ty) => {
            lanes!(|high: i32, low: i32, rest: u32| -> u32 {
                let [high, low] = [high, low].map(|x| clamp!($T, u8, x));
                rest << 16 | high << 8 | low
            })
        };
    }
    if !op.has("sat") {
        return None;
    }
    let (to, from) = (op.ty()?, op.ty()?);
    let has_rest = op.ty() == Some(Type::B32);
    if from != Type::S32 || has_rest != (to.bytes() == 1) {
        return None;
    }
    Some(match to {
        Type::U16 => halves!(u16),
        Type::S16 => halves!(i16),
        Type::U8 => bytes!(u8),
        Type::S8 => bytes!(i8),
        _ => return None,
    })
}
