//! Errors of the engine.

/// What can go wrong between a file, a question and an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] gamut_loader::Error),
    /// The audio.
    #[error(transparent)]
    Audio(#[from] gamut_frontend::Error),
    /// An operation or the device.
    #[error(transparent)]
    Device(#[from] gamut_kernels::Error),
    /// The model's logits, or what the request made of them, leave no token to draw.
    #[error("no token can be drawn: {0}")]
    NoToken(gamut_kernels::Error),
    /// There is no audio in the clip.
    #[error("the clip has no samples")]
    EmptyClip,
    /// A sample is not a number, or infinite.
    #[error("sample {index} of the clip is {value}, expected a finite number")]
    NotFinite {
        /// Which sample.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// The clip is longer than the model takes.
    #[error("the clip is {seconds:.2} s long, the model takes at most {most} s")]
    ClipTooLong {
        /// Length of the clip.
        seconds: f64,
        /// `max_audio_seconds` of the model.
        most: usize,
    },
    /// The clip is too short for a single token.
    #[error("the clip has {samples} samples at 16 kHz, the model hears no fewer than {least}")]
    ClipTooShort {
        /// Length of the clip.
        samples: usize,
        /// The shortest that becomes a token.
        least: usize,
    },
    /// The prompt has more audio than the model's family takes.
    #[error("the prompt has {found} clips, {architecture} takes at most {most} in a conversation")]
    TooManyClips {
        /// Clips in the prompt.
        found: usize,
        /// The model's class.
        architecture: &'static str,
        /// The most that it takes.
        most: usize,
    },
    /// Audio for a model that has no ears.
    #[error("the model, {architecture}, reads text alone and takes no audio")]
    ReadsTextAlone {
        /// The model's class.
        architecture: &'static str,
    },
    /// There is not one placeholder in the prompt for each audio.
    #[error(
        "the prompt holds the audio placeholder (token {token}) {found} times, expected {expected}, \
        once for each audio: {hint}"
    )]
    Placeholder {
        /// `audio_token_index` of the model.
        token: u32,
        /// How often the rendered prompt holds it.
        found: usize,
        /// How many audios came with it.
        expected: usize,
        /// Where to look.
        hint: &'static str,
    },
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {tokens} tokens ({audio} of them audio) and the context holds {most}: \
         raise --max-model-len, ask less, or take a shorter part of the song"
    )]
    PromptTooLong {
        /// Tokens of the prompt, the audio's included.
        tokens: usize,
        /// Tokens of the audio.
        audio: usize,
        /// The context's length.
        most: usize,
    },
    /// The context asked for is longer than the model's positions.
    #[error(
        "max_model_len is {asked}, config.json allows {most} (text_config.max_position_embeddings)"
    )]
    ContextTooLong {
        /// What was asked for.
        asked: usize,
        /// What the model was made for.
        most: usize,
    },
    /// A parameter of an answer is out of its range.
    #[error("{name} is {found}, expected at most {most}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: usize,
        /// Its greatest value.
        most: usize,
    },
    /// The memory of the key-value cache cannot be had.
    #[error(
        "no memory for the keys and values of {tokens} tokens, {bytes} bytes: lower --max-model-len \
        or --kv-cache-tokens"
    )]
    CacheMemory {
        /// How many.
        tokens: usize,
        /// What they take.
        bytes: u64,
    },
    /// The model's work does not fit the GPU's memory.
    #[error(
        "the GPU has {free} bytes of free memory, but the weights with keys and values of {tokens} \
        tokens take {needed}: lower --max-model-len or free memory"
    )]
    DeviceMemory {
        /// How many.
        tokens: usize,
        /// What all takes.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// An option of the engine or of a request is out of its range.
    #[error("{name} is {found}, expected {least} to {most}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        found: usize,
        /// Its least value.
        least: usize,
        /// Its greatest value.
        most: usize,
    },
    /// A rate of requests is out of its range.
    #[error("the rate is {found} requests a second, expected {least} to {most}, or inf")]
    Rate {
        /// The rate.
        found: f64,
        /// Its least value.
        least: f64,
        /// Its greatest value that is finite.
        most: f64,
    },
    /// A variable of the chat template is no JSON.
    #[error("the value of the template variable {name} is no JSON: {reason}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A constraint on the answer cannot be understood, or takes too long to follow.
    #[error("{what}: {reason}")]
    Constraint {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The prompt, or a continuation of it, has no tokens.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// The file was another when it was read again.
    #[error("the audio file has changed since the request came")]
    AudioChanged,
    /// The pool of audio has no room for another song that is to stay.
    #[error(
        "{kept} songs are kept in memory, and with another there would be no room for the longest \
        clip: drop some, or raise max_songs"
    )]
    TooManySongs {
        /// Songs that are kept.
        kept: usize,
    },
    /// The pool of audio has no room for all that a prompt has.
    #[error(
        "no room in memory for the prompt's {clips} pieces of audio beside {kept} songs that are \
        kept: drop some, or raise max_songs"
    )]
    NoRoomForAudio {
        /// Pieces of audio in the prompt.
        clips: usize,
        /// Songs that are kept.
        kept: usize,
    },
    /// The new weights are of a model of other sizes.
    #[error("the new checkpoint's config.json has other sizes than the engine's model")]
    OtherModel,
    /// A request was not taken.
    #[error(transparent)]
    Submit(Box<SubmitError>),
    /// The engine was shut down before the request had ended.
    #[error("the engine was shut down before the request had ended")]
    ShutDown,
    /// Some code panicked while the request was under way.
    #[error("a panic in the engine, or in the waker of a reader, ended the request")]
    Panicked,
    /// A thread of the engine cannot be started.
    #[error("cannot start a thread: {reason}")]
    Thread {
        /// The system's reason.
        reason: String,
    },
    /// A result cannot be written.
    #[error("cannot write {path}: {reason}", path = path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Too many requests wait.
    #[error("the engine is overloaded: {queued} requests wait, at most {most} may")]
    Overloaded {
        /// Requests that wait.
        queued: usize,
        /// How many may.
        most: usize,
    },
    /// The engine takes no more requests.
    #[error("the engine takes no more requests: it is being shut down")]
    ShutDown,
    /// The request cannot be understood.
    #[error(transparent)]
    Invalid(#[from] Error),
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Error {
        match error {
            SubmitError::Invalid(error) => error,
            other => Error::Submit(Box::new(other)),
        }
    }
}
