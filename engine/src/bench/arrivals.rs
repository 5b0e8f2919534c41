//! When requests come.

use super::random::Random;
use std::time::Duration;

/// The arrivals of a Poisson process, the first one at once.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    random: Random,
    /// Requests a second; an infinite rate brings all at once.
    rate: f64,
    /// Seconds until the next one.
    next: f64,
}

impl Arrivals {
    pub(super) fn new(rate: f64, seed: u64) -> Arrivals {
        Arrivals {
            random: Random::new(&[seed]),
            rate,
            next: 0.0,
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = Duration::try_from_secs_f64(self.next).ok()?;
        self.next += self.random.exponential() / self.rate;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_exponential_around_the_rate() {
        let count = 20_000;
        let seconds: Vec<f64> = Arrivals::new(4.0, 0)
            .take(count + 1)
            .map(|arrival| arrival.as_secs_f64())
            .collect();
        assert_eq!(seconds[0], 0.0);
        let gaps = seconds.windows(2).map(|pair| pair[1] - pair[0]);
        let mean = seconds[count] / count as f64;
        assert!((mean - 0.25).abs() < 0.005, "{mean}");
        // Of an exponential distribution as many are longer than the mean.
        let longer = gaps.filter(|gap| *gap > 0.25).count() as f64 / count as f64;
        assert!((longer - (-1.0f64).exp()).abs() < 0.01, "{longer}");
    }

    #[test]
    fn the_seed_and_nothing_else_chooses_them() {
        let draw = |seed| Arrivals::new(2.0, seed).take(100).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        // Another rate stretches them.
        for (slow, fast) in Arrivals::new(1.0, 1).zip(draw(1)) {
            let (slow, fast) = (slow.as_secs_f64(), fast.as_secs_f64());
            assert!((slow - 2.0 * fast).abs() < 1e-6, "{slow} {fast}");
        }
    }

    #[test]
    fn an_infinite_rate_brings_all_at_once() {
        let mut all = Arrivals::new(f64::INFINITY, 0).take(1000);
        assert!(all.all(|arrival| arrival.is_zero()));
    }
}
