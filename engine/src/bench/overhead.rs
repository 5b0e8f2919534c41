//! The engine's own share of a step.

use crate::core::idle::Steady;
use crate::error::Error;
use std::time::{Duration, Instant};

/// What a step costs on a device that computes nothing, for each of `steps` steps in the midst of
/// `answers` answers of `pages` pages each: scheduling, the tables that a GPU reads, events to the
/// readers; without detokenizing, sampling and what the readers do.
///
/// # Errors
/// If an answer would have more steps than two pages have tokens, or there is nothing to do.
pub fn overhead(answers: usize, pages: usize, steps: usize) -> Result<Vec<Duration>, Error> {
    let range = |name, found, most| match (1..=most).contains(&found) {
        true => Ok(()),
        false => Err(Error::Option {
            name,
            found,
            least: 1,
            most,
        }),
    };
    range("answers", answers, 1024)?;
    range("pages of each answer", pages, 1024)?;
    range("steps", steps, Steady::STEPS)?;
    let mut steady = Steady::idle(answers, pages)?;
    let mut times = Vec::with_capacity(steps);
    for _ in 0..steps {
        let start = Instant::now();
        steady.step();
        times.push(start.elapsed());
        steady.read();
    }
    Ok(times)
}
