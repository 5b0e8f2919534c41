//! Audio on its way into the decoder, window by window.

use super::{Model, WINDOW_TOKENS};
use crate::error::Error;
use crate::observe::{Observer, Stage};
use gamut_kernels::ops::log_mel;
use gamut_kernels::{Context, Tensor, View};

/// What the stages of hearing a clip hand on.
#[derive(Debug)]
pub(crate) struct Hearing {
    /// `[windows * bins, 3000]`.
    mel: Tensor,
    /// `[N, 2 d]`: the temporal stream beside the global one.
    streams: Tensor,
}

impl Hearing {
    /// The log-mel.
    pub(crate) fn mel(&self) -> View<'_> {
        self.mel.view()
    }
}

impl Model {
    /// Samples `[samples]` of 16 kHz mono to rows `[N, D]` among the decoder's embeddings.
    pub(crate) fn encode(
        &self,
        cx: &Context,
        samples: &[f32],
        observer: &mut dyn Observer,
    ) -> Result<Tensor, Error> {
        let mut hearing = self.log_mel(cx, samples)?;
        observer.output(Stage::Mel, hearing.mel())?;
        let windows = Model::windows(samples.len());
        for stage in [Stage::Temporal, Stage::Global] {
            for window in 0..windows {
                self.listen(cx, &mut hearing, stage, window)?;
                observer.progress(stage, window + 1, windows);
            }
            let d = self.config().temporal.d_model;
            let column = if stage == Stage::Temporal { 0 } else { d };
            observer.output(stage, hearing.streams.columns(column, d))?;
        }
        let fused = self.fuse(cx, hearing)?;
        observer.output(Stage::Fused, fused.view())?;
        let projected = self.projector.forward(cx, &fused)?;
        observer.output(Stage::Projected, projected.view())?;
        Ok(projected)
    }

    /// Windows of 30 s that hold a clip of `samples`.
    pub(crate) fn windows(samples: usize) -> usize {
        Model::audio_tokens(samples).div_ceil(WINDOW_TOKENS)
    }

    /// The beginning: the log-mel, and room for both streams.
    pub(crate) fn log_mel(
        &self,
        cx: &Context,
        samples: &[f32],
    ) -> Result<Hearing, gamut_kernels::Error> {
        let d = self.config().temporal.d_model;
        let n = Model::audio_tokens(samples.len());
        let streams = cx.tensor_f32(n, 2 * d)?;
        let mel = log_mel(cx, samples, &self.mel_bank)?;
        Ok(Hearing { mel, streams })
    }

    /// One window through one expert, into its stream.
    pub(crate) fn listen(
        &self,
        cx: &Context,
        hearing: &mut Hearing,
        stage: Stage,
        window: usize,
    ) -> Result<(), gamut_kernels::Error> {
        let d = self.config().temporal.d_model;
        let bins = self.config().temporal.num_mel_bins;
        let (expert, column) = match stage {
            Stage::Temporal => (&self.temporal_expert, 0),
            _ => (&self.global_expert, d),
        };
        let first = window * WINDOW_TOKENS;
        let rows = WINDOW_TOKENS.min(hearing.streams.rows() - first);
        let tokens = hearing.streams.block_mut(first, rows, column, d);
        expert.forward(cx, hearing.mel.rows_from(window * bins, bins), tokens)
    }

    /// Both streams mixed, `[N, d]`.
    pub(crate) fn fuse(
        &self,
        cx: &Context,
        hearing: Hearing,
    ) -> Result<Tensor, gamut_kernels::Error> {
        let Hearing { mel, mut streams } = hearing;
        drop(mel);
        self.fusion.forward(cx, &mut streams)
    }

    /// Fused tokens among the decoder's embeddings, `[N, D]`.
    pub(crate) fn project(
        &self,
        cx: &Context,
        fused: &Tensor,
    ) -> Result<Tensor, gamut_kernels::Error> {
        self.projector.forward(cx, fused)
    }
}
