//! Logic, shifts and bit fields (PTX ISA 9.7.1, 9.7.8).

use crate::code::Opcode;
use crate::exec::map::{Alu, lanes};
use crate::ptx::Type;

macro_rules! bitwise {
    ($ty:expr, |$($x:ident),+| $body:block) => {
        match $ty.bytes() {
            2 => lanes!(|$($x: u16),+| -> u16 $body),
            4 => lanes!(|$($x: u32),+| -> u32 $body),
            8 => lanes!(|$($x: u64),+| -> u64 $body),
            _ => return None,
        }
    };
}

pub(super) fn alu(op: &Opcode<'_>) -> Option<Alu> {
    let stem = op.stem();
    match stem {
        "shf" => return funnel(op),
        "szext" => return extend(op),
        "bmsk" => return mask(op),
        _ => {}
    }
    let shift_amount = op.has("shiftamt");
    let ty = op.ty()?;
    Some(match stem {
        "and" => bitwise!(ty, |a, b| { a & b }),
        "or" => bitwise!(ty, |a, b| { a | b }),
        "xor" => bitwise!(ty, |a, b| { a ^ b }),
        "not" => bitwise!(ty, |a| { !a }),
        "cnot" => bitwise!(ty, |a| { (a == 0).into() }),
        "shl" => match ty.bytes() {
            2 => lanes!(|a: u16, n: u32| -> u16 { if n > 15 { 0 } else { a << n } }),
            4 => lanes!(|a: u32, n: u32| -> u32 { if n > 31 { 0 } else { a << n } }),
            8 => lanes!(|a: u64, n: u32| -> u64 { if n > 63 { 0 } else { a << n } }),
            _ => return None,
        },
        "shr" => match ty {
            Type::S16 => lanes!(|a: i16, n: u32| -> i16 { a >> n.min(15) }),
            Type::S32 => lanes!(|a: i32, n: u32| -> i32 { a >> n.min(31) }),
            Type::S64 => lanes!(|a: i64, n: u32| -> i64 { a >> n.min(63) }),
            _ => match ty.bytes() {
                2 => lanes!(|a: u16, n: u32| -> u16 { if n > 15 { 0 } else { a >> n } }),
                4 => lanes!(|a: u32, n: u32| -> u32 { if n > 31 { 0 } else { a >> n } }),
                8 => lanes!(|a: u64, n: u32| -> u64 { if n > 63 { 0 } else { a >> n } }),
                _ => return None,
            },
        },
        "popc" => match ty {
            Type::B32 => lanes!(|a: u32| -> u32 { a.count_ones() }),
            Type::B64 => lanes!(|a: u64| -> u32 { a.count_ones() }),
            _ => return None,
        },
        "clz" => match ty {
            Type::B32 => lanes!(|a: u32| -> u32 { a.leading_zeros() }),
            Type::B64 => lanes!(|a: u64| -> u32 { a.leading_zeros() }),
            _ => return None,
        },
        "brev" => match ty {
            Type::B32 => lanes!(|a: u32| -> u32 { a.reverse_bits() }),
            Type::B64 => lanes!(|a: u64| -> u64 { a.reverse_bits() }),
            _ => return None,
        },
        "bfind" => match (ty, shift_amount) {
            (Type::U32, false) => lanes!(|a: u32| -> u32 { highest(a.into(), 31) }),
            (Type::U32, true) => lanes!(|a: u32| -> u32 { distance(highest(a.into(), 31), 31) }),
            (Type::S32, false) => lanes!(|a: i32| -> u32 { highest(differing32(a), 31) }),
            (Type::S32, true) => {
                lanes!(|a: i32| -> u32 { distance(highest(differing32(a), 31), 31) })
            }
            (Type::U64, false) => lanes!(|a: u64| -> u32 { highest(a, 63) }),
            (Type::U64, true) => lanes!(|a: u64| -> u32 { distance(highest(a, 63), 63) }),
            (Type::S64, false) => lanes!(|a: i64| -> u32 { highest((a ^ (a >> 63)) as u64, 63) }),
            (Type::S64, true) => {
                lanes!(|a: i64| -> u32 { distance(highest((a ^ (a >> 63)) as u64, 63), 63) })
            }
            _ => return None,
        },
        "fns" if ty == Type::B32 => {
            lanes!(|mask: u32, base: u32, nth: i32| -> u32 { find_nth(mask, base, nth) })
        }
        "bfe" => match ty {
            Type::U32 => lanes!(|a: u32, at: u32, n: u32| -> u32 { field(a.into(), at, n) as u32 }),
            Type::U64 => lanes!(|a: u64, at: u32, n: u32| -> u64 { field(a, at, n) }),
            Type::S32 => lanes!(|a: i32, at: u32, n: u32| -> i32 {
                signed_field(a.into(), at, n, 31) as i32
            }),
            Type::S64 => lanes!(|a: i64, at: u32, n: u32| -> i64 { signed_field(a, at, n, 63) }),
            _ => return None,
        },
        _ => return None,
    })
}

