//! `gamut info`: what a checkpoint holds and what it takes.

mod sizes;

use crate::args::{DeviceArg, DeviceArgs, InfoArgs};
use crate::error::Error;
use crate::output::{self, bytes};
use crate::setup::{one_at_a_time, parameters};
use gamut_engine::{DType, MemoryPlan, Model, OpenOptions, Target};
use gamut_kernels::Host;
use serde_json::json;
use std::process::ExitCode;

pub(crate) fn run(args: &InfoArgs) -> Result<ExitCode, Error> {
    let mmap = !args.engine.no_mmap;
    let model = Model::open(&args.model, &OpenOptions { mmap })?;
    let target = target(&args.engine.device)?;
    let plan = MemoryPlan::new(&model, &one_at_a_time(&args.engine), target, None)?;
    let config = model.config();
    let weights = model.checkpoint().weights();
    let parameters = parameters(&model);
    if args.json {
        output::write_json(&json!({
            "path": args.model,
            "architecture": config.architecture.name(),
            "parameters": parameters,
            "tensors": weights.tensors().len(),
            "files": weights.files().len(),
            "max_audio_seconds": model.max_audio_seconds(),
            "memory_bytes": plan,
            "anonymous_bytes": plan.anonymous() + if mmap { 0 } else { plan.weights },
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let held = format!(
        "{parameters} parameters in {} tensors, {} files, {}",
        weights.tensors().len(),
        weights.files().len(),
        bytes(plan.weights)
    );
    let mut rows = vec![
        ["checkpoint".to_owned(), args.model.display().to_string()],
        ["weights".to_owned(), held],
    ];
    rows.extend(sizes::rows(config));
    let width = rows.iter().map(|row| row[0].len()).max().unwrap_or(0);
    let mut text: String = rows
        .iter()
        .map(|row| format!("{:width$}  {}\n", row[0], row[1]))
        .collect();
    let held = match target {
        Target::Cuda { .. } => "on the GPU",
        Target::Host { .. } if mmap => "mapped from the files",
        Target::Host { .. } => "read into memory",
    };
    text.push_str(&format!(
        "\nmemory for a context of {} tokens\n",
        plan.max_model_len
    ));
    for (name, size, note) in [
        ("weights", plan.weights, held),
        ("kv", plan.kv, "keys and values of the decoder"),
        (
            "workspace",
            plan.workspace,
            "activations of a step of the decoder",
        ),
        ("decode", plan.decode, "activations of a generated token"),
        (
            "hearing",
            plan.hearing,
            "activations of what hears, for the longest song",
        ),
        ("audio", plan.audio_pool, "tokens of the longest song"),
        ("rope", plan.rope, "cosines and sines"),
    ] {
        text.push_str(&format!("  {name:10} {:>12}  {note}\n", bytes(size)));
    }
    output::write(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The kind of device that the plan is for; it need not be there.
fn target(args: &DeviceArgs) -> Result<Target, Error> {
    Ok(match args.device {
        DeviceArg::Auto | DeviceArg::Host => Target::Host {
            threads: Host::new(args.threads)?.threads(),
        },
        DeviceArg::Cuda | DeviceArg::Virtual => Target::Cuda {
            dtype: args.dtype.map_or(DType::BF16, DType::from),
        },
    })
}
