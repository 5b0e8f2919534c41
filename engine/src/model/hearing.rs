//! Audio on its way into the decoder, window by window.

use crate::error::Error;
use crate::observe::{Observer, Stage};
use gamut_kernels::ops::{MelBank, log_mel};
use gamut_kernels::{Context, Tensor, View, ViewMut};
use gamut_loader::AudioConfig;
use std::fmt::Debug;

/// Samples of a window of 30 s.
pub(super) const WINDOW_SAMPLES: usize = 480_000;
/// Rows of a whole window: 25 a second.
pub(super) const WINDOW_ROWS: usize = 750;

/// What makes rows among the decoder's embeddings of a clip: the part of the forward pass that is a
/// family's own.
pub(super) trait AudioEncoder: Debug + Send + Sync {
    /// The rows `N` that a clip becomes; of each whole window, 750.
    fn rows(&self, samples: usize) -> usize;

    /// The encoders that every window goes through. Each has its own columns of the streams, in this
    /// order.
    fn encoders(&self) -> &'static [Stage];

    /// Width `d` of a stream.
    fn width(&self) -> usize;

    /// One window of `samples` that are not padding, its log-mel `[bins, 3000]`, through one of the
    /// encoders, into its `rows` `[up to 750, d]` of the stream.
    fn listen(
        &self,
        cx: &Context,
        encoder: Stage,
        mel: View<'_>,
        samples: usize,
        rows: ViewMut<'_>,
    ) -> Result<(), gamut_kernels::Error>;

    /// What is made of the streams `[N, encoders * d]` before they are projected, `[N, d]`.
    fn combine(&self, cx: &Context, streams: Tensor) -> Result<Tensor, gamut_kernels::Error>;

    /// The stage that combining is, if anything is done there.
    fn combined(&self) -> Option<Stage>;

    /// `[N, d]` into the decoder's embedding space, `[N, D]`.
    fn project(&self, cx: &Context, combined: &Tensor) -> Result<Tensor, gamut_kernels::Error>;
}

/// What hears: the log-mel, and what follows it.
#[derive(Debug)]
pub(crate) struct Ears {
    bins: usize,
    mel_bank: MelBank,
    encoder: Box<dyn AudioEncoder>,
}

/// What the stages of hearing a clip hand on.
#[derive(Debug)]
pub(crate) struct Hearing {
    samples: usize,
    /// `[windows * bins, 3000]`.
    mel: Tensor,
    /// `[N, encoders * d]`.
    streams: Tensor,
}

impl Hearing {
    /// The log-mel.
    pub(crate) fn mel(&self) -> View<'_> {
        self.mel.view()
    }
}

/// A unit of the work to hear a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The log-mel of all windows.
    Mel,
    /// A window through an encoder.
    Window(Stage, usize),
    /// What is made of the streams.
    Combine,
    /// Into the decoder's embedding space.
    Project,
}

impl Ears {
    pub(super) fn new(config: &AudioConfig, encoder: Box<dyn AudioEncoder>) -> Result<Ears, Error> {
        let bins = config.encoder.num_mel_bins();
        Ok(Ears {
            bins,
            mel_bank: MelBank::new(bins)?,
            encoder,
        })
    }

    /// Samples `[samples]` of 16 kHz mono to rows `[N, D]` among the decoder's embeddings.
    pub(crate) fn encode(
        &self,
        cx: &Context,
        samples: &[f32],
        observer: &mut dyn Observer,
    ) -> Result<Tensor, Error> {
        let mut hearing = self.log_mel(cx, samples)?;
        observer.output(Stage::Mel, hearing.mel())?;
        let windows = self.windows(samples.len());
        for (number, stage) in self.encoder.encoders().iter().enumerate() {
            for window in 0..windows {
                self.listen(cx, &mut hearing, *stage, window)?;
                observer.progress(*stage, window + 1, windows);
            }
            let d = self.encoder.width();
            observer.output(*stage, hearing.streams.columns(number * d, d))?;
        }
        let combined = self.combine(cx, hearing)?;
        if let Some(stage) = self.encoder.combined() {
            observer.output(stage, combined.view())?;
        }
        let projected = self.project(cx, &combined)?;
        observer.output(Stage::Projected, projected.view())?;
        Ok(projected)
    }

