//! How much memory a model's work takes, found by a dry run of the forward pass.

use crate::engine::EngineOptions;
use crate::error::Error;
use crate::model::Model;
use crate::sampling::MAX_LOGPROBS;
use crate::scheduler::{BLOCK, Limits};
use gamut_kernels::ops::{Draw, Rope, Source, sample};
use gamut_kernels::{
    Batch, Bucket, Context, Device, History, KvCache, PAGE, Sampling, Sequence, Target,
};
use serde::Serialize;

/// Positions beside the audio's that a context holds unless asked otherwise.
const DEFAULT_TEXT_TOKENS: usize = 4096;
/// Samples of a clip in the dry run that finds out which kernels are needed: enough for a token.
const A_FEW_SAMPLES: usize = 640;
/// Rows of a prompt in the dry run that finds out which kernels are needed.
const FEW_ROWS: usize = 512;

/// Memory in bytes. On the host all but the weights is anonymous, and the weights are the
/// checkpoint's files, mapped, unless they were read into memory on request. On a GPU all of it is
/// the GPU's.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// Weights, in the type that the device holds them in.
    pub weights: u64,
    /// On the host, weights that are stored in FP8, in bf16.
    pub widened: u64,
    /// Keys and values of all `pages`.
    pub kv: u64,
    /// Activations of a step of the decoder.
    pub workspace: u64,
    /// On a GPU, activations of a step of generated tokens, which is a CUDA graph.
    pub decode: u64,
    /// Activations of the audio's stages, for the longest clip.
    pub hearing: u64,
    /// Audio that was heard, among the decoder's embeddings.
    pub audio_pool: u64,
    /// Cosines and sines of the rotary embedding.
    pub rope: u64,
    /// Longest sequence in tokens.
    pub max_model_len: usize,
    /// Sequences that run at a time.
    pub max_num_seqs: usize,
    /// Rows of a step.
    pub max_num_batched_tokens: usize,
    /// Pages of keys and values, of 64 tokens each.
    pub pages: usize,
    /// Blocks of audio, of 64 tokens each.
    pub audio_blocks: usize,
    /// Tokens of the longest song; 0 in a model that reads text alone.
    pub song_tokens: usize,
}

impl MemoryPlan {
    /// The plan for what `options` ask, on a kind of device of which `free` bytes are free, if that
    /// is known.
    ///
    /// # Errors
    /// If an option is out of its range.
    pub fn new(
        model: &Model,
        options: &EngineOptions,
        target: Target,
        free: Option<u64>,
    ) -> Result<MemoryPlan, Error> {
        let config = model.config();
        let text = &config.text;
        let max_model_len = max_model_len(model, options.max_model_len)?;
        let max_num_seqs = options.max_num_seqs;
        let max_num_batched_tokens = options.max_num_batched_tokens;
        let range = |name, found, least, most| match (least..=most).contains(&found) {
            true => Ok(()),
            false => Err(Error::Option {
                name,
                found,
                least,
                most,
            }),
        };
        range("max_num_seqs", max_num_seqs, 1, 1024)?;
        let least = max_num_seqs + PAGE;
        range(
            "max_num_batched_tokens",
            max_num_batched_tokens,
            least,
            1 << 16,
        )?;
        range("max_songs", options.max_songs, 1, 1 << 16)?;
        let samples = longest_clip(model);
        let song_tokens = model.audio_tokens(samples);
        let audio_blocks = options.max_songs * song_tokens.div_ceil(BLOCK);
        let dtype = target.dtype();
        let weights_and_hearing = dry_encode(model, samples, target)?;
        let mut plan = MemoryPlan {
            weights: 0,
            widened: 0,
            kv: 0,
            workspace: 0,
            decode: 0,
            hearing: weights_and_hearing.workspace_peak() as u64,
            audio_pool: (audio_blocks * BLOCK * text.hidden_size * size_of::<f32>()) as u64,
            rope: Rope::bytes(text.head_dim, max_model_len.next_multiple_of(PAGE)) as u64,
            max_model_len,
            max_num_seqs,
            max_num_batched_tokens,
            pages: 0,
            audio_blocks,
            song_tokens,
        };
        let steps = plan.largest_steps(model, target)?;
        let peak = steps.iter().map(Context::workspace_peak).max().unwrap_or(0);
        // Steps of other lengths may fill the gaps between regions less well.
        plan.workspace = (peak + peak / 4) as u64;
        if let Target::Cuda { .. } = target {
            let graph = dry_graph(model, &plan, target)?;
            plan.decode = graph.workspace_peak() as u64;
        }
        plan.weights = match target {
            Target::Host { .. } => {
                plan.widened = model.fp8().iter().map(|w| w.bytes() as u64).sum();
                model.checkpoint().weights().total_bytes()
            }
            Target::Cuda { .. } => {
                let steps = steps.iter().chain([&weights_and_hearing]);
                Context::weight_bytes(&steps.collect::<Vec<_>>()) as u64
            }
        };
        let page = KvCache::bytes(
            dtype,
            text.num_hidden_layers,
            1,
            text.num_key_value_heads,
            text.head_dim,
        ) as u64;
        let least = max_model_len.div_ceil(PAGE);
        plan.pages = match (options.kv_cache_tokens, free) {
            (Some(tokens), _) => {
                range("kv_cache_tokens", tokens, max_model_len, i32::MAX as usize)?;
                tokens.div_ceil(PAGE)
            }
            // Most of what is left, but no more than can ever be used.
            (None, Some(free)) => {
                let left = (free / 10 * 9).saturating_sub(plan.total());
                let fitting = usize::try_from(left / page.max(1)).unwrap_or(usize::MAX);
                fitting.min(least * max_num_seqs).max(least)
            }
            (None, None) => DEFAULT_CONTEXTS.min(max_num_seqs) * least,
        };
        plan.kv = plan.pages as u64 * page;
        Ok(plan)
    }

