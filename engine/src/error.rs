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
    /// The chat template did not print the audio's placeholder once.
    #[error(
        "the prompt holds the audio placeholder (token {token}) {found} times, expected once: {hint}"
    )]
    Placeholder {
        /// `audio_token_index` of the model.
        token: u32,
        /// How often the rendered prompt holds it.
        found: usize,
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
        "no memory for the keys and values of {tokens} tokens, {bytes} bytes: lower --max-model-len"
    )]
    CacheMemory {
        /// The context's length.
        tokens: usize,
        /// What it takes.
        bytes: u64,
    },
    /// The model's work does not fit the GPU's memory.
    #[error(
        "the GPU has {free} bytes of free memory, but a context of {tokens} tokens takes {needed} \
        with the weights: lower --max-model-len or free memory"
    )]
    DeviceMemory {
        /// The context's length.
        tokens: usize,
        /// What all takes.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// All pages of the key-value cache are in use by other sessions.
    #[error("the key-value cache is full: {needed} more pages needed, {free} of {total} free")]
    CacheFull {
        /// Pages needed.
        needed: usize,
        /// Pages free.
        free: usize,
        /// Pages in all.
        total: usize,
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
