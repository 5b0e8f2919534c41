//! What is asked, and about what.

use crate::engine::Song;
use crate::error::Error;
use crate::model::{Ears, Model};
use crate::plan::longest_clip;
use crate::sampling::SamplingParams;
use bytes::Bytes;
use gamut_frontend::{Audio, MAX_STREAM_BYTES, SAMPLE_RATE, Source};
use gamut_loader::Message;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

/// Audio to hear. Cloning copies none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AudioInput {
    /// A file.
    Path(PathBuf, Excerpt),
    /// A whole encoded file in memory.
    Bytes {
        /// What errors call it.
        name: String,
        /// The file.
        data: Arc<[u8]>,
        /// The part of it that is wanted.
        excerpt: Excerpt,
    },
    /// 16 kHz mono.
    Samples(Arc<[f32]>),
    /// What [`Engine::load_audio`](crate::Engine::load_audio) returned.
    Song(Song),
}

/// The part of an audio file that is wanted. The default is all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Excerpt {
    /// The second where it begins, or the file's start.
    pub from: Option<f64>,
    /// The second where it ends, or the file's end.
    pub to: Option<f64>,
    /// Cut what is longer than the model takes, rather than refuse it.
    pub truncate: bool,
}

impl AudioInput {
    /// All of a file.
    pub fn path(path: impl Into<PathBuf>) -> AudioInput {
        AudioInput::Path(path.into(), Excerpt::default())
    }

    /// What `reader` holds, an encoded file, which errors call `name`.
    ///
    /// # Errors
    /// If it cannot be read, or has more than 4 GiB.
    pub fn from_reader(
        name: &str,
        reader: impl Read,
        excerpt: Excerpt,
    ) -> Result<AudioInput, Error> {
        let source = Source::from_reader(name, reader, MAX_STREAM_BYTES)?;
        let Source::Bytes { name, data } = source else {
            return Err(Error::EmptyClip);
        };
        Ok(AudioInput::Bytes {
            name,
            data: Arc::from(&*data),
            excerpt,
        })
    }

    /// The file, where it is one.
    pub(crate) fn source(&self) -> Option<(Source, Excerpt)> {
        match self {
            AudioInput::Path(path, excerpt) => Some((Source::Path(path.clone()), *excerpt)),
            AudioInput::Bytes {
                name,
                data,
                excerpt,
            } => {
                let (name, data) = (name.clone(), Bytes::from_owner(data.clone()));
                Some((Source::Bytes { name, data }, *excerpt))
            }
            AudioInput::Samples(_) | AudioInput::Song(_) => None,
        }
    }
}

/// Decodes a file, or a part of it, for a model that takes `max_seconds`.
pub(crate) fn load_file(
    source: &Source,
    excerpt: Excerpt,
    max_seconds: usize,
) -> Result<Audio, gamut_frontend::Error> {
    let options = gamut_frontend::Options {
        from: excerpt.from,
        to: excerpt.to,
        truncate: excerpt.truncate,
        max_seconds: max_seconds as f64,
    };
    gamut_frontend::load(source, &options)
}

impl Model {
    /// Decodes an audio file to 16 kHz mono samples, of at most the seconds that the model takes, on
    /// the current rayon pool.
    ///
    /// # Errors
    /// If it is no file, cannot be read, or is too long, or if the model reads text alone.
    pub fn decode_audio(&self, audio: &AudioInput) -> Result<Audio, Error> {
        let (source, excerpt) = audio.source().ok_or(Error::EmptyClip)?;
        Ok(load_file(&source, excerpt, self.audio()?.max_seconds)?)
    }

    /// Whether the model can hear these samples.
    pub(crate) fn check_clip(&self, samples: &[f32]) -> Result<(), Error> {
        let most = self.audio()?.max_seconds;
        if samples.is_empty() {
            return Err(Error::EmptyClip);
        }
        if samples.len() > longest_clip(self) {
            let seconds = samples.len() as f64 / f64::from(SAMPLE_RATE);
            return Err(Error::ClipTooLong { seconds, most });
        }
        let least = self.ears().map_or(1, Ears::shortest);
        if samples.len() < least {
            let samples = samples.len();
            return Err(Error::ClipTooShort { samples, least });
        }
        match samples.iter().position(|sample| !sample.is_finite()) {
            Some(index) => Err(Error::NotFinite {
                index,
                value: samples[index],
            }),
            None => Ok(()),
        }
    }
}

impl From<Song> for AudioInput {
    fn from(song: Song) -> AudioInput {
        AudioInput::Song(song)
    }
}

/// A prompt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A conversation, for the checkpoint's chat template. Its messages have the audio as parts.
    Messages(Vec<Message>, Variables),
    /// Text as it is, special tokens included, with the placeholder spelled out for each audio.
    Text(String),
    /// Token ids, with one placeholder for each audio, and around it whatever the model expects there.
    Tokens(Vec<u32>),
}

/// Variables of the chat template, such as `enable_thinking`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variables(pub(crate) Map<String, Value>);

impl Variables {
    /// Sets a variable to a JSON value, such as `false` or `"short"`.
    ///
    /// # Errors
    /// If it is no JSON.
    pub fn set(&mut self, name: impl Into<String>, json: &str) -> Result<(), Error> {
        let name = name.into();
        match serde_json::from_str(json) {
            Ok(value) => {
                self.0.insert(name, value);
                Ok(())
            }
            Err(e) => Err(Error::Variable {
                name,
                reason: e.to_string(),
            }),
        }
    }
}

/// A prompt, the audio in it, and how it is to be answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt.
    pub input: Input,
    /// The audio, in the order of its places in the prompt.
    pub audio: Vec<AudioInput>,
    /// How answers are drawn, how many, and where they end.
    pub params: SamplingParams,
    /// Requests of higher priority go first, and take the place of others; 0 by default.
    pub priority: i32,
    /// Who asks. Clients share the engine fairly, whatever number of requests each has.
    pub client: String,
}

impl Request {
    /// A prompt to be answered greedily.
    pub fn new(input: Input) -> Request {
        Request {
            input,
            audio: Vec::new(),
            params: SamplingParams::default(),
            priority: 0,
            client: String::new(),
        }
    }

    /// A question about some audio.
    pub fn ask(audio: impl Into<AudioInput>, question: impl Into<String>) -> Request {
        let messages = vec![Message::audio("user", question)];
        let mut request = Request::new(Input::Messages(messages, Variables::default()));
        request.audio.push(audio.into());
        request
    }

    /// With these parameters.
    #[must_use]
    pub fn params(mut self, params: SamplingParams) -> Request {
        self.params = params;
        self
    }

    /// With this priority.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Request {
        self.priority = priority;
        self
    }

    /// On behalf of this client.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Request {
        self.client = client.into();
        self
    }
}
