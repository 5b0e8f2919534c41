//! Arguments, with the names that people know from llama.cpp and vLLM.

mod eval;
mod values;

use crate::batch::Shard;
use clap::{Args, Parser, Subcommand};
pub(crate) use eval::EvalArgs;
use gamut_engine::EngineOptions;
use serde_json::Value;
use std::path::PathBuf;
pub(crate) use values::{ComputeArg, DTypeArg, DeviceArg, FillArg, GpuArg, OutputArg, ShapeArg};
use values::{parse_bias, parse_gib, parse_variable};

/// Ask a music language model about a whole song.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log what goes on to stderr.
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer a question about audio files.
    Ask(AskArgs),
    /// Talk about audio files; an empty line or end of input ends the talk.
    Chat(TalkArgs),
    /// Answer a file of requests; what its output has already is not asked again.
    Batch(BatchArgs),
    /// Score a model on a benchmark's questions; what its output has already is not asked again.
    Eval(EvalArgs),
    /// Show a checkpoint's sizes and the memory that it takes.
    Info(InfoArgs),
    /// Check every operation against its formula.
    Verify(VerifyArgs),
    /// Write every stage of one pass to a safetensors file.
    Inspect(InspectArgs),
    /// Measure the stages, prompt processing and token generation.
    Bench(BenchArgs),
    /// Write a small random checkpoint of the full layout.
    DemoModel(DemoModelArgs),
    /// Download a checkpoint from a Hugging Face hub into its cache, and print its directory.
    Pull(PullArgs),
}

/// The device.
#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// Device to compute on.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) device: DeviceArg,
    /// Type of products' operands [default: bf16 on a GPU; the host computes in f32].
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<ComputeArg>,
    /// Threads of the host; 0 takes one a core.
    #[arg(long, short, default_value_t = 0)]
    pub(crate) threads: usize,
}

/// The checkpoint and the context.
#[derive(Debug, Args)]
pub(crate) struct EngineArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Longest sequence in tokens, the audio's (25 a second) included [default: the model's longest
    /// song and 4096].
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_model_len: Option<usize>,
    /// Read the weights into memory instead of mapping their files, so that truncating a file does
    /// no harm.
    #[arg(long)]
    pub(crate) no_mmap: bool,
}

/// The audio.
#[derive(Debug, Args)]
pub(crate) struct AudioArgs {
    /// Audio files (mp3, flac, ogg, m4a, wav), or - for standard input; none to ask about nothing
    /// heard.
    pub(crate) audio: Vec<PathBuf>,
    /// Second of each to start at.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) from: Option<f64>,
    /// Second of each to end at.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) to: Option<f64>,
    /// Take the first part of audio that is longer than the model takes.
    #[arg(long)]
    pub(crate) truncate: bool,
}

/// How an answer is drawn. What is not given is the checkpoint's recommendation.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Most tokens of an answer [default: 512; of one that chooses an option for gamut eval 32].
    #[arg(long, short = 'n')]
    pub(crate) max_tokens: Option<usize>,
    /// Divides the logits; 0 takes the most likely token.
    #[arg(long)]
    pub(crate) temperature: Option<f32>,
    /// Draw among this many of the most likely tokens; 0 takes all.
    #[arg(long)]
    pub(crate) top_k: Option<usize>,
    /// Draw among the most likely tokens that make up this probability.
    #[arg(long)]
    pub(crate) top_p: Option<f32>,
    /// Draw among tokens of at least this probability relative to the most likely one.
    #[arg(long)]
    pub(crate) min_p: Option<f32>,
    /// Same seed, same answer.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Weaken tokens that are in the prompt or the answer; 1 is off.
    #[arg(long)]
    pub(crate) repetition_penalty: Option<f32>,
    /// Subtract from the logits of tokens in the answer.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) presence_penalty: f32,
    /// Subtract from the logits of tokens in the answer for each time they are in it.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub(crate) frequency_penalty: f32,
    /// Add to the logit of a token; may be repeated.
    #[arg(long, value_name = "ID=BIAS", value_parser = parse_bias)]
    pub(crate) logit_bias: Vec<(u32, f32)>,
    /// End the answer before this text; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    /// End the answer with this token; may be repeated.
    #[arg(long, value_name = "ID")]
    pub(crate) stop_token_id: Vec<u32>,
    /// Go on past the model's end tokens.
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Answer with JSON of this JSON schema.
    #[arg(long, value_name = "SCHEMA", conflicts_with = "regex")]
    pub(crate) json_schema: Option<String>,
    /// Answer with text that this regular expression matches as a whole.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) regex: Option<String>,
}

