//! Requests that the engine has, all of them waited for by one thread.

use super::line::BatchRequest;
use gamut_engine::{Completion, Error, Generation, Generations, Next};

/// Requests under way.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    generations: Generations<(BatchRequest, Completion)>,
    held: usize,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.generations.len()
    }

    /// Bytes of audio in memory.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Follows a request that the engine has taken.
    pub(super) fn push(&mut self, request: BatchRequest, generation: Generation) {
        self.held += request.held;
        let answer = (request, Completion::default());
        self.generations.push(generation, answer);
    }

    /// Waits until one ends; nothing if there is none.
    pub(super) fn next_ended(&mut self) -> Option<(BatchRequest, Result<Completion, Error>)> {
        loop {
            match self.generations.next()? {
                Next::Event((_, completion), event) => completion.take(event),
                Next::Ended((request, completion), ended) => {
                    self.held -= request.held;
                    return Some((request, ended.map(|()| completion)));
                }
            }
        }
    }
}
