//! Checkpoint directories for Gamut.
mod chat_template;
mod checkpoint;
mod config;
mod error;
mod file;
mod generation_config;
mod json;
pub mod layout;
mod safetensors;
pub mod synthetic;
mod tokenizer;
mod weights;

pub use chat_template::{ChatTemplate, Content, Message, Part, TemplateOptions};
pub use checkpoint::{Checkpoint, OpenOptions};
pub use config::{
    Activation, Config, ExpertConfig, FusionConfig, Gate, ProjectorConfig, TextConfig,
};
pub use error::Error;
pub use generation_config::GenerationConfig;
pub use tokenizer::Tokenizer;
pub use weights::{DType, Scope, Tensor, TensorSummary, Weights};
