//! Checkpoints of the full layout whose weights are random or zero, with a real tokenizer and chat
//! template: models whose words carry no meaning, for first steps, tests and benchmarks.
//!
//! # Weights that anybody can reproduce
//!
//! Element `i` (row-major) of the tensor `name` is a function of the seed alone:
//!
//! 1. `s = mix(seed ^ fnv1a64(name))`, with FNV-1a over the bytes of the full tensor name, and
//!    `mix` the output function of splitmix64 (shifts 30, 27, 31);
//! 2. `b = mix(s + (i + 1) * 0x9E3779B97F4A7C15)` modulo 2^64: the `i`-th output of splitmix64
//!    from the state `s`;
//! 3. `u = ((b >> 40) - 2^23) / 2^23`, uniform in [-1, 1);
//! 4. `offset + scale * u` in f32, the product rounded before the sum, then rounded to the dtype
//!    (nearest, ties to even).
//!
//! | tensors | offset | scale |
//! |---|---|---|
//! | linear layers `[out, in]`, convolutions `[out, in, 3]` | 0 | `sqrt(3 / fan_in)`, fan-in `in` or `3 in` |
//! | their biases | 0 | 0.02 |
//! | norm weights | 1 | 0.1 |
//! | norm biases | 0 | 0.05 |
//! | `embed_positions` | 0 | 0.1 |
//! | `embed_tokens`, untied | 0 | 1 |
//! | `lm_head`, or `embed_tokens` when tied, `[vocab, D]` | 0 | `2 sqrt(3 / D)` |
//!
//! The square root is taken in f64 and rounded to f32.
//!
//! In FP8 ([`DType::F8E4M3`]) are the matrices of the decoder's layers, all else is in bf16. A block of
//! 128 x 128 elements has the scale `max |element| / 448`, rounded to bf16, and each code is the nearest
//! to `element / scale`, ties to even, at most 448. The scales of `NAME` are the tensor `NAME_scale_inv`.

mod fp8;
mod random;
mod shapes;
mod tokenizer;
mod weights;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

pub use self::random::Elements;
pub use self::shapes::Shape;
use self::tokenizer::{AUDIO_BEGIN, AUDIO_END, AUDIO_TOKEN, END_OF_TEXT, END_OF_TURN, Vocabulary};
use crate::chat_template::{self, ChatTemplate};
use crate::checkpoint::{Checkpoint, check_tokens};
use crate::config::{Architecture, Config};
use crate::error::Error;
use crate::generation_config::GenerationConfig;
use crate::layout::{self, Role, TensorSpec};
use crate::tokenizer::Tokenizer;
use crate::weights::{DType, Weights};

/// ChatML with audio, as synthetic checkpoints speak it.
const CHAT_TEMPLATE: &str = include_str!("chat_template.jinja");

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticOptions {
    /// The `config.json` to write, of any architecture. The ids of its audio's tokens are set to the
    /// tokenizer's; its vocabulary may be larger than the tokenizer's (ids without text), not smaller.
    pub config: Value,
    /// The type of every tensor; in FP8 are the decoder's matrices alone.
    pub dtype: DType,
    /// What the weights are.
    pub fill: Fill,
    /// Number of weight files; more than one come with an index.
    pub shards: usize,
}

/// What the weights of a synthetic checkpoint are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zeros that take no room on the disk, where the file system has sparse files: for trying how a
    /// model of a real size is loaded and planned.
    Zero,
    /// Random numbers, as above. Another seed, other weights.
    Random {
        /// The seed.
        seed: u64,
    },
}

impl Default for SyntheticOptions {
    /// One file of [`demo_config`], in bf16, from seed 0.
    fn default() -> Self {
        SyntheticOptions {
            config: demo_config(),
            dtype: DType::BF16,
            fill: Fill::Random { seed: 0 },
            shards: 1,
        }
    }
}

