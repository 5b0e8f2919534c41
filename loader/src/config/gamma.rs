//! GaMMA: a temporal and a global expert, a fusion network, a projector.

use super::encoder::EncoderConfig;
use super::text::TextConfig;
use super::{
    Activation, AudioConfig, AudioEncoderConfig, MAX_AUDIO_SECONDS, MAX_HEADS, MAX_WIDTH, epsilon,
    token,
};
use crate::error::Error;
use crate::json::Section;

/// The sizes of what hears in GaMMA.
#[derive(Clone, Debug, PartialEq)]
pub struct GammaConfig {
    /// The temporal expert (`temporal_config`).
    pub temporal: EncoderConfig,
    /// The global expert (`global_config`): the temporal one's width and mel bins, its own depth.
    pub global: EncoderConfig,
    /// The fusion network (`fusion_config`).
    pub fusion: FusionConfig,
    /// The projector (`projector_config`).
    pub projector: ProjectorConfig,
}

/// The fusion network's sizes. Its width is the experts' `d_model`.
#[derive(Clone, Debug, PartialEq)]
pub struct FusionConfig {
    /// Heads of the extractor and the injector; a divisor of `d_model`.
    pub num_attention_heads: usize,
    /// Inner width of the feed-forward network.
    pub ffn_dim: usize,
    /// How finely the two streams are mixed.
    pub gate: Gate,
    /// Added to the variance in every LayerNorm of the fusion network.
    pub layer_norm_eps: f64,
}

/// How finely the learned gate mixes the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// One weight for each channel of each token.
    Channel,
    /// One weight for each token.
    Token,
}

/// The projector's sizes, from the experts' width to the decoder's.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectorConfig {
    /// Width between the two linear layers.
    pub hidden_size: usize,
    /// Activation between the two linear layers.
    pub hidden_act: Activation,
}

/// What hears, in a config of GaMMA.
pub(super) fn read(root: &Section<'_>, text: &TextConfig) -> Result<AudioConfig, Error> {
    let temporal = EncoderConfig::read(&root.section("temporal_config")?, None)?;
    let section = root.section("global_config")?;
    let global = EncoderConfig::read(&section, None)?;
    same(
        &section,
        "num_mel_bins",
        [global.num_mel_bins, temporal.num_mel_bins],
    )?;
    same(&section, "d_model", [global.d_model, temporal.d_model])?;
    Ok(AudioConfig {
        max_seconds: root.size("max_audio_seconds", 1..=MAX_AUDIO_SECONDS)?,
        max_clips: None,
        token: token(root, "audio_token_index", text)?,
        around: None,
        encoder: AudioEncoderConfig::Gamma(GammaConfig {
            fusion: fusion(&root.section("fusion_config")?, temporal.d_model)?,
            projector: projector(&root.section("projector_config")?)?,
            temporal,
            global,
        }),
    })
}

fn fusion(section: &Section<'_>, d_model: usize) -> Result<FusionConfig, Error> {
    let num_attention_heads = section.size("num_attention_heads", 1..=MAX_HEADS)?;
    if !d_model.is_multiple_of(num_attention_heads) {
        let expected = format!("a divisor of temporal_config.d_model, {d_model}");
        return Err(section.invalid("num_attention_heads", &num_attention_heads.into(), expected));
    }
    let gates = [("channel", Gate::Channel), ("token", Gate::Token)];
    Ok(FusionConfig {
        num_attention_heads,
        ffn_dim: section.size("ffn_dim", 1..=MAX_WIDTH)?,
        gate: section.choice("gate", &gates)?,
        layer_norm_eps: epsilon(section, "layer_norm_eps")?,
    })
}

fn projector(section: &Section<'_>) -> Result<ProjectorConfig, Error> {
    Ok(ProjectorConfig {
        hidden_size: section.size("hidden_size", 1..=MAX_WIDTH)?,
        hidden_act: section.choice("hidden_act", &[("gelu", Activation::Gelu)])?,
    })
}

/// A size of the global expert has to be the temporal one's.
fn same(section: &Section<'_>, key: &str, [global, temporal]: [usize; 2]) -> Result<(), Error> {
    if global != temporal {
        let expected = format!("{temporal}, as in temporal_config.{key}");
        return Err(section.invalid(key, &global.into(), expected));
    }
    Ok(())
}
