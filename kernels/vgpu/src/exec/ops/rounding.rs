//! Exact results rounded once, in any direction.
//!
//! A result is first brought into a double "rounded to odd": if it is not exact, the double with an
//! odd last bit on the right side stands for it. A second rounding to fewer bits (two less
//! suffice) is then right in every mode (Boldo and Melquiond, 2008).

/// A rounding mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// `.rn`: to the nearest, ties to even.
    Nearest,
    /// `.rz`: toward zero.
    Zero,
    /// `.rm`: down.
    Down,
    /// `.rp`: up.
    Up,
}

impl Rounding {
    pub(crate) fn parse(name: &str) -> Option<Rounding> {
        Some(match name {
            "rn" => Rounding::Nearest,
            "rz" => Rounding::Zero,
            "rm" => Rounding::Down,
            "rp" => Rounding::Up,
            _ => return None,
        })
    }
}

/// The NaN that single-precision instructions give.
pub(crate) const NAN: u32 = 0x7fff_ffff;

/// Subnormal singles become zeros of their sign if `FTZ`.
#[inline(always)]
pub(crate) fn flush<const FTZ: bool>(x: f32) -> f32 {
    let bits = x.to_bits();
    let tiny = bits & 0x7f80_0000 == 0;
    f32::from_bits(if FTZ && tiny {
        bits & 0x8000_0000
    } else {
        bits
    })
}

/// A result as instructions write it: one NaN, flushed if asked.
#[inline(always)]
pub(crate) fn finish<const FTZ: bool>(x: f32) -> f32 {
    let x = flush::<FTZ>(x);
    f32::from_bits(if x.is_nan() { NAN } else { x.to_bits() })
}

/// The square root. Its NaN is found by its bits: behind a root, optimised builds drop
/// [`finish`]'s choice between one NaN and another.
#[inline(always)]
pub(crate) fn root(x: f32) -> f32 {
    let bits = x.sqrt().to_bits();
    let nan = bits & 0x7fff_ffff > 0x7f80_0000;
    f32::from_bits(if nan { NAN } else { bits })
}

/// `x` clamped to 0..1, where NaN becomes +0.
#[inline(always)]
pub(crate) fn saturate(x: f32) -> f32 {
    let low = if x > 0.0 { x } else { 0.0 };
    if low > 1.0 { 1.0 } else { low }
}

/// `x`, moved to the neighbour toward `error` if that is not zero and `x` is even.
#[inline(always)]
fn to_odd(x: f64, error: f64) -> f64 {
    let bits = x.to_bits();
    let even = bits & 1 == 0;
    let away = (error > 0.0) == (x > 0.0);
    let moved = if away {
        bits.wrapping_add(1)
    } else {
        bits.wrapping_sub(1)
    };
    let inexact = error != 0.0 && error.is_finite() && x.is_finite();
    f64::from_bits(if inexact && even { moved } else { bits })
}

/// `a + b` and what rounding to nearest left out.
#[inline(always)]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// `a + b`, rounded to odd. Exact zeros have the sign of rounding to nearest.
#[inline(always)]
pub(crate) fn sum_to_odd(a: f64, b: f64) -> f64 {
    let (sum, error) = two_sum(a, b);
    to_odd(sum, error)
}

/// `a / b` of two singles, rounded to odd.
#[inline(always)]
pub(crate) fn quotient_to_odd(a: f32, b: f32) -> f64 {
    let (a, b) = (f64::from(a), f64::from(b));
    let quotient = a / b;
    let rest = (-quotient).mul_add(b, a);
    to_odd(quotient, if b < 0.0 { -rest } else { rest })
}

/// The square root of a single, rounded to odd.
#[inline(always)]
pub(crate) fn root_to_odd(x: f32) -> f64 {
    let x = f64::from(x);
    let root = x.sqrt();
    to_odd(root, (-root).mul_add(root, x))
}

/// Rounds to a single.
#[inline(always)]
pub(crate) fn narrow(x: f64, rounding: Rounding) -> f32 {
    let near = x as f32;
    let back = f64::from(near);
    match rounding {
        Rounding::Nearest => near,
        Rounding::Zero if back.abs() > x.abs() => f32::from_bits(near.to_bits() - 1),
        Rounding::Down if back > x => near.next_down(),
        Rounding::Up if back < x => near.next_up(),
        _ => near,
    }
}

/// Rounds to a single with zero in the place of subnormals: of what would be, rounded to 24 bits
/// with no end to its exponent.
#[inline(always)]
pub(crate) fn narrow_flushed(x: f64, rounding: Rounding) -> f32 {
    // 2^64: far enough from the subnormals.
    const AWAY: f32 = f32::from_bits((127 + 64) << 23);
    let scaled = narrow(x * f64::from(AWAY), rounding);
    if scaled.abs() < f32::MIN_POSITIVE * AWAY {
        0f32.copysign(scaled)
    } else {
        narrow(x, rounding)
    }
}

/// Rounds to a single, to odd.
#[inline(always)]
pub(crate) fn narrow_to_odd(x: f64) -> f32 {
    let toward = narrow(x, Rounding::Zero);
    let inexact = f64::from(toward) != x && !x.is_nan() && toward.is_finite();
    f32::from_bits(toward.to_bits() | u32::from(inexact))
}

/// A sum with the sign that zero has in this mode.
#[inline(always)]
pub(crate) fn signed_zero(sum: f64, a: f64, b: f64, rounding: Rounding) -> f64 {
    let cancelled = sum == 0.0 && (a.is_sign_negative() != b.is_sign_negative());
    if cancelled && rounding == Rounding::Down {
        -0.0
    } else {
        sum
    }
}

/// Rounds to an integer in the given direction.
#[inline(always)]
pub(crate) fn integral(x: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => x.round_ties_even(),
        Rounding::Zero => x.trunc(),
        Rounding::Down => x.floor(),
        Rounding::Up => x.ceil(),
    }
}
