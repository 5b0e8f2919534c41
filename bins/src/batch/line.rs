//! A line of the requests, as OpenAI's batches have them, to a request of the engine.

use super::audio;
use super::params::{self, Defaults};
use crate::asking::Asks;
use crate::digest::digest;
use crate::fields::{Fields, TEXT, shown_text};
use gamut_engine::{AudioInput, Content, Input, Message, Part, Request, Variables};
use serde_json::{Map, Value};
use std::path::Path;

/// Further fields of a message, which a template may look at.
const MESSAGE_EXTRAS: [&str; 4] = ["name", "reasoning_content", "tool_calls", "tool_call_id"];

/// A line that has an identity, and is not looked at any further yet.
#[derive(Debug)]
pub(super) struct RequestLine {
    /// Its `custom_id`.
    pub(super) id: String,
    /// Its number in the file.
    pub(super) number: u64,
    /// The digest of its audio as it is written; of its `custom_id` if there is none.
    pub(super) song: u128,
    fields: Fields,
}

/// A request that is ready for the engine.
#[derive(Debug)]
pub(super) struct BatchRequest {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) song: u128,
    pub(super) inner: Request,
    /// Whether log-probabilities are reported.
    pub(super) logprobs: bool,
    /// Bytes of audio that it has in memory.
    pub(super) held: usize,
}

impl Asks for BatchRequest {
    fn song(&self) -> u128 {
        self.song
    }

    fn request(&self) -> &Request {
        &self.inner
    }

    fn held(&self) -> usize {
        self.held
    }
}

impl RequestLine {
    /// Finds out which request a line is.
    pub(super) fn new(number: u64, text: &[u8]) -> Result<RequestLine, String> {
        let value = serde_json::from_slice(text).map_err(|e| {
            // The number of a line in a file of one line is of no use.
            let reason = e.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            format!("no JSON at column {}: {reason}", e.column())
        })?;
        let song = song(&value).map(|song| digest(song.as_bytes()));
        let mut fields = Fields::new(String::new(), value)?;
        let id: String = fields.need("custom_id", TEXT)?;
        Ok(RequestLine {
            number,
            song: song.unwrap_or_else(|| digest(id.as_bytes())),
            id,
            fields,
        })
    }

    /// The request. Relative paths of audio start from `folder`.
    pub(super) fn parse(self, folder: &Path, defaults: &Defaults) -> Result<BatchRequest, String> {
        let mut fields = self.fields;
        for (key, expected) in [("method", "POST"), ("url", "/v1/chat/completions")] {
            match fields.take_value(key) {
                Some(found) if found != expected => {
                    return Err(fields.wrong(key, &found, &format!("{expected:?}")));
                }
                _ => {}
            }
        }
        let mut body = fields.object("body")?;
        fields.finish()?;
        let mut audio = Vec::new();
        let messages = match body.take_value("messages") {
            Some(Value::Array(messages)) if !messages.is_empty() => messages,
            Some(found) => return Err(body.wrong("messages", &found, "a list of messages")),
            None => return Err(body.missing("messages", "a list of messages")),
        };
        let messages: Vec<Message> = messages
            .into_iter()
            .enumerate()
            .map(|(i, value)| message(format!("body.messages[{i}]"), value, folder, &mut audio))
            .collect::<Result<_, _>>()?;
        let Defaults { params, logprobs } = params::take(&mut body, defaults)?;
        let variables = variables(&mut body)?;
        params::pass_over(&mut body)?;
        body.finish()?;
        let held = audio.iter().map(audio::held).sum();
        let mut request = Request::new(Input::Messages(messages, variables)).params(params);
        request.audio = audio;
        Ok(BatchRequest {
            id: self.id,
            number: self.number,
            song: self.song,
            inner: request,
            logprobs,
            held,
        })
    }
}

/// The first audio of a line as it is written, right or wrong.
fn song(line: &Value) -> Option<&str> {
    let messages = line["body"]["messages"].as_array()?;
    let parts = messages
        .iter()
        .filter_map(|message| message["content"].as_array());
    parts.flatten().find_map(|part| {
        let url = part["audio_url"]["url"].as_str();
        url.or_else(|| part["input_audio"]["data"].as_str())
    })
}

/// A message; its audio is put behind that of those before.
fn message(
    path: String,
    value: Value,
    folder: &Path,
    audio: &mut Vec<AudioInput>,
) -> Result<Message, String> {
    const CONTENT: &str = "a string or a list of parts";
    let mut fields = Fields::new(path, value)?;
    let role: String = fields.need("role", TEXT)?;
    let content = match fields.take_value("content") {
        Some(Value::String(text)) => Content::Text(text),
        Some(Value::Array(parts)) => {
            let name = fields.name("content");
            let parts = parts
                .into_iter()
                .enumerate()
                .map(|(i, value)| part(format!("{name}[{i}]"), value, folder, audio));
            Content::Parts(parts.collect::<Result<_, _>>()?)
        }
        Some(found) => return Err(fields.wrong("content", &found, CONTENT)),
        None => return Err(fields.missing("content", CONTENT)),
    };
    let extra = fields.some(&MESSAGE_EXTRAS);
    fields.finish()?;
    let mut message = Message::new(role, content);
    for (name, value) in extra {
        // Its own text is JSON.
        message
            .set(name, &value.to_string())
            .map_err(|e| e.to_string())?;
    }
    Ok(message)
}

fn part(
    path: String,
    value: Value,
    folder: &Path,
    audio: &mut Vec<AudioInput>,
) -> Result<Part, String> {
    const KINDS: &str = "\"text\", \"audio_url\" or \"input_audio\"";
    let mut fields = Fields::new(path, value)?;
    let kind: String = fields.need("type", KINDS)?;
    let part = match kind.as_str() {
        "text" => Part::Text {
            text: fields.need("text", TEXT)?,
        },
        "audio_url" => {
            let mut inner = fields.object("audio_url")?;
            let url: String = inner.need("url", TEXT)?;
            let found = audio::from_url(&url, folder);
            audio.push(found.map_err(|e| format!("{}: {e}", inner.name("url")))?);
            inner.finish()?;
            Part::Audio
        }
        "input_audio" => {
            let mut inner = fields.object("input_audio")?;
            let data: String = inner.need("data", "a file in base64")?;
            let found = audio::from_base64("input_audio", &data);
            audio.push(found.map_err(|e| format!("{}: {e}", inner.name("data")))?);
            // The file itself says what it is.
            inner.take::<String>("format", TEXT)?;
            inner.finish()?;
            Part::Audio
        }
        _ => return Err(fields.wrong("type", &kind.into(), KINDS)),
    };
    fields.finish()?;
    Ok(part)
}

/// Variables of the chat template, by vLLM's name.
fn variables(body: &mut Fields) -> Result<Variables, String> {
    let mut variables = Variables::default();
    let given: Option<Map<String, Value>> = body.take("chat_template_kwargs", "an object")?;
    for (name, value) in given.into_iter().flatten() {
        let set = variables.set(&name, &value.to_string());
        set.map_err(|e| format!("{}: {e}", shown_text(&name)))?;
    }
    Ok(variables)
}

#[cfg(test)]
mod tests;
