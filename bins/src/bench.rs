//! `gamut bench`: the stages, prompt processing and token generation.

use crate::args::BenchArgs;
use crate::error::Error;
use crate::progress::Progress;
use crate::setup::Weights;
use crate::{output, predict, setup};
use gamut_engine::bench::{self, Row};
use gamut_engine::{Excerpt, SAMPLE_RATE};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Error> {
    let weights = match &args.random {
        Some(config) => Weights::Random(config),
        None => args.model.as_ref().into(),
    };
    if let Some(gpu) = args.predict {
        return predict::run(args, weights, gpu.into());
    }
    let opened = setup::open(weights, &args.engine)?;
    let engine = &opened.engine;
    let repetitions = args.repetitions as usize;
    let some = |counts: &[usize]| counts.iter().filter(|n| **n > 0).count();
    let tests = usize::from(args.audio.is_some())
        + usize::from(!args.no_stages)
        + some(&args.n_prompt)
        + some(&args.n_gen) * args.n_depth.len();
    let (mut progress, mut runs) = (Progress::new(), 0);
    let tick = &mut || {
        runs += 1;
        progress.show("bench", runs, tests * (repetitions + 1));
    };
    let mut rows = Vec::new();
    let samples = match &args.audio {
        Some(path) => {
            let (row, samples) = bench::audio(
                engine,
                &setup::audio_input(path, Excerpt::default())?,
                repetitions,
                tick,
            )?;
            rows.push(row);
            samples
        }
        None => {
            let most = engine.model().config().max_audio_seconds;
            noise(args.seconds.min(most) * SAMPLE_RATE as usize)
        }
    };
    if !args.no_stages {
        rows.extend(bench::stages(engine, &samples, repetitions, tick)?);
    }
    for tokens in args.n_prompt.iter().filter(|n| **n > 0) {
        rows.push(bench::prompt(engine, *tokens, repetitions, tick)?);
    }
    for depth in &args.n_depth {
        for tokens in args.n_gen.iter().filter(|n| **n > 0) {
            rows.push(bench::generation(
                engine,
                *depth,
                *tokens,
                repetitions,
                tick,
            )?);
        }
    }
    drop(progress);
    let seconds = samples.len() as f64 / f64::from(SAMPLE_RATE);
    if args.json {
        let rows: Vec<_> = rows.iter().map(json_row).collect();
        output::write_json(&json!({
            "device": engine.device().name(),
            "description": engine.device().describe(),
            "audio_seconds": seconds,
            "rows": rows,
        }))?;
    } else {
        let mut table = vec![
            ["test", "median", "min", "tokens/s"]
                .map(str::to_owned)
                .to_vec(),
        ];
        table.extend(rows.iter().map(table_row));
        output::write_table(&table)?;
        let device = engine.device().describe();
        output::write(&format!("{seconds:.1} s of audio on {device}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn json_row(row: &Row) -> Value {
    let times: Vec<f64> = row
        .times
        .iter()
        .map(|time| time.as_secs_f64() * 1e3)
        .collect();
    json!({ "test": row.test.name(), "tokens": row.tokens, "times_ms": times })
}

fn table_row(row: &Row) -> Vec<String> {
    let (mean, deviation) = row.rate();
    vec![
        row.test.name(),
        output::duration(row.median()),
        output::duration(row.min()),
        format!("{mean:.2} ± {deviation:.2}"),
    ]
}

/// The same noise every time.
fn noise(samples: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..samples).map(|_| 0.25 * next()).collect()
}
