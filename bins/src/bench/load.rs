//! Tests under load: requests at given rates.

use super::results::{About, Results};
use super::rows::overhead;
use super::{engine, longest, noise};
use crate::args::BenchArgs;
use crate::error::Error;
use crate::progress::Progress;
use crate::setup;
use gamut_engine::bench::{Load, LoadReport, Summary};
use gamut_engine::{AudioInput, EngineOptions, Excerpt, Model};
use gamut_kernels::PAGE;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn run(args: &BenchArgs, model: &Arc<Model>) -> Result<(), Error> {
    let mut loads = loads(args);
    loads.iter().try_for_each(Load::check)?;
    let samples = match (&args.audio, args.seconds) {
        (Some(path), _) => {
            let audio = setup::audio_input(path, Excerpt::default())?;
            Some(model.decode_audio(&audio)?.samples)
        }
        (None, seconds) => seconds.map(|seconds| noise(model, seconds)),
    };
    let audio = samples.as_ref().map_or(0, |s| model.audio_tokens(s.len()));
    let lengths = loads.iter().map(|load| {
        let tokens = audio.saturating_add(load.max_model_len());
        (load.name(), tokens)
    });
    let longest = longest(args, model, lengths)?;
    let max_num_seqs = EngineOptions::default().max_num_seqs;
    let kv = |load: &Load| load.kv_cache_tokens(max_num_seqs);
    let kv_cache_tokens = loads.iter().map(kv).max().unwrap_or(0);
    let kv_cache_tokens = kv_cache_tokens.saturating_add(audio + PAGE);
    let engine = engine(args, model, (longest, max_num_seqs, kv_cache_tokens))?;
    if let Some(samples) = samples {
        let song = engine.load_audio(AudioInput::Samples(samples.into()))?;
        for load in &mut loads {
            load.song = Some(song.clone());
        }
    }

    let mut progress = Progress::new();
    let mut reports = Vec::new();
    for load in &loads {
        let tick = &mut |ended| progress.show("load", ended, load.requests);
        reports.push(load.run(&engine, tick)?);
    }
    drop(progress);

    let about = About::engine(args, &engine);
    let results = || loads.iter().zip(&reports);
    let record = |(load, report)| record(load, report, (audio, max_num_seqs));
    Results {
        records: results().map(record).collect(),
        tables: vec![throughput(results()), latencies(results())],
        note: format!("at most {max_num_seqs} sequences at a time; {about}\n"),
    }
    .write(&about, args.output)
}

fn loads(args: &BenchArgs) -> Vec<Load> {
    let mut loads = Vec::new();
    for prompt in &args.n_prompt {
        for generated in &args.n_gen {
            for rate in &args.rate {
                loads.push(Load {
                    rate: *rate,
                    requests: args.num_requests,
                    prompt: *prompt,
                    generated: *generated,
                    song: None,
                });
            }
        }
    }
    loads
}

/// The latencies of a report: in tables, and as vLLM's benchmarks name them.
fn summaries(report: &LoadReport) -> [(&'static str, &'static str, Summary); 4] {
    [
        ("TTFT", "ttft", report.ttft),
        ("TPOT", "tpot", report.tpot),
        ("ITL", "itl", report.itl),
        ("E2E", "e2el", report.e2e),
    ]
}

const STATISTICS: [&str; 4] = ["mean", "p50", "p90", "p99"];

fn statistics(summary: &Summary) -> [Duration; 4] {
    [summary.mean, summary.p50, summary.p90, summary.p99]
}

/// The names are those of vLLM's benchmarks, where they have them.
fn record(load: &Load, report: &LoadReport, (audio, max_num_seqs): (usize, usize)) -> Value {
    let overhead = report.steps.overhead();
    let mut record = json!({
        "test": load.name(),
        "request_rate": match load.rate.is_finite() {
            true => json!(load.rate),
            false => json!("inf"),
        },
        "num_requests": load.requests,
        "n_audio": audio,
        "n_prompt": load.prompt,
        "n_gen": load.generated,
        "max_num_seqs": max_num_seqs,
        "completed": report.completed,
        "refused": report.refused,
        "max_concurrent_requests": report.peak,
        "duration": report.duration.as_secs_f64(),
        "total_input_tokens": report.prompt_tokens,
        "total_output_tokens": report.generated_tokens,
        "request_throughput": report.requests_per_second(),
        "output_throughput": report.tokens_per_second(),
        "total_token_throughput": report.total_tokens_per_second(),
        "steps": report.steps.steps,
        "overhead_ns": overhead.map(|(each, _)| each.as_nanos()),
        "overhead_percent": overhead.map(|(_, share)| share * 1e2),
    });
    for (_, name, summary) in summaries(report) {
        for (statistic, time) in STATISTICS.iter().zip(statistics(&summary)) {
            record[format!("{statistic}_{name}_ms")] = json!(time.as_secs_f64() * 1e3);
        }
    }
    record
}

fn throughput<'a>(results: impl Iterator<Item = (&'a Load, &'a LoadReport)>) -> Vec<Vec<String>> {
    let head = [
        "test",
        "requests",
        "refused",
        "peak",
        "requests/s",
        "tokens/s",
        "with prompts",
        "overhead/step",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(results.map(|(load, report)| {
        vec![
            load.name(),
            load.requests.to_string(),
            report.refused.to_string(),
            report.peak.to_string(),
            format!("{:.2}", report.requests_per_second()),
            format!("{:.1}", report.tokens_per_second()),
            format!("{:.1}", report.total_tokens_per_second()),
            overhead(&report.steps),
        ]
    }));
    table
}

fn latencies<'a>(results: impl Iterator<Item = (&'a Load, &'a LoadReport)>) -> Vec<Vec<String>> {
    let head = ["test", "latency"].iter().chain(&STATISTICS);
    let mut table = vec![head.map(|head| (*head).to_owned()).collect()];
    for (load, report) in results {
        for (label, _, summary) in summaries(report) {
            let mut row = vec![load.name(), label.to_owned()];
            let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
            row.extend(statistics(&summary).map(ms));
            table.push(row);
        }
    }
    table
}