/// A small config of the full layout, about a million weights: experts of 2 and 3 layers of width
/// 64, a decoder of 4 layers of width 128.
pub fn demo_config() -> Value {
    // A round number of rows, as real models have, leaves some ids without text.
    let vocab_size = Vocabulary::new().len().next_multiple_of(64);
    let expert = |layers: usize| {
        json!({
            "num_mel_bins": 128, "d_model": 64, "encoder_layers": layers,
            "encoder_attention_heads": 4, "encoder_ffn_dim": 256, "max_source_positions": 1500,
            "activation_function": "gelu",
        })
    };
    json!({
        "architectures": ["GammaForConditionalGeneration"],
        "model_type": "gamma",
        "max_audio_seconds": 300,
        "audio_token_index": 0,
        "temporal_config": expert(2),
        "global_config": expert(3),
        "fusion_config": {
            "num_attention_heads": 4, "ffn_dim": 256, "gate": "channel", "layer_norm_eps": 1e-5,
        },
        "projector_config": { "hidden_size": 128, "hidden_act": "gelu" },
        "text_config": {
            "model_type": "qwen3", "vocab_size": vocab_size, "hidden_size": 128,
            "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 40960,
            "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": false,
            "attention_bias": false, "hidden_act": "silu",
        },
    })
}

/// Reads a `config.json` to write a checkpoint of its sizes.
///
/// # Errors
/// If the file cannot be read or is not JSON.
pub fn read_config(path: &Path) -> Result<Value, Error> {
    crate::json::read(path, crate::config::MAX_FILE)
}

/// The `tokenizer.json` of every synthetic checkpoint: byte-level BPE with a few hundred merges
/// learnt from a page about music, and the special tokens of Qwen3 and of the audio.
pub fn tokenizer_json() -> Value {
    Vocabulary::new().to_json()
}

/// Writes a checkpoint into `dir`, which must be new or empty.
///
/// Every file appears under its name only once it is complete, `config.json` last. Fails if the
/// config is invalid (before anything is written), if `dir` holds anything, and if a file cannot
/// be written.
pub fn write(dir: impl AsRef<Path>, options: &SyntheticOptions) -> Result<(), Error> {
    let dir = dir.as_ref();
    let Parts {
        vocabulary,
        config_json,
        config,
        ..
    } = Parts::new(dir, &options.config, options.dtype)?;
    let specs = layout::tensors(&config);
    if options.shards == 0 || options.shards > specs.len() {
        return Err(Error::Shards {
            shards: options.shards,
            tensors: specs.len(),
        });
    }

    claim(dir)?;
    write_weights(dir, &specs, options)?;
    let generation_config = json!({
        "eos_token_id": end_tokens(&vocabulary),
        "do_sample": false,
    });
    let mut tokenizer_config = special_tokens();
    let class = "PreTrainedTokenizerFast".into();
    tokenizer_config.insert("tokenizer_class".to_owned(), class);
    write_json(dir, "tokenizer.json", &vocabulary.to_json())?;
    write_json(dir, "tokenizer_config.json", &tokenizer_config.into())?;
    write_file(dir, "chat_template.jinja", |out| {
        out.write_all(template(config.architecture).as_bytes())
    })?;
    write_json(dir, "generation_config.json", &generation_config)?;
    write_json(dir, "config.json", &config_json)
}

/// The checkpoint that [`write()`] would write in bf16, without any file: its weights are random
/// numbers that are computed when they are asked for.
///
/// # Errors
/// If the config is invalid.
pub fn checkpoint(config: &Value, seed: u64) -> Result<Checkpoint, Error> {
    let path = Path::new("(random weights)");
    let Parts {
        vocabulary,
        config,
        tokenizer,
        ..
    } = Parts::new(path, config, DType::BF16)?;
    Ok(Checkpoint {
        path: path.to_owned(),
        weights: Weights::random(path, &layout::tensors(&config), seed),
        tokenizer,
        chat_template: ChatTemplate::new(path, template(config.architecture), special_tokens())?,
        generation_config: GenerationConfig {
            eos_token_id: Some(end_tokens(&vocabulary)),
            do_sample: Some(false),
            ..GenerationConfig::default()
        },
        end_tokens: end_tokens(&vocabulary),
        config,
    })
}

