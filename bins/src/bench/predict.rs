//! `gamut bench --predict`: what a GPU takes at least for the same rows.

use super::results::{About, Results};
use super::rows::SECONDS;
use super::{longest, stages, tests};
use crate::args::BenchArgs;
use crate::error::Error;
use gamut_engine::bench::Test;
use gamut_engine::predict::{self, Calls, Ceilings};
use gamut_engine::{DType, Model, SAMPLE_RATE, Target};
use serde_json::{Value, json};

pub(super) fn run(args: &BenchArgs, model: &Model, ceilings: Ceilings) -> Result<(), Error> {
    let dtype = args.engine.device.dtype.map_or(DType::BF16, DType::from);
    let target = Target::Cuda { dtype };
    let tests = tests(args);
    let lengths = tests.iter().map(|test| (test.name(), test.max_model_len()));
    longest(args, model, lengths)?;
    let mut rows = Vec::new();
    if stages(args, model) {
        let seconds = args.seconds.unwrap_or(SECONDS);
        let seconds = seconds.min(model.max_audio_seconds());
        rows.extend(predict::stages(
            model,
            seconds * SAMPLE_RATE as usize,
            target,
        )?);
    }
    for test in tests {
        rows.push(match test {
            Test::Prompt(shape) => predict::prompt(model, shape, target)?,
            Test::Generation(shape) => predict::generation(model, shape, target)?,
            _ => continue,
        });
    }
    let note = format!(
        "An {} at {:.0} TFLOP/s of {dtype} products, {:.0} of full and {:.0} of causal attention, \
        {:.2} TB/s and {:.2} us a launch\n",
        ceilings.name,
        ceilings.products / 1e12,
        ceilings.attention / 1e12,
        ceilings.attention_paged / 1e12,
        ceilings.bytes / 1e12,
        ceilings.launch * 1e6,
    );
    Results {
        records: rows.iter().map(|row| record(row, &ceilings)).collect(),
        tables: vec![table(&rows, &ceilings)],
        note,
    }
    .write(
        &About::predicted(args, model, ceilings.name, dtype),
        args.output,
    )
}

fn table(rows: &[Calls], ceilings: &Ceilings) -> Vec<Vec<String>> {
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
    for row in rows {
        table.push(table_row(row, ceilings));
        for (op, share) in row.shares(ceilings) {
            let line = Line {
                name: format!("  {op}"),
                calls: share.calls,
                work: share.work,
                seconds: share.seconds,
            };
            table.push(line.cells(String::new()));
        }
    }
    table
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

fn record(row: &Calls, ceilings: &Ceilings) -> Value {
    let shares = row.shares(ceilings).into_iter().map(|(op, share)| {
        json!({
            "op": op, "calls": share.calls, "operations": share.work.operations,
            "bytes": share.work.bytes, "launches": share.work.launches,
            "least_ms": share.seconds * 1e3,
        })
    });
    let shares: Vec<Value> = shares.collect();
    let least = row.floor(ceilings).as_secs_f64();
    json!({
        "test": row.test.name(),
        "tokens": row.tokens,
        "least_ms": least * 1e3,
        "most_ts": row.tokens as f64 / least,
        "products_flops": ceilings.products,
        "attention_flops": ceilings.attention,
        "attention_paged_flops": ceilings.attention_paged,
        "bytes_per_second": ceilings.bytes,
        "launch_us": ceilings.launch * 1e6,
        "ops": shares,
    })
}