/// Bits of `a` that differ from its sign.
fn differing32(a: i32) -> u64 {
    u64::from((a ^ (a >> 31)) as u32)
}

/// Place of the highest bit set, or all ones.
fn highest(a: u64, top: u32) -> u32 {
    if a == 0 {
        u32::MAX
    } else {
        top.wrapping_sub(a.leading_zeros().wrapping_sub(63 - top))
    }
}

/// How far to shift left to bring the bit at `place` to the top.
fn distance(place: u32, top: u32) -> u32 {
    if place == u32::MAX {
        place
    } else {
        top - place
    }
}

/// Bits `at..at + n` of `a`; only the low bytes of both count.
fn field(a: u64, at: u32, n: u32) -> u64 {
    let (at, n) = (at & 255, n & 255);
    let shifted = if at > 63 { 0 } else { a >> at };
    if n > 63 {
        shifted
    } else {
        shifted & ((1 << n) - 1)
    }
}

/// The same with the sign kept, where bits above `top` read as copies of bit `top`.
fn signed_field(a: i64, at: u32, n: u32, top: u32) -> i64 {
    let (at, n) = (at & 255, n & 255);
    if n == 0 {
        return 0;
    }
    let sign = (at + n - 1).min(top);
    let bit = a >> sign & 1;
    let body = field(a as u64, at, n.min((top + 1).saturating_sub(at)));
    let kept = n.min((top + 1).saturating_sub(at));
    let fill = if kept > 63 { 0 } else { !0u64 << kept };
    (body | if bit == 1 { fill } else { 0 }) as i64
}

/// `bfi`: the low `n` bits of `a` put into `b` at `at`.
pub(crate) fn insert(ty: Type) -> Option<[Alu; 2]> {
    // Done in two steps, since it has four operands: see `families`.
    Some(match ty {
        Type::B32 => [
            lanes!(|at: u32, n: u32| -> u32 { field_mask(at, n) as u32 }),
            lanes!(|a: u32, at: u32| -> u32 { if at & 255 > 31 { 0 } else { a << (at & 255) } }),
        ],
        Type::B64 => [
            lanes!(|at: u32, n: u32| -> u64 { field_mask(at, n) }),
            lanes!(|a: u64, at: u32| -> u64 { if at & 255 > 63 { 0 } else { a << (at & 255) } }),
        ],
        _ => return None,
    })
}

fn field_mask(at: u32, n: u32) -> u64 {
    let (at, n) = (at & 255, n & 255);
    let low = if n > 63 { u64::MAX } else { (1 << n) - 1 };
    if at > 63 { 0 } else { low << at }
}

/// Bits of `a` where `mask` has ones, else bits of `b`.
pub(crate) fn blend(ty: Type) -> Option<Alu> {
    Some(match ty {
        Type::B32 => lanes!(|mask: u32, a: u32, b: u32| -> u32 { a & mask | b & !mask }),
        Type::B64 => lanes!(|mask: u64, a: u64, b: u64| -> u64 { a & mask | b & !mask }),
        _ => return None,
    })
}

/// Whether a count of bits wraps around at 32 or is clamped there.
fn wraps(op: &Opcode<'_>) -> Option<bool> {
    op.find(|part| match part {
        "wrap" => Some(true),
        "clamp" => Some(false),
        _ => None,
    })
}

/// `szext`: the low `n` bits, extended.
fn extend(op: &Opcode<'_>) -> Option<Alu> {
    Some(match (wraps(op)?, op.ty()?) {
        (true, Type::U32) => lanes!(|a: u32, n: u32| -> u32 { field(a.into(), 0, n & 31) as u32 }),
        (false, Type::U32) => {
            lanes!(|a: u32, n: u32| -> u32 { field(a.into(), 0, n.min(32)) as u32 })
        }
        (true, Type::S32) => {
            lanes!(|a: i32, n: u32| -> i32 { signed_field(a.into(), 0, n & 31, 31) as i32 })
        }
        (false, Type::S32) => {
            lanes!(|a: i32, n: u32| -> i32 { signed_field(a.into(), 0, n.min(32), 31) as i32 })
        }
        _ => return None,
    })
}

/// `bmsk`: `n` ones from bit `at` on.
fn mask(op: &Opcode<'_>) -> Option<Alu> {
    Some(match (wraps(op)?, op.ty()?) {
        (true, Type::B32) => {
            lanes!(|at: u32, n: u32| -> u32 { field_mask(at & 31, n & 31) as u32 })
        }
        (false, Type::B32) => {
            lanes!(|at: u32, n: u32| -> u32 { field_mask(at.min(32), n.min(32)) as u32 })
        }
        _ => return None,
    })
}

