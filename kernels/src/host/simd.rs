//! Sixteen f32 lanes with the same bits on every instruction set.
//!
//! Every host kernel is written once, generic over [`Simd`]. A vector always has sixteen lanes: one
//! AVX-512 register, two AVX2 registers, or an array. All arithmetic is IEEE and every fused
//! multiply-add is explicit, so the three implementations agree bit for bit.
#![allow(unsafe_code)]

/// Lanes in a vector, on every instruction set.
pub(crate) const LANES: usize = 16;

/// An instruction set, as found when the device was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust, vectorised by the compiler where it can.
    Portable,
}

impl Isa {
    /// Every instruction set that this processor can run, the fastest first.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("f16c");
            let avx512 =
                has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            if avx2 && avx512 {
                found.push(Isa::Avx512);
            }
            if avx2 {
                found.push(Isa::Avx2);
            }
        }
        found.push(Isa::Portable);
        found
    }

    /// `avx512`, `avx2` or `portable`.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Runs `kernel` compiled for this instruction set.
    ///
    /// Only a [`Host`](super::Host) calls it, which has made sure that the processor can run it.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Host::with_isa` found it among `Isa::available`, which tests these features.
            Isa::Avx512 => unsafe { x86::run_avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { x86::run_avx2(kernel) },
            Isa::Portable => kernel.run(Portable),
        }
    }
}

/// A piece of work written once for every instruction set. `run` and what it calls with vectors
/// must be `#[inline(always)]`, so that they are compiled with the instructions of their caller;
/// for the same reason vectors have no place in closures, which the compiler may leave as calls.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Operations on vectors of sixteen f32 lanes. A value of a `Simd` type is proof that the
/// processor has the instructions.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Sixteen f32 lanes.
    type V: Copy;
    /// Vectors of sixteen lanes that the registers hold.
    const REGISTERS: usize;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn store(self, x: Self::V, out: &mut [f32; LANES]);
    /// Sixteen bf16 values, little endian, widened.
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::V;
    /// Sixteen f16 values, little endian, widened.
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::V;
    /// Sixteen f32 values, little endian, at any alignment.
    fn load_f32(self, x: &[u8; 4 * LANES]) -> Self::V;

    /// Asks for the cache line `ahead` bytes past the start of `data`, if there is one.
    fn prefetch(self, _data: &[u8], _ahead: usize) {}

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The greater of each pair of lanes; `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lesser of each pair of lanes; `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `x`, but zero in the lanes where `a` is less than `limit`.
    fn zero_below(self, x: Self::V, a: Self::V, limit: f32) -> Self::V;
    /// Rounded to the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `a * 2^n` for integral lanes `n` in [-126, 127] and normal results.
    fn scale(self, a: Self::V, n: Self::V) -> Self::V;
    /// Mantissa in [0.75, 1.5) and integral exponent of positive normal lanes.
    fn split(self, a: Self::V) -> (Self::V, Self::V);

    /// The sum of the lanes: halves added until one is left (8, 4, 2, 1 apart).
    fn sum(self, a: Self::V) -> f32;
    /// The greatest lane.
    fn max_lane(self, a: Self::V) -> f32;

    /// The first `x.len()` lanes from `x`, at most sixteen; the rest are `fill`.
    #[inline(always)]
    fn load_part(self, x: &[f32], fill: f32) -> Self::V {
        if let Some(lanes) = x.first_chunk() {
            return self.load(lanes);
        }
        let mut lanes = [fill; LANES];
        lanes[..x.len()].copy_from_slice(x);
        self.load(&lanes)
    }

    /// Stores the first `out.len()` lanes, at most sixteen.
    #[inline(always)]
    fn store_part(self, x: Self::V, out: &mut [f32]) {
        if let Some(lanes) = out.first_chunk_mut() {
            return self.store(x, lanes);
        }
        let mut lanes = [0.0; LANES];
        self.store(x, &mut lanes);
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

/// Arrays of sixteen; the shape that the other two must agree with.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// Folds halves onto each other: 8, 4, 2, 1 apart.
#[inline(always)]
fn fold(mut a: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            a[i] = f(a[i], a[i + half]);
        }
    }
    a[0]
}

