//! Test clips from a seed, in integer arithmetic only: the twin of `golden/clip.py`, which tells
//! the rule.

/// Phase steps of the twelve semitones from 110 Hz up, in 2^-32 of a turn per sample at 16 kHz.
const SEMITONES: [u64; 12] = [
    29_527_900, 31_283_720, 33_143_947, 35_114_789, 37_202_823, 39_415_018, 41_758_757, 44_241_862,
    46_872_620, 49_659_811, 52_612_737, 55_741_253,
];

/// The first `samples` samples of the clip of a seed: 16 kHz, mono, `i16`.
pub fn clip(seed: u64, samples: usize) -> Vec<i16> {
    (0..samples as u64).map(|n| sample(seed, n)).collect()
}

fn sample(seed: u64, n: u64) -> i16 {
    let (second, within) = (n / 16_000, (n % 16_000) as i64);
    if (114_000..122_000).contains(&(n % 160_000)) {
        return 0;
    }
    let fade = 12_288 - within / 2;
    let chord: i64 = (0..4)
        .map(|voice| {
            let h = splitmix(seed ^ splitmix((second << 8) | voice));
            let step = SEMITONES[(h % 12) as usize] << ((h >> 8) % 4);
            let phase = i64::from(n.wrapping_mul(step) as u32);
            let rising = phase >> 15;
            let triangle = rising.min(131_071 - rising) - 32_768;
            let saw = (phase >> 16) - 32_768;
            let wave = if voice < 2 { triangle } else { saw };
            (wave * fade) >> 17
        })
        .sum();
    let noise = (splitmix(seed ^ n) >> 48) as i64 - 32_768;
    let burst = (noise * (4_096 - 2 * (within % 8_000)).max(0)) >> 15;
    let loudness = if second % 10 == 4 { 2 } else { 1 };
    let sum = (chord + burst) * loudness;
    sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// The first output of splitmix64 from a state.
fn splitmix(state: u64) -> u64 {
    let x = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
