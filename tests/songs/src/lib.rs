//! Songs made by a program: small pieces of music whose truth is known to the sample, and questions about them.
//!
//! A [`Piece`] is a plan from a seed: sections, instruments and when they play, chords, tempo, mode, a climax.
//! [`render`] makes sound of it, [`questions`] asks about it. Pieces for training and pieces to measure with
//! share neither seeds nor timbres ([`Split`]). The same seed gives the same plan and questions everywhere; samples
//! may differ in their last bits between processors.

mod arrangement;
mod benchmark;
mod features;
mod mix;
mod piece;
mod questions;
mod random;
mod synth;
mod timbre;
mod wav;

pub use benchmark::{Entry, benchmark};
pub use features::{features, windows};
pub use mix::render;
pub use piece::{Chord, Instrument, Kind, Mode, Piece, Section, Split, Tempo, Track};
pub use questions::{LETTERS, Question, Scope, questions, sample};
pub use random::Random;
pub use synth::RATE;
pub use wav::wav;
