//! How a request wants its answer drawn: the fields of a body by their OpenAI and vLLM names.

use crate::fields::{COUNT, Fields, NUMBER, TEXT};
use gamut_engine::{Constraint, SamplingParams};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// OpenAI's range of a bias.
const BIAS: std::ops::RangeInclusive<f32> = -100.0..=100.0;

/// What fields that are not given are taken from.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    pub(super) params: SamplingParams,
    /// Whether log-probabilities are reported.
    pub(super) logprobs: bool,
}

/// One text or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

/// Takes the fields that say how the answer is drawn. The engine checks their ranges.
pub(super) fn take(body: &mut Fields, defaults: &Defaults) -> Result<Defaults, String> {
    let Defaults {
        mut params,
        mut logprobs,
    } = defaults.clone();
    let sampling = &mut params.sampling;
    body.set("temperature", NUMBER, &mut sampling.temperature)?;
    body.set("top_p", NUMBER, &mut sampling.top_p)?;
    body.set("top_k", COUNT, &mut sampling.top_k)?;
    body.set("min_p", NUMBER, &mut sampling.min_p)?;
    body.set(
        "repetition_penalty",
        NUMBER,
        &mut sampling.repetition_penalty,
    )?;
    body.set("presence_penalty", NUMBER, &mut sampling.presence_penalty)?;
    body.set("frequency_penalty", NUMBER, &mut sampling.frequency_penalty)?;
    body.set("seed", COUNT, &mut sampling.seed)?;
    if let Some(biases) = body.take::<BTreeMap<u32, f32>>("logit_bias", "numbers by token ids")? {
        if let Some((id, bias)) = biases.iter().find(|(_, bias)| !BIAS.contains(bias)) {
            let name = body.name("logit_bias");
            let (least, most) = (BIAS.start(), BIAS.end());
            return Err(format!(
                "{name} of token {id} is {bias}, expected {least} to {most}"
            ));
        }
        sampling.logit_bias = biases.into_iter().collect();
    }
    let older: Option<usize> = body.take("max_tokens", COUNT)?;
    let newer: Option<usize> = body.take("max_completion_tokens", COUNT)?;
    if let (Some(older), Some(newer)) = (older, newer) {
        let (name, other) = (body.name("max_tokens"), body.name("max_completion_tokens"));
        return Err(format!(
            "{name} is {older} and {other} is {newer}, expected one of them"
        ));
    }
    params.max_tokens = newer.or(older).unwrap_or(params.max_tokens);
    body.set("n", COUNT, &mut params.n)?;
    if let Some(stop) = body.take("stop", "a string or a list of strings")? {
        params.stop = match stop {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        };
    }
    body.set(
        "stop_token_ids",
        "a list of token ids",
        &mut params.stop_token_ids,
    )?;
    body.set("ignore_eos", "true or false", &mut params.ignore_eos)?;
    body.set("logprobs", "true or false", &mut logprobs)?;
    let top: Option<usize> = body.take("top_logprobs", COUNT)?;
    match top {
        Some(top) if !logprobs => {
            let (name, other) = (body.name("top_logprobs"), body.name("logprobs"));
            return Err(format!("{name} is {top}, which needs {other} to be true"));
        }
        Some(top) => params.logprobs = top,
        None if !logprobs => params.logprobs = 0,
        None => {}
    }
    params.constraint = constraint(body)?.or(params.constraint);
    Ok(Defaults { params, logprobs })
}

/// What the answer is held to: `response_format` as OpenAI has it, or vLLM's `guided_regex`.
fn constraint(body: &mut Fields) -> Result<Option<Constraint>, String> {
    const KINDS: &str = "\"text\", \"json_object\" or \"json_schema\"";
    let pattern: Option<String> = body.take("guided_regex", TEXT)?;
    if !body.has("response_format") {
        return Ok(pattern.map(Constraint::Regex));
    }
    let mut format = body.object("response_format")?;
    let kind: String = format.need("type", KINDS)?;
    let schema = match kind.as_str() {
        "text" => None,
        "json_object" => Some(r#"{"type": "object"}"#.to_owned()),
        "json_schema" => {
            let mut inner = format.object("json_schema")?;
            // The answer always keeps to it, strictly or not, and goes by no name.
            inner.some(&["name", "description", "strict"]);
            let schema: Value = inner.need("schema", "an object")?;
            inner.finish()?;
            Some(schema.to_string())
        }
        _ => return Err(format.wrong("type", &kind.into(), KINDS)),
    };
    format.finish()?;
    match (schema, pattern) {
        (Some(_), Some(_)) => {
            let (name, other) = (body.name("guided_regex"), body.name("response_format"));
            Err(format!(
                "{name} and {other} are given, expected one of them"
            ))
        }
        (schema, pattern) => Ok(schema
            .map(Constraint::JsonSchema)
            .or(pattern.map(Constraint::Regex))),
    }
}

/// Takes the fields that change no answer.
pub(super) fn pass_over(body: &mut Fields) -> Result<(), String> {
    body.take::<String>("model", TEXT)?;
    body.take::<String>("user", TEXT)?;
    body.some(&["metadata"]);
    match body.take("stream", "false")? {
        Some(true) => Err(body.wrong(
            "stream",
            &true.into(),
            "false, as answers are written whole",
        )),
        _ => Ok(()),
    }
}
