//! The model: from samples to logits, in a few statements a layer.
//!
//! A family is what hears, [`gamma`] or [`tower`], made of the same parts; the decoder is shared.

mod bind;
mod decoder;
mod encoder;
mod fusion;
mod gamma;
mod hearing;
mod projector;
mod tower;

use crate::constraint::{Compiler, Constraint, Guide};
use crate::error::Error;
use bind::Bind;
use decoder::Decoder;
use gamma::Gamma;
use gamut_kernels::ops::Rope;
use gamut_kernels::{Batch, Context, KvCache, Tensor, View, Weight};
use gamut_loader::{AudioConfig, AudioEncoderConfig, Checkpoint, Config, OpenOptions, synthetic};
use hearing::AudioEncoder;
pub(crate) use hearing::{Ears, Hearing, Unit};
use std::cell::RefCell;
use std::path::Path;
use std::sync::OnceLock;
use tower::Tower;

/// A model's weights, mapped from its checkpoint and never written: share it in an `Arc`.
#[derive(Debug)]
pub struct Model {
    checkpoint: Checkpoint,
    /// None in a model that reads text alone.
    ears: Option<Ears>,
    language_model: Decoder,
    /// The matrices in FP8, which are among the parts as well.
    fp8: Vec<Weight>,
    /// Made when the first answer is to be held to something.
    compiler: OnceLock<Result<Compiler, String>>,
}

impl Model {
    /// Opens a checkpoint directory and finds every weight in it.
    ///
    /// # Errors
    /// If a file or a key is missing or wrong, or if a tensor is missing, misshapen or of a type
    /// that is not f32, f16, bf16 or FP8 with scales.
    pub fn open(dir: impl AsRef<Path>, options: &OpenOptions) -> Result<Model, Error> {
        Model::bind(Checkpoint::open(dir, options)?)
    }

    /// A model of random weights, which are computed on the device that they are loaded on: the one
    /// that [`synthetic::write`] would write to files in bf16. `config` is the text of its
    /// config.json.
    ///
    /// # Errors
    /// If the config is invalid.
    pub fn random(config: &str, seed: u64) -> Result<Model, Error> {
        let config = serde_json::from_str(config).map_err(|cause| gamut_loader::Error::Json {
            path: "(the config)".into(),
            cause,
        })?;
        Model::bind(synthetic::checkpoint(&config, seed)?)
    }

    fn bind(checkpoint: Checkpoint) -> Result<Model, Error> {
        let config = checkpoint.config();
        let fp8 = RefCell::default();
        let root = |name: &str| Bind {
            scope: checkpoint.weights().scope(name),
            fp8: &fp8,
        };
        let text = &config.text;
        let ears = config.audio.as_ref().map(|audio| {
            let out = text.hidden_size;
            let encoder: Box<dyn AudioEncoder> = match &audio.encoder {
                AudioEncoderConfig::Gamma(gamma) => Box::new(Gamma::bind(&root(""), gamma, out)?),
                AudioEncoderConfig::Tower(tower) => Box::new(Tower::bind(&root(""), tower, out)?),
            };
            Ears::new(audio, encoder)
        });
        Ok(Model {
            ears: ears.transpose()?,
            language_model: Decoder::bind(&root(config.architecture.decoder_scope()), text)?,
            fp8: fp8.take(),
            checkpoint,
            compiler: OnceLock::new(),
        })
    }

    /// What follows a constraint on an answer.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub(crate) fn compile(&self, constraint: &Constraint) -> Result<Guide, Error> {
        let vocabulary = self.config().text.vocab_size;
        let new = || Compiler::new(&self.checkpoint, vocabulary).map_err(|e| e.to_string());
        match self.compiler.get_or_init(new) {
            Ok(compiler) => compiler.compile(constraint),
            Err(reason) => Err(Error::Constraint {
                what: "constraint",
                reason: reason.clone(),
            }),
        }
    }

    /// The checkpoint: config, tokenizer, chat template.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The sizes of the model.
    pub fn config(&self) -> &Config {
        self.checkpoint.config()
    }

    /// Tokens that a clip of `samples` at 16 kHz becomes: 25 a second; none in a model that reads
    /// text alone.
    pub fn audio_tokens(&self, samples: usize) -> usize {
        self.ears.as_ref().map_or(0, |ears| ears.rows(samples))
    }

    /// The longest clip in seconds that the model takes; 0 in a model that reads text alone.
    pub fn max_audio_seconds(&self) -> usize {
        let audio = self.config().audio.as_ref();
        audio.map_or(0, |audio| audio.max_seconds)
    }

    /// The placeholder that stands for a clip in a prompt of [`Tokens`](crate::Input::Tokens), of a
    /// model that hears.
    pub fn audio_token(&self) -> Option<u32> {
        self.config().audio.as_ref().map(|audio| audio.token)
    }

    /// The weights in FP8.
    pub(crate) fn fp8(&self) -> &[Weight] {
        &self.fp8
    }

    /// What hears; None where [`Model::audio`] is an error.
    pub(crate) fn ears(&self) -> Option<&Ears> {
        self.ears.as_ref()
    }

    /// How the model hears.
    ///
    /// # Errors
    /// If the model reads text alone.
    pub(crate) fn audio(&self) -> Result<&AudioConfig, Error> {
        let audio = self.config().audio.as_ref();
        audio.ok_or_else(|| Error::ReadsTextAlone {
            architecture: self.config().architecture.name(),
        })
    }

    /// One step of the decoder: see [`Decoder::forward`].
    pub(crate) fn decode(
        &self,
        cx: &Context,
        batch: &Batch<'_>,
        audio: Option<View<'_>>,
        rope: &Rope,
        kv: &mut KvCache,
    ) -> Result<Tensor, gamut_kernels::Error> {
        self.language_model.forward(cx, batch, audio, rope, kv)
    }
}
