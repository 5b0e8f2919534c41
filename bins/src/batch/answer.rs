//! Lines of the output, as OpenAI's batches have them.

use super::log::Name;
use crate::digest::digest;
use gamut_engine::{Answer, Completion, Model, Token};
use serde_json::{Value, json};
use std::time::SystemTime;

/// What stands for the logarithm of a probability of zero, which JSON has no number for.
const LEAST_LOGPROB: f32 = -9999.0;

/// The line of a request that failed.
pub(super) fn failure(name: &Name, code: &str, message: &str) -> Value {
    let error = json!({ "code": code, "message": message });
    let mut line = envelope(name, Value::Null, error);
    if let Name::Line(number) = name {
        line["line"] = (*number).into();
    }
    line
}

/// The line of a request that was answered by the model of this name.
pub(super) fn success(
    id: &str,
    completion: &Completion,
    logprobs: bool,
    (name, model): (&str, &Model),
) -> Value {
    let choice = |(index, answer): (usize, &Answer)| {
        let mut message = json!({ "role": "assistant", "content": answer.text });
        if !answer.reasoning.is_empty() {
            message["reasoning_content"] = answer.reasoning.as_str().into();
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": logprobs.then(|| token_logprobs(answer, model)),
            "finish_reason": answer.finish,
        })
    };
    let choices: Vec<Value> = completion.answers.iter().enumerate().map(choice).collect();
    let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let whose = Name::Id(id.to_owned());
    let body = json!({
        "id": format!("chatcmpl-{}", tag(&whose)),
        "object": "chat.completion",
        "created": created.unwrap_or_default().as_secs(),
        "model": name,
        "choices": choices,
        "usage": usage(completion),
    });
    let response = json!({
        "status_code": 200,
        "request_id": format!("req-{}", tag(&whose)),
        "body": body,
    });
    envelope(&whose, response, Value::Null)
}

/// Tokens of all answers.
pub(super) fn completion_tokens(completion: &Completion) -> usize {
    let counts = completion.answers.iter().map(|a| a.usage.completion_tokens);
    counts.sum()
}

fn envelope(name: &Name, response: Value, error: Value) -> Value {
    let custom_id = match name {
        Name::Id(id) => Some(id),
        Name::Line(_) => None,
    };
    json!({
        "id": format!("batch_req-{}", tag(name)),
        "custom_id": custom_id,
        "response": response,
        "error": error,
    })
}

/// What ids are made of: the same for the same request in every run.
fn tag(name: &Name) -> String {
    match name {
        Name::Id(id) => format!("{:032x}", digest(id.as_bytes())),
        Name::Line(number) => format!("line-{number}"),
    }
}

/// The prompt is computed once for all answers.
fn usage(completion: &Completion) -> Value {
    let prompt = completion.answers.first().map(|answer| &answer.usage);
    let prompt = prompt.cloned().unwrap_or_default();
    let completed = completion_tokens(completion);
    json!({
        "prompt_tokens": prompt.prompt_tokens,
        "completion_tokens": completed,
        "total_tokens": prompt.prompt_tokens + completed,
        "prompt_tokens_details": {
            "audio_tokens": prompt.audio_tokens,
            "cached_tokens": prompt.cached_tokens,
        },
    })
}

fn token_logprobs(answer: &Answer, model: &Model) -> Value {
    let tokenizer = model.checkpoint().tokenizer();
    let entry = |id: u32, logprob: f32| {
        // Rows of the vocabulary that the tokenizer does not know have no text.
        let bytes = tokenizer.token_bytes(id).unwrap_or_default();
        json!({
            "token": String::from_utf8_lossy(&bytes),
            "logprob": logprob.max(LEAST_LOGPROB),
            "bytes": bytes,
        })
    };
    let token = |token: &Token| {
        let mut value = entry(token.id, token.logprob);
        let top = token.top.iter().map(|(id, logprob)| entry(*id, *logprob));
        value["top_logprobs"] = top.collect();
        value
    };
    json!({ "content": answer.tokens.iter().map(token).collect::<Vec<_>>() })
}
