//! `config.json`, typed and checked.
//!
//! A model family is a reader here, names of its tensors in [`layout`](crate::layout), and its part
//! of the engine's forward pass:
//!
//! | file | reads |
//! |---|---|
//! | `gamma` | GaMMA: two experts, a fusion network |
//! | `qwen2_audio`, `flamingo` | one encoder, called a tower, and a projector |
//! | `text` | the decoder of every family, and decoders alone |
//! | `quantization` | how matrices are stored in FP8 |
//!
//! Every size has an upper bound, checked here before anything is allocated from it. Keys that the
//! engine does not use are ignored, because other tools write many of them.

mod encoder;
mod flamingo;
mod gamma;
mod quantization;
mod qwen2_audio;
mod text;
mod tower;

use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::json::{self, Section};

pub use encoder::EncoderConfig;
pub use gamma::{FusionConfig, GammaConfig, Gate, ProjectorConfig};
pub use quantization::QuantizationConfig;
pub use text::TextConfig;
pub use tower::{TimeRotation, TowerConfig, TowerProjector};

/// The largest `config.json` read, in bytes.
pub(crate) const MAX_FILE: u64 = 16 << 20;
/// The largest width of any vector: hidden sizes, feed-forward sizes, positions.
const MAX_WIDTH: usize = 1 << 20;
/// The most layers of any stack.
const MAX_LAYERS: usize = 1024;
/// The most attention heads, and the largest head.
const MAX_HEADS: usize = 4096;
/// The longest clip a config may allow: one hour, 90,000 tokens.
const MAX_AUDIO_SECONDS: usize = 3600;

/// Everything that `config.json` says about the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The class that the checkpoint is of.
    pub architecture: Architecture,
    /// What hears, unless the model reads text alone.
    pub audio: Option<AudioConfig>,
    /// The decoder.
    pub text: TextConfig,
    /// Tokens that end an answer (`eos_token_id`, an id or a list, at the top or in `text_config`),
    /// for checkpoints whose `generation_config.json` does not say; checked in every one.
    pub eos_token_id: Option<Vec<u32>>,
    /// How matrices in FP8 are stored, if there are any (`quantization_config`, at the top or in
    /// `text_config`).
    pub quantization: Option<QuantizationConfig>,
}

/// How a model hears.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioConfig {
    /// Longest clip in seconds that the model takes.
    pub max_seconds: usize,
    /// Most clips in a conversation that the family knows, if there is a limit.
    pub max_clips: Option<usize>,
    /// Id of the placeholder token that stands for a clip in a prompt.
    pub token: u32,
    /// Tokens before and after a clip that the template leaves to the processor.
    pub around: Option<[u32; 2]>,
    /// What makes rows among the decoder's embeddings of it.
    pub encoder: AudioEncoderConfig,
}

/// The sizes of what makes a clip rows among the decoder's embeddings.
#[derive(Clone, Debug, PartialEq)]
pub enum AudioEncoderConfig {
    /// GaMMA's two experts, fusion network and projector.
    Gamma(GammaConfig),
    /// An encoder and a projector.
    Tower(TowerConfig),
}

impl AudioEncoderConfig {
    /// Mel bands of the input.
    pub fn num_mel_bins(&self) -> usize {
        match self {
            AudioEncoderConfig::Gamma(gamma) => gamma.temporal.num_mel_bins,
            AudioEncoderConfig::Tower(tower) => tower.encoder.num_mel_bins,
        }
    }
}

/// A model class, as the first of `architectures` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `GammaForConditionalGeneration`.
    Gamma,
    /// `Qwen2AudioForConditionalGeneration`.
    Qwen2Audio,
    /// `AudioFlamingo3ForConditionalGeneration`.
    AudioFlamingo3,
    /// `MusicFlamingoForConditionalGeneration`.
    MusicFlamingo,
    /// `Qwen2ForCausalLM`, which Qwen2.5 is as well.
    Qwen2,
    /// `Qwen3ForCausalLM`.
    Qwen3,
}