/// What every synthetic checkpoint has beside its weights.
struct Parts {
    vocabulary: Vocabulary,
    config_json: Value,
    config: Config,
    tokenizer: Tokenizer,
}

impl Parts {
    /// Those of a config, whose placeholder becomes the tokenizer's, and which says what is in FP8;
    /// `dir` is only named in errors.
    fn new(dir: &Path, config: &Value, dtype: DType) -> Result<Parts, Error> {
        let vocabulary = Vocabulary::new();
        let mut config_json = config.clone();
        if let Some(keys) = config_json.as_object_mut() {
            for (key, token) in audio_tokens(keys.get("model_type")) {
                keys.insert((*key).to_owned(), vocabulary.added_id(token).into());
            }
        }
        let config_path = dir.join("config.json");
        let mut config = Config::from_json(&config_path, &config_json)?;
        if dtype == DType::F8E4M3 {
            config_json["quantization_config"] = quantization(&layout::tensors(&config));
            config = Config::from_json(&config_path, &config_json)?;
        }
        let tokenizer = Tokenizer::from_bytes(
            &dir.join("tokenizer.json"),
            vocabulary.to_json().to_string().as_bytes(),
        )?;
        check_tokens(&config_path, &config, &tokenizer)?;
        Ok(Parts {
            vocabulary,
            config_json,
            config,
            tokenizer,
        })
    }
}

/// The tokens that a config has the ids of, by its keys.
fn audio_tokens(model_type: Option<&Value>) -> &'static [(&'static str, &'static str)] {
    match model_type.and_then(Value::as_str) {
        Some("gamma" | "qwen2_audio") => &[("audio_token_index", AUDIO_TOKEN)],
        Some("audioflamingo3") => &[("audio_token_id", AUDIO_TOKEN)],
        Some("musicflamingo") => &[
            ("audio_token_id", AUDIO_TOKEN),
            ("audio_bos_token_id", AUDIO_BEGIN),
            ("audio_eos_token_id", AUDIO_END),
        ],
        _ => &[],
    }
}

/// What a config says of matrices in FP8.
fn quantization(specs: &[TensorSpec]) -> Value {
    let others = specs.iter().filter(|spec| spec.role == Role::Linear);
    let mut left_alone: Vec<&str> = others
        .filter_map(|spec| spec.name.split('.').next())
        .collect();
    left_alone.push("lm_head");
    left_alone.dedup();
    json!({
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
        "weight_block_size": [fp8::BLOCK, fp8::BLOCK], "modules_to_not_convert": left_alone,
    })
}

/// The template of a model's class.
fn template(architecture: Architecture) -> String {
    match architecture {
        Architecture::Qwen2Audio => chat_template::QWEN2_AUDIO.to_owned(),
        // The tokens around the placeholder are the processor's affair, if there are any.
        Architecture::AudioFlamingo3 | Architecture::MusicFlamingo => {
            let around = [AUDIO_BEGIN, AUDIO_TOKEN, AUDIO_END].concat();
            CHAT_TEMPLATE.replace(&around, AUDIO_TOKEN)
        }
        _ => CHAT_TEMPLATE.to_owned(),
    }
}

/// Tokens that end an answer.
fn end_tokens(vocabulary: &Vocabulary) -> Vec<u32> {
    let tokens = [END_OF_TURN, END_OF_TEXT].map(|token| vocabulary.added_id(token));
    tokens.into_iter().flatten().map(|id| id as u32).collect()
}

/// Special tokens that the template may print.
fn special_tokens() -> Map<String, Value> {
    let tokens = [("eos_token", END_OF_TURN), ("pad_token", END_OF_TEXT)];
    let entries = tokens.map(|(name, token)| (name.to_owned(), token.into()));
    Map::from_iter(entries)
}

/// Creates the directory if need be, and refuses one with anything in it.
fn claim(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io(dir, "create"))?;
    match fs::read_dir(dir).map_err(Error::io(dir, "read"))?.next() {
        Some(_) => Err(Error::NotEmpty {
            path: dir.to_owned(),
        }),
        None => Ok(()),
    }
}

