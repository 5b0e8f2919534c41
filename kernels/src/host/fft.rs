//! The power spectrum of 400 real points, for sixteen frames at once, one in each lane.
//!
//! 400 = 16 * 25 without a common factor, so by Good and Thomas's prime factor algorithm (I. J. Good,
//! 1958) the transform is one of 16 by 25 with no twiddle factors in between: point
//! `n = 25 a + 16 b mod 400` is `x[a][b]`, and bin `k` is `X[k mod 16][k mod 25]`. The input is real:
//! the transforms over `a` give rows 0 to 8, the rest are their conjugates. Rows 0 and 8 are real and
//! travel as one complex row, so eight complex transforms of 25 = 5 * 5 points finish the work.

use super::simd::{LANES, Simd};
use std::f64::consts::TAU;

/// Points of a frame.
pub(crate) const POINTS: usize = 400;
/// Bins from 0 to half of the sampling rate.
pub(crate) const BINS: usize = POINTS / 2 + 1;

/// One vector in memory.
pub(crate) type Lanes = [f32; LANES];
/// Real and imaginary part.
type Complex<V> = (V, V);

const A: usize = 16;
const B: usize = 25;
/// Complex rows after the first transforms: 0 with 8, and 1 to 7.
const ROWS: usize = A / 2;
/// Vectors that the rows take.
pub(crate) const WORK: usize = 2 * ROWS * B;

/// The points in the order in which [`power`] asks for them: sixteen for each `b`.
pub(crate) const ORDER: [usize; POINTS] = {
    let mut order = [0; POINTS];
    let mut i = 0;
    while i < POINTS {
        order[i] = (B * (i % A) + A * (i / A)) % POINTS;
        i += 1;
    }
    order
};

/// The bin `k <= 200` of `X[row][column]`, or of its conjugate.
const BIN: [[usize; B]; A / 2 + 1] = {
    let mut bins = [[0; B]; A / 2 + 1];
    let mut i = 0;
    while i < bins.len() * B {
        // 225 is 1 modulo 16 and 0 modulo 25; 176 the other way round.
        let k = (225 * (i / B) + 176 * (i % B)) % POINTS;
        bins[i / B][i % B] = if k < BINS { k } else { POINTS - k };
        i += 1;
    }
    bins
};

/// `e^(-2 pi i b c / 25)` for `b` and `c` from 1 to 4, between the two factors of 25.
#[derive(Clone, Debug)]
pub(crate) struct Twiddles([[Complex<f32>; 4]; 4]);

impl Twiddles {
    pub(crate) fn new() -> Twiddles {
        Twiddles(std::array::from_fn(|b| {
            std::array::from_fn(|c| {
                let angle = -TAU * ((b + 1) * (c + 1)) as f64 / B as f64;
                (angle.cos() as f32, angle.sin() as f32)
            })
        }))
    }
}

/// Where the points of sixteen frames come from.
pub(crate) trait Input {
    /// Point `ORDER[i]` of every frame. Must be `#[inline(always)]`, as every kernel.
    fn point<S: Simd>(&self, s: S, i: usize) -> S::V;
}

/// Squared magnitudes of the bins.
#[inline(always)]
pub(crate) fn power<S: Simd>(
    s: S,
    twiddles: &Twiddles,
    input: &impl Input,
    work: &mut [Lanes; WORK],
    out: &mut [Lanes; BINS],
) {
    for b in 0..B {
        let mut x = [s.splat(0.0); A];
        for (a, x) in x.iter_mut().enumerate() {
            *x = input.point(s, A * b + a);
        }
        let rows = real16(s, x);
        for (row, z) in rows.iter().enumerate() {
            s.store(z.0, &mut work[2 * (ROWS * b + row)]);
            s.store(z.1, &mut work[2 * (ROWS * b + row) + 1]);
        }
    }
    for (row, bins) in BIN.iter().enumerate().take(ROWS).skip(1) {
        let z = complex25(s, twiddles, work, row);
        for (z, bin) in z.iter().zip(bins) {
            s.store(magnitude(s, *z), &mut out[*bin]);
        }
    }
    // Of the packed rows x + iy: x[k] = (z[k] + conj z[-k]) / 2, y[k] = (z[k] - conj z[-k]) / 2i.
    let z = complex25(s, twiddles, work, 0);
    s.store(s.mul(z[0].0, z[0].0), &mut out[BIN[0][0]]);
    s.store(s.mul(z[0].1, z[0].1), &mut out[BIN[ROWS][0]]);
    for k in 1..=B / 2 {
        let (p, q) = (z[k], z[B - k]);
        let x = (s.add(p.0, q.0), s.sub(p.1, q.1));
        let y = (s.sub(p.0, q.0), s.add(p.1, q.1));
        for (z, bin) in [(x, BIN[0][k]), (y, BIN[ROWS][k])] {
            s.store(s.mul(magnitude(s, z), s.splat(0.25)), &mut out[bin]);
        }
    }
}

