//! What hears in GaMMA: two experts, a fusion network, a projector. Source: arXiv 2605.00371.

use super::bind::Bind;
use super::encoder::Encoder;
use super::fusion::Fusion;
use super::hearing::{AudioEncoder, WINDOW_ROWS};
use super::projector::Projector;
use crate::error::Error;
use crate::observe::Stage;
use gamut_kernels::ops::{avg_pool, layer_norm_f32};
use gamut_kernels::{Context, Tensor, View, ViewMut};
use gamut_loader::GammaConfig;

/// Samples for one row: 25 rows a second.
const SAMPLES_PER_ROW: usize = 640;

#[derive(Debug)]
pub(super) struct Gamma {
    temporal_expert: Encoder,
    global_expert: Encoder,
    fusion: Fusion,
    projector: Projector,
    d: usize,
}

impl Gamma {
    /// Finds the weights from the root of the tree of names on; `out` is the decoder's width.
    pub(super) fn bind(w: &Bind<'_>, config: &GammaConfig, out: usize) -> Result<Gamma, Error> {
        let (d, hidden) = (config.temporal.d_model, config.projector.hidden_size);
        Ok(Gamma {
            temporal_expert: Encoder::bind(&w.at("temporal_expert"), &config.temporal)?,
            global_expert: Encoder::bind(&w.at("global_expert"), &config.global)?,
            fusion: Fusion::bind(&w.at("fusion"), &config.fusion, d)?,
            projector: Projector::mlp(&w.at("projector"), [d, hidden, out], true)?,
            d,
        })
    }
}

impl AudioEncoder for Gamma {
    /// The last token may be of padding in part.
    fn rows(&self, samples: usize) -> usize {
        samples.div_ceil(SAMPLES_PER_ROW)
    }

    fn encoders(&self) -> &'static [Stage] {
        &[Stage::Temporal, Stage::Global]
    }

    fn width(&self) -> usize {
        self.d
    }

    /// The experts hear padding like silence.
    fn listen(
        &self,
        cx: &Context,
        encoder: Stage,
        mel: View<'_>,
        _samples: usize,
        rows: ViewMut<'_>,
    ) -> Result<(), gamut_kernels::Error> {
        let expert = match encoder {
            Stage::Temporal => &self.temporal_expert,
            _ => &self.global_expert,
        };
        let x = expert.forward(cx, mel, 2 * WINDOW_ROWS)?;
        let x = layer_norm_f32(cx, &x, &expert.layer_norm)?;
        avg_pool(cx, &x, rows)
    }

    fn combine(&self, cx: &Context, mut streams: Tensor) -> Result<Tensor, gamut_kernels::Error> {
        self.fusion.forward(cx, &mut streams)
    }

    fn combined(&self) -> Option<Stage> {
        Some(Stage::Fused)
    }

    fn project(&self, cx: &Context, fused: &Tensor) -> Result<Tensor, gamut_kernels::Error> {
        self.projector.forward(cx, fused)
    }
}
