//! Requests that were read ahead, in an order that keeps those about the same song together.

use super::line::BatchRequest;
use std::collections::VecDeque;

/// Requests that are read ahead.
const MOST: usize = 1024;

/// Requests that wait to be handed to the engine.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<BatchRequest>,
    /// The song of the request that went last.
    last: Option<u128>,
}

impl Queue {
    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MOST
    }

    /// Bytes of audio in memory.
    pub(super) fn held(&self) -> usize {
        self.waiting.iter().map(|request| request.held).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Puts a request behind the others.
    pub(super) fn push(&mut self, request: BatchRequest) {
        self.waiting.push_back(request);
    }

    /// Puts a request back that the engine did not take.
    pub(super) fn put_back(&mut self, request: BatchRequest) {
        self.waiting.push_front(request);
    }

    /// The next request: about the same song as the last if there is one, else the first.
    pub(super) fn pop(&mut self) -> Option<BatchRequest> {
        let same = |request: &BatchRequest| Some(request.song) == self.last;
        let at = self.waiting.iter().position(same).unwrap_or(0);
        let request = self.waiting.remove(at)?;
        self.last = Some(request.song);
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gamut_engine::{Input, Request};

    fn request(number: usize, song: u128) -> BatchRequest {
        BatchRequest {
            id: String::new(),
            number: number as u64,
            song,
            inner: Request::new(Input::Text(String::new())),
            logprobs: false,
            held: 10,
        }
    }

    #[test]
    fn no_more_is_read_ahead_than_there_is_room_for() {
        let mut queue = Queue::default();
        while queue.has_room() {
            queue.push(request(0, 0));
        }
        assert_eq!((queue.len(), queue.held()), (1024, 10_240));
        queue.pop().unwrap();
        assert!(queue.has_room());
    }

    #[test]
    fn questions_about_a_song_go_together() {
        let mut queue = Queue::default();
        for (number, song) in [1, 2, 3, 1, 2, 3, 2].into_iter().enumerate() {
            queue.push(request(number, song));
        }
        let first = queue.pop().unwrap();
        queue.put_back(first);
        let order: Vec<u64> = std::iter::from_fn(|| Some(queue.pop()?.number)).collect();
        assert_eq!(order, [0, 3, 1, 4, 6, 2, 5]);
    }
}
