//! The one error type of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong between a checkpoint directory and its typed parts.
///
/// Every message names the file, the key or tensor inside it, and what was found against what was
/// expected. Messages are complete in themselves: nothing is hidden in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{}: cannot {action}: {cause}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The verb: `open`, `read`, `write`, ...
        action: &'static str,
        /// The operating system's own error.
        cause: io::Error,
    },

    /// A file is larger than its kind can sensibly be; it was not read.
    #[error("{}: {found} bytes, expected at most {limit}", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The largest size accepted, in bytes.
        limit: u64,
    },

    /// A file that should hold JSON does not.
    #[error("{}: bad JSON: {cause}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        cause: serde_json::Error,
    },

    /// A JSON file lacks a required key.
    #[error("{}: key `{key}` is missing", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The dotted key, such as `text_config.hidden_size`.
        key: String,
    },

    /// A JSON key holds a value of the wrong type or out of its range, or one that contradicts
    /// another key.
    #[error("{}: key `{key}` is {found}, expected {expected}", path.display())]
    InvalidValue {
        /// The file.
        path: PathBuf,
        /// The dotted key, such as `text_config.hidden_size`.
        key: String,
        /// The value found, as JSON, cut short if long.
        found: String,
        /// What would have been accepted.
        expected: String,
    },

    /// The directory holds neither `model.safetensors` nor an index of shards.
    #[error(
        "{}: no weights: neither model.safetensors nor model.safetensors.index.json is there",
        path.display()
    )]
    NoWeights {
        /// The checkpoint directory.
        path: PathBuf,
    },

    /// A safetensors header that cannot be trusted as a whole.
    #[error("{}: bad safetensors header: {problem}", path.display())]
    Header {
        /// The safetensors file.
        path: PathBuf,
        /// What is wrong, with both values.
        problem: String,
    },

    /// A safetensors header whose entry for one tensor is wrong.
    #[error("{}: tensor `{tensor}`: {problem}", path.display())]
    TensorEntry {
        /// The safetensors or index file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong, with both values.
        problem: String,
    },

    /// A tensor that the model needs is in no file of the checkpoint.
    #[error("{}: tensor `{tensor}` is missing", path.display())]
    MissingTensor {
        /// The safetensors or index file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },

    /// A tensor has another shape than the config calls for.
    #[error("{}: tensor `{tensor}` has shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        /// The safetensors file that holds the tensor.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The stored shape.
        found: Vec<usize>,
        /// The shape asked for.
        expected: Vec<usize>,
    },

    /// A tensor that the model needs is stored in a type that the engine does not compute with.
    #[error("{}: tensor `{tensor}` has dtype {found}, expected F32, F16, BF16 or F8_E4M3", path.display())]
    UnsupportedDtype {
        /// The safetensors file that holds the tensor.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The stored dtype, as the header spells it.
        found: String,
    },

    /// `tokenizer.json` cannot be used.
    #[error("{}: bad tokenizer: {problem}", path.display())]
    BadTokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },

    /// A text could not be turned into tokens, or tokens into text.
    #[error("{}: cannot {action}: {problem}", path.display())]
    Tokenize {
        /// The tokenizer file.
        path: PathBuf,
        /// `encode` or `decode`.
        action: &'static str,
        /// The tokenizer's message.
        problem: String,
    },

    /// A token id that has no text.
    #[error("{}: token id {id} has no text, expected one below {vocab_size}", path.display())]
    UnknownToken {
        /// The tokenizer file.
        path: PathBuf,
        /// The id.
        id: u32,
        /// One more than the largest id with text.
        vocab_size: usize,
    },

    /// The checkpoint has no chat template.
    #[error(
        "{}: no chat template: neither chat_template.jinja nor the key `chat_template` in \
         tokenizer_config.json is there",
        path.display()
    )]
    NoChatTemplate {
        /// The checkpoint directory.
        path: PathBuf,
    },

    /// The chat template does not parse, or fails while it runs.
    #[error("{}: chat template failed: {problem}", path.display())]
    ChatTemplate {
        /// The file that holds the template.
        path: PathBuf,
        /// The template engine's message, with the line.
        problem: String,
    },

    /// The chat template refused the conversation with `raise_exception`.
    #[error("{}: the chat template refuses this conversation: {message}", path.display())]
    ChatTemplateRaised {
        /// The file that holds the template.
        path: PathBuf,
        /// The template's own words.
        message: String,
    },

    /// The chat template did more work than any template needs: it probably never ends.
    #[error("{}: the chat template did not end within {fuel} steps", path.display())]
    ChatTemplateFuel {
        /// The file that holds the template.
        path: PathBuf,
        /// The number of steps allowed.
        fuel: u64,
    },

    /// The chat template wrote more text than any prompt can hold.
    #[error("{}: the chat template wrote more than {limit} bytes", path.display())]
    ChatTemplateOutput {
        /// The file that holds the template.
        path: PathBuf,
        /// The number of bytes allowed.
        limit: usize,
    },

    /// A synthetic checkpoint is never written over existing files.
    #[error("{}: the directory is not empty, expected a new or an empty one", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },

    /// A synthetic checkpoint cannot be split as asked.
    #[error("cannot split {tensors} tensors into {shards} shards, expected 1 to {tensors}")]
    Shards {
        /// The number of shards asked for.
        shards: usize,
        /// The number of tensors to spread over them.
        tensors: usize,
    },
}

impl Error {
    /// Adapter for `map_err` on file operations.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |cause| Error::Io {
            path: path.to_owned(),
            action,
            cause,
        }
    }
}
