//! A checkpoint directory as a whole.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::chat_template::{self, ChatTemplate};
use crate::config::{Architecture, Config};
use crate::error::Error;
use crate::generation_config::GenerationConfig;
use crate::processor_config;
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;

/// How to open a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Map the weight files into memory (the default) rather than reading them.
    ///
    /// Mapped files cost no memory of their own, are shared between processes, and load as they
    /// are touched. Replacing a file by renaming another over it, or deleting it, is safe. What is
    /// not: truncating a mapped file in place makes the system kill this process (SIGBUS) when it
    /// touches the part cut off, and writing into it changes the weights. Without `mmap` each file
    /// is read into memory once, and what happens to it afterwards does not matter.
    pub mmap: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { mmap: true }
    }
}

/// An open checkpoint: all its parts, read, checked, and checked against each other.
pub struct Checkpoint {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) weights: Weights,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) chat_template: ChatTemplate,
    pub(crate) generation_config: GenerationConfig,
    pub(crate) end_tokens: Vec<u32>,
}

impl Checkpoint {
    /// Opens a checkpoint directory. The tensors are located here; their names and shapes are
    /// checked when they are asked for.
    pub fn open(dir: impl AsRef<Path>, options: &OpenOptions) -> Result<Checkpoint, Error> {
        let dir = dir.as_ref();
        let config_path = dir.join("config.json");
        let mut config = Config::open(&config_path)?;
        if let Some(audio) = &mut config.audio {
            processor_config::apply(dir, audio)?;
        }
        let tokenizer = Tokenizer::open(&dir.join("tokenizer.json"))?;
        check_tokens(&config_path, &config, &tokenizer)?;
        let chat_template = ChatTemplate::open(dir, template_fallback(config.architecture))?;
        let generation_config =
            GenerationConfig::open(&dir.join("generation_config.json"), config.text.vocab_size)?;
        let said = generation_config.eos_token_id.as_ref();
        let end_tokens = match said.or(config.eos_token_id.as_ref()) {
            Some(ids) => ids.clone(),
            None => {
                let eos_token = chat_template.token("eos_token");
                eos_token
                    .and_then(|token| tokenizer.token_to_id(token))
                    .into_iter()
                    .collect()
            }
        };
        Ok(Checkpoint {
            path: dir.to_owned(),
            chat_template,
            generation_config,
            end_tokens,
            weights: Weights::open(dir, options.mmap)?.quantized(config.quantization.as_ref()),
            config,
            tokenizer,
        })
    }

    /// The directory, as given to [`Checkpoint::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `config.json`.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// `tokenizer.json`.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template.
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.chat_template
    }

    /// Tokens that end an answer: those of `generation_config.json`, else of `config.json`, else
    /// the `eos_token` of `tokenizer_config.json`.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// `generation_config.json`.
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.generation_config
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The template of checkpoints that come without one.
fn template_fallback(architecture: Architecture) -> Option<&'static str> {
    (architecture == Architecture::Qwen2Audio).then_some(chat_template::QWEN2_AUDIO)
}

/// Every token needs an embedding, and the placeholder must be a token.
pub(crate) fn check_tokens(
    path: &Path,
    config: &Config,
    tokenizer: &Tokenizer,
) -> Result<(), Error> {
    let invalid = |key: &str, found: String, expected: String| Error::InvalidValue {
        path: path.to_owned(),
        key: key.to_owned(),
        found,
        expected,
    };
    let (rows, tokens) = (config.text.vocab_size, tokenizer.vocab_size());
    if rows < tokens {
        let key = match config.audio {
            Some(_) => "text_config.vocab_size",
            None => "vocab_size",
        };
        let expected = format!("at least the tokenizer's size, {tokens}");
        return Err(invalid(key, rows.to_string(), expected));
    }
    let placeholder = config.audio.as_ref().map(|audio| audio.token);
    if let Some(id) = placeholder
        && tokenizer.id_to_token(id).is_none()
    {
        let key = match config.architecture {
            Architecture::AudioFlamingo3 | Architecture::MusicFlamingo => "audio_token_id",
            _ => "audio_token_index",
        };
        let expected = format!("a token of the tokenizer, which has {tokens}");
        return Err(invalid(key, id.to_string(), expected));
    }
    Ok(())
}