#[inline(always)]
fn magnitude<S: Simd>(s: S, z: Complex<S::V>) -> S::V {
    s.fma(z.0, z.0, s.mul(z.1, z.1))
}

/// Bins 0 and 8 (both real) as one complex number, then bins 1 to 7, of sixteen real points, as
/// 4 by 4.
#[inline(always)]
fn real16<S: Simd>(s: S, x: [S::V; 16]) -> [Complex<S::V>; 8] {
    let half = s.splat(std::f32::consts::FRAC_1_SQRT_2);
    let (cos, sin) = (s.splat(0.923_879_5), s.splat(0.382_683_43)); // of pi / 8
    // Over the points 4 apart: bins 0 and 2, and (re, im) of bin 1; bin 3 is its conjugate.
    let zero = s.splat(0.0);
    let (mut t, mut u, mut v) = ([zero; 4], [zero; 4], [(zero, zero); 4]);
    for b in 0..4 {
        let (even, odd) = (s.add(x[b], x[b + 8]), s.add(x[b + 4], x[b + 12]));
        t[b] = s.add(even, odd);
        u[b] = s.sub(even, odd);
        v[b] = (s.sub(x[b], x[b + 8]), s.sub(x[b + 12], x[b + 4]));
    }
    // Bins 0, 4, 8.
    let (even, odd) = (s.add(t[0], t[2]), s.add(t[1], t[3]));
    let packed = (s.add(even, odd), s.sub(even, odd));
    let bin4 = (s.sub(t[0], t[2]), s.sub(t[3], t[1]));
    // Bins 2 and 6, with the eighth roots of one.
    let (difference, sum) = (s.sub(u[1], u[3]), s.mul(half, s.add(u[1], u[3])));
    let bin2 = (s.fma(half, difference, u[0]), negative(s, s.add(u[2], sum)));
    let bin6 = (s.fma(negative(s, half), difference, u[0]), s.sub(u[2], sum));
    // Bins 1, 5, 9 and 13, with the sixteenth roots; 7 and 3 are conjugates of the last two.
    let v1 = times(s, v[1], (cos, negative(s, sin)));
    let v2 = (
        s.mul(half, s.add(v[2].0, v[2].1)),
        s.mul(half, s.sub(v[2].1, v[2].0)),
    );
    let v3 = times(s, v[3], (sin, negative(s, cos)));
    let (even, even_d) = (plus(s, v[0], v2), minus(s, v[0], v2));
    let (odd, odd_d) = (plus(s, v1, v3), minus(s, v1, v3));
    let bin1 = plus(s, even, odd);
    let bin9 = minus(s, even, odd);
    let bin5 = (s.add(even_d.0, odd_d.1), s.sub(even_d.1, odd_d.0));
    let bin13 = (s.sub(even_d.0, odd_d.1), s.add(even_d.1, odd_d.0));
    let bin3 = (bin13.0, negative(s, bin13.1));
    let bin7 = (bin9.0, negative(s, bin9.1));
    [packed, bin1, bin2, bin3, bin4, bin5, bin6, bin7]
}

/// Twenty-five complex points of a row, as 5 by 5.
#[inline(always)]
fn complex25<S: Simd>(
    s: S,
    twiddles: &Twiddles,
    work: &[Lanes; WORK],
    row: usize,
) -> [Complex<S::V>; B] {
    let zero = (s.splat(0.0), s.splat(0.0));
    let mut columns = [[zero; 5]; 5];
    for (b, column) in columns.iter_mut().enumerate() {
        let mut x = [zero; 5];
        for (a, x) in x.iter_mut().enumerate() {
            let at = 2 * (ROWS * (5 * a + b) + row);
            *x = (s.load(&work[at]), s.load(&work[at + 1]));
        }
        *column = complex5(s, x);
    }
    for (column, twiddles) in columns[1..].iter_mut().zip(&twiddles.0) {
        for (z, (re, im)) in column[1..].iter_mut().zip(twiddles) {
            *z = times(s, *z, (s.splat(*re), s.splat(*im)));
        }
    }
    let mut out = [zero; B];
    for c in 0..5 {
        let mut x = [zero; 5];
        for (x, column) in x.iter_mut().zip(&columns) {
            *x = column[c];
        }
        for (d, z) in complex5(s, x).into_iter().enumerate() {
            out[c + 5 * d] = z;
        }
    }
    out
}

