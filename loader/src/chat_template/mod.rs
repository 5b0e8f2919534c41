//! The checkpoint's chat template: a conversation in, the text of a prompt out.
//!
//! Templates are Jinja programs written for Python's jinja2 as transformers sets it up. They are
//! rendered unedited by minijinja, with what Python would do differently replaced.

mod strftime;
mod tojson;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::thread;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, State, Value as Jinja};
use minijinja_contrib::pycompat;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::file;
use crate::json::{self, Section};

/// The largest template file read, in bytes.
const MAX_TEMPLATE: u64 = 1 << 20;
/// The largest `tokenizer_config.json` read, in bytes; it may list many added tokens.
const MAX_TOKENIZER_CONFIG: u64 = 64 << 20;
/// Steps that one rendering may take. A long conversation takes some ten thousand.
const FUEL: u64 = 400_000;
/// What the template engine lets a template write for one step.
const BYTES_PER_FUEL: u64 = 64;
/// Stack of one rendering, in bytes. Most of it is never touched: only values nested as deep as
/// the fuel allows need it.
const STACK: usize = 256 << 20;
/// Bytes that one rendering may write: far more than any context holds.
const MAX_OUTPUT: usize = 8 << 20;
/// The name of the template within its environment.
const NAME: &str = "chat_template";
/// The key of a template in a JSON file.
const KEY: &str = "chat_template";
/// What transformers' `Qwen2AudioProcessor` writes where a checkpoint does not say: no copy of it, a
/// template of the same output.
pub(crate) const QWEN2_AUDIO: &str = include_str!("qwen2_audio.jinja");
/// Special tokens of tokenizer_config.json that templates may print.
const TOKEN_VARIABLES: [&str; 4] = ["bos_token", "eos_token", "pad_token", "unk_token"];

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What is said.
    pub content: Content,
    /// Further fields.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Message {
    /// A turn.
    pub fn new(role: impl Into<String>, content: Content) -> Message {
        Message {
            role: role.into(),
            content,
            extra: Map::new(),
        }
    }

    /// A turn that is plain text.
    pub fn text(role: impl Into<String>, text: impl Into<String>) -> Message {
        Message::new(role, Content::Text(text.into()))
    }

    /// A turn that has a song in it, followed by text.
    pub fn audio(role: impl Into<String>, text: impl Into<String>) -> Message {
        Message::about(1, role, text)
    }

    /// A turn that has as many `songs` in it, followed by text: plain where there are none.
    pub fn about(songs: usize, role: impl Into<String>, text: impl Into<String>) -> Message {
        if songs == 0 {
            return Message::text(role, text);
        }
        let mut parts = vec![Part::Audio; songs];
        parts.push(Part::Text { text: text.into() });
        Message::new(role, Content::Parts(parts))
    }

    /// The places for audio in the turn.
    pub fn places(&self) -> usize {
        match &self.content {
            Content::Text(_) => 0,
            Content::Parts(parts) => parts.iter().filter(|part| **part == Part::Audio).count(),
        }
    }

    /// Sets a further field that a template may look at, such as `reasoning_content` or
    /// `tool_calls`, to a JSON value.
    ///
    /// # Errors
    /// If it is no JSON.
    pub fn set(&mut self, name: impl Into<String>, json: &str) -> Result<(), Error> {
        let name = name.into();
        match serde_json::from_str(json) {
            Ok(value) => {
                self.extra.insert(name, value);
                Ok(())
            }
            Err(cause) => Err(Error::Json {
                path: name.into(),
                cause,
            }),
        }
    }
}

/// The content of a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text, a string for the template.
    Text(String),
    /// A list of parts, for turns with audio in them.
    Parts(Vec<Part>),
}

/// One part of a turn, `{"type": "audio"}` or `{"type": "text", "text": ...}` for the template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Part {
    /// The song: the template prints one placeholder token for it.
    Audio,
    /// Text.
    Text {
        /// The text.
        text: String,
    },
}

/// What a template is told besides the messages.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateOptions {
    /// Whether to end with the opening of an assistant's turn (the default).
    pub add_generation_prompt: bool,
    /// Further variables, such as `enable_thinking` or `tools`.
    pub variables: Map<String, Value>,
}

