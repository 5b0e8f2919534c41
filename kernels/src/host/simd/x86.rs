//! AVX-512 and AVX2.

use super::{Kernel, LANES, MANTISSA, SPLIT_AT, Simd};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(super) struct Avx512(());

#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Compiles `kernel` with AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// Compiles `kernel` with AVX2.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// Calls intrinsics whose features the token proves.
macro_rules! proven {
    ($call:expr) => {
        // SAFETY: a value of this token exists only inside `run_avx512` or `run_avx2`, so the
        // processor has the instructions; pointers come from references of the full width,
        // unless a mask bounds the access or it is only a hint.
        unsafe { $call }
    };
}

/// A mask of the first `len` lanes, or of all.
#[inline(always)]
fn low_lanes(len: usize) -> __mmask16 {
    ((1u32 << len.min(LANES)) - 1) as __mmask16
}

impl Simd for Avx512 {
    type V = __m512;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        proven!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m512 {
        proven!(_mm512_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn store(self, x: __m512, out: &mut [f32; LANES]) {
        proven!(_mm512_storeu_ps(out.as_mut_ptr(), x))
    }
    #[inline(always)]
    fn transpose(self, a: [__m512; LANES]) -> [__m512; LANES] {
        let mut a = a;
        proven!({
            // Pairs of vectors exchange single lanes, then pairs, then quarters, then halves.
            for i in (0..LANES).step_by(4) {
                let [x0, x1, x2, x3] = [a[i], a[i + 1], a[i + 2], a[i + 3]];
                let (l0, h0) = (_mm512_unpacklo_ps(x0, x1), _mm512_unpackhi_ps(x0, x1));
                let (l1, h1) = (_mm512_unpacklo_ps(x2, x3), _mm512_unpackhi_ps(x2, x3));
                a[i] = _mm512_shuffle_ps::<0b01_00_01_00>(l0, l1);
                a[i + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(l0, l1);
                a[i + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(h0, h1);
                a[i + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(h0, h1);
            }
            // Now quarter q of a[4r + c] holds column 4q + c of rows 4r to 4r + 3.
            let mut out = a;
            for c in 0..4 {
                let lo = _mm512_shuffle_f32x4::<0b01_00_01_00>(a[c], a[4 + c]);
                let hi = _mm512_shuffle_f32x4::<0b11_10_11_10>(a[c], a[4 + c]);
                let lo2 = _mm512_shuffle_f32x4::<0b01_00_01_00>(a[8 + c], a[12 + c]);
                let hi2 = _mm512_shuffle_f32x4::<0b11_10_11_10>(a[8 + c], a[12 + c]);
                out[c] = _mm512_shuffle_f32x4::<0b10_00_10_00>(lo, lo2);
                out[4 + c] = _mm512_shuffle_f32x4::<0b11_01_11_01>(lo, lo2);
                out[8 + c] = _mm512_shuffle_f32x4::<0b10_00_10_00>(hi, hi2);
                out[12 + c] = _mm512_shuffle_f32x4::<0b11_01_11_01>(hi, hi2);
            }
            out
        })
    }
    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> __m512 {
        if let Some(lanes) = x.first_chunk() {
            return self.load(lanes);
        }
        // A masked load touches no memory past the slice.
        proven!(_mm512_mask_loadu_ps(
            _mm512_set1_ps(fill),
            low_lanes(x.len()),
            x.as_ptr()
        ))
    }
    #[inline(always)]
    fn store_part(self, x: __m512, out: &mut [f32]) {
        proven!(_mm512_mask_storeu_ps(
            out.as_mut_ptr(),
            low_lanes(out.len()),
            x
        ))
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> __m512 {
        proven!({
            let words = _mm256_loadu_si256(x.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(words)))
        })
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> __m512 {
        proven!(_mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn load_f32(self, x: &[u8; 4 * LANES]) -> __m512 {
        proven!(_mm512_loadu_ps(x.as_ptr().cast()))
    }
    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        proven!(_mm_prefetch::<_MM_HINT_T1>(address.cast()))
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        proven!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn zero_below(self, x: __m512, a: __m512, limit: f32) -> __m512 {
        proven!({
            let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, _mm512_set1_ps(limit));
            _mm512_maskz_mov_ps(kept, x)
        })
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        proven!(_mm512_roundscale_ps::<
            { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
        >(a))
    }
    #[inline(always)]
    fn scale(self, a: __m512, n: __m512) -> __m512 {
        proven!({
            let biased = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
            _mm512_mul_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased)))
        })
    }
    #[inline(always)]
    fn split(self, a: __m512) -> (__m512, __m512) {
        proven!({
            let at = _mm512_set1_epi32(SPLIT_AT as i32);
            let offset = _mm512_sub_epi32(_mm512_castps_si512(a), at);
            let exponent = _mm512_cvtepi32_ps(_mm512_srai_epi32::<23>(offset));
            let bits = _mm512_and_epi32(offset, _mm512_set1_epi32(MANTISSA as i32));
            (_mm512_castsi512_ps(_mm512_add_epi32(bits, at)), exponent)
        })
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        proven!({
            let halves = _mm512_extractf32x8_ps::<1>(a);
            sum8(_mm256_add_ps(_mm512_castps512_ps256(a), halves))
        })
    }
    #[inline(always)]
    fn sum_each(self, a: [__m512; 4]) -> [f32; 4] {
        proven!({
            // The same pairs are added as in `sum`, those of four vectors at once.
            let ab = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(a[0], a[1]),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(a[0], a[1]),
            );
            let cd = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b01_00_01_00>(a[2], a[3]),
                _mm512_shuffle_f32x4::<0b11_10_11_10>(a[2], a[3]),
            );
            let four = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
            );
            let two = _mm512_add_ps(four, _mm512_permute_ps::<0b01_00_11_10>(four));
            let one = _mm512_add_ps(two, _mm512_permute_ps::<0b10_11_00_01>(two));
            let mut sums = [0.0; 4];
            let first_of_each = _mm512_maskz_compress_ps(0x1111, one);
            _mm_storeu_ps(sums.as_mut_ptr(), _mm512_castps512_ps128(first_of_each));
            sums
        })
    }
    #[inline(always)]
    fn max_lane(self, a: __m512) -> f32 {
        proven!({
            let halves = _mm512_extractf32x8_ps::<1>(a);
            max8(_mm256_max_ps(_mm512_castps512_ps256(a), halves))
        })
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum8(a: __m256) -> f32 {
    let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
    let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps::<1>(a, a)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn max8(a: __m256) -> f32 {
    let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
    let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps::<1>(a, a)))
}

impl Avx2 {
    #[inline(always)]
    fn each(
        self,
        a: [__m256; 2],
        b: [__m256; 2],
        f: impl Fn(__m256, __m256) -> __m256,
    ) -> [__m256; 2] {
        [f(a[0], b[0]), f(a[1], b[1])]
    }

    #[inline(always)]
    fn split_half(self, a: __m256) -> (__m256, __m256) {
        proven!({
            let at = _mm256_set1_epi32(SPLIT_AT as i32);
            let offset = _mm256_sub_epi32(_mm256_castps_si256(a), at);
            let exponent = _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(offset));
            let bits = _mm256_and_si256(offset, _mm256_set1_epi32(MANTISSA as i32));
            (_mm256_castsi256_ps(_mm256_add_epi32(bits, at)), exponent)
        })
    }
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        proven!([_mm256_set1_ps(x); 2])
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        proven!([
            _mm256_loadu_ps(x.as_ptr()),
            _mm256_loadu_ps(x.as_ptr().add(8))
        ])
    }
    #[inline(always)]
    fn store(self, x: Self::V, out: &mut [f32; LANES]) {
        proven!({
            _mm256_storeu_ps(out.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), x[1]);
        })
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::V {
        proven!({
            let words = _mm256_loadu_si256(x.as_ptr().cast());
            [
                _mm256_castsi256_si128(words),
                _mm256_extracti128_si256::<1>(words),
            ]
            .map(|half| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(half))))
        })
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::V {
        proven!({
            let words = _mm256_loadu_si256(x.as_ptr().cast());
            [
                _mm256_cvtph_ps(_mm256_castsi256_si128(words)),
                _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(words)),
            ]
        })
    }
    #[inline(always)]
    fn load_f32(self, x: &[u8; 4 * LANES]) -> Self::V {
        let x: *const f32 = x.as_ptr().cast();
        proven!([_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(8))])
    }
    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        proven!(_mm_prefetch::<_MM_HINT_T1>(address.cast()))
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        self.each(a, b, |a, b| proven!(_mm256_add_ps(a, b)))
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        self.each(a, b, |a, b| proven!(_mm256_sub_ps(a, b)))
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        self.each(a, b, |a, b| proven!(_mm256_mul_ps(a, b)))
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        self.each(a, b, |a, b| proven!(_mm256_div_ps(a, b)))
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        proven!([
            _mm256_fmadd_ps(a[0], b[0], c[0]),
            _mm256_fmadd_ps(a[1], b[1], c[1])
        ])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        self.each(a, b, |a, b| proven!(_mm256_max_ps(a, b)))
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        self.each(a, b, |a, b| proven!(_mm256_min_ps(a, b)))
    }
    #[inline(always)]
    fn zero_below(self, x: Self::V, a: Self::V, limit: f32) -> Self::V {
        self.each(x, a, |x, a| {
            proven!({
                let zeroed = _mm256_cmp_ps::<_CMP_LT_OQ>(a, _mm256_set1_ps(limit));
                _mm256_andnot_ps(zeroed, x)
            })
        })
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        proven!([
            _mm256_round_ps::<NEAREST>(a[0]),
            _mm256_round_ps::<NEAREST>(a[1])
        ])
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        self.each(a, n, |a, n| {
            proven!({
                let biased = _mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127));
                _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
            })
        })
    }
    #[inline(always)]
    fn split(self, a: Self::V) -> (Self::V, Self::V) {
        let (low, high) = (self.split_half(a[0]), self.split_half(a[1]));
        ([low.0, high.0], [low.1, high.1])
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        proven!(sum8(_mm256_add_ps(a[0], a[1])))
    }
    #[inline(always)]
    fn max_lane(self, a: Self::V) -> f32 {
        proven!(max8(_mm256_max_ps(a[0], a[1])))
    }
}
