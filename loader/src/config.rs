//! `config.json`, typed and checked.
//!
//! Every size has an upper bound, checked here before anything is allocated from it. Keys that the
//! engine does not use are ignored, because other tools write many of them.

use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::json::{self, Section};

/// The largest `config.json` read, in bytes.
pub(crate) const MAX_FILE: u64 = 16 << 20;
/// The largest width of any vector: hidden sizes, feed-forward sizes, positions.
const MAX_WIDTH: usize = 1 << 20;
/// The largest context length, in tokens.
const MAX_POSITIONS: usize = 1 << 24;
/// The most layers of any stack.
const MAX_LAYERS: usize = 1024;
/// The most attention heads, and the largest head.
const MAX_HEADS: usize = 4096;
/// The largest vocabulary: what sampling takes.
const MAX_VOCAB: usize = (1 << 20) - 1;
/// The most mel bands: what the spectrogram takes.
const MAX_MEL_BINS: usize = 1024;
/// The longest clip a config may allow: one hour, 90,000 tokens.
const MAX_AUDIO_SECONDS: usize = 3600;
/// Frames that an expert sees in a window of 30 s: 3,000 mel frames, halved by the second
/// convolution.
const WINDOW_FRAMES: usize = 1500;

/// Everything that `config.json` says about the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Longest clip in seconds that the model takes (`max_audio_seconds`).
    pub max_audio_seconds: usize,
    /// Id of the placeholder token that stands for the audio in a prompt (`audio_token_index`).
    pub audio_token_index: u32,
    /// The temporal expert (`temporal_config`).
    pub temporal: ExpertConfig,
    /// The global expert (`global_config`): the temporal one's width and mel bins, its own depth.
    pub global: ExpertConfig,
    /// The fusion network (`fusion_config`).
    pub fusion: FusionConfig,
    /// The projector (`projector_config`).
    pub projector: ProjectorConfig,
    /// The decoder (`text_config`).
    pub text: TextConfig,
    /// Tokens that end an answer (`eos_token_id`, an id or a list, at the top or in `text_config`),
    /// for checkpoints whose `generation_config.json` does not say; checked in every one.
    pub eos_token_id: Option<Vec<u32>>,
}

/// A Whisper encoder's sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertConfig {
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

impl ExpertConfig {
    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.d_model / self.encoder_attention_heads
    }
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

