//! The resampler's inner loop, compiled for each instruction set and chosen at run time.
//!
//! All versions add in the same order, without fused multiply-add, so they give the same bits.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Products are summed in this many lanes; a filter's length is a multiple of it.
pub(crate) const LANES: usize = 16;
/// Windows that are filtered together, so that the filter is loaded once for all of them.
pub(crate) const GROUP: usize = 4;

/// The dot products of a filter with windows of its length, a multiple of [`LANES`].
pub(crate) type Filter = fn(&[f32], [&[f32]; GROUP]) -> [f32; GROUP];

/// The fastest version for this machine.
pub(crate) fn filter() -> Filter {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has AVX-512F, just checked.
            return |taps, windows| unsafe { filter_avx512(taps, windows) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2, just checked.
            return |taps, windows| unsafe { filter_avx2(taps, windows) };
        }
    }
    filter_portable
}

/// A version with one instruction set's vectors. The compiler, left alone, makes a slow mix of
/// vectors and scalars of `filter_portable`.
#[cfg(target_arch = "x86_64")]
macro_rules! filter_with {
    ($name:ident, $feature:literal, $width:literal, $zero:ident, $load:ident, $add:ident, $multiply:ident, $fold:ident) => {
        #[target_feature(enable = $feature)]
        fn $name(taps: &[f32], [a, b, c, d]: [&[f32]; GROUP]) -> [f32; GROUP] {
            const PARTS: usize = LANES / $width;
            let mut sums = [[$zero(); PARTS]; GROUP];
            let (a, b) = (a.as_chunks::<LANES>().0, b.as_chunks::<LANES>().0);
            let (c, d) = (c.as_chunks::<LANES>().0, d.as_chunks::<LANES>().0);
            let taps = taps.as_chunks::<LANES>().0;
            for ((((taps, a), b), c), d) in taps.iter().zip(a).zip(b).zip(c).zip(d) {
                for part in 0..PARTS {
                    let load = |lanes: &[f32; LANES]| {
                        // SAFETY: `part * $width + $width` is at most the array's length.
                        unsafe { $load(lanes.as_ptr().add(part * $width)) }
                    };
                    let tap = load(taps);
                    for (sum, window) in sums.iter_mut().zip([a, b, c, d]) {
                        sum[part] = $add(sum[part], $multiply(tap, load(window)));
                    }
                }
            }
            let [a, b, c, d] = sums;
            [
                total($fold(a)),
                total($fold(b)),
                total($fold(c)),
                total($fold(d)),
            ]
        }
    };
}

#[cfg(target_arch = "x86_64")]
filter_with!(
    filter_avx512,
    "avx512f",
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_add_ps,
    _mm512_mul_ps,
    fold_avx512
);

#[cfg(target_arch = "x86_64")]
filter_with!(
    filter_avx2,
    "avx2",
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_add_ps,
    _mm256_mul_ps,
    fold_avx2
);

/// Adds the upper half of the lanes to the lower.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn fold_avx512([lanes]: [__m512; 1]) -> __m256 {
    let upper = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(lanes));
    _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm256_castpd_ps(upper))
}

/// Adds the upper half of the lanes to the lower.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fold_avx2([lower, upper]: [__m256; 2]) -> __m256 {
    _mm256_add_ps(lower, upper)
}

/// Adds halves until one lane is left.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn total(eight: __m256) -> f32 {
    let four = _mm_add_ps(
        _mm256_castps256_ps128(eight),
        _mm256_extractf128_ps::<1>(eight),
    );
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

fn filter_portable(taps: &[f32], windows: [&[f32]; GROUP]) -> [f32; GROUP] {
    let taps = taps.as_chunks::<LANES>().0;
    windows.map(|window| {
        let mut sums = [0.0; LANES];
        for (taps, window) in taps.iter().zip(window.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                sums[lane] += taps[lane] * window[lane];
            }
        }
        let eight: [f32; 8] = std::array::from_fn(|lane| sums[lane] + sums[lane + 8]);
        let four: [f32; 4] = std::array::from_fn(|lane| eight[lane] + eight[lane + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_gives_the_same_bits() {
        let taps: Vec<f32> = (0..9 * LANES).map(|i| (i as f32 * 0.7).sin()).collect();
        let input: Vec<f32> = (0..12 * LANES)
            .map(|i| (i as f32 * 1.3).cos() * 1e3)
            .collect();
        let windows = [0, 1, 7, 20].map(|start| &input[start..start + taps.len()]);
        let portable = filter_portable(&taps, windows);
        for (window, sum) in windows.iter().zip(portable) {
            let products = taps
                .iter()
                .zip(*window)
                .map(|(a, b)| f64::from(*a) * f64::from(*b));
            assert!((f64::from(sum) - products.sum::<f64>()).abs() < 1e-2);
        }
        let bits = |sums: [f32; GROUP]| sums.map(f32::to_bits);
        assert_eq!(bits(filter()(&taps, windows)), bits(portable));
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2, just checked.
            let avx2 = unsafe { filter_avx2(&taps, windows) };
            assert_eq!(bits(avx2), bits(portable));
        }
    }
}
