//! What the engine asks of a device.

use crate::model::Model;
use crate::observe::Stage;
use crate::sync::Arc;
use gamut_kernels::ops::{Draw, Sampled, Source};
use gamut_kernels::{Error, Sequence};
use std::time::Duration;

/// One step of the decoder, with the choice of its tokens.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    /// Pages to be copied before all else, from and to.
    pub(crate) copies: &'a [(u32, u32)],
    /// Whose rows they are.
    pub(crate) sequences: &'a [Sequence<'a>],
    /// The embedding of every row. Audio is a row of the pool.
    pub(crate) sources: &'a [Source],
    /// The rows whose logits are wanted; one may be there many times.
    pub(crate) wanted: &'a [usize],
    /// What is to be done with the logits of each.
    pub(crate) draws: &'a [Draw<'a>],
}

impl Step<'_> {
    /// Whether all rows are wanted, in their order.
    pub(crate) fn wants_all(&self) -> bool {
        self.wanted.iter().copied().eq(0..self.sources.len())
    }
}

/// A device with a model, its cache and its pool of audio.
pub(crate) trait Runner {
    /// Begins a step; what an earlier one began has been finished.
    fn start(&mut self, step: &Step<'_>) -> Result<(), Error>;

    /// Waits for the step's tokens, and puts one for each of its draws into `drawn`, or why there is
    /// none.
    fn finish(&mut self, drawn: &mut Vec<Result<Sampled, Error>>) -> Result<(), Error>;

    /// Rows of audio that so many samples become.
    fn rows(&self, samples: usize) -> usize;

    /// Units of the work to hear so many samples.
    fn units(&self, samples: usize) -> usize;

    /// Does a unit of the work to hear a clip: all in turn, the first one first. The last leaves the
    /// clip's rows in `blocks` of the pool. Returns the stage that the unit is of, if it is done.
    fn hear(&mut self, samples: &[f32], unit: usize, blocks: &[u32]) -> Result<Stage, Error>;

    /// Takes another model of the same sizes. If that fails, it has the one before.
    ///
    /// # Errors
    /// If the device's memory or a copy fails.
    fn replace(&mut self, model: &Arc<Model>) -> Result<(), crate::Error>;

    /// See [`Stats::device_time`](crate::Stats::device_time).
    fn device_time(&self) -> Duration;

    /// Lets go of what the units of a clip have left for those that will not come. No step is under
    /// way afterwards.
    fn abort(&mut self);
}
