//! The GaMMA model: from samples to logits, in a few statements a layer.

mod bind;
mod decoder;
mod expert;
mod fusion;
mod projector;

use crate::error::Error;
use crate::observe::{Observer, Stage};
use bind::Bind;
use decoder::Decoder;
use expert::Expert;
use fusion::Fusion;
use gamut_kernels::ops::{MelBank, Rope, log_mel};
use gamut_kernels::{Batch, Context, KvCache, Tensor, View};
use gamut_loader::{Checkpoint, Config, OpenOptions, synthetic};
use projector::Projector;
use serde_json::Value;
use std::path::Path;

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
    /// that [`synthetic::write`] would write to files in bf16.
    ///
    /// # Errors
    /// If the config is invalid.
    pub fn random(config: &Value, seed: u64) -> Result<Model, Error> {
        Model::bind(synthetic::checkpoint(config, seed)?)
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
        })
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

    /// Samples `[samples]` of 16 kHz mono to rows `[N, D]` among the decoder's embeddings.
    pub(crate) fn encode(
        &self,
        cx: &Context,
        samples: &[f32],
        observer: &mut dyn Observer,
    ) -> Result<Tensor, Error> {
        let d = self.config().temporal.d_model;
        let bins = self.config().temporal.num_mel_bins;
        let n = Model::audio_tokens(samples.len());
        let mut streams = cx.tensor_f32(n, 2 * d)?;
        {
            let mel = log_mel(cx, samples, &self.mel_bank)?;
            observer.output(Stage::Mel, mel.view())?;
            let experts = [
                (Stage::Temporal, &self.temporal_expert, 0),
                (Stage::Global, &self.global_expert, d),
            ];
            for (stage, expert, column) in experts {
                let windows = mel.rows() / bins;
                let total = windows * expert.layers();
                for window in 0..windows {
                    let first = window * WINDOW_TOKENS;
                    let rows = WINDOW_TOKENS.min(n - first);
                    let tokens = streams.block_mut(first, rows, column, d);
                    let mut done = window * expert.layers();
                    expert.forward(cx, mel.rows_from(window * bins, bins), tokens, || {
                        done += 1;
                        observer.progress(stage, done, total);
                    })?;
                }
                observer.output(stage, streams.columns(column, d))?;
            }
        }
        let fused = self.fusion.forward(cx, &mut streams)?;
        observer.output(Stage::Fused, fused.view())?;
        let projected = self.projector.forward(cx, &fused)?;
        observer.output(Stage::Projected, projected.view())?;
        Ok(projected)
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
