//! Gamut: ask a music language model about a whole song.
//!
//! A [`Model`] is the weights of a checkpoint, mapped and shared. An [`Engine`] is a model on a
//! device with the memory that it works in. The engine hears a song once ([`Engine::hear`]); a
//! [`Session`] then answers any number of questions about it, of which each costs only its own
//! tokens.
//!
//! ```no_run
//! use gamut_engine::{AudioOptions, AudioSource, Engine, EngineOptions, Model, OpenOptions};
//! use gamut_engine::{Event, SamplingParams};
//! use std::{ops::ControlFlow, sync::Arc};
//!
//! # fn main() -> Result<(), gamut_engine::Error> {
//! let model = Arc::new(Model::open("path/to/checkpoint", &OpenOptions::default())?);
//! let engine = Engine::new(model, &EngineOptions::default())?;
//! let audio = engine.load_audio(&AudioSource::Path("song.mp3".into()), &AudioOptions::default())?;
//! let song = engine.hear(&audio.samples, &mut ())?;
//! let mut session = engine.session(&song);
//! let answer = session.ask(
//!     "When does the chorus start?",
//!     &SamplingParams::default(),
//!     &Default::default(),
//!     &mut |event| {
//!         if let Event::Token { pieces, .. } = event {
//!             pieces.iter().for_each(|piece| print!("{}", piece.text));
//!         }
//!         ControlFlow::Continue(())
//!     },
//! )?;
//! println!("\n{} tokens", answer.tokens.len());
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is global: an engine has threads of its own, which end with it.

pub mod bench;
mod engine;
mod error;
mod inspect;
mod kv;
mod model;
mod observe;
mod plan;
pub mod predict;
mod prompt;
mod runner;
mod sampling;
mod session;
mod text;

pub use engine::{Engine, EngineOptions, Song};
pub use error::Error;
pub use gamut_frontend::{Audio, Options as AudioOptions, SAMPLE_RATE, Source as AudioSource};
pub use gamut_kernels::{DType, Device, DeviceChoice, Sampling, Target, Work};
pub use gamut_loader::{Content, Message, OpenOptions, Part};
pub use inspect::Inspection;
pub use model::{Model, SAMPLES_PER_TOKEN};
pub use observe::{Observer, Stage};
pub use plan::MemoryPlan;
pub use sampling::{MAX_LOGPROBS, SamplingParams};
pub use session::{Answer, Event, Finish, Listener, PREFILL_CHUNK, Session, Token};
pub use text::Piece;
