//! `gamut info`: what a checkpoint holds and what it takes.

mod memory;
mod sizes;

use crate::args::{DeviceArg, DeviceArgs, InfoArgs};
use crate::error::Error;
use crate::output::{self, bytes};
use crate::setup::{one_at_a_time, options, parameters};
use gamut_engine::{DType, MemoryPlan, Model, OpenOptions, Target};
use gamut_kernels::Host;
use memory::Place;
use serde_json::json;
use std::process::ExitCode;

pub(crate) fn run(args: &InfoArgs) -> Result<ExitCode, Error> {
    let mmap = !args.engine.no_mmap;
    let model = Model::open(&args.model, &OpenOptions { mmap })?;
    let (options, free) = match args.gpu_memory {
        Some(gib) => (
            options(&args.engine),
            Some((gib * f64::from(1 << 30)) as u64),
        ),
        None => (one_at_a_time(&args.engine), None),
    };
    let place = Place {
        target: target(&args.engine.device, free.is_some())?,
        mmap,
        free,
    };
    let plan = MemoryPlan::new(&model, &options, place.target, free)?;
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
            "kv_per_song_bytes": plan.kv_per_song(),
            "songs": plan.songs(),
            "gpu_memory_bytes": free,
            "fits": free.map(|free| plan.total() <= free),
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
    text.push_str(&memory::table(&plan, &place));
    output::write(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The kind of device that the plan is for; it need not be there.
fn target(args: &DeviceArgs, gpu: bool) -> Result<Target, Error> {
    Ok(match args.device {
        DeviceArg::Auto | DeviceArg::Host if !gpu => Target::Host {
            threads: Host::new(args.threads)?.threads(),
        },
        _ => Target::Cuda {
            dtype: args.dtype.map_or(DType::BF16, DType::from),
        },
    })
}
