//! 95 % confidence intervals.

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A mean with the bounds of its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A proportion of so many of `n`, with Wilson's interval; nothing of none.
pub(super) fn wilson(hits: usize, n: usize) -> Option<Estimate> {
    if n == 0 {
        return None;
    }
    let (n, mean) = (n as f64, hits as f64 / n as f64);
    let spread = 1.0 + Z * Z / n;
    let centre = (mean + Z * Z / (2.0 * n)) / spread;
    let half = Z / spread * (mean * (1.0 - mean) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Estimate {
        mean,
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
    })
}

/// The mean of values, with the normal interval of their standard error; of a single one with none.
/// Nothing of none. For differences of paired answers, too, right 1 and wrong 0.
pub(super) fn normal(values: &[f64]) -> Option<Estimate> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let half = match values.len() {
        1 => 0.0,
        _ => Z * (squares / (n - 1.0) / n).sqrt(),
    };
    Some(Estimate {
        mean,
        low: mean - half,
        high: mean + half,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: Option<Estimate>, expected: [f64; 3]) {
        let found = found.unwrap();
        for (found, expected) in [found.mean, found.low, found.high].iter().zip(expected) {
            assert!((found - expected).abs() < 5e-5, "{found} {expected}");
        }
    }

    /// The bounds are those that statsmodels' `proportion_confint(method="wilson")` has.
    #[test]
    fn wilsons_interval() {
        assert_near(wilson(0, 10), [0.0, 0.0, 0.27753]);
        assert_near(wilson(10, 10), [1.0, 0.72247, 1.0]);
        assert_near(wilson(5, 10), [0.5, 0.23659, 0.76341]);
        assert_near(wilson(939, 1187), [0.79107, 0.76704, 0.81322]);
        assert_eq!(wilson(0, 0), None);
    }

    /// By hand: the values' standard deviation is 1, so half an interval is 1.96 / sqrt(3).
    #[test]
    fn the_interval_of_a_mean() {
        let half = 1.131_585;
        assert_near(normal(&[1.0, 2.0, 3.0]), [2.0, 2.0 - half, 2.0 + half]);
        assert_near(normal(&[0.5]), [0.5, 0.5, 0.5]);
        assert_eq!(normal(&[]), None);
    }
}
