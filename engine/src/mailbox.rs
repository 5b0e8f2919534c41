//! The way of events from the engine to the reader of an answer, and the bell that wakes the engine.
//!
//! A mailbox holds a bounded number of events. The engine never waits for a reader: it asks whether
//! a mailbox is full, and if so draws no more tokens for it until the reader, having taken some,
//! rings. `tests/tests/mailbox.rs` tries every interleaving of this file under a model checker.

use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};

/// Wakes the engine's thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    ring: Condvar,
}

impl Bell {
    /// Ends the current or the next wait.
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.ring.notify_one();
    }

    /// Waits until it is rung, if it has not been since the last wait.
    pub(crate) fn wait(&self) {
        let mut rung = lock(&self.rung);
        while !*rung {
            rung = self.ring.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }

    /// Whether it has been rung since the last wait or the last such question.
    #[cfg(test)]
    pub(crate) fn has_rung(&self) -> bool {
        std::mem::take(&mut lock(&self.rung))
    }
}

/// Events for one reader.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    inside: Mutex<Inside<T>>,
    arrived: Condvar,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Inside<T> {
    events: VecDeque<T>,
    /// Events at which it counts as full.
    full: usize,
    /// The engine has found it full.
    awaited: bool,
    /// No more events will come.
    ended: bool,
    /// The reader wants no more.
    stopped: bool,
    /// Nobody reads them.
    abandoned: bool,
    /// The reader waits in [`Mailbox::take`].
    waiting: bool,
    waker: Option<Waker>,
}

impl<T> Mailbox<T> {
    /// A mailbox that is full with `full` events, and has room for `spare` more.
    pub(crate) fn new(full: usize, spare: usize, bell: Arc<Bell>) -> Mailbox<T> {
        Mailbox {
            inside: Mutex::new(Inside {
                events: VecDeque::with_capacity(full + spare),
                full,
                awaited: false,
                ended: false,
                stopped: false,
                abandoned: false,
                waiting: false,
                waker: None,
            }),
            arrived: Condvar::new(),
            bell,
        }
    }

    /// Puts an event in, full or not. Nothing comes after the end, and an abandoned one takes none.
    pub(crate) fn put(&self, event: T) {
        self.change(|inside| {
            if !inside.ended && !inside.abandoned {
                inside.events.push_back(event);
            }
        });
    }

    /// No more events will come.
    pub(crate) fn end(&self) {
        self.change(|inside| inside.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut Inside<T>)) {
        let mut inside = lock(&self.inside);
        change(&mut inside);
        let (waker, waiting) = (inside.waker.take(), inside.waiting);
        drop(inside);
        // A call of the system, for every event of every request.
        if waiting {
            self.arrived.notify_one();
        }
        // It is the reader's code: a panic of it is the reader's business, not other requests'.
        if let Some(waker) = waker {
            drop(catch_unwind(AssertUnwindSafe(|| waker.wake())));
        }
    }

    /// Whether it is full. If so, the bell rings once the reader has taken half of it.
    pub(crate) fn is_full(&self) -> bool {
        let mut inside = lock(&self.inside);
        inside.awaited = inside.events.len() >= inside.full;
        inside.awaited
    }

    /// Whether the reader wants no more.
    pub(crate) fn is_stopped(&self) -> bool {
        lock(&self.inside).stopped
    }

    /// The next event, when there is one; nothing after the last.
    pub(crate) fn take(&self) -> Option<T> {
        let mut inside = lock(&self.inside);
        loop {
            match self.pop(&mut inside) {
                Poll::Ready(event) => return event,
                Poll::Pending => {
                    inside.waiting = true;
                    let woken = self.arrived.wait(inside);
                    inside = woken.unwrap_or_else(PoisonError::into_inner);
                    inside.waiting = false;
                }
            }
        }
    }

    /// The next event, nothing after the last, or later a call of `waker`.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Option<T>> {
        let mut inside = lock(&self.inside);
        let event = self.pop(&mut inside);
        if event.is_pending() {
            inside.waker = Some(waker.clone());
        }
        event
    }

    fn pop(&self, inside: &mut Inside<T>) -> Poll<Option<T>> {
        let Some(event) = inside.events.pop_front() else {
            return if inside.ended || inside.abandoned {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        };
        if inside.awaited && inside.events.len() <= inside.full / 2 {
            inside.awaited = false;
            self.bell.ring();
        }
        Poll::Ready(Some(event))
    }

    /// Says that the reader wants no more than what is there and what the engine ends it with.
    pub(crate) fn stop(&self) {
        lock(&self.inside).stopped = true;
        self.bell.ring();
    }

    /// Says that nobody will read any more.
    pub(crate) fn abandon(&self) {
        self.change(|inside| {
            (inside.stopped, inside.abandoned) = (true, true);
            inside.events.clear();
        });
        self.bell.ring();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
