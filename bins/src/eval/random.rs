//! Random orders that are the same everywhere and for ever.

use blake3::OutputReader;

/// Random numbers of a seed and a stream.
pub(super) struct Random(OutputReader);

impl Random {
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut hasher = blake3::Hasher::new_derive_key("gamut eval order");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&stream.to_le_bytes());
        Random(hasher.finalize_xof())
    }

    /// A number below `count`, which is not 0.
    fn below(&mut self, count: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        let product = u128::from(u64::from_le_bytes(bytes)) * count as u128;
        (product >> 64) as usize
    }

    /// Puts things in any order, each as likely as any other.
    pub(super) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }

    /// As [`Random::shuffle`], with none of them left in its place if there are several: the orders
    /// that are one cycle, each as likely as any other (Sattolo's).
    pub(super) fn displace<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_order_is_as_likely() {
        let (mut shuffled, mut displaced) = (BTreeMap::new(), BTreeMap::new());
        for seed in 0..6_000 {
            let mut order = [0, 1, 2];
            Random::new(seed, 7).shuffle(&mut order);
            *shuffled.entry(order).or_insert(0) += 1;
            let mut order = [0, 1, 2];
            Random::new(seed, 7).displace(&mut order);
            *displaced.entry(order).or_insert(0) += 1;
        }
        let near = |counts: &BTreeMap<[i32; 3], i32>, expected: i32| {
            counts.values().all(|n| (n - expected).abs() < 200)
        };
        assert!(
            shuffled.len() == 6 && near(&shuffled, 1_000),
            "{shuffled:?}"
        );
        assert!(
            displaced.len() == 2 && near(&displaced, 3_000),
            "{displaced:?}"
        );
        assert!(
            displaced
                .keys()
                .all(|order| (0..3).all(|i| order[i] != i as i32))
        );
    }

    #[test]
    fn orders_stay_the_same() {
        let mut order: Vec<usize> = (0..4).collect();
        Random::new(0, 0).shuffle(&mut order);
        assert_eq!(order, [1, 3, 0, 2]);
    }
}
