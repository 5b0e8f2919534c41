//! Doubles computed exactly, in integers, and rounded once in any direction.

use super::rounding::Rounding;

/// Fraction bits of a double, and the exponent of the lowest bit of its subnormals.
const FRACTION: i32 = 52;
const LOWEST: i32 = -1074;

/// `significand` times 2^`exponent`. A set lowest bit may stand for all bits that were dropped
/// below it: there are always enough others above.
#[derive(Clone, Copy)]
struct Exact {
    negative: bool,
    significand: u128,
    exponent: i32,
}

/// `x` shifted right, where what falls out sets the lowest bit.
fn shift_right(x: u128, by: u32) -> u128 {
    let kept = x.unbounded_shr(by);
    kept | u128::from(kept.unbounded_shl(by) != x)
}

impl Exact {
    fn new(x: f64) -> Exact {
        let bits = x.to_bits();
        let field = (bits >> FRACTION & 0x7ff) as i32;
        let fraction = bits & ((1 << FRACTION) - 1);
        Exact {
            negative: x.is_sign_negative(),
            significand: u128::from(fraction | u64::from(field > 0) << FRACTION),
            exponent: field.max(1) - 1 + LOWEST,
        }
    }

    /// The same value, not zero, with its highest bit at `top`.
    fn raised(self, top: u32) -> Exact {
        let by = self.significand.leading_zeros() as i32 - (127 - top as i32);
        Exact {
            significand: self.significand << by,
            exponent: self.exponent - by,
            ..self
        }
    }

    fn product(self, other: Exact) -> Exact {
        Exact {
            negative: self.negative != other.negative,
            significand: self.significand * other.significand,
            exponent: self.exponent + other.exponent,
        }
    }

    /// The sum; `mode` gives a zero of opposite terms its sign.
    fn sum(self, other: Exact, mode: Rounding) -> Exact {
        if self.significand == 0 && other.significand == 0 {
            let same = self.negative == other.negative;
            return Exact {
                negative: if same {
                    self.negative
                } else {
                    mode == Rounding::Down
                },
                ..self
            };
        }
        if self.significand == 0 || other.significand == 0 {
            return if self.significand == 0 { other } else { self };
        }
        // Terms have at most 106 bits. Where some fall out below 125, the other term is twice as
        // large at least, and the difference keeps its upper bits.
        let (a, b) = (self.raised(124), other.raised(124));
        let (large, small) = if (a.exponent, a.significand) < (b.exponent, b.significand) {
            (b, a)
        } else {
            (a, b)
        };
        let aligned = shift_right(small.significand, large.exponent.abs_diff(small.exponent));
        let significand = if large.negative == small.negative {
            large.significand + aligned
        } else {
            large.significand - aligned
        };
        Exact {
            negative: if significand == 0 {
                mode == Rounding::Down
            } else {
                large.negative
            },
            significand,
            exponent: large.exponent,
        }
    }

    fn round(self, mode: Rounding) -> f64 {
        if self.significand == 0 {
            return if self.negative { -0.0 } else { 0.0 };
        }
        let top = 127 - self.significand.leading_zeros() as i32;
        // The exponent of the result's lowest bit.
        let lowest = (self.exponent + top - FRACTION).max(LOWEST);
        let dropped = lowest - self.exponent;
        let (kept, inexact, half) = if dropped <= 0 {
            (self.significand << -dropped, false, None)
        } else {
            let kept = self.significand.unbounded_shr(dropped as u32);
            let rest = self.significand ^ kept.unbounded_shl(dropped as u32);
            let half = 1u128.unbounded_shl(dropped as u32 - 1);
            // Beyond 128 bits the rest is below a half.
            let order = if half == 0 {
                None
            } else {
                Some(rest.cmp(&half))
            };
            (kept, rest != 0, order)
        };
        let away = match mode {
            Rounding::Nearest => match half {
                Some(order) => {
                    order.then(if kept & 1 == 1 {
                        std::cmp::Ordering::Greater
                    } else {
                        std::cmp::Ordering::Less
                    }) == std::cmp::Ordering::Greater
                }
                None => false,
            },
            Rounding::Zero => false,
            Rounding::Down => self.negative && inexact,
            Rounding::Up => !self.negative && inexact,
        };
        // The hidden bit raises the exponent by one, and so does a carry out of the fraction.
        let body = ((lowest - LOWEST) as u64) << FRACTION;
        let body = body + kept as u64 + u64::from(away);
        let infinity = f64::INFINITY.to_bits();
        let body = if body < infinity {
            body
        } else {
            match mode {
                Rounding::Nearest => infinity,
                Rounding::Down if self.negative => infinity,
                Rounding::Up if !self.negative => infinity,
                _ => f64::MAX.to_bits(),
            }
        };
        f64::from_bits(u64::from(self.negative) << 63 | body)
    }
}

