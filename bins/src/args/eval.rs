//! The arguments of `gamut eval`.

use super::{BatchingArgs, EngineArgs, SamplingArgs, TemplateArgs};
use crate::eval::{By, Format, Split};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Answers are greedy unless flags say otherwise. Exit code 1: a question failed or \
    stays unanswered. 2: the evaluation could not go on; run it again."
)]
pub(crate) struct EvalArgs {
    /// MuChoMusic's CSV or JSON, MMAU's JSON, a JSON array or JSON lines of MusicBench's shape, or a
    /// folder of structure files.
    pub(crate) benchmark: PathBuf,
    /// What the benchmark is [default: what it looks like].
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Folder that paths of audio start from [default: the benchmark's].
    #[arg(long, value_name = "DIR")]
    pub(crate) audio: Option<PathBuf>,
    /// Folder for answers.jsonl, report.json, report.md and the benchmark with outputs filled in
    /// [default: BENCHMARK with .eval].
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// How an option is chosen.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) by: By,
    /// By likelihood: divide an option's log-probability by the number of its tokens.
    #[arg(long)]
    pub(crate) normalize: bool,
    /// Ask the first N questions alone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Ask the questions of one split alone.
    #[arg(long, value_enum)]
    pub(crate) split: Option<Split>,
    /// Ask without audio: what the questions give away.
    #[arg(long)]
    pub(crate) no_audio: bool,
    /// Ask about another question's song, as this seed has it.
    #[arg(long, value_name = "SEED", conflicts_with = "no_audio")]
    pub(crate) exchange_audio: Option<u64>,
    /// Score the outputs that the benchmark has already; no model is loaded.
    #[arg(long, conflicts_with_all = ["audio", "by", "no_audio", "exchange_audio", "model"])]
    pub(crate) rescore: bool,
    /// Compare with the answers of another evaluation of the same benchmark, in its folder.
    #[arg(long, value_name = "DIR", conflicts_with = "rescore")]
    pub(crate) against: Option<PathBuf>,
    /// Checkpoint directory [default: the bundled model].
    #[arg(long, short, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) batching: BatchingArgs,
    #[command(flatten)]
    pub(crate) template: TemplateArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
}
