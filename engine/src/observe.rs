//! Watching the model at work.

use crate::error::Error;
use gamut_kernels::View;

/// A stage of the audio's way into the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Log-mel, `[windows * num_mel_bins, 3000]`. What follows depends on the model's family.
    Mel,
    /// The temporal expert's tokens, `[N, d]`.
    Temporal,
    /// The global expert's tokens, `[N, d]`.
    Global,
    /// An audio tower's tokens, `[N, d]`.
    Tower,
    /// The fused tokens, `[N, d]`.
    Fused,
    /// The tokens turned by the time that they are of, `[N, d]`.
    Rotated,
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
            Stage::Tower => "tower",
            Stage::Fused => "fused",
            Stage::Rotated => "rotated",
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
