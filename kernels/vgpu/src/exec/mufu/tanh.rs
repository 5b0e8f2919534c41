//! The hyperbolic tangent, whose segments differ in width: each binade has its own.

use super::{BIAS, finish, low17, scale, split, tables, truncate};

/// The exponent of the least numbers with a segment. Below 2^-8 the unit gives its input.
const LOWEST: i32 = -8;

/// Of each binade from 2^-8 on, up to 8, its first segment and how many low bits of the fraction
/// the unit does not look at. From 8 on it gives 1.
const BINADES: [(u32, u32); 11] = [
    (0, 6),
    (1, 6),
    (2, 6),
    (3, 5),
    (5, 5),
    (7, 4),
    (11, 4),
    (15, 4),
    (19, 3),
    (27, 2),
    (43, 3),
];

/// `tanh.approx.f32`, `MUFU.TANH`: cut after 39 binary places and then to 24 bits. It does not
/// flush.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let (exponent, fraction) = split(x.to_bits());
    let binade = usize::try_from(exponent - BIAS - LOWEST);
    let Some(&(first, unseen)) = binade.ok().and_then(|binade| BINADES.get(binade)) else {
        let large = x.abs() >= 8.0;
        return finish::<false>(if large { 1f32.copysign(x) } else { x });
    };
    let seen = fraction >> unseen;
    let offset = low17(seen);
    let sum = tables::TANH.at(first + (seen >> 17), offset, offset, 15, 0);
    truncate(sum as f64 * scale(39)).copysign(x)
}
