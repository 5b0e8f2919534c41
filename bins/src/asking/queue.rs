//! Requests that were read ahead, in an order that keeps those about the same song together.

use super::Asks;
use std::collections::VecDeque;

/// Requests that are read ahead.
const MOST: usize = 1024;

/// Requests that wait to be handed to the engine.
#[derive(Debug)]
pub(super) struct Queue<R> {
    waiting: VecDeque<R>,
    /// The song of the request that went last.
    last: Option<u128>,
}

impl<R> Default for Queue<R> {
    fn default() -> Queue<R> {
        Queue {
            waiting: VecDeque::new(),
            last: None,
        }
    }
}

impl<R: Asks> Queue<R> {
    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MOST
    }

    /// Bytes of audio in memory.
    pub(super) fn held(&self) -> usize {
        self.waiting.iter().map(Asks::held).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Puts a request behind the others.
    pub(super) fn push(&mut self, request: R) {
        self.waiting.push_back(request);
    }

    /// Puts a request back that the engine did not take.
    pub(super) fn put_back(&mut self, request: R) {
        self.waiting.push_front(request);
    }

    /// The next request: about the same song as the last if there is one, else the first.
    pub(super) fn pop(&mut self) -> Option<R> {
        let same = |request: &R| Some(request.song()) == self.last;
        let at = self.waiting.iter().position(same).unwrap_or(0);
        let request = self.waiting.remove(at)?;
        self.last = Some(request.song());
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gamut_engine::{Input, Request};

    struct Question {
        number: usize,
        song: u128,
        inner: Request,
    }

    impl Asks for Question {
        fn song(&self) -> u128 {
            self.song
        }

        fn request(&self) -> &Request {
            &self.inner
        }

        fn held(&self) -> usize {
            10
        }
    }

    fn request(number: usize, song: u128) -> Question {
        let inner = Request::new(Input::Text(String::new()));
        Question {
            number,
            song,
            inner,
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
        let order: Vec<usize> = std::iter::from_fn(|| Some(queue.pop()?.number)).collect();
        assert_eq!(order, [0, 3, 1, 4, 6, 2, 5]);
    }
}