impl Simd for Portable {
    type V = [f32; LANES];
    // NEON's, the one portable target where speed matters: 32 of four lanes.
    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        *x
    }
    #[inline(always)]
    fn store(self, x: Self::V, out: &mut [f32; LANES]) {
        *out = x;
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> Self::V {
        std::array::from_fn(|i| half::bf16::from_le_bytes([x[2 * i], x[2 * i + 1]]).to_f32())
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> Self::V {
        std::array::from_fn(|i| half::f16::from_le_bytes([x[2 * i], x[2 * i + 1]]).to_f32())
    }
    #[inline(always)]
    fn load_f32(self, x: &[u8; 4 * LANES]) -> Self::V {
        let (words, _) = x.as_chunks::<4>();
        std::array::from_fn(|i| f32::from_le_bytes(words[i]))
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn zero_below(self, x: Self::V, a: Self::V, limit: f32) -> Self::V {
        zip(x, a, |x, a| if a < limit { 0.0 } else { x })
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn scale(self, a: Self::V, n: Self::V) -> Self::V {
        zip(a, n, |a, n| {
            a * f32::from_bits(((n as i32 + 127) as u32) << 23)
        })
    }
    #[inline(always)]
    fn split(self, a: Self::V) -> (Self::V, Self::V) {
        // Offset so that the mantissa's range starts at 0.75 rather than at 1.
        let offset = a.map(|x| x.to_bits().wrapping_sub(SPLIT_AT));
        let exponent = offset.map(|bits| (bits as i32 >> 23) as f32);
        let mantissa = offset.map(|bits| f32::from_bits((bits & MANTISSA).wrapping_add(SPLIT_AT)));
        (mantissa, exponent)
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        fold(a, |a, b| a + b)
    }
    #[inline(always)]
    fn max_lane(self, a: Self::V) -> f32 {
        fold(a, |a, b| if a > b { a } else { b })
    }
}

/// The bits of 0.75, where [`Simd::split`] starts its mantissas.
const SPLIT_AT: u32 = 0x3f40_0000;
const MANTISSA: u32 = 0x007f_ffff;

#[cfg(target_arch = "x86_64")]
mod x86 {
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
            // processor has the instructions; pointers come from references of the full width.
            unsafe { $call }
        };
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
        fn prefetch(self, data: &[u8], ahead: usize) {
            // A prefetch of any address is harmless.
            proven!(_mm_prefetch::<_MM_HINT_T0>(
                data.as_ptr().wrapping_add(ahead).cast()
            ))
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
                .map(|half| {
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(half)))
                })
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
        fn prefetch(self, data: &[u8], ahead: usize) {
            // A prefetch of any address is harmless.
            proven!(_mm_prefetch::<_MM_HINT_T0>(
                data.as_ptr().wrapping_add(ahead).cast()
            ))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds awkward lanes through every operation.
    struct Torture<'a>(&'a [f32; LANES], &'a [f32; LANES]);

    impl Kernel for Torture<'_> {
        type Output = Vec<u32>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<u32> {
            let (a, b) = (s.load(self.0), s.load(self.1));
            let bytes: [u8; 32] = std::array::from_fn(|i| (i * 37) as u8);
            let words: [u8; 64] = std::array::from_fn(|i| (i * 29 % 120) as u8);
            let positive = s.max(s.mul(a, a), s.splat(1e-20));
            let (mantissa, exponent) = s.split(positive);
            let results = [
                s.add(a, b),
                s.sub(a, b),
                s.mul(a, b),
                s.div(a, b),
                s.fma(a, b, a),
                s.max(a, b),
                s.min(a, b),
                s.round(a),
                s.zero_below(a, b, 0.5),
                s.scale(a, s.round(s.min(s.max(b, s.splat(-20.0)), s.splat(20.0)))),
                mantissa,
                exponent,
                s.load_bf16(&bytes),
                s.load_f16(&bytes),
                s.load_f32(&words),
                s.load_part(&self.0[..5], 7.0),
            ];
            let mut bits = vec![s.sum(a).to_bits(), s.max_lane(b).to_bits()];
            for r in results {
                let mut out = [0.0; LANES];
                s.store(r, &mut out);
                bits.extend(out.map(f32::to_bits));
            }
            bits
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let a = std::array::from_fn(|i| (i as f32 - 7.3) * 1.37 + 0.5);
        let b = std::array::from_fn(|i| ((i * 7 % 16) as f32 - 3.9) * 0.71);
        let expected = Isa::Portable.run(Torture(&a, &b));
        for isa in Isa::available() {
            assert_eq!(isa.run(Torture(&a, &b)), expected, "{isa:?}");
        }
    }

    #[test]
    fn split_gives_back_the_value() {
        for x in [1e-10f32, 0.7499, 0.75, 1.0, 1.4999, 1.5, 3.0, 1e20] {
            let (m, e) = Portable.split([x; LANES]);
            assert!((0.75..1.5).contains(&m[0]), "{x}: mantissa {}", m[0]);
            assert_eq!(m[0] * 2f32.powi(e[0] as i32), x);
        }
    }
}