#[inline(always)]
fn complex5<S: Simd>(s: S, x: [Complex<S::V>; 5]) -> [Complex<S::V>; 5] {
    // Cosines and sines of 2 pi / 5 and 4 pi / 5.
    let (c1, c2) = (s.splat(0.309_017), s.splat(-0.809_017));
    let (s1, s2) = (s.splat(0.951_056_5), s.splat(0.587_785_25));
    let (p1, p2) = (plus(s, x[1], x[4]), plus(s, x[2], x[3]));
    let (m1, m2) = (minus(s, x[1], x[4]), minus(s, x[2], x[3]));
    let a1 = plus_scaled(s, plus_scaled(s, x[0], p1, c1), p2, c2);
    let a2 = plus_scaled(s, plus_scaled(s, x[0], p1, c2), p2, c1);
    let b1 = plus_scaled(s, scaled(s, m1, s1), m2, s2);
    let b2 = plus_scaled(s, scaled(s, m1, s2), m2, negative(s, s1));
    [
        plus(s, x[0], plus(s, p1, p2)),
        (s.add(a1.0, b1.1), s.sub(a1.1, b1.0)),
        (s.add(a2.0, b2.1), s.sub(a2.1, b2.0)),
        (s.sub(a2.0, b2.1), s.add(a2.1, b2.0)),
        (s.sub(a1.0, b1.1), s.add(a1.1, b1.0)),
    ]
}

#[inline(always)]
fn negative<S: Simd>(s: S, v: S::V) -> S::V {
    s.sub(s.splat(0.0), v)
}

#[inline(always)]
fn scaled<S: Simd>(s: S, z: Complex<S::V>, by: S::V) -> Complex<S::V> {
    (s.mul(z.0, by), s.mul(z.1, by))
}

/// `a + z * by`.
#[inline(always)]
fn plus_scaled<S: Simd>(s: S, a: Complex<S::V>, z: Complex<S::V>, by: S::V) -> Complex<S::V> {
    (s.fma(z.0, by, a.0), s.fma(z.1, by, a.1))
}

#[inline(always)]
fn plus<S: Simd>(s: S, a: Complex<S::V>, b: Complex<S::V>) -> Complex<S::V> {
    (s.add(a.0, b.0), s.add(a.1, b.1))
}

#[inline(always)]
fn minus<S: Simd>(s: S, a: Complex<S::V>, b: Complex<S::V>) -> Complex<S::V> {
    (s.sub(a.0, b.0), s.sub(a.1, b.1))
}

#[inline(always)]
fn times<S: Simd>(s: S, a: Complex<S::V>, w: Complex<S::V>) -> Complex<S::V> {
    let re = s.fma(a.0, w.0, negative(s, s.mul(a.1, w.1)));
    (re, s.fma(a.0, w.1, s.mul(a.1, w.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Inputs;
    use crate::host::simd::{Isa, Kernel};

    struct Spectrum<'a>(&'a [Lanes; POINTS]);

    impl Input for Spectrum<'_> {
        #[inline(always)]
        fn point<S: Simd>(&self, s: S, i: usize) -> S::V {
            s.load(&self.0[ORDER[i]])
        }
    }

    impl Kernel for Spectrum<'_> {
        type Output = [Lanes; BINS];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [Lanes; BINS] {
            let mut out = [[f32::NAN; LANES]; BINS];
            let mut work = [[f32::NAN; LANES]; WORK];
            power(s, &Twiddles::new(), &self, &mut work, &mut out);
            out
        }
    }

    #[test]
    fn every_bin_by_the_definition() {
        let values = Inputs::plain(3).normal(POINTS * LANES, 1.0);
        let frames: [Lanes; POINTS] =
            std::array::from_fn(|n| std::array::from_fn(|lane| values[n * LANES + lane]));
        let found = Isa::Portable.run(Spectrum(&frames));
        for isa in Isa::available() {
            assert_eq!(isa.run(Spectrum(&frames)), found, "{isa:?}");
        }
        for (k, found) in found.iter().enumerate() {
            for (lane, found) in found.iter().enumerate() {
                let (mut re, mut im) = (0.0, 0.0);
                for (n, x) in frames.iter().enumerate() {
                    let angle = TAU * (n * k % POINTS) as f64 / POINTS as f64;
                    re += f64::from(x[lane]) * angle.cos();
                    im += f64::from(x[lane]) * angle.sin();
                }
                let error = f64::from(*found).sqrt() - re.hypot(im);
                // Of a root mean square of 20.
                assert!(error.abs() < 2e-5, "bin {k}, lane {lane}: {error:e} off");
            }
        }
    }
}
