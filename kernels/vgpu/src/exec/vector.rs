//! Sixteen lanes at a time, for loops that compilers do not turn into vector instructions.
#![allow(unsafe_code)]

use super::column::LANES;

/// Lanes of a vector.
pub(crate) const WIDTH: usize = 16;

/// Vector instructions, or a stand-in. A value of the type proves that the processor has them.
pub(crate) trait Vector: Copy {
    type F: Copy;
    type I: Copy;
    fn floats(self, from: &[f32; WIDTH]) -> Self::F;
    fn ints(self, from: &[i32; WIDTH]) -> Self::I;
    fn splat(self, x: f32) -> Self::F;
    fn splat_int(self, x: i32) -> Self::I;
    fn store(self, x: Self::I) -> [i32; WIDTH];
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn add(self, a: Self::I, b: Self::I) -> Self::I;
    fn max(self, a: Self::I, b: Self::I) -> Self::I;
    /// Cut toward zero; lanes beyond the range of i32 are unspecified.
    fn cut(self, a: Self::F) -> Self::I;

    /// `word << left & mask` of each lane.
    #[inline(always)]
    fn bits(self, words: &[u32; WIDTH], left: u32, mask: u32) -> [u32; WIDTH] {
        let mut out = [0; WIDTH];
        for i in 0..WIDTH {
            out[i] = words[i] << left & mask;
        }
        out
    }

    /// The exponents of singles: -126 for subnormals, `zero` for zeros.
    #[inline(always)]
    fn exponents(self, bits: &[u32; WIDTH], zero: i32) -> [i32; WIDTH] {
        let mut out = [0; WIDTH];
        for i in 0..WIDTH {
            let field = (bits[i] >> 23 & 255) as i32;
            out[i] = if bits[i] << 1 == 0 {
                zero
            } else {
                field.max(1) - 127
            };
        }
        out
    }

    /// The lanes of two columns by their place in groups of four: eight of each column in a row.
    #[inline(always)]
    fn by_place(self, columns: [&[u32; LANES]; 2]) -> [[u32; WIDTH]; 4] {
        let mut out = [[0; WIDTH]; 4];
        for (place, out) in out.iter_mut().enumerate() {
            for (i, out) in out.iter_mut().enumerate() {
                *out = columns[i / 8][4 * (i % 8) + place];
            }
        }
        out
    }
}

/// Plain arrays.
#[derive(Clone, Copy)]
pub(crate) struct Array;

