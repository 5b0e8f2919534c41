//! Sixteen f32 lanes with the same bits on every instruction set.
//!
//! Every host kernel is written once, generic over [`Simd`]. A vector always has sixteen lanes: one
//! AVX-512 register, two AVX2 registers, or an array. All arithmetic is IEEE and every fused
//! multiply-add is explicit, so the three implementations agree bit for bit.
#![allow(unsafe_code)]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use portable::Portable;

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
    /// Only for one of [`Isa::available`]: a [`Host`](super::Host) has made sure of that.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Host::with_isa` found it among `Isa::available`, which tests
            // these features.
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

    /// Asks for the cache line at an address, which may be any.
    #[inline(always)]
    fn prefetch(self, _address: *const u8) {}

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
    /// [`Simd::sum`] of each of four vectors.
    #[inline(always)]
    fn sum_each(self, a: [Self::V; 4]) -> [f32; 4] {
        [
            self.sum(a[0]),
            self.sum(a[1]),
            self.sum(a[2]),
            self.sum(a[3]),
        ]
    }
    /// The greatest lane.
    fn max_lane(self, a: Self::V) -> f32;
    /// Lane `i` of vector `j` becomes lane `j` of vector `i`.
    #[inline(always)]
    fn transpose(self, a: [Self::V; LANES]) -> [Self::V; LANES] {
        let mut columns = [[0.0; LANES]; LANES];
        let mut row = [0.0; LANES];
        for j in 0..LANES {
            self.store(a[j], &mut row);
            for i in 0..LANES {
                columns[i][j] = row[i];
            }
        }
        let mut out = a;
        for i in 0..LANES {
            out[i] = self.load(&columns[i]);
        }
        out
    }

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

/// The bits of 0.75, where [`Simd::split`] starts its mantissas.
const SPLIT_AT: u32 = 0x3f40_0000;
const MANTISSA: u32 = 0x007f_ffff;

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
            bits.extend(s.sum_each([a, b, results[2], results[4]]).map(f32::to_bits));
            assert_eq!(bits[0], bits[2]);
            let mut part = [0.0; 7];
            s.store_part(a, &mut part);
            bits.extend(part.map(f32::to_bits));
            for r in results.into_iter().chain(s.transpose(results)) {
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
