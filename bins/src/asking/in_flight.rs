//! Requests that the engine has, all of them waited for by one thread.

use super::Asks;
use gamut_engine::{Completion, Error, Generation, Generations, Next};

/// Requests under way.
#[derive(Debug)]
pub(super) struct InFlight<R> {
    generations: Generations<(R, Completion)>,
    held: usize,
}

impl<R> Default for InFlight<R> {
    fn default() -> InFlight<R> {
        InFlight {
            generations: Generations::new(),
            held: 0,
        }
    }
}

impl<R: Asks> InFlight<R> {
    pub(super) fn len(&self) -> usize {
        self.generations.len()
    }

    /// Bytes of audio in memory.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Follows a request that the engine has taken.
    pub(super) fn push(&mut self, request: R, generation: Generation) {
        self.held += request.held();
        let answer = (request, Completion::default());
        self.generations.push(generation, answer);
    }

    /// Waits until one ends; nothing if there is none.
    pub(super) fn next_ended(&mut self) -> Option<(R, Result<Completion, Error>)> {
        loop {
            match self.generations.next()? {
                Next::Event((_, completion), event) => completion.take(event),
                Next::Ended((request, completion), ended) => {
                    self.held -= request.held();
                    return Some((request, ended.map(|()| completion)));
                }
            }
        }
    }
}
