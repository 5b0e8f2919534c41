//! A Whisper encoder's sizes.

use super::{Activation, MAX_HEADS, MAX_LAYERS, MAX_WIDTH, multiple};
use crate::error::Error;
use crate::json::Section;

/// The most mel bands: what the spectrogram takes.
const MAX_MEL_BINS: usize = 1024;
/// Frames that an encoder sees in a window of 30 s: 3,000 mel frames, halved by the second
/// convolution.
const WINDOW_FRAMES: usize = 1500;

/// A Whisper encoder's sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Mel bands of the input.
    pub num_mel_bins: usize,
    /// Width of the stream; a multiple of `encoder_attention_heads`.
    pub d_model: usize,
    /// Number of layers.
    pub encoder_layers: usize,
    /// Attention heads of each layer.
    pub encoder_attention_heads: usize,
    /// Inner width of the feed-forward network.
    pub encoder_ffn_dim: usize,
    /// Rows of the position table: always 1500, a window of 30 s.
    pub max_source_positions: usize,
    /// Activation of the convolutions and the feed-forward network.
    pub activation_function: Activation,
}

impl EncoderConfig {
    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.d_model / self.encoder_attention_heads
    }

    /// Reads an encoder whose keys have Whisper's names or those of transformers' newer classes. One
    /// that is absent has its value in `default`, if there is one.
    pub(super) fn read(
        section: &Section<'_>,
        default: Option<&EncoderConfig>,
    ) -> Result<EncoderConfig, Error> {
        let size = |key, most, of: fn(&EncoderConfig) -> usize| {
            section.size_or(key, default.map(of), 1..=most)
        };
        let heads_key = section.spelling("encoder_attention_heads", "num_attention_heads")?;
        let width_key = section.spelling("d_model", "hidden_size")?;
        let layers_key = section.spelling("encoder_layers", "num_hidden_layers")?;
        let ffn_key = section.spelling("encoder_ffn_dim", "intermediate_size")?;
        let heads = size(heads_key, MAX_HEADS, |d| d.encoder_attention_heads)?;
        let width = size(width_key, MAX_WIDTH, |d| d.d_model)?;
        Ok(EncoderConfig {
            num_mel_bins: size("num_mel_bins", MAX_MEL_BINS, |d| d.num_mel_bins)?,
            d_model: multiple(section, (width_key, width), (heads_key, heads))?,
            encoder_layers: size(layers_key, MAX_LAYERS, |d| d.encoder_layers)?,
            encoder_attention_heads: heads,
            encoder_ffn_dim: size(ffn_key, MAX_WIDTH, |d| d.encoder_ffn_dim)?,
            max_source_positions: section.size_or(
                "max_source_positions",
                default.map(|d| d.max_source_positions),
                WINDOW_FRAMES..=WINDOW_FRAMES,
            )?,
            activation_function: match (section.optional("activation_function"), default) {
                (None, Some(default)) => default.activation_function,
                _ => section.choice("activation_function", &[("gelu", Activation::Gelu)])?,
            },
        })
    }
}