impl Architecture {
    /// All that are known.
    pub const ALL: [Architecture; 6] = [
        Architecture::Gamma,
        Architecture::Qwen2Audio,
        Architecture::AudioFlamingo3,
        Architecture::MusicFlamingo,
        Architecture::Qwen2,
        Architecture::Qwen3,
    ];

    /// The name in `architectures`.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Gamma => "GammaForConditionalGeneration",
            Architecture::Qwen2Audio => "Qwen2AudioForConditionalGeneration",
            Architecture::AudioFlamingo3 => "AudioFlamingo3ForConditionalGeneration",
            Architecture::MusicFlamingo => "MusicFlamingoForConditionalGeneration",
            Architecture::Qwen2 => "Qwen2ForCausalLM",
            Architecture::Qwen3 => "Qwen3ForCausalLM",
        }
    }

    /// Its `model_type`.
    pub fn model_type(self) -> &'static str {
        match self {
            Architecture::Gamma => "gamma",
            Architecture::Qwen2Audio => "qwen2_audio",
            Architecture::AudioFlamingo3 => "audioflamingo3",
            Architecture::MusicFlamingo => "musicflamingo",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        }
    }

    /// That of a config: the first of `architectures`, or where there are none, `model_type`.
    fn of(root: &Section<'_>) -> Result<Architecture, Error> {
        let listed = root.optional("architectures");
        let (key, value, names): (_, _, fn(Architecture) -> &'static str) =
            match listed.and_then(|value| value.get(0)) {
                Some(name) => ("architectures", name, Architecture::name),
                None => (
                    "model_type",
                    root.required("model_type")?,
                    Architecture::model_type,
                ),
            };
        let known = Architecture::ALL.into_iter();
        let found = known.clone().find(|known| value == names(*known));
        let Some(architecture) = found else {
            let known: Vec<_> = known.map(names).collect();
            return Err(root.invalid(key, value, format!("one of {}", known.join(", "))));
        };
        let model_type = architecture.model_type();
        root.choice("model_type", &[(model_type, architecture)])
    }
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
        let architecture = Architecture::of(&root)?;
        let decoder = match architecture {
            Architecture::Qwen2 | Architecture::Qwen3 => root,
            _ => root.section("text_config")?,
        };
        let text = TextConfig::read(&decoder)?;
        let audio = match architecture {
            Architecture::Gamma => Some(gamma::read(&root, &text)?),
            Architecture::Qwen2Audio => Some(qwen2_audio::read(&root, &text)?),
            Architecture::AudioFlamingo3 => Some(flamingo::audio_flamingo_3(&root, &text)?),
            Architecture::MusicFlamingo => Some(flamingo::music_flamingo(&root, &text)?),
            Architecture::Qwen2 | Architecture::Qwen3 => None,
        };
        let eos = |section: &Section<'_>| section.optional_tokens("eos_token_id", text.vocab_size);
        Ok(Config {
            architecture,
            audio,
            eos_token_id: match eos(&root)? {
                Some(ids) => Some(ids),
                None => eos(&decoder)?,
            },
            quantization: match QuantizationConfig::read(&root)? {
                Some(quantization) => Some(quantization),
                None => QuantizationConfig::read(&decoder)?,
            },
            text,
        })
    }
}

/// The id of a token under `key`, of a decoder's vocabulary.
fn token(section: &Section<'_>, key: &str, text: &TextConfig) -> Result<u32, Error> {
    // The bound of vocab_size keeps this within u32.
    Ok(section.size(key, 0..=text.vocab_size - 1)? as u32)
}

/// A size, the value of `key`, that has to be a multiple of `divisor`, the value of `of`.
fn multiple(
    section: &Section<'_>,
    (key, size): (&str, usize),
    (of, divisor): (&str, usize),
) -> Result<usize, Error> {
    if !size.is_multiple_of(divisor) {
        let expected = format!("a multiple of {of}, {divisor}");
        return Err(section.invalid(key, &size.into(), expected));
    }
    Ok(size)
}

fn epsilon(section: &Section<'_>, key: &str) -> Result<f64, Error> {
    section.number(key, "a number from 0 to 1", |eps| {
        (0.0..=1.0).contains(&eps)
    })
}

#[cfg(test)]
mod tests;