impl Default for TemplateOptions {
    fn default() -> Self {
        TemplateOptions {
            add_generation_prompt: true,
            variables: Map::new(),
        }
    }
}

/// A parsed chat template.
///
/// Two things differ from transformers: `strftime_now` tells the time in UTC, and the training tag
/// `{% generation %}` is a syntax error.
pub struct ChatTemplate {
    path: PathBuf,
    environment: Environment<'static>,
    /// `bos_token` and the like, from tokenizer_config.json.
    tokens: Map<String, Value>,
}

impl ChatTemplate {
    /// Finds the template of a checkpoint directory: `chat_template.jinja`, else the key
    /// `chat_template` of `chat_template.json`, else `fallback`, or where there is none, that key of
    /// `tokenizer_config.json` (a string, or a list of named templates of which `default` is taken).
    pub fn open(dir: &Path, fallback: Option<&str>) -> Result<ChatTemplate, Error> {
        let template_path = dir.join("chat_template.jinja");
        let legacy_path = dir.join("chat_template.json");
        let config_path = dir.join("tokenizer_config.json");
        let exists = |path: &Path| path.try_exists().map_err(Error::io(path, "open"));
        let config = match exists(&config_path)? {
            true => json::read(&config_path, MAX_TOKENIZER_CONFIG)?,
            false => Value::Object(Map::new()),
        };
        let config = Section::root(&config_path, &config)?;
        let tokens = token_variables(&config)?;
        if exists(&template_path)? {
            let source = file::read_text(&template_path, MAX_TEMPLATE)?;
            return ChatTemplate::new(&template_path, source, tokens);
        }
        if exists(&legacy_path)? {
            let value = json::read(&legacy_path, MAX_TEMPLATE)?;
            let section = Section::root(&legacy_path, &value)?;
            let source = embedded_template(&section)?.ok_or_else(|| section.missing(KEY))?;
            return ChatTemplate::new(&legacy_path, source, tokens);
        }
        if let Some(source) = fallback {
            return ChatTemplate::new(&template_path, source, tokens);
        }
        match embedded_template(&config)? {
            Some(source) => ChatTemplate::new(&config_path, source, tokens),
            None => Err(Error::NoChatTemplate {
                path: dir.to_owned(),
            }),
        }
    }

    /// Parses a template. `path` is only named in errors; `tokens` are variables that every
    /// rendering sees, such as `bos_token`.
    pub fn new(
        path: &Path,
        source: impl Into<String>,
        tokens: Map<String, Value>,
    ) -> Result<ChatTemplate, Error> {
        let environment = environment()
            .and_then(|mut environment| {
                environment.add_template_owned(NAME, source.into())?;
                Ok(environment)
            })
            .map_err(|error| Error::ChatTemplate {
                path: path.to_owned(),
                problem: error.to_string(),
            })?;
        Ok(ChatTemplate {
            path: path.to_owned(),
            environment,
            tokens,
        })
    }

    /// A special token that the template may print, such as `eos_token`, as text.
    pub(crate) fn token(&self, name: &str) -> Option<&str> {
        self.tokens.get(name)?.as_str()
    }

    /// The prompt's text for a conversation.
    ///
    /// Fails with the template's own words if it refuses the conversation, and if it does not end
    /// or writes without end.
    pub fn render(&self, messages: &[Message], options: &TemplateOptions) -> Result<String, Error> {
        // transformers defines these two even where nobody sets them.
        let mut variables = Map::from_iter([
            ("tools".to_owned(), Value::Null),
            ("documents".to_owned(), Value::Null),
        ]);
        variables.extend(self.tokens.clone());
        variables.extend(options.variables.clone());
        let context = Context {
            variables,
            messages,
            add_generation_prompt: options.add_generation_prompt,
        };
        // A template is somebody else's program: it gets a stack that its fuel cannot exhaust, and
        // if it makes the engine panic, that ends here.
        thread::scope(|scope| {
            let worker = thread::Builder::new()
                .name("chat-template".to_owned())
                .stack_size(STACK)
                .spawn_scoped(scope, || self.run(context))
                .map_err(Error::io(&self.path, "start a thread for"))?;
            worker.join().unwrap_or_else(|_| {
                let problem = "the template engine panicked".to_owned();
                Err(Error::ChatTemplate {
                    path: self.path.clone(),
                    problem,
                })
            })
        })
    }

