use super::recorded::{BINADES, STEP, STRIDE};
use super::*;
use crate::exec::ops::half_bits::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::exec::ops::rounding::Rounding;

/// FNV-1a, going on from `hash`.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

#[test]
fn recorded_results_are_given_again() {
    for binade in &BINADES {
        for (input, &expected) in (binade.first.to_bits()..)
            .step_by(STEP as usize)
            .zip(&binade.results)
        {
            let x = f32::from_bits(input);
            let found = (binade.function)(x).to_bits();
            assert_eq!(found, expected, "of {x:e}: {found:08x}, not {expected:08x}");
        }
    }
}

#[test]
fn every_61st_result_of_each_binade_is_the_recorded_one() {
    for binade in &BINADES {
        let first = binade.first.to_bits();
        let digest = (first..first + NORMAL)
            .step_by(STRIDE)
            .map(|input| (binade.function)(f32::from_bits(input)).to_bits())
            .fold(FNV_START, |hash, result| fnv1a(hash, &result.to_le_bytes()));
        assert_eq!(digest, binade.digest, "from {}", binade.first);
    }
}

const TINY: f32 = f32::from_bits(1);
const MIN: f32 = f32::MIN_POSITIVE;
const INF: f32 = f32::INFINITY;
const NOT: f32 = f32::from_bits(NAN);

/// Results recorded at zeros, infinities, NaN and the ends of the normal numbers.
#[test]
fn special_values_are_the_recorded_ones() {
    type Case = (fn(f32) -> f32, &'static [(f32, f32)]);
    let cases: [Case; 8] = [
        (
            ex2::<true>,
            &[
                (0.0, 1.0),
                (-TINY, 1.0),
                (f32::MAX, INF),
                (f32::MIN, 0.0),
                (INF, INF),
                (-INF, 0.0),
            ],
        ),
        (
            rcp::<true>,
            &[
                (0.0, INF),
                (-TINY, -INF),
                (MIN, 1.0 / MIN),
                (f32::MAX, 0.0),
                (-INF, -0.0),
            ],
        ),
        (
            rsqrt::<true>,
            &[
                (0.0, INF),
                (-0.0, -INF),
                (-TINY, -INF),
                (-1.0, NOT),
                (1.0, 1.0),
                (INF, 0.0),
            ],
        ),
        (
            sqrt::<true>,
            &[
                (0.0, 0.0),
                (-TINY, -0.0),
                (-1.0, NOT),
                (1.0, 1.0),
                (INF, INF),
                (-INF, NOT),
            ],
        ),
        (
            lg2::<true>,
            &[
                (0.0, -INF),
                (-TINY, -INF),
                (MIN, -125.99999),
                (1.0, 0.0),
                (-1.0, NOT),
                (INF, INF),
            ],
        ),
        (
            sin,
            &[
                (-0.0, -0.0),
                (TINY, 0.0),
                (-MIN, -0.0),
                (f32::MIN, -0.0),
                (INF, NOT),
            ],
        ),
        (
            cos,
            &[(-0.0, 1.0), (TINY, 1.0), (f32::MAX, 1.0), (-INF, NOT)],
        ),
        (
            tanh,
            &[(-0.0, -0.0), (TINY, TINY), (-f32::MAX, -1.0), (INF, 1.0)],
        ),
    ];
    for (number, (function, pairs)) in cases.iter().enumerate() {
        for &(x, expected) in pairs.iter().chain(&[(-f32::NAN, NOT)]) {
            let found = function(x);
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "case {number}: {found} of {x:e}"
            );
        }
    }
}

/// Results of the forms without `.ftz`, recorded where the unit alone would flush.
#[test]
fn subnormal_numbers_are_scaled() {
    let bits = [
        (rcp::<false>(f32::MAX), 0x0020_0000),
        (rcp::<false>(TINY), INFINITY),
        (rsqrt::<false>(TINY), 0x64b5_04f2),
        (sqrt::<false>(TINY), 0x1a35_04f3),
        (lg2::<false>(TINY), 0xc315_0000),
        (lg2::<false>(-TINY), NAN),
        (ex2::<false>(f32::from_bits(0xc30c_c209)), 0x0000_012f),
        (divide::<false>(f32::MAX, f32::MAX), 0),
        (divide_full::<false>(f32::MAX, f32::MAX), 0x3f80_0000),
    ];
    for (number, (found, expected)) in bits.into_iter().enumerate() {
        assert_eq!(found.to_bits(), expected, "case {number}: {found:e}");
    }
}

/// Digests of all 65,536 results of the instructions on halves, each of the digests of 1,024
/// results.
#[test]
fn halves_are_cut() {
    type Function = fn(f32) -> f32;
    let f16 = |function: Function| {
        digest_of_halves(|x| f32_to_f16(cut_f16(function(f16_to_f32(x))), Rounding::Nearest))
    };
    let bf16 = |function: Function| {
        digest_of_halves(|x| f32_to_bf16(cut_bf16(function(bf16_to_f32(x))), Rounding::Nearest))
    };
    assert_eq!(f16(ex2::<true>), 0xfc09_6c5c_be39_1fb5);
    assert_eq!(bf16(ex2::<true>), 0x6ad9_2599_e477_8c1a);
    assert_eq!(f16(tanh), 0xe24b_356d_3465_e69f);
    assert_eq!(bf16(tanh), 0x2d2b_01df_9240_0cfa);
}

fn digest_of_halves(function: impl Fn(u16) -> u16) -> u64 {
    let results: Vec<u8> = (0..=u16::MAX)
        .flat_map(|x| u32::from(function(x)).to_le_bytes())
        .collect();
    results
        .chunks(4 * 1024)
        .map(|part| fnv1a(FNV_START, part))
        .fold(FNV_START, |hash, part| fnv1a(hash, &part.to_le_bytes()))
}
