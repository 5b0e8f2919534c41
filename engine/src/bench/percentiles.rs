//! What many measurements come to.

use std::time::Duration;

/// Mean and percentiles of a measurement, nothing where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean: Duration,
    /// The middle one.
    pub p50: Duration,
    /// Nine in ten are at most this.
    pub p90: Duration,
    /// Ninety-nine in a hundred are at most this.
    pub p99: Duration,
}

impl Summary {
    /// The summary of `times`.
    pub fn new(mut times: Vec<Duration>) -> Summary {
        times.sort_unstable();
        let seconds = times.iter().map(Duration::as_secs_f64).sum::<f64>();
        let at = |percent| percentile(&times, percent);
        Summary {
            count: times.len(),
            mean: Duration::from_secs_f64(seconds / times.len().max(1) as f64),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
        }
    }
}

/// The percentile of `sorted` times: of `n` times the one of rank `percent / 100 * (n - 1)`, counted
/// from 0, and between two ranks on the straight line from one to the other. NumPy does so, and so
/// vLLM's benchmarks. Of no times it is 0.
pub fn percentile(sorted: &[Duration], percent: f64) -> Duration {
    let Some(last) = sorted.len().checked_sub(1) else {
        return Duration::ZERO;
    };
    let rank = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[rank as usize], sorted[rank.ceil() as usize]);
    below + (above - below).mul_f64(rank.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    /// What `numpy.percentile` gives.
    #[test]
    fn percentiles_lie_between_ranks() {
        let times = ms(&[10, 20, 30, 40]);
        for (percent, micros) in [
            (0.0, 10_000),
            (25.0, 17_500),
            (50.0, 25_000),
            (90.0, 37_000),
            (99.0, 39_700),
            (100.0, 40_000),
        ] {
            let expected = Duration::from_micros(micros);
            let difference = percentile(&times, percent).abs_diff(expected);
            assert!(difference < Duration::from_nanos(10), "{percent}");
        }
        assert_eq!(percentile(&ms(&[7]), 99.0), Duration::from_millis(7));
        assert_eq!(percentile(&[], 50.0), Duration::ZERO);
    }

    #[test]
    fn a_summary_does_not_care_for_the_order() {
        let times: Vec<u64> = (0..=100).map(|i| i * 37 % 101).collect();
        let summary = Summary::new(ms(&times));
        assert_eq!(summary.count, 101);
        let found = [summary.mean, summary.p50, summary.p90, summary.p99];
        for (found, expected) in found.iter().zip(ms(&[50, 50, 90, 99])) {
            assert!(found.abs_diff(expected) < Duration::from_nanos(10));
        }
        assert_eq!(Summary::new(Vec::new()), Summary::default());
    }
}
