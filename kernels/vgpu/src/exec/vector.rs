//! Sixteen lanes at a time, for loops that compilers do not turn into vector instructions.
#![allow(unsafe_code)]

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
    use super::{Vector, WIDTH};
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
    }

    impl Vector for Avx2 {
        type F = [__m256; 2];
        type I = [__m256i; 2];
        #[inline(always)]
        fn floats(self, from: &[f32; WIDTH]) -> [__m256; 2] {
            proven!([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))])
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
