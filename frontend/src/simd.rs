//! The resampler's inner loop, compiled for each instruction set and chosen at run time.
//!
//! All versions add in the same order, without fused multiply-add, so they give the same bits.
#![allow(unsafe_code)]

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
    ($name:ident, $feature:literal, $width:literal, $zero:ident, $load:ident, $add:ident, $multiply:ident, $store:ident) => {
        #[target_feature(enable = $feature)]
        fn $name(taps: &[f32], windows: [&[f32]; GROUP]) -> [f32; GROUP] {
            use std::arch::x86_64::{$add, $load, $multiply, $store, $zero};
            const PARTS: usize = LANES / $width;
            let mut sums = [[$zero(); PARTS]; GROUP];
            let taps = taps.as_chunks::<LANES>().0;
            let windows = windows.map(|window| &window.as_chunks::<LANES>().0[..taps.len()]);
            for (i, taps) in taps.iter().enumerate() {
                for part in 0..PARTS {
                    // SAFETY: `part * $width + $width` is at most the array's length, `LANES`.
                    let tap = unsafe { $load(taps.as_ptr().add(part * $width)) };
                    for (sum, window) in sums.iter_mut().zip(&windows) {
                        // SAFETY: as above.
                        let sample = unsafe { $load(window[i].as_ptr().add(part * $width)) };
                        sum[part] = $add(sum[part], $multiply(tap, sample));
                    }
                }
            }
            let mut lanes = [[0.0; LANES]; GROUP];
            for (lanes, parts) in lanes.iter_mut().zip(sums) {
                for (lanes, part) in lanes.chunks_exact_mut($width).zip(parts) {
                    // SAFETY: the chunk has `$width` elements.
                    unsafe { $store(lanes.as_mut_ptr(), part) };
                }
            }
            total(&lanes)
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
    _mm512_storeu_ps
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
    _mm256_storeu_ps
);

fn filter_portable(taps: &[f32], windows: [&[f32]; GROUP]) -> [f32; GROUP] {
    let taps = taps.as_chunks::<LANES>().0;
    let mut sums = [[0.0; LANES]; GROUP];
    for (sums, window) in sums.iter_mut().zip(windows) {
        for (taps, window) in taps.iter().zip(window.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                sums[lane] += taps[lane] * window[lane];
            }
        }
    }
    total(&sums)
}

/// Adds the halves until one lane is left. Kept apart, because its shuffles would otherwise be
/// vectorised into the loops above and ruin them.
#[inline(never)]
fn total(sums: &[[f32; LANES]; GROUP]) -> [f32; GROUP] {
    let mut totals = [0.0; GROUP];
    for (total, sums) in totals.iter_mut().zip(sums) {
        let eight: [f32; 8] = std::array::from_fn(|lane| sums[lane] + sums[lane + 8]);
        let four: [f32; 4] = std::array::from_fn(|lane| eight[lane] + eight[lane + 4]);
        *total = (four[0] + four[2]) + (four[1] + four[3]);
    }
    totals
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
