//! Families of one encoder: an audio tower and a projector.

use super::encoder::EncoderConfig;
use super::{Activation, AudioEncoderConfig};
use crate::error::Error;
use crate::json::Section;

/// The sizes of an audio tower and its projector.
#[derive(Clone, Debug, PartialEq)]
pub struct TowerConfig {
    /// The tower (`audio_config`). It pools by two before its last LayerNorm.
    pub encoder: EncoderConfig,
    /// What its rows are turned by before they are projected, if they are.
    pub rotation: Option<TimeRotation>,
    /// From the tower's width to the decoder's.
    pub projector: TowerProjector,
}

/// The layers from a tower's width to the decoder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TowerProjector {
    /// One.
    Linear,
    /// Two, with a GELU between them, the first to the decoder's width already.
    Mlp {
        /// Whether the two have biases.
        bias: bool,
    },
}

/// A rotary embedding of time in seconds, over the first channels of a tower's rows.
///
/// With `dim = partial_rotary_factor * d_model`, rounded down, there are `ceil(dim / 2)`
/// frequencies `theta^(-2i / dim)`, for the window and again for the row of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeRotation {
    /// Base of the wavelengths, and number of positions of both axes.
    pub theta: f64,
    /// Share of the channels that each axis has.
    pub partial_rotary_factor: f64,
    /// Seconds from one mel frame to the next.
    pub frame_step: f64,
}

impl TowerConfig {
    /// What is read from `audio_config`, where `default` has what is absent there.
    pub(super) fn encoder(root: &Section<'_>) -> Result<EncoderConfig, Error> {
        let large = EncoderConfig {
            num_mel_bins: 128,
            d_model: 1280,
            encoder_layers: 32,
            encoder_attention_heads: 20,
            encoder_ffn_dim: 5120,
            max_source_positions: 1500,
            activation_function: Activation::Gelu,
        };
        EncoderConfig::read(&root.section("audio_config")?, Some(&large))
    }
}

impl From<TowerConfig> for AudioEncoderConfig {
    fn from(tower: TowerConfig) -> AudioEncoderConfig {
        AudioEncoderConfig::Tower(tower)
    }
}
