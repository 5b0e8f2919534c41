//! What hears in Qwen2-Audio and the Flamingos: an audio tower and a projector. Sources: arXiv
//! 2407.10759 (Qwen2-Audio), arXiv 2507.08128 (Audio Flamingo 3), arXiv 2511.10289 (Music Flamingo),
//! and their classes in transformers.

use super::bind::Bind;
use super::encoder::Encoder;
use super::hearing::{AudioEncoder, WINDOW_ROWS, WINDOW_SAMPLES};
use super::projector::Projector;
use crate::error::Error;
use crate::observe::Stage;
use gamut_kernels::ops::{TimeRotation, avg_pool, layer_norm_into, rotate_time};
use gamut_kernels::{Context, Tensor, View, ViewMut};
use gamut_loader::{TowerConfig, TowerProjector};

/// Samples from one mel frame to the next.
const HOP: usize = 160;

#[derive(Debug)]
pub(super) struct Tower {
    audio_tower: Encoder,
    /// Music Flamingo's.
    rotation: Option<TimeRotation>,
    multi_modal_projector: Projector,
    d: usize,
}

impl Tower {
    /// Finds the weights from the root of the tree of names on; `out` is the decoder's width.
    pub(super) fn bind(w: &Bind<'_>, config: &TowerConfig, out: usize) -> Result<Tower, Error> {
        let d = config.encoder.d_model;
        let projector = w.at("multi_modal_projector");
        Ok(Tower {
            audio_tower: Encoder::bind(&w.at("audio_tower"), &config.encoder)?,
            rotation: config
                .rotation
                .map(|r| {
                    let (theta, factor) = (r.theta, r.partial_rotary_factor);
                    TimeRotation::new(d, WINDOW_ROWS, theta, factor, r.frame_step)
                })
                .transpose()?,
            multi_modal_projector: match config.projector {
                TowerProjector::Linear => Projector::linear(&projector, [d, out])?,
                TowerProjector::Mlp { bias } => Projector::mlp(&projector, [d, out, out], bias)?,
            },
            d,
        })
    }
}

/// Frames of a tower that see some of `samples`: of 3,000 of the log-mel, every other.
fn frames(samples: usize) -> usize {
    samples.div_ceil(HOP).div_ceil(2)
}

impl AudioEncoder for Tower {
    /// A row is of two frames; an odd one at the end is dropped.
    fn rows(&self, samples: usize) -> usize {
        let (whole, rest) = (samples / WINDOW_SAMPLES, samples % WINDOW_SAMPLES);
        whole * WINDOW_ROWS + frames(rest) / 2
    }

    fn encoders(&self) -> &'static [Stage] {
        &[Stage::Tower]
    }

    fn width(&self) -> usize {
        self.d
    }

    /// Frames of padding are not heard, so they need not be computed.
    fn listen(
        &self,
        cx: &Context,
        _encoder: Stage,
        mel: View<'_>,
        samples: usize,
        rows: ViewMut<'_>,
    ) -> Result<(), gamut_kernels::Error> {
        let x = self.audio_tower.forward(cx, mel, frames(samples))?;
        let mut pooled = cx.tensor_f32(rows.rows(), self.d)?;
        avg_pool(cx, &x, &mut pooled)?;
        layer_norm_into(cx, &pooled, &self.audio_tower.layer_norm, rows)
    }

    fn combine(&self, cx: &Context, mut rows: Tensor) -> Result<Tensor, gamut_kernels::Error> {
        if let Some(rotation) = &self.rotation {
            rotate_time(cx, &mut rows, rotation)?;
        }
        Ok(rows)
    }

    fn combined(&self) -> Option<Stage> {
        self.rotation.as_ref().map(|_| Stage::Rotated)
    }

    fn project(&self, cx: &Context, rows: &Tensor) -> Result<Tensor, gamut_kernels::Error> {
        self.multi_modal_projector.forward(cx, rows)
    }
}
