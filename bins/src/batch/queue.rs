//! Requests that were read ahead, in an order that keeps those about the same song together.

use super::line::Asked;
use std::collections::VecDeque;

/// Requests that are read ahead.
const MOST: usize = 1024;

/// Requests that wait to be asked.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Asked>,
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
        self.waiting.iter().map(|asked| asked.held).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Puts a request behind the others.
    pub(super) fn push(&mut self, asked: Asked) {
        self.waiting.push_back(asked);
    }

    /// Puts a request back that could not be asked.
    pub(super) fn put_back(&mut self, asked: Asked) {
        self.waiting.push_front(asked);
    }

    /// The next request: about the same song as the last if there is one, else the first.
    pub(super) fn pop(&mut self) -> Option<Asked> {
        let same = |asked: &Asked| Some(asked.song) == self.last;
        let at = self.waiting.iter().position(same).unwrap_or(0);
        let asked = self.waiting.remove(at)?;
        self.last = Some(asked.song);
        Some(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gamut_engine::{Input, Request};

    #[test]
    fn questions_about_a_song_go_together() {
        let mut queue = Queue::default();
        for (number, song) in [1, 2, 3, 1, 2, 3, 2].into_iter().enumerate() {
            queue.push(Asked {
                id: String::new(),
                number: number as u64,
                song,
                request: Request::new(Input::Text(String::new())),
                logprobs: false,
                held: 10,
            });
        }
        assert_eq!((queue.len(), queue.held()), (7, 70));
        let first = queue.pop().unwrap();
        queue.put_back(first);
        let order: Vec<u64> = std::iter::from_fn(|| Some(queue.pop()?.number)).collect();
        assert_eq!(order, [0, 3, 1, 4, 6, 2, 5]);
    }
}
