//! `gamut bench`: rows of one kind of work each, tests under load, and what a GPU takes at least.

mod load;
mod predict;
mod results;
mod rows;

use crate::args::BenchArgs;
use crate::error::Error;
use crate::setup::{self, Weights};
use gamut_engine::bench::{Shape, Test};
use gamut_engine::{Engine, EngineOptions, Model, SAMPLE_RATE};
use gamut_kernels::PAGE;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Error> {
    let weights = match &args.random {
        Some(config) => Weights::Random(config),
        None => args.model.as_ref().into(),
    };
    let model = Arc::new(setup::model(weights, !args.engine.no_mmap)?);
    match args.predict {
        Some(gpu) => predict::run(args, &model, gpu.into())?,
        None if args.rate.is_empty() => rows::run(args, &model)?,
        None => load::run(args, &model)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the audio's stages are wanted, and the model has any.
fn stages(args: &BenchArgs, model: &Model) -> bool {
    !args.no_stages && model.audio_token().is_some()
}

/// The tests of the decoder: all combinations, none of 0 tokens.
fn tests(args: &BenchArgs) -> Vec<Test> {
    let of = |counts: &[usize], test: fn(Shape) -> Test| -> Vec<Test> {
        let mut tests = Vec::new();
        for batch in &args.batch {
            for depth in &args.n_depth {
                for tokens in counts.iter().filter(|tokens| **tokens > 0) {
                    tests.push(test(Shape::new(*tokens, *depth, *batch as usize)));
                }
            }
        }
        tests
    };
    let mut tests = of(&args.n_prompt, Test::Prompt);
    tests.extend(of(&args.n_gen, Test::Generation));
    tests
}

/// The longest sequence of all tests, in tokens.
///
/// # Errors
/// Naming the first one that does not fit the context that was asked for, or the model's positions.
fn longest(
    args: &BenchArgs,
    model: &Model,
    tests: impl Iterator<Item = (String, usize)>,
) -> Result<usize, Error> {
    let positions = model.config().text.max_position_embeddings;
    let asked = args.engine.max_model_len;
    let most = asked.map_or(positions, |asked| asked.min(positions));
    let mut longest = 0;
    for (test, tokens) in tests {
        if tokens > most {
            return Err(Error::TestTooLong { test, tokens, most });
        }
        longest = longest.max(tokens);
    }
    Ok(longest)
}

/// An engine for sequences of `longest` tokens, `max_num_seqs` at a time, with room for
/// `kv_cache_tokens`.
fn engine(
    args: &BenchArgs,
    model: &Arc<Model>,
    (longest, max_num_seqs, kv_cache_tokens): (usize, usize, usize),
) -> Result<Engine, Error> {
    // Sequences of a batch that begin before the others draw some tokens more.
    let positions = model.config().text.max_position_embeddings;
    let enough = longest.saturating_add(PAGE).min(positions);
    let max_model_len = args.engine.max_model_len.unwrap_or(enough);
    let options = EngineOptions {
        max_model_len: Some(max_model_len),
        max_num_seqs,
        max_num_batched_tokens: EngineOptions::MAX_NUM_BATCHED_TOKENS.max(max_num_seqs + PAGE),
        kv_cache_tokens: Some(kv_cache_tokens.max(max_model_len)),
        ..setup::one_at_a_time(&args.engine)
    };
    let engine = Engine::new(model.clone(), &options)?;
    setup::note_emulation(engine.device());
    Ok(engine)
}

/// The same noise every time, of so many seconds, if the model takes as many.
fn noise(model: &Model, seconds: usize) -> Vec<f32> {
    let seconds = seconds.min(model.max_audio_seconds());
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..seconds * SAMPLE_RATE as usize)
        .map(|_| 0.25 * next())
        .collect()
}
