//! How much memory a model's work takes, found by a dry run of the forward pass.

use crate::engine::max_model_len;
use crate::error::Error;
use crate::model::Model;
use crate::runner::MAX_SEQUENCES;
use crate::sampling::MAX_LOGPROBS;
use crate::session::PREFILL_CHUNK;
use gamut_kernels::ops::{Draw, Rope, Source, sample};
use gamut_kernels::{
    Batch, Bucket, Context, Device, History, KvCache, PAGE, Sampling, Sequence, Target,
};
use serde::Serialize;

/// Memory in bytes. On the host all but the weights is anonymous, and the weights are the
/// checkpoint's files, mapped, unless they were read into memory on request. On a GPU all of it is
/// the GPU's.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryPlan {
    /// Weights, in the type that the device holds them in.
    pub weights: u64,
    /// Keys and values of `max_model_len` positions.
    pub kv: u64,
    /// Activations of the widest stage, for the longest clip.
    pub workspace: u64,
    /// On a GPU, activations of a step of generated tokens, which is a CUDA graph.
    pub decode: u64,
    /// The longest clip: its samples, and its tokens among the decoder's embeddings.
    pub audio: u64,
    /// Cosines and sines of the rotary embedding.
    pub rope: u64,
    /// Longest sequence in tokens.
    pub max_model_len: usize,
}

impl MemoryPlan {
    /// The plan for a context of `asked` tokens (or the default) on a kind of device.
    ///
    /// # Errors
    /// If the context is longer than the model's positions.
    pub fn new(model: &Model, asked: Option<usize>, target: Target) -> Result<MemoryPlan, Error> {
        let config = model.config();
        let text = &config.text;
        let max_model_len = max_model_len(model, asked)?;
        let pages = max_model_len.div_ceil(PAGE);
        let samples = config.max_audio_seconds * gamut_frontend::SAMPLE_RATE as usize;
        let encoding = dry_encode(model, samples, target)?;
        let chunk = PREFILL_CHUNK.min(max_model_len);
        let step =
            |rows, generated| dry_decode(model, max_model_len - rows, (rows, generated), target);
        let (prompt, generated) = (step(chunk, false)?, step(1, true)?);
        let mut decoding = prompt.workspace_peak().max(generated.workspace_peak());
        // Logits and what sampling needs may come to lie behind the activations of a step of
        // another length, rather than in their gaps.
        decoding += 4 * text.vocab_size * size_of::<f32>();
        let dtype = target.dtype();
        let decode = match target {
            Target::Host { .. } => 0,
            Target::Cuda { .. } => dry_graph(model, max_model_len, target)?.workspace_peak(),
        };
        let kv = KvCache::bytes(
            dtype,
            text.num_hidden_layers,
            pages,
            text.num_key_value_heads,
            text.head_dim,
        );
        let embeddings = Model::audio_tokens(samples) * text.hidden_size * dtype.size();
        let weights = match target {
            Target::Host { .. } => model.checkpoint().weights().total_bytes(),
            Target::Cuda { .. } => Context::weight_bytes(&[&encoding, &prompt]) as u64,
        };
        Ok(MemoryPlan {
            weights,
            kv: kv as u64,
            workspace: encoding.workspace_peak().max(decoding) as u64,
            decode: decode as u64,
            audio: (samples * size_of::<f32>() + embeddings) as u64,
            rope: Rope::bytes(text.head_dim, pages * PAGE) as u64,
            max_model_len,
        })
    }

    /// All but the weights.
    pub fn anonymous(&self) -> u64 {
        self.kv + self.workspace + self.decode + self.audio + self.rope
    }
}

/// Encodes a clip of `samples` without computing.
pub(crate) fn dry_encode(model: &Model, samples: usize, target: Target) -> Result<Context, Error> {
    let cx = Context::plan(target);
    // Zeroed memory that is never touched costs nothing.
    model.encode(&cx, &vec![0.0; samples], &mut ())?;
    Ok(cx)
}

/// Takes a step of `rows` positions after `start` others, and samples, without computing.
pub(crate) fn dry_decode(
    model: &Model,
    start: usize,
    (rows, generated): (usize, bool),
    target: Target,
) -> Result<Context, Error> {
    let pages: Vec<u32> = (0..(start + rows).div_ceil(PAGE) as u32).collect();
    let (rope, mut kv) = dry_cache(model, start + rows, target)?;
    let cx = Context::plan(target);
    let sequence = Sequence {
        generated,
        start,
        rows,
        pages: &pages,
    };
    let sequences = [sequence];
    let sources = vec![Source::Token(0); rows];
    let batch = cx.step(&sequences, &sources, &[rows.saturating_sub(1)])?;
    let logits = model.decode(&cx, &batch, None, &rope, &mut kv)?;
    let (sampling, history) = (Sampling::default(), History::default());
    let position = (start + rows) as u64;
    let draw = Draw {
        alternatives: MAX_LOGPROBS.min(model.config().text.vocab_size),
        ..Draw::new(&sampling, &history, position)
    };
    sample(&cx, &logits, &[draw])?;
    drop((logits, batch));
    Ok(cx)
}

/// Takes the largest step of generated tokens that a context of `positions` has as a CUDA graph,
/// without computing.
fn dry_graph(model: &Model, positions: usize, target: Target) -> Result<Context, Error> {
    let (rope, mut kv) = dry_cache(model, positions, target)?;
    let bucket = Bucket::holding(MAX_SEQUENCES, positions);
    let mut tables = Context::plan(target).table_memory(bucket.table_len())?;
    let known = (&kv, model.config().text.vocab_size);
    let batch = Batch::in_bucket(bucket, &mut tables, known, &[], &[])?;
    let cx = Context::plan(target);
    drop(model.decode(&cx, &batch, None, &rope, &mut kv)?);
    Ok(cx)
}

/// Rotation and keys and values of `positions` positions, without memory.
fn dry_cache(model: &Model, positions: usize, target: Target) -> Result<(Rope, KvCache), Error> {
    let text = &model.config().text;
    let cx = Context::plan(target);
    Ok((
        Rope::new(&cx, text.rope_theta as f32, text.head_dim, positions)?,
        KvCache::new(
            &cx,
            text.num_hidden_layers,
            positions.div_ceil(PAGE),
            text.num_key_value_heads,
            text.head_dim,
        )?,
    ))
}

/// Loads onto a device what the model's work needs there: its weights and kernels.
pub(crate) fn load(model: &Model, device: &Device) -> Result<(), Error> {
    let target = device.target();
    let encode = dry_encode(model, 1, target)?;
    // Kernels differ between prompts and generated tokens; how long they are, and how many keys
    // there are, changes nothing.
    let prompt = dry_decode(model, 0, (PREFILL_CHUNK, false), target)?;
    let generated = dry_decode(model, 0, (1, true), target)?;
    Ok(device.load(&[&encode, &prompt, &generated])?)
}