impl Vector for Array {
    type F = [f32; WIDTH];
    type I = [i32; WIDTH];
    #[inline(always)]
    fn floats(self, from: &[f32; WIDTH]) -> [f32; WIDTH] {
        *from
    }
    #[inline(always)]
    fn ints(self, from: &[i32; WIDTH]) -> [i32; WIDTH] {
        *from
    }
    #[inline(always)]
    fn splat(self, x: f32) -> [f32; WIDTH] {
        [x; WIDTH]
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> [i32; WIDTH] {
        [x; WIDTH]
    }
    #[inline(always)]
    fn store(self, x: [i32; WIDTH]) -> [i32; WIDTH] {
        x
    }
    #[inline(always)]
    fn mul(self, a: [f32; WIDTH], b: [f32; WIDTH]) -> [f32; WIDTH] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn add(self, a: [i32; WIDTH], b: [i32; WIDTH]) -> [i32; WIDTH] {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn max(self, a: [i32; WIDTH], b: [i32; WIDTH]) -> [i32; WIDTH] {
        std::array::from_fn(|i| a[i].max(b[i]))
    }
    #[inline(always)]
    fn cut(self, a: [f32; WIDTH]) -> [i32; WIDTH] {
        a.map(|x| x as i32)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Vector, WIDTH};
    use std::arch::x86_64::*;

    /// AVX-512.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(());

    /// AVX2.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    impl Avx512 {
        /// # Safety
        /// The processor must have AVX-512F.
        pub(crate) unsafe fn new() -> Avx512 {
            Avx512(())
        }
    }

    impl Avx2 {
        /// # Safety
        /// The processor must have AVX2.
        pub(crate) unsafe fn new() -> Avx2 {
            Avx2(())
        }
    }

    /// Calls an intrinsic whose instruction the token proves.
    macro_rules! proven {
        ($call:expr) => {
            // SAFETY: a token exists only where the processor has the instructions; pointers come
            // from references of the full width.
            unsafe { $call }
        };
    }

    impl Vector for Avx512 {
        type F = __m512;
        type I = __m512i;
        #[inline(always)]
        fn floats(self, from: &[f32; WIDTH]) -> __m512 {
            proven!(_mm512_loadu_ps(from.as_ptr()))
        }
        #[inline(always)]
        fn ints(self, from: &[i32; WIDTH]) -> __m512i {
            proven!(_mm512_loadu_si512(from.as_ptr().cast()))
        }
        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            proven!(_mm512_set1_ps(x))
        }
        #[inline(always)]
        fn splat_int(self, x: i32) -> __m512i {
            proven!(_mm512_set1_epi32(x))
        }
        #[inline(always)]
        fn store(self, x: __m512i) -> [i32; WIDTH] {
            let mut to = [0; WIDTH];
            proven!(_mm512_storeu_si512(to.as_mut_ptr().cast(), x));
            to
        }
        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            proven!(_mm512_mul_ps(a, b))
        }
        #[inline(always)]
        fn add(self, a: __m512i, b: __m512i) -> __m512i {
            proven!(_mm512_add_epi32(a, b))
        }
        #[inline(always)]
        fn max(self, a: __m512i, b: __m512i) -> __m512i {
            proven!(_mm512_max_epi32(a, b))
        }
        #[inline(always)]
        fn cut(self, a: __m512) -> __m512i {
            proven!(_mm512_cvttps_epi32(a))
        }
        #[inline(always)]
        fn bits(self, words: &[u32; WIDTH], left: u32, mask: u32) -> [u32; WIDTH] {
            let mut out = [0; WIDTH];
            proven!({
                let words = _mm512_loadu_si512(words.as_ptr().cast());
                let shifted = _mm512_sllv_epi32(words, _mm512_set1_epi32(left as i32));
                let masked = _mm512_and_si512(shifted, _mm512_set1_epi32(mask as i32));
                _mm512_storeu_si512(out.as_mut_ptr().cast(), masked);
            });
            out
        }
        #[inline(always)]
        fn exponents(self, bits: &[u32; WIDTH], zero: i32) -> [i32; WIDTH] {
            let mut out = [0; WIDTH];
            proven!({
                let bits = _mm512_loadu_si512(bits.as_ptr().cast());
                let body = _mm512_and_si512(bits, _mm512_set1_epi32(i32::MAX));
                let field = _mm512_max_epi32(_mm512_srli_epi32(body, 23), _mm512_set1_epi32(1));
                let exponent = _mm512_sub_epi32(field, _mm512_set1_epi32(127));
                let is_zero = _mm512_testn_epi32_mask(body, body);
                let picked = _mm512_mask_mov_epi32(exponent, is_zero, _mm512_set1_epi32(zero));
                _mm512_storeu_si512(out.as_mut_ptr().cast(), picked);
            });
            out
        }
        #[inline(always)]
        fn by_place(self, columns: [&[u32; LANES]; 2]) -> [[u32; WIDTH]; 4] {
            let mut out = [[0; WIDTH]; 4];
            let [first, second] = columns.map(|column| column.as_ptr().cast::<__m512i>());
            proven!({
                let every_fourth = _mm512_mullo_epi32(
                    _mm512_set_epi32(7, 6, 5, 4, 3, 2, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0),
                    _mm512_set1_epi32(4),
                );
                let [a, b] = [_mm512_loadu_si512(first), _mm512_loadu_si512(first.add(1))];
                let [c, d] = [
                    _mm512_loadu_si512(second),
                    _mm512_loadu_si512(second.add(1)),
                ];
                for (place, out) in out.iter_mut().enumerate() {
                    let index = _mm512_add_epi32(every_fourth, _mm512_set1_epi32(place as i32));
                    let low = _mm512_permutex2var_epi32(a, index, b);
                    let high = _mm512_permutex2var_epi32(c, index, d);
                    let joined = _mm512_mask_blend_epi32(0xff00, low, high);
                    _mm512_storeu_si512(out.as_mut_ptr().cast(), joined);
                }
            });
            out
        }
    }

    impl Vector for Avx2 {
        type F = [__m256; 2];
        type I = [__m256i; 2];
        #[inline(always)]
        fn floats(self, from: &[f32; WIDTH]) -> [__m256; 2] {
            proven!([
                _mm256_loadu_ps(from.as_ptr()),
                _mm256_loadu_ps(from.as_ptr().add(8))
            ])
        }
        #[inline(always)]
        fn ints(self, from: &[i32; WIDTH]) -> [__m256i; 2] {
            let from: *const __m256i = from.as_ptr().cast();
            proven!([_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))])
        }
        #[inline(always)]
        fn splat(self, x: f32) -> [__m256; 2] {
            [proven!(_mm256_set1_ps(x)); 2]
        }
        #[inline(always)]
        fn splat_int(self, x: i32) -> [__m256i; 2] {
            [proven!(_mm256_set1_epi32(x)); 2]
        }
        #[inline(always)]
        fn store(self, x: [__m256i; 2]) -> [i32; WIDTH] {
            let mut to = [0; WIDTH];
            let at: *mut __m256i = to.as_mut_ptr().cast();
            proven!(_mm256_storeu_si256(at, x[0]));
            proven!(_mm256_storeu_si256(at.add(1), x[1]));
            to
        }
        #[inline(always)]
        fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
            proven!([_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])])
        }
        #[inline(always)]
        fn add(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            proven!([_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])])
        }
        #[inline(always)]
        fn max(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            proven!([_mm256_max_epi32(a[0], b[0]), _mm256_max_epi32(a[1], b[1])])
        }
        #[inline(always)]
        fn cut(self, a: [__m256; 2]) -> [__m256i; 2] {
            proven!([_mm256_cvttps_epi32(a[0]), _mm256_cvttps_epi32(a[1])])
        }
    }
}
