//! Random numbers, the same for the same seed.

/// The generator splitmix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers of what `seed` names.
    pub(super) fn new(seed: &[u64]) -> Random {
        let mut random = Random(0);
        for part in seed {
            random.0 = random.bits() ^ part;
        }
        random
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A whole number below `n`, which is not 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// A number of the exponential distribution of mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        // Above 0 and at most 1.
        let uniform = ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -uniform.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_generator_gives_its_known_numbers() {
        let mut random = Random(1_234_567);
        let known = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(known.map(|_| random.bits()), known);
    }

    #[test]
    fn every_part_of_a_seed_counts() {
        let first = |seed: &[u64]| Random::new(seed).bits();
        let seeds: [&[u64]; 5] = [&[1, 2], &[2, 1], &[1, 3], &[2, 2], &[1]];
        for (i, seed) in seeds.iter().enumerate() {
            assert!(seeds[..i].iter().all(|other| first(other) != first(seed)));
            assert_eq!(first(seed), first(seed));
        }
    }
}
