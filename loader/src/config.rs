//! `config.json`, typed and checked.
//!
//! Every size has an upper bound, checked here before anything is allocated from it. Keys that the
//! engine does not use are ignored, because other tools write many of them.

use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::json::{self, Section};

/// The largest `config.json` read, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// The largest width of any vector: hidden sizes, feed-forward sizes, positions.
const MAX_WIDTH: usize = 1 << 20;
/// The largest context length, in tokens.
const MAX_POSITIONS: usize = 1 << 24;
/// The most layers of any stack.
const MAX_LAYERS: usize = 1024;
/// The most attention heads, and the largest head.
const MAX_HEADS: usize = 4096;
/// The largest vocabulary.
const MAX_VOCAB: usize = 1 << 24;
/// The longest clip a config may allow: one day.
const MAX_AUDIO_SECONDS: usize = 86_400;
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
        let text = text(&root.section("text_config")?)?;
        Ok(Config {
            max_audio_seconds: root.size("max_audio_seconds", 1..=MAX_AUDIO_SECONDS)?,
            // The bound of vocab_size keeps this within u32.
            audio_token_index: root.size("audio_token_index", 0..=text.vocab_size - 1)? as u32,
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
        num_mel_bins: section.size("num_mel_bins", 1..=MAX_WIDTH)?,
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::synthetic::demo_config;

    fn parse(value: &Value) -> Result<Config, Error> {
        Config::from_json(Path::new("some/config.json"), value)
    }

    /// The demo config with the value at a JSON pointer replaced, or removed if `None`.
    fn edited(pointer: &str, value: Option<Value>) -> Value {
        let mut config = demo_config();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = config.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => drop(parent.insert(key.to_owned(), value)),
            None => drop(parent.remove(key)),
        }
        config
    }

    #[track_caller]
    fn assert_refused(config: &Value, parts: &[&str]) {
        let message = parse(config).unwrap_err().to_string();
        assert!(message.starts_with("some/config.json: "), "{message}");
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in `{message}`");
        }
    }

    #[test]
    fn reads_every_key() {
        let config = parse(&demo_config()).unwrap();
        assert_eq!(config.max_audio_seconds, 300);
        assert_eq!(config.audio_token_index, 0);
        assert_eq!(
            config.global,
            ExpertConfig {
                num_mel_bins: 128,
                d_model: 64,
                encoder_layers: 3,
                encoder_attention_heads: 4,
                encoder_ffn_dim: 256,
                max_source_positions: 1500,
                activation_function: Activation::Gelu,
            }
        );
        assert_eq!(
            config.temporal,
            ExpertConfig {
                encoder_layers: 2,
                ..config.global.clone()
            }
        );
        assert_eq!(config.temporal.head_dim(), 16);
        assert_eq!(
            config.fusion,
            FusionConfig {
                num_attention_heads: 4,
                ffn_dim: 256,
                gate: Gate::Channel,
                layer_norm_eps: 1e-5,
            }
        );
        assert_eq!(
            config.projector,
            ProjectorConfig {
                hidden_size: 128,
                hidden_act: Activation::Gelu
            }
        );
        assert_eq!(
            config.text,
            TextConfig {
                vocab_size: 576,
                hidden_size: 128,
                intermediate_size: 384,
                num_hidden_layers: 4,
                num_attention_heads: 4,
                num_key_value_heads: 2,
                head_dim: 32,
                max_position_embeddings: 40960,
                rms_norm_eps: 1e-6,
                rope_theta: 1e6,
                tie_word_embeddings: false,
                hidden_act: Activation::Silu,
            }
        );
    }

    #[test]
    fn absent_optional_keys_have_the_defaults_of_transformers() {
        let mut config = demo_config();
        let text = config["text_config"].as_object_mut().unwrap();
        for key in ["head_dim", "tie_word_embeddings", "attention_bias"] {
            text.remove(key);
        }
        text.insert("rope_scaling".to_owned(), Value::Null);
        text.insert("sliding_window".to_owned(), Value::Null);
        text.insert("torch_dtype".to_owned(), json!("bfloat16"));
        let text = parse(&config).unwrap().text;
        assert_eq!(text.head_dim, 128);
        assert!(!text.tie_word_embeddings);
    }

    #[test]
    fn accepts_both_places_of_rope_theta() {
        let mut config = edited("/text_config/rope_theta", None);
        config["text_config"]["rope_parameters"] =
            json!({ "rope_theta": 5000.0, "rope_type": "default" });
        assert_eq!(parse(&config).unwrap().text.rope_theta, 5000.0);
        config["text_config"]["rope_theta"] = json!(5000);
        assert_eq!(parse(&config).unwrap().text.rope_theta, 5000.0);
        config["text_config"]["rope_theta"] = json!(4000.0);
        assert_refused(&config, &["text_config.rope_theta", "4000.0", "5000.0"]);
    }

    #[test]
    fn names_missing_keys() {
        let mut checked = 0;
        let whole = demo_config();
        for (key, value) in whole.as_object().unwrap() {
            let nested = value
                .as_object()
                .into_iter()
                .flat_map(|section| section.keys());
            for inner in nested.filter(|inner| {
                !["head_dim", "tie_word_embeddings", "attention_bias"].contains(&inner.as_str())
            }) {
                let dotted = format!("`{key}.{inner}` is missing");
                assert_refused(&edited(&format!("/{key}/{inner}"), None), &[&dotted]);
                checked += 1;
            }
            if key != "architectures" {
                assert_refused(
                    &edited(&format!("/{key}"), None),
                    &[&format!("`{key}` is missing")],
                );
            }
        }
        assert_eq!(checked, 7 + 7 + 4 + 2 + 11);
    }

    #[test]
    fn refuses_bad_values_with_both_sides() {
        let cases: &[(&str, Value, &[&str])] = &[
            (
                "/model_type",
                json!("llava"),
                &["`model_type`", "\"llava\"", "\"gamma\""],
            ),
            ("/max_audio_seconds", json!(0), &["is 0", "from 1 to 86400"]),
            ("/max_audio_seconds", json!(86401), &["is 86401", "86400"]),
            (
                "/audio_token_index",
                json!(576),
                &["is 576", "from 0 to 575"],
            ),
            ("/audio_token_index", json!(-1), &["is -1"]),
            (
                "/temporal_config",
                json!([1]),
                &["`temporal_config` is [1]", "an object"],
            ),
            (
                "/temporal_config/d_model",
                json!("64"),
                &["temporal_config.d_model", "\"64\""],
            ),
            (
                "/temporal_config/d_model",
                json!(64.5),
                &["is 64.5", "an integer"],
            ),
            (
                "/temporal_config/d_model",
                json!(66),
                &["is 66", "encoder_attention_heads, 4"],
            ),
            (
                "/temporal_config/d_model",
                json!(1 << 21),
                &["is 2097152", "1048576"],
            ),
            (
                "/temporal_config/encoder_layers",
                json!(1025),
                &["is 1025", "1024"],
            ),
            (
                "/temporal_config/encoder_layers",
                json!(0),
                &["is 0", "from 1"],
            ),
            (
                "/temporal_config/encoder_attention_heads",
                json!(0),
                &["is 0", "from 1"],
            ),
            (
                "/temporal_config/max_source_positions",
                json!(3000),
                &["is 3000", "1500"],
            ),
            (
                "/temporal_config/activation_function",
                json!("relu"),
                &["\"relu\"", "\"gelu\""],
            ),
            (
                "/global_config/num_mel_bins",
                json!(80),
                &["global_config.num_mel_bins", "80", "128"],
            ),
            (
                "/global_config/d_model",
                json!(128),
                &["global_config.d_model", "128", "64"],
            ),
            (
                "/fusion_config/num_attention_heads",
                json!(5),
                &["is 5", "d_model, 64"],
            ),
            (
                "/fusion_config/gate",
                json!("row"),
                &["\"row\"", "\"channel\" or \"token\""],
            ),
            (
                "/fusion_config/layer_norm_eps",
                json!(-1e-5),
                &["layer_norm_eps", "from 0"],
            ),
            (
                "/projector_config/hidden_act",
                json!("silu"),
                &["\"silu\"", "\"gelu\""],
            ),
            (
                "/text_config/model_type",
                json!("llama"),
                &["text_config.model_type", "\"qwen3\""],
            ),
            (
                "/text_config/vocab_size",
                json!(1 << 25),
                &["is 33554432", "16777216"],
            ),
            ("/text_config/head_dim", json!(33), &["is 33", "even"]),
            (
                "/text_config/num_key_value_heads",
                json!(3),
                &["is 4", "num_key_value_heads, 3"],
            ),
            (
                "/text_config/max_position_embeddings",
                json!(u64::MAX),
                &["18446744073709551615"],
            ),
            (
                "/text_config/rms_norm_eps",
                json!(null),
                &["`text_config.rms_norm_eps` is missing"],
            ),
            (
                "/text_config/rope_theta",
                json!(0),
                &["rope_theta", "is 0", "above 0"],
            ),
            (
                "/text_config/rope_scaling",
                json!({ "type": "yarn" }),
                &["rope_scaling", "yarn"],
            ),
            (
                "/text_config/rope_parameters",
                json!({ "rope_type": "yarn" }),
                &["yarn", "default"],
            ),
            (
                "/text_config/tie_word_embeddings",
                json!(1),
                &["is 1", "true or false"],
            ),
            (
                "/text_config/attention_bias",
                json!(true),
                &["attention_bias", "is true", "false"],
            ),
            (
                "/text_config/use_sliding_window",
                json!(true),
                &["use_sliding_window", "is true"],
            ),
            (
                "/text_config/layer_types",
                json!(["sliding_attention"]),
                &["full_attention"],
            ),
            (
                "/text_config/hidden_act",
                json!("gelu"),
                &["\"gelu\"", "\"silu\""],
            ),
        ];
        for (pointer, value, parts) in cases {
            assert_refused(&edited(pointer, Some(value.clone())), parts);
        }
    }

    #[test]
    fn cuts_long_values_short() {
        let message = parse(&edited("/model_type", Some(json!("x".repeat(10_000)))));
        assert!(message.unwrap_err().to_string().len() < 300);
    }
}
