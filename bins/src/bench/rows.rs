//! Rows: the audio's stages, prompts and generation.

use super::results::{About, Results};
use super::{engine, longest, noise, stages, tests};
use crate::args::BenchArgs;
use crate::error::Error;
use crate::progress::Progress;
use crate::{output, setup};
use gamut_engine::bench::{self, Row, Steps, Test};
use gamut_engine::{Excerpt, Model, SAMPLE_RATE};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Seconds of noise unless asked otherwise: a window of the experts.
pub(super) const SECONDS: usize = 30;

pub(super) fn run(args: &BenchArgs, model: &Arc<Model>) -> Result<(), Error> {
    let tests = tests(args);
    let lengths = tests.iter().map(|test| (test.name(), test.max_model_len()));
    let longest = longest(args, model, lengths)?;
    let most = |size: fn(&Test) -> usize| tests.iter().map(size).max().unwrap_or(1);
    let batch = most(|test| test.shape().map_or(1, |shape| shape.batch));
    let kv_cache_tokens = most(|test| test.kv_cache_tokens());
    let engine = &engine(args, model, (longest, batch, kv_cache_tokens))?;

    let repetitions = args.repetitions as usize;
    let hears = stages(args, model);
    let total = usize::from(args.audio.is_some()) + usize::from(hears) + tests.len();
    let (mut progress, mut runs) = (Progress::new(), 0);
    let tick = &mut || {
        runs += 1;
        progress.show("bench", runs, total * (repetitions + 1));
    };
    let mut rows = Vec::new();
    let samples = match &args.audio {
        Some(path) => {
            let audio = setup::audio_input(path, Excerpt::default())?;
            let (row, samples) = bench::audio(engine, &audio, repetitions, tick)?;
            rows.push(row);
            samples
        }
        None => noise(model, args.seconds.unwrap_or(SECONDS)),
    };
    if hears {
        rows.extend(bench::stages(engine, &samples, repetitions, tick)?);
    }
    for test in tests {
        rows.push(match test {
            Test::Prompt(shape) => bench::prompt(engine, shape, repetitions, tick)?,
            Test::Generation(shape) => bench::generation(engine, shape, repetitions, tick)?,
            _ => continue,
        });
    }
    drop(progress);

    let seconds = samples.len() as f64 / f64::from(SAMPLE_RATE);
    let about = About::engine(args, engine);
    let heard = rows.iter().any(|row| row.test.shape().is_none());
    let mut note = format!("{about}\n");
    if heard {
        note.insert_str(0, &format!("{seconds:.1} s of audio; "));
    }
    Results {
        records: rows.iter().map(|row| record(row, seconds)).collect(),
        tables: vec![table(&rows)],
        note,
    }
    .write(&about, args.output)
}

/// The names are llama-bench's, where it has them.
fn record(row: &Row, audio_seconds: f64) -> Value {
    let shape = row.test.shape();
    let tokens = shape.map_or(0, |shape| shape.tokens);
    let (n_prompt, n_gen) = match row.test {
        Test::Prompt(_) => (tokens, 0),
        Test::Generation(_) => (0, tokens),
        _ => (0, 0),
    };
    let (mean, deviation) = row.seconds();
    let (rate, rate_deviation) = row.rate();
    let overhead = row.steps.overhead();
    let nanoseconds = |seconds: f64| (seconds * 1e9).round() as u64;
    let samples: Vec<u128> = row.times.iter().map(Duration::as_nanos).collect();
    json!({
        "test": row.test.name(),
        "tokens": row.tokens,
        "n_prompt": n_prompt,
        "n_gen": n_gen,
        "n_depth": shape.map_or(0, |shape| shape.depth),
        "batch": shape.map_or(1, |shape| shape.batch),
        "audio_seconds": shape.is_none().then_some(audio_seconds),
        "avg_ns": nanoseconds(mean),
        "stddev_ns": nanoseconds(deviation),
        "avg_ts": rate,
        "stddev_ts": rate_deviation,
        "steps": shape.map(|_| row.steps.steps),
        "overhead_ns": overhead.map(|(each, _)| each.as_nanos()),
        "overhead_percent": overhead.map(|(_, share)| share * 1e2),
        "samples_ns": samples,
        "samples_ts": row.rates(),
    })
}

fn table(rows: &[Row]) -> Vec<Vec<String>> {
    let head = ["test", "median", "min", "tokens/s", "overhead/step"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(|row| {
        let (mean, deviation) = row.rate();
        vec![
            row.test.name(),
            output::duration(row.median()),
            output::duration(row.min()),
            format!("{mean:.2} ± {deviation:.2}"),
            overhead(&row.steps),
        ]
    }));
    table
}

/// What the engine adds to a step of the device.
pub(super) fn overhead(steps: &Steps) -> String {
    steps.overhead().map_or(String::new(), |(each, share)| {
        format!("{:.1} us ({:.1} %)", each.as_secs_f64() * 1e6, share * 1e2)
    })
}
