//! Watching the model at work.

use crate::error::Error;
use gamut_kernels::View;
use std::time::{Duration, Instant};

/// A stage of the audio's way into the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Log-mel, `[windows * num_mel_bins, 3000]`.
    Mel,
    /// The temporal expert's tokens, `[N, d]`.
    Temporal,
    /// The global expert's tokens, `[N, d]`.
    Global,
    /// The fused tokens, `[N, d]`.
    Fused,
    /// The tokens among the decoder's embeddings, `[N, D]`.
    Projected,
}

impl Stage {
    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Mel => "mel",
            Stage::Temporal => "temporal",
            Stage::Global => "global",
            Stage::Fused => "fused",
            Stage::Projected => "projected",
        }
    }
}

/// Told of every stage as it goes on and ends.
pub trait Observer: Send {
    /// `done` of `total` equal steps of a stage are done.
    fn progress(&mut self, _stage: Stage, _done: usize, _total: usize) {}

    /// A stage's result.
    ///
    /// # Errors
    /// If it cannot be copied from the device; the work then ends with this error.
    fn output(&mut self, _stage: Stage, _output: View<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// Does not look.
impl Observer for () {}

/// Takes the time of every stage on its way to another observer.
pub(crate) struct Stopwatch<'a> {
    inner: &'a mut dyn Observer,
    last: Instant,
    pub(crate) times: Vec<(Stage, Duration)>,
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn new(inner: &'a mut dyn Observer) -> Stopwatch<'a> {
        Stopwatch {
            inner,
            last: Instant::now(),
            times: Vec::new(),
        }
    }
}

impl Observer for Stopwatch<'_> {
    fn progress(&mut self, stage: Stage, done: usize, total: usize) {
        self.inner.progress(stage, done, total);
    }

    fn output(&mut self, stage: Stage, output: View<'_>) -> Result<(), Error> {
        output.wait()?;
        let time = self.last.elapsed();
        tracing::debug!(stage = stage.name(), rows = output.rows(), ?time, "heard");
        self.times.push((stage, time));
        self.inner.output(stage, output)?;
        self.last = Instant::now();
        Ok(())
    }
}