    fn run(&self, context: Context<'_>) -> Result<String, Error> {
        let mut output = Bounded::default();
        let rendered = self.environment.get_template(NAME).and_then(|template| {
            template
                .render_captured_to(Jinja::from(Serde(context)), &mut output)
                .map(drop)
        });
        match rendered {
            Err(_) if output.full => Err(Error::ChatTemplateOutput {
                path: self.path.clone(),
                limit: MAX_OUTPUT,
            }),
            Err(error) => Err(self.explain(&error)),
            Ok(()) => output.into_string().map_err(|error| Error::ChatTemplate {
                path: self.path.clone(),
                problem: error.to_string(),
            }),
        }
    }

    fn explain(&self, error: &minijinja::Error) -> Error {
        let path = self.path.clone();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(Raised(message)) = current.downcast_ref() {
                return Error::ChatTemplateRaised {
                    path,
                    message: message.clone(),
                };
            }
            cause = current.source();
        }
        match error.kind() {
            ErrorKind::OutOfFuel => Error::ChatTemplateFuel { path, fuel: FUEL },
            _ => Error::ChatTemplate {
                path,
                problem: error.to_string(),
            },
        }
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// jinja2's settings as transformers chooses them.
fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(false);
    environment.set_unknown_method_callback(python_method);
    environment.add_filter("tojson", tojson::tojson);
    environment.add_function("raise_exception", |message: String| -> Result<String, _> {
        let error = minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception");
        Err(error.with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |format: &str| {
        strftime::strftime(format, SystemTime::now())
            .map_err(|problem| minijinja::Error::new(ErrorKind::InvalidOperation, problem))
    });
    Ok(environment)
}

/// Python's methods on strings, lists and dicts.
fn python_method(
    state: &mut State<'_, '_>,
    value: &Jinja,
    method: &str,
    args: &[Jinja],
) -> Result<Jinja, minijinja::Error> {
    if let ("format", Some(format)) = (method, value.as_str()) {
        // `format` pads to any width at no charge, so the widths are charged here.
        let numbers = format
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty());
        let widths = numbers.map(|digits| digits.parse().unwrap_or(u64::MAX));
        state.consume_fuel(widths.fold(0, u64::saturating_add) / BYTES_PER_FUEL)?;
    }
    pycompat::unknown_method_callback(state, value, method, args)
}

/// The variables of one rendering. Those of ours come last, so that nothing overrides them.
#[derive(Serialize)]
struct Context<'a> {
    #[serde(flatten)]
    variables: Map<String, Value>,
    messages: &'a [Message],
    add_generation_prompt: bool,
}

/// What `raise_exception` was called with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// A buffer that refuses to grow beyond [`MAX_OUTPUT`].
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl Bounded {
    /// What was written; it consists of whole strings, so this does not fail.
    fn into_string(self) -> Result<String, FromUtf8Error> {
        String::from_utf8(self.bytes)
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAX_OUTPUT - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The special tokens, each written as a string or as an object with `content`.
fn token_variables(config: &Section<'_>) -> Result<Map<String, Value>, Error> {
    let mut tokens = Map::new();
    for key in TOKEN_VARIABLES {
        let Some(value) = config.optional(key) else {
            continue;
        };
        let text = value.get("content").unwrap_or(value);
        if !text.is_string() {
            return Err(config.invalid(key, value, "a token's text"));
        }
        tokens.insert(key.to_owned(), text.clone());
    }
    Ok(tokens)
}

fn embedded_template(config: &Section<'_>) -> Result<Option<String>, Error> {
    let Some(value) = config.optional(KEY) else {
        return Ok(None);
    };
    let source = match value {
        Value::Array(named) => named
            .iter()
            .find(|entry| entry.get("name").is_some_and(|name| name == "default"))
            .and_then(|entry| entry.get("template")),
        single => Some(single),
    };
    match source.and_then(Value::as_str) {
        Some(source) => Ok(Some(source.to_owned())),
        None => Err(config.invalid(KEY, value, "a string, or a list with a template `default`")),
    }
}
