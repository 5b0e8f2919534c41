//! Times of what runs on the GPU, as the results keep them.

use crate::error::Result;
use gamut_kernels::{Timer, Work};
use serde_json::{Value, json};
use std::time::Duration;

/// What a measurement may take.
const BUDGET: Duration = Duration::from_millis(250);
/// Repetitions, whatever they take.
const REPETITIONS: std::ops::RangeInclusive<usize> = 5..=60;

/// Sorted times.
#[derive(Clone, Debug)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// Runs once uncounted, and then as often as the budget allows.
    pub(crate) fn measure(timer: &Timer, run: &mut dyn FnMut() -> Result<()>) -> Result<Times> {
        timer.time(&mut *run)?;
        // The first one may still have waited for something.
        let each = timer.time(&mut *run)?.as_secs_f64() + 1e-4;
        let (least, most) = (*REPETITIONS.start(), *REPETITIONS.end());
        let count = ((BUDGET.as_secs_f64() / each) as usize).clamp(least, most);
        Times::repeat(timer, count, run)
    }

    /// Runs `count` times.
    pub(crate) fn repeat(
        timer: &Timer,
        count: usize,
        run: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Times> {
        let times = (0..count).map(|_| timer.time(&mut *run));
        Ok(Times::new(times.collect::<Result<_>>()?))
    }

    /// The middle one.
    pub(crate) fn median(&self) -> Duration {
        self.at(0.5)
    }

    fn at(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.0.get(index).copied().unwrap_or_default()
    }

    /// Median, tenth and ninetieth percentile in microseconds, and how many there are.
    pub(crate) fn json(&self) -> Value {
        let us = |share| self.at(share).as_secs_f64() * 1e6;
        json!({ "us": us(0.5), "low_us": us(0.1), "high_us": us(0.9), "runs": self.0.len() })
    }
}

/// The same with the work that was done.
pub(crate) fn with_work(times: &Times, work: Work) -> Value {
    let mut value = times.json();
    value["operations"] = work.operations.into();
    value["bytes"] = work.bytes.into();
    value["launches"] = work.launches.into();
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_outer_tenths() {
        let times = (1..=11).rev().map(Duration::from_micros).collect();
        let value = Times::new(times).json();
        let close = |name: &str, us: f64| (value[name].as_f64().unwrap() - us).abs() < 1e-6;
        assert!(
            close("us", 6.0) && close("low_us", 2.0) && close("high_us", 10.0),
            "{value}"
        );
        assert_eq!(value["runs"], 11);
    }
}
