//! What the engine tells of a request as it goes on.

use crate::observe::Stage;
use crate::text::Piece;
use std::time::Duration;

/// Something that happened to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Some of the work before the first token is done. There may be fewer of these than steps.
    Progress {
        /// Which work.
        phase: Phase,
        /// How much of it is done.
        done: usize,
        /// How much there is.
        total: usize,
    },
    /// The log-probabilities of the prompt's tokens, as far as they were asked for; before the first
    /// token.
    Prompt {
        /// Position of the first of the tokens.
        from: usize,
        /// The tokens.
        tokens: Vec<Token>,
    },
    /// A token was drawn.
    Token {
        /// Which of the request's answers, counted from 0.
        sample: usize,
        /// The token with its log-probability.
        token: Token,
        /// Text that became whole with it.
        pieces: Vec<Piece>,
    },
    /// An answer has ended. The last event of a request is the end of its last answer, or an error.
    Finished {
        /// Which of the request's answers, counted from 0.
        sample: usize,
        /// Why it ended.
        finish: Finish,
        /// Text that was held back, as it might have become a stop string.
        pieces: Vec<Piece>,
        /// What it took.
        usage: Usage,
    },
}

/// Work before the first token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading and decoding the audio file.
    Load,
    /// Hearing the audio.
    Hear(Stage),
    /// Computing the prompt.
    Prefill,
}

impl Phase {
    /// Its name in tables and bars.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Load => "load",
            Phase::Hear(stage) => stage.name(),
            Phase::Prefill => "prefill",
        }
    }
}

/// A token of an answer, or of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Natural logarithm of its probability by the model's own logits.
    pub logprob: f32,
    /// Likely tokens with their log-probabilities, as many as were asked for.
    pub top: Vec<(u32, f32)>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Finish {
    /// An end token, a stop string, or the end of what a constraint allows.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
    /// The reader asked to.
    Cancelled,
}

/// What an answer took.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt, those of audio included.
    pub prompt_tokens: usize,
    /// Tokens of audio among them.
    pub audio_tokens: usize,
    /// Tokens of the prompt that were in the cache.
    pub cached_tokens: usize,
    /// Tokens of the answer, an end token included.
    pub completion_tokens: usize,
    /// Seconds of audio.
    pub audio_seconds: f64,
    /// From the request's coming until it got its memory.
    pub queued: Duration,
    /// Reading and decoding the audio file; nothing if it was known.
    pub load: Duration,
    /// The stages of hearing; none if the audio had been heard.
    pub stages: Vec<(Stage, Duration)>,
    /// From getting its memory to the first token (or the end of the prompt, if none was wanted).
    pub prefill: Duration,
    /// From the request's coming to the first token.
    pub ttft: Duration,
    /// From the first token to the last.
    pub decode: Duration,
    /// The longest time between two successive tokens.
    pub max_itl: Duration,
    /// How often the answer lost its memory to others, to be computed again.
    pub preemptions: usize,
}

impl Usage {
    /// The mean time between two successive tokens; none of fewer than two.
    pub fn tpot(&self) -> Option<Duration> {
        let steps = u32::try_from(self.completion_tokens.checked_sub(1)?).ok()?;
        (steps > 0).then(|| self.decode / steps)
    }
}
