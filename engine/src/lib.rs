//! Gamut: ask a music language model about a whole song.
//!
//! A [`Model`] is the weights of a checkpoint, mapped and shared. An [`Engine`] is a model on a
//! device with the memory that it works in; it answers any number of requests at a time, from any
//! number of threads. What two requests share, a song above all, is computed once and kept for the
//! next.
//!
//! ```no_run
//! use gamut_engine::{AudioInput, Engine, EngineOptions, Event, Model, OpenOptions, Request};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), gamut_engine::Error> {
//! let model = Arc::new(Model::open("path/to/checkpoint", &OpenOptions::default())?);
//! let engine = Engine::new(model, &EngineOptions::default())?;
//! let request = Request::ask(AudioInput::path("song.mp3"), "When does the chorus start?");
//! // A stream, for any async runtime; or blocking.
//! for event in engine.submit(request)?.blocking() {
//!     if let Event::Token { pieces, .. } = event? {
//!         pieces.iter().for_each(|piece| print!("{}", piece.text));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is global: an engine has threads of its own, which end with it.

pub mod bench;
mod constraint;
mod core;
mod device;
mod engine;
mod error;
mod event;
mod generation;
mod generations;
mod input;
mod inspect;
mod mailbox;
mod model;
mod observe;
mod pages;
mod plan;
pub mod predict;
mod prefix;
mod prompt;
mod sampling;
mod scheduler;
mod session;
mod sync;
mod text;
mod worker;

pub use constraint::Constraint;
pub use engine::{Continuation, Engine, EngineOptions, Song, Stats};
pub use error::{Error, SubmitError};
pub use event::{Event, Finish, Phase, Token, Usage};
pub use gamut_frontend::{Audio, SAMPLE_RATE};
pub use gamut_kernels::{DType, Device, DeviceChoice, Sampling, Target, Work};
pub use gamut_loader::{Content, Message, OpenOptions, Part};
pub use generation::{Answer, Blocking, Completion, Generation};
pub use generations::{Generations, Next};
pub use input::{AudioInput, Excerpt, Input, Request, Variables};
pub use inspect::Inspection;
pub use model::Model;
pub use observe::{Observer, Stage};
pub use plan::MemoryPlan;
pub use sampling::{MAX_LOGPROBS, SamplingParams};
pub use session::Session;
pub use text::Piece;