/// What is told of an answer's tokens.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct LogprobsArgs {
    /// Report the log-probability of each token, and of this many likely others.
    #[arg(long, value_name = "N")]
    pub(crate) logprobs: Option<usize>,
}

/// What the chat template is told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Prompt")]
pub(crate) struct TemplateArgs {
    /// System message.
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// Whether the model may think first, where its chat template has the flag.
    #[arg(long, value_name = "BOOL")]
    pub(crate) enable_thinking: Option<bool>,
    /// Set a variable of the chat template to a JSON value; may be repeated.
    #[arg(long, value_name = "NAME=JSON", value_parser = parse_variable)]
    pub(crate) template_var: Vec<(String, Value)>,
}

/// A conversation about audio files.
#[derive(Debug, Args)]
pub(crate) struct TalkArgs {
    #[command(flatten)]
    pub(crate) audio: AudioArgs,
    /// Checkpoint directory [default: the bundled model].
    #[arg(long, short, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) template: TemplateArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) logprobs: LogprobsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// The question.
    #[arg(long, short)]
    pub(crate) prompt: String,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) talk: TalkArgs,
}

/// How many requests share the engine.
#[derive(Debug, Args)]
pub(crate) struct BatchingArgs {
    /// Sequences that run at a time.
    #[arg(long, value_name = "N", default_value_t = EngineOptions::default().max_num_seqs)]
    pub(crate) max_num_seqs: usize,
    /// Rows of a step: the tokens being generated, and as much of prompts as there is room for.
    #[arg(long, value_name = "TOKENS", default_value_t = EngineOptions::MAX_NUM_BATCHED_TOKENS)]
    pub(crate) max_num_batched_tokens: usize,
    /// Tokens whose keys and values are kept [default: on a GPU as many as fit, on the host two of
    /// the longest contexts].
    #[arg(long, value_name = "TOKENS")]
    pub(crate) kv_cache_tokens: Option<usize>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 1: the output holds errors, or a request stays unanswered. \
    2: the batch could not go on; run it again."
)]
pub(crate) struct BatchArgs {
    /// Requests, one JSON object a line: custom_id and body, as OpenAI's batches have them. Flags are
    /// for what a body leaves out. Audio is a path, from the folder of this file, or base64.
    pub(crate) requests: PathBuf,
    /// File for the answers [default: REQUESTS with .out.jsonl, or .INDEX-of-COUNT.out.jsonl].
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Answer one of COUNT parts, from 0; requests about the same audio are in the same part.
    #[arg(long, value_name = "INDEX/COUNT")]
    pub(crate) shard: Option<Shard>,
    /// Checkpoint directory [default: the bundled model].
    #[arg(long, short, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) batching: BatchingArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) logprobs: LogprobsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Checkpoint directory.
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Plan an engine for many requests at a time on a GPU of which so much is free, such as 79.
    #[arg(long, value_name = "GIB", value_parser = parse_gib)]
    pub(crate) gpu_memory: Option<f64>,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Other seed, other inputs; digests are comparable for the same one.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Count what the kernels do, against their contracts; on the virtual device only.
    #[arg(long)]
    pub(crate) counters: bool,
    /// Write an SVG for each operation, of its cases under the roofline of an H100; on the virtual
    /// device only.
    #[arg(long, value_name = "DIR")]
    pub(crate) roofline: Option<PathBuf>,
    /// List the lines of kernels that no case ran; on the virtual device only.
    #[arg(long)]
    pub(crate) coverage: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) audio: AudioArgs,
    /// The question.
    #[arg(long, short)]
    pub(crate) prompt: String,
    /// Checkpoint directory.
    #[arg(long, short, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Greedy tokens to take, end tokens or not.
    #[arg(long, short = 'n', default_value_t = 16)]
    pub(crate) max_tokens: usize,
    /// File to write.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Audio file to decode and hear [default: 30 s of noise].
    pub(crate) audio: Option<PathBuf>,
    /// Checkpoint directory [default: the bundled model].
    #[arg(long, short, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// A shape (gamma-8b, gamma-14b, flamingo-7b) or a config.json, whose model gets random weights
    /// that no file holds.
    #[arg(long, value_name = "SHAPE|FILE", conflicts_with = "model")]
    pub(crate) random: Option<PathBuf>,
    /// Compute the least time that a GPU takes, without one, instead of measuring.
    #[arg(long, value_enum, value_name = "GPU")]
    pub(crate) predict: Option<GpuArg>,
    /// Seconds of noise to hear where no audio is given, if the model takes as many [default: 30, one
    /// window of the experts; under load none].
    #[arg(long, conflicts_with = "audio")]
    pub(crate) seconds: Option<usize>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Prompt lengths to process.
    #[arg(
        long,
        short = 'p',
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "512"
    )]
    pub(crate) n_prompt: Vec<usize>,
    /// Numbers of tokens to generate.
    #[arg(
        long,
        short = 'n',
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "32"
    )]
    pub(crate) n_gen: Vec<usize>,
    /// Tokens that are in the context before.
    #[arg(
        long,
        short = 'd',
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "0"
    )]
    pub(crate) n_depth: Vec<usize>,
    /// Sequences at a time, each with its own prompt.
    #[arg(
        long,
        value_name = "SEQUENCES",
        value_delimiter = ',',
        default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    pub(crate) batch: Vec<u32>,
    /// Leave out the audio's stages after decoding.
    #[arg(long)]
    pub(crate) no_stages: bool,
    /// Repetitions of every row, after one that is not counted.
    #[arg(long, short, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repetitions: u32,
    /// Measure latencies under load instead: so many requests a second on average, each with a prompt
    /// and an answer of the lengths given, at the arrivals of a Poisson process; `inf` sends all at
    /// once. With audio (or --seconds) all are about this song.
    #[arg(
        long,
        value_name = "REQUESTS",
        value_delimiter = ',',
        allow_negative_numbers = true,
        conflicts_with_all = ["predict", "n_depth", "batch", "no_stages", "repetitions"]
    )]
    pub(crate) rate: Vec<f64>,
    /// Requests at each rate.
    #[arg(
        long,
        value_name = "REQUESTS",
        default_value_t = 100,
        requires = "rate"
    )]
    pub(crate) num_requests: usize,
    /// What to print.
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: OutputArg,
}

#[derive(Debug, Args)]
pub(crate) struct DemoModelArgs {
    /// Directory to write; it must be empty or not exist.
    pub(crate) dir: PathBuf,
    /// The sizes of a real model [default: very small ones].
    #[arg(long, value_enum)]
    pub(crate) shape: Option<ShapeArg>,
    /// A config.json of any sizes and family.
    #[arg(long, value_name = "FILE", conflicts_with = "shape")]
    pub(crate) config: Option<PathBuf>,
    /// What the weights are.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) fill: FillArg,
    /// Type of the weights.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) dtype: DTypeArg,
    /// Other seed, other random weights.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Weight files.
    #[arg(long, default_value_t = 1)]
    pub(crate) shards: usize,
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The model, such as Qwen/Qwen3-0.6B.
    #[arg(value_name = "ORG/NAME")]
    pub(crate) model: String,
    /// Branch, tag or commit.
    #[arg(long, value_name = "REV", default_value = "main")]
    pub(crate) revision: String,
    /// Download nothing: find what is in the cache, as HF_HUB_OFFLINE=1 does.
    #[arg(long)]
    pub(crate) offline: bool,
}