/// The place of the `nth` set bit of `mask` from `base` on, upwards or, if negative, downwards;
/// of `base` itself if it is 0. All ones if there is none.
fn find_nth(mask: u32, base: u32, nth: i32) -> u32 {
    let counted = match nth {
        _ if base > 31 => 0,
        0 => mask & 1 << base,
        1.. => mask & u32::MAX << base,
        _ => mask & u32::MAX >> (31 - base),
    };
    let skipped = nth.unsigned_abs().saturating_sub(1);
    if skipped >= counted.count_ones() {
        return u32::MAX;
    }
    let upwards = if nth < 0 {
        counted.reverse_bits()
    } else {
        counted
    };
    let rest = (0..skipped).fold(upwards, |bits, _| bits & (bits - 1));
    let place = rest.trailing_zeros();
    if nth < 0 { 31 - place } else { place }
}

fn funnel(op: &Opcode<'_>) -> Option<Alu> {
    let left = op.find(|part| match part {
        "l" => Some(true),
        "r" => Some(false),
        _ => None,
    })?;
    let wrap = wraps(op)?;
    if op.ty()? != Type::B32 {
        return None;
    }
    Some(match (left, wrap) {
        (true, true) => lanes!(|low: u32, high: u32, n: u32| -> u32 {
            (pair(low, high) << (n & 31) >> 32) as u32
        }),
        (true, false) => lanes!(|low: u32, high: u32, n: u32| -> u32 {
            (pair(low, high) << n.min(32) >> 32) as u32
        }),
        (false, true) => {
            lanes!(|low: u32, high: u32, n: u32| -> u32 { (pair(low, high) >> (n & 31)) as u32 })
        }
        (false, false) => {
            lanes!(|low: u32, high: u32, n: u32| -> u32 { (pair(low, high) >> n.min(32)) as u32 })
        }
    })
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// `prmt`, whose mode is `mode`; none is the plain selection of bytes.
pub(crate) fn permute(mode: Option<&str>) -> Option<Alu> {
    Some(match mode {
        None => lanes!(|a: u32, b: u32, s: u32| -> u32 {
            let bytes = pair(a, b);
            let mut out = 0;
            for i in 0..4 {
                let choice = s >> (4 * i) & 15;
                let byte = (bytes >> (8 * (choice & 7))) as u32 & 255;
                let byte = if choice & 8 != 0 {
                    (byte >> 7) * 255
                } else {
                    byte
                };
                out |= byte << (8 * i);
            }
            out
        }),
        Some("f4e") => {
            lanes!(|a: u32, b: u32, s: u32| -> u32 { (pair(a, b) >> (8 * (s & 3))) as u32 })
        }
        Some("b4e") => lanes!(|a: u32, b: u32, s: u32| -> u32 {
            let bytes = pair(a, b).rotate_left(8 * 3).rotate_right(8 * (s & 3));
            (bytes as u32).swap_bytes()
        }),
        Some("ecl") => {
            lanes!(|a: u32, _b: u32, s: u32| -> u32 { bytes_by(a, |byte| byte.max(s & 3)) })
        }
        Some("ecr") => {
            lanes!(|a: u32, _b: u32, s: u32| -> u32 { bytes_by(a, |byte| byte.min(s & 3)) })
        }
        Some("rc8") => {
            lanes!(|a: u32, _b: u32, s: u32| -> u32 { (a >> (8 * (s & 3)) & 255) * 0x0101_0101 })
        }
        Some("rc16") => lanes!(|a: u32, _b: u32, s: u32| -> u32 {
            (a >> (16 * (s & 1)) & 0xffff) * 0x0001_0001
        }),
        _ => return None,
    })
}

/// The bytes of `a` that `pick` names for each place.
fn bytes_by(a: u32, pick: impl Fn(u32) -> u32) -> u32 {
    let bytes = [0, 1, 2, 3].map(|place| (a >> (8 * pick(place))) as u8);
    u32::from_le_bytes(bytes)
}

/// `lop3` with the table in `table`: the result's bit for each combination of three bits.
pub(crate) fn lop3(table: u32, a: u32, b: u32, c: u32) -> u32 {
    let mut out = 0;
    for row in 0..8 {
        let pick = |x: u32, bit: u32| if row & bit != 0 { x } else { !x };
        let chosen = if table >> row & 1 != 0 { u32::MAX } else { 0 };
        out |= pick(a, 4) & pick(b, 2) & pick(c, 1) & chosen;
    }
    out
}
