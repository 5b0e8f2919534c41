//! Elementary functions on vectors: polynomials in explicit fused multiply-adds, so that they give
//! the same bits on every instruction set. The coefficients are minimax fits (Lawson's iteration
//! on Chebyshev nodes, 50 digits), rounded to f32.

use super::simd::Simd;

/// Horner's scheme, the highest power first.
#[inline(always)]
fn horner<S: Simd, const N: usize>(s: S, x: S::V, coefficients: [f32; N]) -> S::V {
    let mut sum = s.splat(coefficients[0]);
    for c in &coefficients[1..] {
        sum = s.fma(sum, x, s.splat(*c));
    }
    sum
}

/// e^x within 2 ulp; 0 below -87.3, where the result would be subnormal, and clamped above 88.
/// exp(0) is exactly 1.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    const LOWEST: f32 = -87.3;
    // In this order a NaN stays a NaN.
    let clamped = s.min(s.splat(88.0), s.max(s.splat(LOWEST), x));
    let n = s.round(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, the first with trailing zeros, so that n times it is exact.
    let r = s.fma(n, s.splat(-0.693_359_4), clamped);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    // (e^r - 1 - r - r^2/2) / r^3 on [-ln2/2, ln2/2], error 4e-9.
    let p = horner(
        s,
        r,
        [
            1.386_371_3e-3,
            8.367_558e-3,
            4.166_724e-2,
            0.166_665_33,
            0.5,
        ],
    );
    let p = s.fma(s.mul(r, r), p, r);
    let e = s.scale(s.add(s.splat(1.0), p), n);
    // Exactly zero, so that masked scores weigh nothing.
    s.zero_below(e, x, LOWEST)
}

/// log10(x) of positive normal lanes, within 1e-7 of the greater of 1 and the result.
#[inline(always)]
pub(crate) fn log10<S: Simd>(s: S, x: S::V) -> S::V {
    let (mantissa, exponent) = s.split(x);
    s.fma(
        exponent,
        s.splat(std::f32::consts::LOG10_2),
        s.mul(ln_mantissa(s, mantissa), s.splat(std::f32::consts::LOG10_E)),
    )
}

/// ln(x) of positive normal lanes, within 1e-7 of the greater of 1 and the result.
#[inline(always)]
pub(crate) fn ln<S: Simd>(s: S, x: S::V) -> S::V {
    let (mantissa, exponent) = s.split(x);
    s.fma(
        exponent,
        s.splat(std::f32::consts::LN_2),
        ln_mantissa(s, mantissa),
    )
}

/// ln(x) from 0.75 to 1.5.
#[inline(always)]
fn ln_mantissa<S: Simd>(s: S, x: S::V) -> S::V {
    let t = s.sub(x, s.splat(1.0));
    // (ln(1+t) - t + t^2/2) / t^3 on [-1/4, 1/2], error 1e-9.
    let p = horner(
        s,
        t,
        [
            -4.345_131e-2,
            0.103_388_846,
            -0.131_836_73,
            0.145_087_87,
            -0.166_478_41,
            0.199_886_81,
            -0.250_000_2,
            0.333_334_98,
            -0.5,
        ],
    );
    s.fma(s.mul(t, t), p, t)
}

/// `x / 2 * (1 + erf(x / sqrt 2))` within 1e-7 of the greater of 1 and |x|.
///
/// Computed as `max(x, 0) - |x|/2 * erfc(|x| / sqrt 2)`, with `-ln erfc` a polynomial, so that
/// neither tail cancels.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    let magnitude = s.max(x, s.sub(s.splat(0.0), x));
    // -ln(erfc(a / sqrt 2)) / a on [0, 6]; beyond, the second term is under 1e-8.
    let a = s.min(magnitude, s.splat(6.0));
    let p = horner(
        s,
        a,
        [
            -2.049_358_2e-7,
            4.422_692_7e-6,
            -3.873_94e-5,
            1.548_985_2e-4,
            6.710_156e-5,
            -4.887_165e-3,
            3.639_46e-2,
            0.318_293_2,
            0.797_886_3,
        ],
    );
    let erfc = exp(s, s.sub(s.splat(0.0), s.mul(a, p)));
    let tail = s.mul(s.mul(magnitude, s.splat(-0.5)), erfc);
    s.add(s.max(x, s.splat(0.0)), tail)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(x, s.add(s.splat(1.0), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::simd::{Isa, Kernel};

    type Reference = fn(f64) -> f64;

    struct Sweep<'a>(&'a [f32]);

    impl Kernel for Sweep<'_> {
        type Output = Vec<[f32; 6]>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<[f32; 6]> {
            let mut rows = Vec::new();
            for &x in self.0 {
                let v = s.splat(x);
                let positive = s.max(s.splat(1e-10), s.mul(v, v));
                let results = [
                    exp(s, v),
                    log10(s, positive),
                    ln(s, positive),
                    gelu(s, v),
                    sigmoid(s, v),
                    silu(s, v),
                ];
                rows.push(results.map(|r| s.max_lane(r)));
            }
            rows
        }
    }

    fn erfc(x: f64) -> f64 {
        crate::reference::erfc(x)
    }

    #[test]
    fn close_to_the_formula_and_the_same_everywhere() {
        let xs: Vec<f32> = (-4000..4000).map(|i| i as f32 * 0.0217).collect();
        let functions: [(&str, Reference, Reference); 6] = [
            ("exp", f64::exp, |y| 3e-7 * y + 2e-38),
            (
                "log10",
                |x| (x * x).max(1e-10).log10(),
                |y| 2e-7 * y.abs().max(1.0),
            ),
            (
                "ln",
                |x| (x * x).max(1e-10).ln(),
                |y| 2e-7 * y.abs().max(1.0),
            ),
            (
                "gelu",
                |x| 0.5 * x * erfc(-x / 2f64.sqrt()),
                |y| 1e-7 * y.abs().max(1.0),
            ),
            ("sigmoid", |x| 1.0 / (1.0 + (-x).exp()), |_| 3e-7),
            (
                "silu",
                |x| x / (1.0 + (-x).exp()),
                |y| 3e-7 * y.abs().max(1.0),
            ),
        ];
        let portable = Isa::Portable.run(Sweep(&xs));
        for (x, row) in xs.iter().zip(&portable) {
            for (value, (name, reference, tolerance)) in row.iter().zip(&functions) {
                let clamped = f64::from(*x).clamp(f64::NEG_INFINITY, 88.0);
                let expected = if *name == "exp" {
                    clamped.exp()
                } else {
                    reference(f64::from(*x))
                };
                let error = (f64::from(*value) - expected).abs();
                assert!(
                    error <= tolerance(expected),
                    "{name}({x}) = {value}, not {expected}"
                );
            }
        }
        for isa in Isa::available() {
            assert_eq!(isa.run(Sweep(&xs)), portable, "{isa:?}");
        }
    }

    #[test]
    fn exact_where_attention_needs_it() {
        let isa = Isa::Portable;
        let rows = isa.run(Sweep(&[0.0, f32::NEG_INFINITY]));
        assert_eq!(rows[0][0], 1.0);
        assert_eq!(rows[1][0], 0.0);
        assert!(isa.run(Sweep(&[f32::NAN]))[0][0].is_nan());
    }
}
