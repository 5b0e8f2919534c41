//! The whole model with random weights: hearing a song, a prompt after it, and an answer.

use crate::error::Result;
use crate::measure::Times;
use crate::options::{Options, recorded};
use crate::rows::noise;
use gamut_engine::bench::{self, Row, Shape};
use gamut_engine::predict::{self, Calls, Ceilings};
use gamut_engine::{DType, Engine, EngineOptions, Model, SAMPLE_RATE, Target};
use gamut_probe::report::Report;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a time may be of the least time, and what a rate of generated tokens must be of the most.
const TARGETS: (f64, f64) = (1.25, 0.9);

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let sizes = options.sizes();
    let start = Instant::now();
    let model = Arc::new(Model::random(&options.config_json()?.to_string(), 0)?);
    let engine = Engine::new(
        model.clone(),
        &EngineOptions {
            device: options.choice(),
            dtype: Some(DType::BF16),
            // The first of the generated tokens comes with the prompt.
            max_model_len: Some(sizes.positions + sizes.generated + 1),
            max_num_seqs: 1,
            max_songs: 2,
            ..EngineOptions::default()
        },
    )?;
    let (seconds, plan) = (start.elapsed().as_secs_f64(), engine.plan());
    report.add(
        "open",
        Ok(json!({ "seconds": seconds, "weights_bytes": plan.weights, "other_bytes": plan.anonymous() })),
    )?;
    let ceilings = match engine.device().describe().contains("H200") {
        true => predict::H200,
        false => predict::H100,
    };
    let target = Target::Cuda { dtype: DType::BF16 };
    let samples = noise(sizes.seconds * SAMPLE_RATE as usize);
    let repetitions = sizes.repetitions;
    let mut first = First::default();

    let stages = || -> Result<Vec<(Row, Calls)>> {
        let rows = bench::stages(&engine, &samples, repetitions, &mut || ())?;
        let least = predict::stages(&model, samples.len(), target)?;
        Ok(rows.into_iter().zip(least).collect())
    };
    let prompt = || -> Result<Vec<(Row, Calls)>> {
        let shape = Shape::new(sizes.positions, 0, 1);
        let row = bench::prompt(&engine, shape, repetitions, &mut || ())?;
        Ok(vec![(row, predict::prompt(&model, shape, target)?)])
    };
    for (name, measured) in [("stages", stages()), ("prompt", prompt())] {
        match measured {
            Err(error) => report.add(name, recorded(Err(error)))?,
            Ok(rows) => {
                for (row, least) in rows {
                    first.add(&row, least.floor(&ceilings));
                    report.add(&row.test.name(), Ok(row_json(&row, &least, &ceilings)))?;
                }
            }
        }
    }
    report.add("time to first token", Ok(first.json()))?;
    let generated = || -> Result<(Row, Calls)> {
        let shape = Shape::new(sizes.generated, sizes.positions, 1);
        let row = bench::generation(&engine, shape, repetitions, &mut || ())?;
        Ok((row, predict::generation(&model, shape, target)?))
    };
    match generated() {
        Err(error) => report.add("generation", recorded(Err(error)))?,
        Ok((row, least)) => {
            let mut value = row_json(&row, &least, &ceilings);
            let rate = row.tokens as f64 / least.floor(&ceilings).as_secs_f64();
            value["target_tokens_per_second"] = json!(TARGETS.1 * rate);
            value["target_us"] = json!(row.tokens as f64 / (TARGETS.1 * rate) * 1e6);
            report.add(&row.test.name(), Ok(value))?;
        }
    }
    Ok(())
}

/// The sum of what comes before the first token.
#[derive(Default)]
struct First {
    median: Duration,
    least: Duration,
}

impl First {
    fn add(&mut self, row: &Row, least: Duration) {
        self.median += row.median();
        self.least += least;
    }

    fn json(&self) -> Value {
        let us = self.median.as_secs_f64() * 1e6;
        json!({ "us": us, "low_us": us, "high_us": us, "target_us": target_us(self.least) })
    }
}

fn target_us(least: Duration) -> f64 {
    TARGETS.0 * least.as_secs_f64() * 1e6
}

fn row_json(row: &Row, least: &Calls, ceilings: &Ceilings) -> Value {
    let mut value = Times::new(row.times.clone()).json();
    let (rate, deviation) = row.rate();
    value["tokens"] = json!(row.tokens);
    value["tokens_per_second"] = json!(rate);
    value["tokens_per_second_deviation"] = json!(deviation);
    value["least_us"] = json!(least.floor(ceilings).as_secs_f64() * 1e6);
    value["target_us"] = json!(target_us(least.floor(ceilings)));
    value
}
