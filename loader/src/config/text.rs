//! The decoder, as transformers writes it in `text_config`, or at the top for a decoder alone.

use serde_json::Value;

use super::{Activation, MAX_HEADS, MAX_LAYERS, MAX_WIDTH, multiple};
use crate::error::Error;
use crate::json::Section;

/// The largest vocabulary: what sampling takes.
const MAX_VOCAB: usize = (1 << 20) - 1;
/// The largest context length, in tokens.
const MAX_POSITIONS: usize = 1 << 24;

/// A Qwen2, Qwen2.5 or Qwen3 decoder's sizes.
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
    /// Width of one head, even. Heads times this need not equal `hidden_size`.
    pub head_dim: usize,
    /// Whether queries, keys and values have biases: Qwen2.
    pub qkv_bias: bool,
    /// Whether queries and keys are normalised: Qwen3.
    pub qk_norm: bool,
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

/// The kinds of decoder.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Qwen2,
    Qwen3,
}

impl TextConfig {
    /// Reads a decoder. What is absent has the value that transformers' `Qwen2Config` and
    /// `Qwen3Config` give it, as transformers itself leaves such keys out.
    pub(super) fn read(section: &Section<'_>) -> Result<TextConfig, Error> {
        let kinds = [("qwen2", Kind::Qwen2), ("qwen3", Kind::Qwen3)];
        let kind = section.choice("model_type", &kinds)?;
        refuse(section, "attention_bias")?;
        refuse(section, "use_sliding_window")?;
        if let Some(types) = section.optional("layer_types") {
            let all_full = |types: &Vec<Value>| types.iter().all(|kind| kind == "full_attention");
            if !types.as_array().is_some_and(all_full) {
                let expected = "\"full_attention\" in every layer";
                return Err(section.invalid("layer_types", types, expected));
            }
        }
        let size = |key, default, most| section.size_or(key, Some(default), 1..=most);
        let hidden_size = size("hidden_size", 4096, MAX_WIDTH)?;
        let heads = size("num_attention_heads", 32, MAX_HEADS)?;
        let kv_heads = size("num_key_value_heads", 32, MAX_HEADS)?;
        let head_dim = match (section.optional_size("head_dim", 2..=MAX_HEADS)?, kind) {
            (Some(head_dim), _) => head_dim,
            (None, Kind::Qwen3) => 128,
            (None, Kind::Qwen2) => {
                let of = ("num_attention_heads", heads);
                multiple(section, ("hidden_size", hidden_size), of)? / heads
            }
        };
        if !head_dim.is_multiple_of(2) {
            return Err(section.invalid("head_dim", &head_dim.into(), "an even number"));
        }
        let eps = section.optional_number("rms_norm_eps", "a number from 0 to 1", |eps| {
            (0.0..=1.0).contains(&eps)
        })?;
        let of = ("num_key_value_heads", kv_heads);
        let tied = section.optional_bool("tie_word_embeddings")?;
        Ok(TextConfig {
            vocab_size: size("vocab_size", 151_936, MAX_VOCAB)?,
            hidden_size,
            intermediate_size: size("intermediate_size", 22_016, MAX_WIDTH)?,
            num_hidden_layers: size("num_hidden_layers", 32, MAX_LAYERS)?,
            num_attention_heads: multiple(section, ("num_attention_heads", heads), of)?,
            num_key_value_heads: kv_heads,
            head_dim,
            qkv_bias: kind == Kind::Qwen2,
            qk_norm: kind == Kind::Qwen3,
            max_position_embeddings: size("max_position_embeddings", 32_768, MAX_POSITIONS)?,
            rms_norm_eps: eps.unwrap_or(1e-6),
            rope_theta: rope_theta(section)?,
            tie_word_embeddings: tied.unwrap_or(false),
            hidden_act: match section.optional("hidden_act") {
                Some(_) => section.choice("hidden_act", &[("silu", Activation::Silu)])?,
                None => Activation::Silu,
            },
        })
    }
}

/// The rotary base: a plain `rope_theta` up to transformers 4, inside `rope_parameters` from
/// transformers 5 on, 10,000 where there is none. Scaled variants of the rotary embedding are
/// refused.
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
        (None, None) => return Ok(10_000.0),
    };
    value
        .as_f64()
        .filter(|theta| theta.is_finite() && *theta > 0.0)
        .ok_or_else(|| section.invalid(key, value, "a number above 0"))
}

/// A switch that the engine does not implement.
fn refuse(section: &Section<'_>, key: &str) -> Result<(), Error> {
    match section.optional_bool(key)? {
        Some(true) => Err(section.invalid(key, &true.into(), "false, the only kind supported")),
        _ => Ok(()),
    }
}
