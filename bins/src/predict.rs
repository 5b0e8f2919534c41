//! `gamut bench --predict`: what a GPU takes at least for the same rows.

use crate::args::BenchArgs;
use crate::error::Error;
use crate::setup::Weights;
use crate::{output, setup};
use gamut_engine::predict::{self, Calls, Ceilings};
use gamut_engine::{DType, SAMPLE_RATE, Target};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) fn run(
    args: &BenchArgs,
    weights: Weights<'_>,
    ceilings: Ceilings,
) -> Result<ExitCode, Error> {
    let model = setup::model(weights, !args.engine.no_mmap)?;
    let dtype = args.engine.device.dtype.map_or(DType::BF16, DType::from);
    let target = Target::Cuda { dtype };
    let mut rows = Vec::new();
    if !args.no_stages {
        let seconds = args.seconds.min(model.config().max_audio_seconds);
        rows.extend(predict::stages(
            &model,
            seconds * SAMPLE_RATE as usize,
            target,
        )?);
    }
    for tokens in args.n_prompt.iter().filter(|n| **n > 0) {
        rows.push(predict::prompt(&model, *tokens, target)?);
    }
    for depth in &args.n_depth {
        for tokens in args.n_gen.iter().filter(|n| **n > 0) {
            rows.push(predict::generation(&model, *depth, *tokens, target)?);
        }
    }
    if args.json {
        let rows: Vec<Value> = rows.iter().map(|row| json_row(row, &ceilings)).collect();
        output::write_json(&json!({
            "device": ceilings.name,
            "ceilings": {
                "products_flops": ceilings.products,
                "attention_flops": ceilings.attention,
                "attention_paged_flops": ceilings.attention_paged,
                "bytes_per_second": ceilings.bytes,
                "launch_us": ceilings.launch * 1e6,
            },
            "rows": rows,
        }))?;
    } else {
        let head = [
            "test",
            "calls",
            "TFLOP",
            "GB",
            "launches",
            "least time",
            "tokens/s",
        ];
        let mut table = vec![head.map(str::to_owned).to_vec()];
        for row in &rows {
            table.push(table_row(row, &ceilings));
            for (op, share) in row.shares(&ceilings) {
                let line = Line {
                    name: format!("  {op}"),
                    calls: share.calls,
                    work: share.work,
                    seconds: share.seconds,
                };
                table.push(line.cells(String::new()));
            }
        }
        output::write_table(&table)?;
        output::write(&format!(
            "An {} at {:.0} TFLOP/s of {dtype} products, {:.0} of full and {:.0} of causal attention, \
            {:.2} TB/s and {:.2} us a launch\n",
            ceilings.name,
            ceilings.products / 1e12,
            ceilings.attention / 1e12,
            ceilings.attention_paged / 1e12,
            ceilings.bytes / 1e12,
            ceilings.launch * 1e6,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A row of the table: a test, or an operation's part in it.
struct Line {
    name: String,
    calls: u64,
    work: gamut_engine::Work,
    seconds: f64,
}

impl Line {
    fn cells(self, rate: String) -> Vec<String> {
        vec![
            self.name,
            self.calls.to_string(),
            format!("{:.3}", self.work.operations as f64 / 1e12),
            format!("{:.3}", self.work.bytes as f64 / 1e9),
            self.work.launches.to_string(),
            format!("{:.3} ms", self.seconds * 1e3),
            rate,
        ]
    }
}

fn table_row(row: &Calls, ceilings: &Ceilings) -> Vec<String> {
    let seconds = row.floor(ceilings).as_secs_f64();
    let line = Line {
        name: row.test.name(),
        calls: row.calls.len() as u64,
        work: row
            .calls
            .iter()
            .fold(Default::default(), |sum, (_, work)| sum + *work),
        seconds,
    };
    line.cells(format!("{:.1}", row.tokens as f64 / seconds))
}

fn json_row(row: &Calls, ceilings: &Ceilings) -> Value {
    let shares = row.shares(ceilings).into_iter().map(|(op, share)| {
        json!({
            "op": op, "calls": share.calls, "operations": share.work.operations,
            "bytes": share.work.bytes, "launches": share.work.launches,
            "least_ms": share.seconds * 1e3,
        })
    });
    let shares: Vec<Value> = shares.collect();
    let least = row.floor(ceilings).as_secs_f64() * 1e3;
    json!({ "test": row.test.name(), "tokens": row.tokens, "least_ms": least, "ops": shares })
}