    /// All but the weights.
    pub fn anonymous(&self) -> u64 {
        let activations = self.workspace + self.decode + self.hearing;
        self.widened + self.kv + activations + self.audio_pool + self.rope
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.anonymous()
    }

    /// Keys and values of the longest song, in whole pages.
    pub fn kv_per_song(&self) -> u64 {
        let pages = self.song_tokens.div_ceil(PAGE) as u64;
        pages * self.kv.checked_div(self.pages as u64).unwrap_or(0)
    }

    /// How many of the longest songs' keys and values fit at once.
    pub fn songs(&self) -> usize {
        let pages = self.song_tokens.div_ceil(PAGE);
        self.pages.checked_div(pages).unwrap_or(0)
    }

    /// Tokens whose keys and values fit.
    pub fn kv_tokens(&self) -> usize {
        self.pages * PAGE
    }

    /// What the scheduler keeps to.
    pub(crate) fn limits(&self, max_queued: usize) -> Limits {
        Limits {
            pages: self.pages,
            blocks: self.audio_blocks,
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_queued,
        }
    }

    /// Dry runs of the steps that take most: of a prompt alone, of generated tokens alone, of both,
    /// each with as many logits as there can be.
    fn largest_steps(&self, model: &Model, target: Target) -> Result<Vec<Context>, Error> {
        let (seqs, rows) = (self.max_num_seqs, self.max_num_batched_tokens);
        let wanted = self.limits(0).max_wanted();
        let longest = |generated, rows| DryRows {
            generated,
            start: self.max_model_len - rows,
            rows,
        };
        [(0, rows), (seqs, 0), (seqs, rows - seqs)]
            .map(|(generated, mut prompted)| {
                let mut sequences = vec![longest(true, 1); generated];
                while prompted > 0 {
                    let rows = prompted.min(self.max_model_len);
                    sequences.push(longest(false, rows));
                    prompted -= rows;
                }
                dry_step(model, &sequences, wanted, target)
            })
            .into_iter()
            .collect()
    }
}

/// Contexts of the longest kind that the host's cache holds unless asked otherwise.
const DEFAULT_CONTEXTS: usize = 2;