    /// Rows that a clip becomes.
    pub(crate) fn rows(&self, samples: usize) -> usize {
        self.encoder.rows(samples)
    }

    /// Samples of the shortest clip that becomes a row.
    pub(crate) fn shortest(&self) -> usize {
        (1..WINDOW_SAMPLES)
            .find(|samples| self.rows(*samples) > 0)
            .unwrap_or(WINDOW_SAMPLES)
    }

    /// Windows of 30 s that rows come of.
    fn windows(&self, samples: usize) -> usize {
        self.rows(samples).div_ceil(WINDOW_ROWS)
    }

    /// Units of the work to hear a clip.
    pub(crate) fn units(&self, samples: usize) -> usize {
        1 + self.encoder.encoders().len() * self.windows(samples) + 2
    }

    /// Each of them in turn.
    pub(crate) fn unit(&self, samples: usize, index: usize) -> Unit {
        let (encoders, windows) = (self.encoder.encoders(), self.windows(samples));
        let Some(index) = index.checked_sub(1) else {
            return Unit::Mel;
        };
        match index.checked_sub(encoders.len() * windows) {
            None => Unit::Window(encoders[index / windows], index % windows),
            Some(0) => Unit::Combine,
            Some(_) => Unit::Project,
        }
    }

    /// The beginning: the log-mel, and room for the streams.
    pub(crate) fn log_mel(
        &self,
        cx: &Context,
        samples: &[f32],
    ) -> Result<Hearing, gamut_kernels::Error> {
        let columns = self.encoder.encoders().len() * self.encoder.width();
        Ok(Hearing {
            samples: samples.len(),
            streams: cx.tensor_f32(self.rows(samples.len()), columns)?,
            mel: log_mel(cx, samples, &self.mel_bank)?,
        })
    }

    /// One window through one encoder, into its stream.
    pub(crate) fn listen(
        &self,
        cx: &Context,
        hearing: &mut Hearing,
        encoder: Stage,
        window: usize,
    ) -> Result<(), gamut_kernels::Error> {
        let (d, encoders) = (self.encoder.width(), self.encoder.encoders());
        let column = encoders
            .iter()
            .take_while(|stage| **stage != encoder)
            .count()
            * d;
        let first = window * WINDOW_ROWS;
        let rows = WINDOW_ROWS.min(hearing.streams.rows() - first);
        let samples = WINDOW_SAMPLES.min(hearing.samples - window * WINDOW_SAMPLES);
        let mel = hearing.mel.rows_from(window * self.bins, self.bins);
        let rows = hearing.streams.block_mut(first, rows, column, d);
        self.encoder.listen(cx, encoder, mel, samples, rows)
    }

    /// What is made of the streams, `[N, d]`.
    pub(crate) fn combine(
        &self,
        cx: &Context,
        hearing: Hearing,
    ) -> Result<Tensor, gamut_kernels::Error> {
        let Hearing { mel, streams, .. } = hearing;
        drop(mel);
        self.encoder.combine(cx, streams)
    }

    /// The last stage of hearing before the projection.
    pub(crate) fn combined(&self) -> Stage {
        let last = self.encoder.encoders().last();
        self.encoder
            .combined()
            .or(last.copied())
            .unwrap_or(Stage::Mel)
    }

    /// What was combined among the decoder's embeddings, `[N, D]`.
    pub(crate) fn project(
        &self,
        cx: &Context,
        combined: &Tensor,
    ) -> Result<Tensor, gamut_kernels::Error> {
        self.encoder.project(cx, combined)
    }
}
