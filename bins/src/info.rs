//! `gamut info`: what a checkpoint holds and what it takes.

use crate::args::{DeviceArg, DeviceArgs, InfoArgs};
use crate::error::Error;
use crate::output::{self, bytes};
use crate::setup::{one_at_a_time, parameters};
use gamut_engine::{DType, MemoryPlan, Model, OpenOptions, Target};
use gamut_kernels::Host;
use gamut_loader::{ExpertConfig, Gate};
use serde_json::json;
use std::process::ExitCode;

pub(crate) fn run(args: &InfoArgs) -> Result<ExitCode, Error> {
    let mmap = !args.engine.no_mmap;
    let model = Model::open(&args.model, &OpenOptions { mmap })?;
    let target = target(&args.engine.device)?;
    let plan = MemoryPlan::new(&model, &one_at_a_time(&args.engine), target, None)?;
    let config = model.config();
    let (fusion, text) = (&config.fusion, &config.text);
    let weights = model.checkpoint().weights();
    let parameters = parameters(&model);
    if args.json {
        output::write_json(&json!({
            "path": args.model,
            "parameters": parameters,
            "tensors": weights.tensors().len(),
            "files": weights.files().len(),
            "max_audio_seconds": config.max_audio_seconds,
            "memory_bytes": plan,
            "anonymous_bytes": plan.anonymous() + if mmap { 0 } else { plan.weights },
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let expert = |name: &str, e: &ExpertConfig| {
        let sizes = format!(
            "{} layers, d_model {}, {} heads, ffn {}, {} mel bins",
            e.encoder_layers,
            e.d_model,
            e.encoder_attention_heads,
            e.encoder_ffn_dim,
            e.num_mel_bins
        );
        vec![name.to_owned(), sizes]
    };
    let gate = match fusion.gate {
        Gate::Channel => "channel",
        Gate::Token => "token",
    };
    let tied = if text.tie_word_embeddings {
        "tied"
    } else {
        "untied"
    };
    let rows = [
        vec!["checkpoint".to_owned(), args.model.display().to_string()],
        vec![
            "weights".to_owned(),
            format!(
                "{parameters} parameters in {} tensors, {} files, {}",
                weights.tensors().len(),
                weights.files().len(),
                bytes(plan.weights)
            ),
        ],
        expert("temporal expert", &config.temporal),
        expert("global expert", &config.global),
        vec![
            "fusion".to_owned(),
            format!(
                "{} heads, ffn {}, gate per {gate}",
                fusion.num_attention_heads, fusion.ffn_dim
            ),
        ],
        vec![
            "decoder".to_owned(),
            format!(
                "{} layers, hidden {}, {} heads over {} of {}, ffn {}, vocabulary {}, {tied}",
                text.num_hidden_layers,
                text.hidden_size,
                text.num_attention_heads,
                text.num_key_value_heads,
                text.head_dim,
                text.intermediate_size,
                text.vocab_size,
            ),
        ],
        vec![
            "longest song".to_owned(),
            format!("{} s", config.max_audio_seconds),
        ],
    ];
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
            "activations of the experts, for the longest song",
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
