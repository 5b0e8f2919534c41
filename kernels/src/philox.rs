//! Random bits that are a function of a seed and a position, the same on every device.
//!
//! Philox4x32-10 of J. K. Salmon and others, "Parallel random numbers: as easy as 1, 2, 3" (2011).

/// Sixty-four uniform bits for a position of a seed's stream.
pub(crate) fn bits(seed: u64, position: u64) -> u64 {
    let [low, high, ..] = philox([position as u32, (position >> 32) as u32, 0, 0], seed);
    u64::from(high) << 32 | u64::from(low)
}

/// Ten rounds on a counter, the key's low word first.
fn philox(mut counter: [u32; 4], key: u64) -> [u32; 4] {
    let mut key = [key as u32, (key >> 32) as u32];
    for _ in 0..10 {
        let [a, b, c, d] = counter;
        let even = u64::from(a) * 0xd251_1f53;
        let odd = u64::from(c) * 0xcd9e_8d57;
        counter = [
            (odd >> 32) as u32 ^ b ^ key[0],
            odd as u32,
            (even >> 32) as u32 ^ d ^ key[1],
            even as u32,
        ];
        // The golden ratio and the square root of three.
        key[0] = key[0].wrapping_add(0x9e37_79b9);
        key[1] = key[1].wrapping_add(0xbb67_ae85);
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::philox;

    /// The known answers that the authors publish with Random123.
    #[test]
    fn known_answers() {
        for (counter, key, expected) in [
            (
                [0; 4],
                0,
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                u64::MAX,
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                0x299f_31d0_a409_3822,
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(counter, key), expected);
        }
    }
}
