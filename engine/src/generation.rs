//! A request under way, as its reader sees it.

use crate::core::request::Reader;
use crate::error::Error;
use crate::event::{Event, Finish, Token, Usage};
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The events of a request: a stream for any async runtime, or blocking.
///
/// The engine draws up to [`EngineOptions::event_buffer`](crate::EngineOptions::event_buffer) tokens
/// ahead of the reader; then the request pauses, and others do not. Dropping it ends the request
/// before the engine's next step and frees what it had; dropping never waits.
#[derive(Debug)]
pub struct Generation {
    reader: Arc<Reader>,
    id: u64,
}

impl Generation {
    pub(crate) fn new(reader: Arc<Reader>, id: u64) -> Generation {
        Generation { reader, id }
    }

    /// Tells the request from all others of the engine.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Ends the request before the engine's next step. What it has drawn is still to be read, and
    /// then the ends of its answers.
    pub fn cancel(&self) {
        self.reader.stop();
    }

    /// The events, each waited for.
    pub fn blocking(self) -> Blocking {
        Blocking(self)
    }

    /// Waits for all answers.
    ///
    /// # Errors
    /// What ended the request before them.
    pub fn wait(self) -> Result<Completion, Error> {
        let mut completion = Completion::default();
        for event in self.blocking() {
            completion.take(event?);
        }
        Ok(completion)
    }
}

impl Stream for Generation {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.reader.poll(cx.waker())
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.reader.abandon();
    }
}

/// The events of a request, each waited for.
#[derive(Debug)]
pub struct Blocking(Generation);

impl Blocking {
    /// As [`Generation::cancel`].
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Iterator for Blocking {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.reader.take()
    }
}

/// All answers of a request.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Completion {
    /// The answers, in the order of their samples.
    pub answers: Vec<Answer>,
    /// The tokens of the prompt with their log-probabilities, as far as they were asked for.
    pub prompt: Vec<Token>,
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The answer without thoughts.
    pub text: String,
    /// The thoughts.
    pub reasoning: String,
    /// Every token, an end token included.
    pub tokens: Vec<Token>,
    /// Why it ended; none if it has not.
    pub finish: Option<Finish>,
    /// What it took.
    pub usage: Usage,
}

impl Completion {
    /// Adds an event to the answers so far.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Progress { .. } => {}
            Event::Prompt { tokens, .. } => self.prompt = tokens,
            Event::Token {
                sample,
                token,
                pieces,
            } => {
                let answer = self.answer(sample);
                answer.tokens.push(token);
                answer.say(pieces);
            }
            Event::Finished {
                sample,
                finish,
                pieces,
                usage,
            } => {
                let answer = self.answer(sample);
                answer.say(pieces);
                answer.finish = Some(finish);
                answer.usage = usage;
            }
        }
    }

    fn answer(&mut self, sample: usize) -> &mut Answer {
        if self.answers.len() <= sample {
            self.answers.resize_with(sample + 1, Answer::default);
        }
        &mut self.answers[sample]
    }
}

impl Answer {
    fn say(&mut self, pieces: Vec<crate::text::Piece>) {
        for piece in pieces {
            match piece.reasoning {
                true => self.reasoning.push_str(&piece.text),
                false => self.text.push_str(&piece.text),
            }
        }
    }
}