fn write_weights(
    dir: &Path,
    specs: &[TensorSpec],
    options: &SyntheticOptions,
) -> Result<(), Error> {
    let SyntheticOptions {
        dtype,
        fill,
        shards,
        ..
    } = *options;
    let write_shard = |name: &str, specs: &[TensorSpec]| {
        write_file(dir, name, |out| {
            weights::write_safetensors(out, specs, dtype, fill)
        })
    };
    if shards == 1 {
        return write_shard("model.safetensors", specs);
    }
    let mut weight_map = BTreeMap::new();
    for (number, part) in (1..).zip(split(specs, shards, dtype)) {
        let name = format!("model-{number:05}-of-{shards:05}.safetensors");
        write_shard(&name, part)?;
        let entries = part.iter().flat_map(|spec| weights::entries(spec, dtype));
        weight_map.extend(entries.map(|entry| (entry.name, name.clone())));
    }
    let total_size: u64 = specs.iter().map(|spec| weights::size(spec, dtype)).sum();
    let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
    write_json(dir, "model.safetensors.index.json", &index)
}

/// Cuts the tensors into `shards` parts of about the same size, none of them empty.
fn split(specs: &[TensorSpec], shards: usize, dtype: DType) -> Vec<&[TensorSpec]> {
    let size = |spec: &TensorSpec| weights::size(spec, dtype);
    let mut parts = Vec::with_capacity(shards);
    let mut rest = specs;
    for left in (1..shards).rev() {
        // This part and `left` more; each of those needs at least one tensor.
        let target = rest.iter().map(size).sum::<u64>() / (left as u64 + 1);
        let most = rest.len() - left;
        let mut filled = 0;
        let full = rest[..most].iter().position(|spec| {
            filled += size(spec);
            filled >= target
        });
        let (part, remainder) = rest.split_at(full.map_or(most, |last| last + 1));
        parts.push(part);
        rest = remainder;
    }
    parts.push(rest);
    parts
}

fn write_json(dir: &Path, name: &str, value: &Value) -> Result<(), Error> {
    write_file(dir, name, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// Writes a file under a temporary name, then gives it its own.
fn write_file(
    dir: &Path,
    name: &str,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    let path = dir.join(name);
    let partial = dir.join(format!("{name}.partial"));
    let written = File::create_new(&partial)
        .map(BufWriter::new)
        .and_then(|mut out| {
            fill(&mut out)?;
            out.flush()?;
            fs::rename(&partial, &path)
        });
    written.map_err(|error| {
        // The first error is the one that matters.
        let _ = fs::remove_file(&partial);
        Error::io(&path, "write")(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::from_json(Path::new("c"), &demo_config()).unwrap()
    }

    #[test]
    fn splits_into_even_parts() {
        let specs = layout::tensors(&config());
        for shards in [1, 2, 3, 7, specs.len()] {
            let parts = split(&specs, shards, DType::F32);
            assert_eq!(parts.len(), shards);
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert_eq!(parts.concat(), specs);
        }
        let sizes: Vec<u64> = split(&specs, 3, DType::F32)
            .iter()
            .map(|part| {
                part.iter()
                    .map(|spec| weights::size(spec, DType::F32))
                    .sum()
            })
            .collect();
        assert!(sizes.iter().max() < sizes.iter().min().map(|least| least * 2).as_ref());
    }

    #[test]
    fn the_vocabulary_is_sound() {
        let vocabulary = Vocabulary::new();
        assert_eq!(vocabulary.len(), 520);
        let json = tokenizer_json();
        assert_eq!(json["model"]["vocab"].as_object().unwrap().len(), 512);
        assert_eq!(json["added_tokens"][0]["id"], 512);
        assert_eq!(vocabulary.added_id(AUDIO_TOKEN), Some(518));
        assert_eq!(vocabulary.added_id("chorus"), None);
    }
}
