//! What an evaluation depends on: what its log must agree with, and its report tells.

use super::By;
use super::benchmark::{Benchmark, Format, Question};
use super::checkpoint::Digest;
use super::songs::Hearing;
use crate::args::EvalArgs;
use crate::error::Error;
use crate::setup;
use gamut_engine::{Constraint, SamplingParams};
use serde_json::{Map, Value, json};

/// Most tokens of an answer, unless asked otherwise: of a letter and an option, and of the sections of
/// a long song.
const CHOICE_TOKENS: usize = 32;
const STRUCTURE_TOKENS: usize = 512;

/// How answers are drawn: greedily, whatever the checkpoint recommends, unless flags say otherwise.
pub(super) fn params(args: &EvalArgs, format: Format) -> SamplingParams {
    let max_tokens = match format {
        Format::Structure => STRUCTURE_TOKENS,
        _ => CHOICE_TOKENS,
    };
    let greedy = SamplingParams {
        max_tokens,
        ..SamplingParams::default()
    };
    setup::sampling_over(greedy, &args.sampling)
}

/// The settings of an evaluation of these questions.
pub(super) fn settings(
    args: &EvalArgs,
    benchmark: &Benchmark,
    questions: &[&Question],
    hearing: Hearing,
    checkpoint: &Digest,
) -> Result<Map<String, Value>, Error> {
    let template = &args.template;
    let variables: Map<String, Value> = template.template_var.iter().cloned().collect();
    let decode = match args.by {
        By::Generation => decode(&params(args, benchmark.format)),
        By::Likelihood => Value::Null,
    };
    let model = args.model.as_ref().and_then(|path| path.file_name());
    let settings = json!({
        "names": {
            "gamut": env!("CARGO_PKG_VERSION"),
            "benchmark": benchmark.path.file_name().map(|name| name.to_string_lossy()),
            "checkpoint": model.map_or("bundled model".into(), |name| name.to_string_lossy()),
        },
        "format": benchmark.format,
        "benchmark_hash": benchmark.hash,
        "split": args.split,
        "limit": args.limit,
        "questions": questions.len(),
        "by": args.by,
        "audio": hearing.to_json(),
        "checkpoint_hash": checkpoint.hash,
        "checkpoint_hash_of": checkpoint.of,
        "prompt_hash": prompt_hash(questions),
        "seed": args.sampling.seed,
        "template": {
            "system": template.system,
            "enable_thinking": template.enable_thinking,
            "variables": variables,
        },
        "decode": decode,
    });
    // As it will be read: a number's last digit may not survive the way through a file.
    let read = serde_json::from_str(&settings.to_string());
    read.map_err(|e| Error::Output(e.into()))
}

/// BLAKE3 of the prompts in their order, each with a zero byte behind it.
pub(super) fn prompt_hash(questions: &[&Question]) -> String {
    let mut hasher = blake3::Hasher::new();
    for question in questions {
        hasher.update(question.prompt.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex().to_string()
}

fn decode(params: &SamplingParams) -> Value {
    let sampling = &params.sampling;
    // The shortest digits that mean the number.
    let number = |x: f32| json!(x.to_string().parse::<f64>().ok());
    let biases = sampling.logit_bias.iter();
    let biases: Map<String, Value> = biases
        .map(|(id, bias)| (id.to_string(), number(*bias)))
        .collect();
    let constraint = params.constraint.as_ref();
    json!({
        "max_tokens": params.max_tokens,
        "temperature": number(sampling.temperature),
        "top_k": sampling.top_k,
        "top_p": number(sampling.top_p),
        "min_p": number(sampling.min_p),
        "repetition_penalty": number(sampling.repetition_penalty),
        "presence_penalty": number(sampling.presence_penalty),
        "frequency_penalty": number(sampling.frequency_penalty),
        "logit_bias": biases,
        "stop": params.stop,
        "stop_token_ids": params.stop_token_ids,
        "ignore_eos": params.ignore_eos,
        "constraint": constraint.map(|constraint| match constraint {
            Constraint::Regex(pattern) => json!({ "regex": pattern }),
            Constraint::JsonSchema(schema) => json!({ "json_schema": schema }),
            other => json!(format!("{other:?}")),
        }),
    })
}