/// The context's length: what was asked for, or enough for the longest song and some text.
fn max_model_len(model: &Model, asked: Option<usize>) -> Result<usize, Error> {
    let most = model.config().text.max_position_embeddings;
    let audio = model.audio_tokens(longest_clip(model));
    match asked {
        Some(asked) if asked == 0 || asked > most => Err(Error::ContextTooLong { asked, most }),
        Some(asked) => Ok(asked),
        None => Ok(most.min(audio + DEFAULT_TEXT_TOKENS)),
    }
}

/// Samples of the longest clip that the model takes.
pub(crate) fn longest_clip(model: &Model) -> usize {
    model.max_audio_seconds() * gamut_frontend::SAMPLE_RATE as usize
}

/// Encodes a clip of `samples` without computing, if the model hears.
pub(crate) fn dry_encode(model: &Model, samples: usize, target: Target) -> Result<Context, Error> {
    let cx = Context::plan(target);
    if let Some(ears) = model.ears() {
        // Zeroed memory that is never touched costs nothing.
        ears.encode(&cx, &vec![0.0; samples], &mut ())?;
    }
    Ok(cx)
}

/// Rows of a sequence in a step that is not computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DryRows {
    /// Whether they were generated.
    pub(crate) generated: bool,
    /// Positions before them.
    pub(crate) start: usize,
    pub(crate) rows: usize,
}

/// Takes a step and samples from the logits of `wanted` rows, without computing.
pub(crate) fn dry_step(
    model: &Model,
    sequences: &[DryRows],
    wanted: usize,
    target: Target,
) -> Result<Context, Error> {
    let ends = sequences.iter().map(|s| s.start + s.rows);
    let positions = ends.max().unwrap_or(0);
    let rows = sequences.iter().map(|s| s.rows).sum::<usize>();
    let pages: Vec<u32> = (0..positions.div_ceil(PAGE) as u32).collect();
    let (rope, mut kv) = dry_cache(model, positions, target)?;
    let cx = Context::plan(target);
    let sequences = sequences.iter().map(|s| Sequence {
        generated: s.generated,
        start: s.start,
        rows: s.rows,
        pages: &pages,
    });
    let sequences: Vec<_> = sequences.collect();
    let sources = vec![Source::Token(0); rows];
    let wanted: Vec<usize> = (0..wanted).map(|i| i % rows.max(1)).collect();
    let batch = cx.step(&sequences, &sources, &wanted)?;
    let logits = model.decode(&cx, &batch, None, &rope, &mut kv)?;
    let (sampling, history) = (Sampling::default(), History::default());
    let draw = Draw {
        alternatives: MAX_LOGPROBS.min(model.config().text.vocab_size),
        ..Draw::new(&sampling, &history, positions as u64)
    };
    sample(&cx, &logits, &vec![draw; wanted.len()])?;
    drop((logits, batch));
    Ok(cx)
}

/// Takes the largest step of generated tokens as a CUDA graph, without computing.
fn dry_graph(model: &Model, plan: &MemoryPlan, target: Target) -> Result<Context, Error> {
    let (rope, mut kv) = dry_cache(model, plan.max_model_len, target)?;
    let bucket = Bucket::holding(plan.max_num_seqs, plan.max_model_len);
    let mut tables = Context::plan(target).table_memory(bucket.table_len())?;
    let known = (&kv, model.config().text.vocab_size);
    let cx = Context::plan(target);
    let batch = Batch::in_bucket(&cx, bucket, &mut tables, known, &[], &[])?;
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
    if let Device::Host(host) = device {
        host.widen(model.fp8());
    }
    let target = device.target();
    let encode = dry_encode(model, A_FEW_SAMPLES, target)?;
    // Kernels differ between prompts and generated tokens; how long they are, and how many keys
    // there are, changes nothing.
    let [prompt, generated] = [(false, FEW_ROWS), (true, 1)].map(|(generated, rows)| {
        let rows = DryRows {
            generated,
            start: 0,
            rows,
        };
        dry_step(model, &[rows], 1, target)
    });
    let (prompt, generated) = (prompt?, generated?);
    Ok(device.load(&[&encode, &prompt, &generated])?)
}