/// A Qwen3 decoder's sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Rows of the embedding table; at least the tokenizer's size.
    pub vocab_size: usize,
    /// Width of the stream.
    pub hidden_size: usize,
    /// Inner width of the feed-forward network.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads; a multiple of `num_key_value_heads`.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of one head, even; 128 where the file does not say. Heads times this need not equal
    /// `hidden_size`.
    pub head_dim: usize,
    /// Longest sequence in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding's wavelengths.
    pub rope_theta: f64,
    /// Whether the output layer reuses the embedding table.
    pub tie_word_embeddings: bool,
    /// Activation of the gated feed-forward network.
    pub hidden_act: Activation,
}

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * (1 + erf(x / sqrt(2))) / 2`, exact.
    Gelu,
    /// `x * sigmoid(x)`.
    Silu,
}

impl Config {
    /// Reads and checks a `config.json`.
    pub fn open(path: &Path) -> Result<Config, Error> {
        Config::from_json(path, &json::read(path, MAX_FILE)?)
    }

    /// Checks an already parsed config; `path` is only named in errors.
    pub fn from_json(path: &Path, value: &Value) -> Result<Config, Error> {
        let root = Section::root(path, value)?;
        root.choice("model_type", &[("gamma", ())])?;
        let temporal = expert(&root.section("temporal_config")?)?;
        let global_section = root.section("global_config")?;
        let global = expert(&global_section)?;
        same(&global_section, "num_mel_bins", temporal.num_mel_bins)?;
        same(&global_section, "d_model", temporal.d_model)?;
        let text_section = root.section("text_config")?;
        let text = text(&text_section)?;
        let eos = |section: &Section<'_>| section.optional_tokens("eos_token_id", text.vocab_size);
        Ok(Config {
            max_audio_seconds: root.size("max_audio_seconds", 1..=MAX_AUDIO_SECONDS)?,
            // The bound of vocab_size keeps this within u32.
            audio_token_index: root.size("audio_token_index", 0..=text.vocab_size - 1)? as u32,
            eos_token_id: match eos(&root)? {
                Some(ids) => Some(ids),
                None => eos(&text_section)?,
            },
            fusion: fusion(&root.section("fusion_config")?, temporal.d_model)?,
            projector: projector(&root.section("projector_config")?)?,
            temporal,
            global,
            text,
        })
    }
}

fn expert(section: &Section<'_>) -> Result<ExpertConfig, Error> {
    let encoder_attention_heads = section.size("encoder_attention_heads", 1..=MAX_HEADS)?;
    Ok(ExpertConfig {
        num_mel_bins: section.size("num_mel_bins", 1..=MAX_MEL_BINS)?,
        d_model: multiple(
            section,
            "d_model",
            "encoder_attention_heads",
            encoder_attention_heads,
        )?,
        encoder_layers: section.size("encoder_layers", 1..=MAX_LAYERS)?,
        encoder_attention_heads,
        encoder_ffn_dim: section.size("encoder_ffn_dim", 1..=MAX_WIDTH)?,
        max_source_positions: section
            .size("max_source_positions", WINDOW_FRAMES..=WINDOW_FRAMES)?,
        activation_function: section
            .choice("activation_function", &[("gelu", Activation::Gelu)])?,
    })
}

fn fusion(section: &Section<'_>, d_model: usize) -> Result<FusionConfig, Error> {
    let num_attention_heads = section.size("num_attention_heads", 1..=MAX_HEADS)?;
    if !d_model.is_multiple_of(num_attention_heads) {
        let expected = format!("a divisor of temporal_config.d_model, {d_model}");
        return Err(section.invalid("num_attention_heads", &num_attention_heads.into(), expected));
    }
    Ok(FusionConfig {
        num_attention_heads,
        ffn_dim: section.size("ffn_dim", 1..=MAX_WIDTH)?,
        gate: section.choice(
            "gate",
            &[("channel", Gate::Channel), ("token", Gate::Token)],
        )?,
        layer_norm_eps: epsilon(section, "layer_norm_eps")?,
    })
}

fn projector(section: &Section<'_>) -> Result<ProjectorConfig, Error> {
    Ok(ProjectorConfig {
        hidden_size: section.size("hidden_size", 1..=MAX_WIDTH)?,
        hidden_act: section.choice("hidden_act", &[("gelu", Activation::Gelu)])?,
    })
}

fn text(section: &Section<'_>) -> Result<TextConfig, Error> {
    /// What transformers' `Qwen3Config` takes where the key is absent.
    const DEFAULT_HEAD_DIM: usize = 128;

    section.choice("model_type", &[("qwen3", ())])?;
    refuse(section, "attention_bias")?;
    refuse(section, "use_sliding_window")?;
    if let Some(types) = section.optional("layer_types") {
        let all_full = |types: &Vec<Value>| types.iter().all(|kind| kind == "full_attention");
        if !types.as_array().is_some_and(all_full) {
            return Err(section.invalid("layer_types", types, "\"full_attention\" in every layer"));
        }
    }
    let num_key_value_heads = section.size("num_key_value_heads", 1..=MAX_HEADS)?;
    let head_dim = section
        .optional_size("head_dim", 2..=MAX_HEADS)?
        .unwrap_or(DEFAULT_HEAD_DIM);
    if !head_dim.is_multiple_of(2) {
        return Err(section.invalid("head_dim", &head_dim.into(), "an even number"));
    }
    let heads = multiple(
        section,
        "num_attention_heads",
        "num_key_value_heads",
        num_key_value_heads,
    )?;
    Ok(TextConfig {
        vocab_size: section.size("vocab_size", 1..=MAX_VOCAB)?,
        hidden_size: section.size("hidden_size", 1..=MAX_WIDTH)?,
        intermediate_size: section.size("intermediate_size", 1..=MAX_WIDTH)?,
        num_hidden_layers: section.size("num_hidden_layers", 1..=MAX_LAYERS)?,
        num_attention_heads: heads,
        num_key_value_heads,
        head_dim,
        max_position_embeddings: section.size("max_position_embeddings", 1..=MAX_POSITIONS)?,
        rms_norm_eps: epsilon(section, "rms_norm_eps")?,
        rope_theta: rope_theta(section)?,
        tie_word_embeddings: section
            .optional_bool("tie_word_embeddings")?
            .unwrap_or(false),
        hidden_act: section.choice("hidden_act", &[("silu", Activation::Silu)])?,
    })
}

/// The rotary base: a plain `rope_theta` up to transformers 4, inside `rope_parameters` from
/// transformers 5 on. Scaled variants of the rotary embedding are refused.
fn rope_theta(section: &Section<'_>) -> Result<f64, Error> {
    for key in ["rope_scaling", "rope_parameters"] {
        let Some(value) = section.optional(key) else {
            continue;
        };
        let kind = value.get("rope_type").or_else(|| value.get("type"));
        if !value.is_object() || kind.is_some_and(|kind| kind != "default") {
            return Err(section.invalid(key, value, "an object with rope_type \"default\""));
        }
    }
    let nested = section
        .optional("rope_parameters")
        .and_then(|value| value.get("rope_theta"));
    let (key, value) = match (section.optional("rope_theta"), nested) {
        (Some(plain), Some(nested)) if plain.as_f64() != nested.as_f64() => {
            let expected = format!("rope_parameters.rope_theta, {nested}, or absent");
            return Err(section.invalid("rope_theta", plain, expected));
        }
        (_, Some(nested)) => ("rope_parameters.rope_theta", nested),
        (Some(plain), None) => ("rope_theta", plain),
        (None, None) => return Err(section.missing("rope_theta")),
    };
    value
        .as_f64()
        .filter(|theta| theta.is_finite() && *theta > 0.0)
        .ok_or_else(|| section.invalid(key, value, "a number above 0"))
}

fn epsilon(section: &Section<'_>, key: &str) -> Result<f64, Error> {
    section.number(key, "a number from 0 to 1", |eps| {
        (0.0..=1.0).contains(&eps)
    })
}

/// A width that is a multiple of `divisor`, the value of the key `of`.
fn multiple(section: &Section<'_>, key: &str, of: &str, divisor: usize) -> Result<usize, Error> {
    let size = section.size(key, 1..=MAX_WIDTH)?;
    if !size.is_multiple_of(divisor) {
        let expected = format!("a multiple of {of}, {divisor}");
        return Err(section.invalid(key, &size.into(), expected));
    }
    Ok(size)
}

/// The global expert's size must equal the temporal expert's.
fn same(section: &Section<'_>, key: &str, temporal: usize) -> Result<(), Error> {
    let global = section.size(key, 1..=MAX_WIDTH)?;
    if global != temporal {
        let expected = format!("{temporal}, as in temporal_config.{key}");
        return Err(section.invalid(key, &global.into(), expected));
    }
    Ok(())
}

/// A Qwen3 switch that the engine does not implement.
fn refuse(section: &Section<'_>, key: &str) -> Result<(), Error> {
    match section.optional_bool(key)? {
        Some(true) => Err(section.invalid(key, &true.into(), "false, the only kind supported")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