/// `a + b` of finite numbers.
pub(crate) fn add(a: f64, b: f64, mode: Rounding) -> f64 {
    Exact::new(a).sum(Exact::new(b), mode).round(mode)
}

/// `a b` of finite numbers.
pub(crate) fn mul(a: f64, b: f64, mode: Rounding) -> f64 {
    Exact::new(a).product(Exact::new(b)).round(mode)
}

/// `a b + c` of finite numbers.
pub(crate) fn fma(a: f64, b: f64, c: f64, mode: Rounding) -> f64 {
    let product = Exact::new(a).product(Exact::new(b));
    product.sum(Exact::new(c), mode).round(mode)
}

/// `a / b` of finite numbers that are not zero.
pub(crate) fn div(a: f64, b: f64, mode: Rounding) -> f64 {
    let (a, b) = (Exact::new(a).raised(126), Exact::new(b).raised(52));
    let quotient = a.significand / b.significand;
    let exact = quotient * b.significand == a.significand;
    let result = Exact {
        negative: a.negative != b.negative,
        significand: quotient | u128::from(!exact),
        exponent: a.exponent - b.exponent,
    };
    result.round(mode)
}

/// The square root of a finite number above zero.
pub(crate) fn sqrt(x: f64, mode: Rounding) -> f64 {
    let mut x = Exact::new(x).raised(125);
    if x.exponent & 1 != 0 {
        x = x.raised(126);
    }
    let root = x.significand.isqrt();
    let exact = root * root == x.significand;
    let result = Exact {
        negative: false,
        significand: root | u128::from(!exact),
        exponent: x.exponent / 2,
    };
    result.round(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles of all exponents, few bits and many.
    fn doubles() -> Vec<f64> {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state ^ state >> 29
        };
        let mut all = vec![
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            -5e-324,
        ];
        for _ in 0..400 {
            let exponent = [0, 1, 2, 500, 1000, 1022, 1023, 1024, 1050, 2000, 2046];
            let exponent = exponent[next() as usize % exponent.len()];
            let fraction = (next() & ((1 << 52) - 1)) >> (next() % 52) << (next() % 3);
            let fraction = fraction & ((1 << 52) - 1);
            all.push(f64::from_bits(next() & 1 << 63 | exponent << 52 | fraction));
        }
        all
    }

    /// Rust's own arithmetic rounds to nearest, and the other directions lie around that.
    fn check(found: impl Fn(Rounding) -> f64, near: f64) {
        assert_eq!(
            found(Rounding::Nearest).to_bits(),
            near.to_bits(),
            "{near:e}"
        );
        let [zero, down, up] = [Rounding::Zero, Rounding::Down, Rounding::Up].map(found);
        assert!(down == near || up == near, "{down:e} {near:e} {up:e}");
        assert!(down == up || down.next_up() == up, "{down:e} {up:e}");
        assert_eq!(zero, if near.is_sign_positive() { down } else { up });
    }

    #[test]
    fn nearest_is_native_and_others_enclose_it() {
        let all = doubles();
        for (i, &a) in all.iter().enumerate() {
            if a > 0.0 {
                check(|mode| sqrt(a, mode), a.sqrt());
            }
            for (j, &b) in all.iter().enumerate() {
                let c = all[(i * 7 + j * 3) % all.len()];
                check(|mode| add(a, b, mode), a + b);
                check(|mode| mul(a, b, mode), a * b);
                check(|mode| fma(a, b, c, mode), a.mul_add(b, c));
                // A term that takes away most of the product.
                let rest = -(a * b);
                if rest.is_finite() {
                    check(|mode| fma(a, b, rest, mode), a.mul_add(b, rest));
                }
                if a != 0.0 && b != 0.0 {
                    check(|mode| div(a, b, mode), a / b);
                }
            }
        }
    }

    #[test]
    fn edges() {
        let tiny = 5e-324;
        assert_eq!(mul(tiny, tiny, Rounding::Up), tiny);
        assert_eq!(mul(tiny, -tiny, Rounding::Down), -tiny);
        assert!(add(1.0, -1.0, Rounding::Down).is_sign_negative());
        assert!(add(1.0, -1.0, Rounding::Up).is_sign_positive());
        assert_eq!(add(f64::MAX, 1.0, Rounding::Zero), f64::MAX);
        assert_eq!(add(f64::MAX, 1.0, Rounding::Up), f64::INFINITY);
        assert_eq!(fma(1.0, 1.0, -tiny, Rounding::Zero), 1f64.next_down());
    }
}
