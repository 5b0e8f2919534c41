//! Checkpoint directories for Gamut: the files that a music model is published as, opened, checked
//! and typed. Nothing here computes; the engine asks for what it needs by name.
//!
//! A checkpoint is a Hugging Face directory:
//!
//! | file | read as | required |
//! |---|---|---|
//! | `config.json` | [`Config`]: every size and switch of the model | yes |
//! | `model.safetensors`, or `model.safetensors.index.json` and its shards | [`Weights`] | yes |
//! | `tokenizer.json`, byte-level | [`Tokenizer`] | yes |
//! | `chat_template.jinja`, or a key in `tokenizer_config.json` | [`ChatTemplate`] | yes |
//! | `tokenizer_config.json` | variables of the template, such as `eos_token`, an end token if no other file names one | no |
//! | `processor_config.json`, `preprocessor_config.json` | checked: audio has to be prepared as Whisper's is; the longest clip | no |
//! | `generation_config.json` | [`GenerationConfig`]: defaults for sampling, end tokens | no |
//!
//! The tensors and their names are listed in [`layout`]. [`synthetic`] writes random checkpoints of
//! this layout, for first steps and tests.
//!
//! ```
//! use gamut_loader::{Checkpoint, Message, OpenOptions, TemplateOptions, synthetic};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! synthetic::write(dir.path(), &synthetic::SyntheticOptions::default())?;
//!
//! let checkpoint = Checkpoint::open(dir.path(), &OpenOptions::default())?;
//! let d = checkpoint.config().text.hidden_size;
//! let decoder = checkpoint.weights().scope("language_model").scope("model");
//! let norm = decoder.scope("layers").scope(0).tensor("input_layernorm.weight", &[d])?;
//! assert_eq!(norm.data.len(), d * norm.dtype.size());
//!
//! let messages = [Message::audio("user", "When does the chorus start?")];
//! let prompt = checkpoint.chat_template().render(&messages, &TemplateOptions::default())?;
//! let tokens = checkpoint.tokenizer().encode(&prompt)?;
//! let audio = checkpoint.config().audio.as_ref().expect("a model that hears");
//! assert!(tokens.contains(&audio.token));
//! # Ok(())
//! # }
//! ```
//!
//! # What can be relied on
//!
//! - Weights are mapped, not copied: a [`Tensor`] is a view into its file. See
//!   [`OpenOptions::mmap`] for what may happen to the files meanwhile.
//! - Files are not trusted. Every length is checked before memory is spent on it, every template
//!   has a budget of steps, output and stack, and every [`Error`] names the file, the key or tensor,
//!   what was found and what was expected.
//! - Matrices in FP8 (`F8_E4M3`) come as they are stored, with the scales of their blocks, as
//!   `quantization_config` of `config.json` lays them out.
//! - Libraries underneath may panic on senseless tokenizers and templates; that is caught and
//!   returned as an error.

mod chat_template;
mod checkpoint;
mod config;
mod error;
mod file;
mod generation_config;
mod json;
pub mod layout;
mod processor_config;
mod safetensors;
pub mod synthetic;
mod tokenizer;
mod weights;

pub use chat_template::{ChatTemplate, Content, Message, Part, TemplateOptions};
pub use checkpoint::{Checkpoint, OpenOptions};
pub use config::{
    Activation, Architecture, AudioConfig, AudioEncoderConfig, Config, EncoderConfig, FusionConfig,
    GammaConfig, Gate, ProjectorConfig, QuantizationConfig, TextConfig, TimeRotation, TowerConfig,
    TowerProjector,
};
pub use error::Error;
pub use generation_config::GenerationConfig;
pub use tokenizer::Tokenizer;
pub use weights::{BlockScales, DType, Scope, Tensor, TensorSummary, Weights};
