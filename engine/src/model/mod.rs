//! The GaMMA model: from samples to logits, in a few statements a layer.

mod bind;
mod decoder;
mod expert;
mod fusion;
mod hearing;
mod projector;

use crate::constraint::{Compiler, Constraint, Guide};
use crate::error::Error;
use bind::Bind;
use decoder::Decoder;
use expert::Expert;
use fusion::Fusion;
use gamut_kernels::ops::{MelBank, Rope};
use gamut_kernels::{Batch, Context, KvCache, Tensor, View};
use gamut_loader::{Checkpoint, Config, OpenOptions, synthetic};
pub(crate) use hearing::Hearing;
use projector::Projector;
use std::path::Path;
use std::sync::OnceLock;

/// Samples of 16 kHz audio for one token: 25 tokens a second.
pub const SAMPLES_PER_TOKEN: usize = 640;
/// Tokens of a window of 30 s.
const WINDOW_TOKENS: usize = 750;

/// A model's weights, mapped from its checkpoint and never written: share it in an `Arc`.
#[derive(Debug)]
pub struct Model {
    checkpoint: Checkpoint,
    mel_bank: MelBank,
    temporal_expert: Expert,
    global_expert: Expert,
    fusion: Fusion,
    projector: Projector,
    language_model: Decoder,
    /// Made when the first answer is to be held to something.
    compiler: OnceLock<Result<Compiler, String>>,
}

impl Model {
    /// Opens a checkpoint directory and finds every weight in it.
    ///
    /// # Errors
    /// If a file or a key is missing or wrong, or if a tensor is missing, misshapen or of a type
    /// that is not f32, f16 or bf16.
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
        let root = |name: &str| Bind(checkpoint.weights().scope(name));
        let (d, text) = (config.temporal.d_model, &config.text);
        Ok(Model {
            mel_bank: MelBank::new(config.temporal.num_mel_bins)?,
            temporal_expert: Expert::bind(&root("temporal_expert"), &config.temporal)?,
            global_expert: Expert::bind(&root("global_expert"), &config.global)?,
            fusion: Fusion::bind(&root("fusion"), &config.fusion, d)?,
            projector: Projector::bind(
                &root("projector"),
                d,
                config.projector.hidden_size,
                text.hidden_size,
            )?,
            language_model: Decoder::bind(&root("language_model"), text)?,
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

    /// Tokens that a clip of `samples` at 16 kHz becomes.
    pub fn audio_tokens(samples: usize) -> usize {
        samples.div_ceil(SAMPLES_PER_TOKEN)
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
