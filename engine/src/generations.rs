//! Many requests under way, read on one thread.

use crate::error::Error;
use crate::event::Event;
use crate::generation::Generation;
use futures_core::Stream;
use slab::Slab;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

/// Generations that one thread reads without an async runtime: it sleeps until any of them has an
/// event. A thread for each would take time of the processors that compute, on the host the device
/// itself. Each comes with whatever its reader wants to have at hand.
///
/// ```no_run
/// # use gamut_engine::{Completion, Engine, Error, Generations, Next, Request};
/// # fn ask(engine: &Engine, requests: Vec<Request>) -> Result<(), Error> {
/// let mut generations = Generations::new();
/// for (index, request) in requests.into_iter().enumerate() {
///     generations.push(engine.submit(request)?, (index, Completion::default()));
/// }
/// while let Some(next) = generations.next() {
///     match next {
///         Next::Event((_, completion), event) => completion.take(event),
///         Next::Ended((index, completion), Ok(())) => println!("{index}: {completion:?}"),
///         Next::Ended((index, _), Err(error)) => println!("{index}: {error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Generations<T> {
    open: Slab<Open<T>>,
    /// The one that is being read.
    reading: Option<usize>,
    woken: Receiver<usize>,
    sender: Sender<usize>,
}

#[derive(Debug)]
struct Open<T> {
    generation: Generation,
    waker: Waker,
    with: T,
}

/// What has come of one of many generations.
#[derive(Debug)]
pub enum Next<'a, T> {
    /// An event.
    Event(&'a mut T, Event),
    /// Its end, which is an error if it has no answer.
    Ended(T, Result<(), Error>),
}

/// Says that a generation has something to read.
struct Ready {
    key: usize,
    sender: Sender<usize>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Where nobody reads any more, nobody needs to know.
        self.sender.send(self.key).ok();
    }
}

impl<T> Default for Generations<T> {
    fn default() -> Generations<T> {
        Generations::new()
    }
}

impl<T> Generations<T> {
    /// None so far.
    pub fn new() -> Generations<T> {
        let (sender, woken) = channel();
        Generations {
            open: Slab::new(),
            reading: None,
            woken,
            sender,
        }
    }

    /// Those that have not ended.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether all have ended.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Adds one, and what belongs to it.
    pub fn push(&mut self, generation: Generation, with: T) {
        let entry = self.open.vacant_entry();
        let (key, sender) = (entry.key(), self.sender.clone());
        let waker = Waker::from(Arc::new(Ready { key, sender }));
        waker.wake_by_ref();
        entry.insert(Open {
            generation,
            waker,
            with,
        });
    }

    /// Waits for the next event or end of any of them; nothing if all have ended.
    // The name that it has everywhere; no iterator, since it lends.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Next<'_, T>> {
        self.wait(|this| match this.is_empty() {
            true => None,
            false => this.woken.recv().ok(),
        })
    }

    /// As [`Generations::next`], but nothing if there is none by then. Waits even if all have ended.
    pub fn next_before(&mut self, deadline: Instant) -> Option<Next<'_, T>> {
        self.wait(|this| {
            let left = deadline.saturating_duration_since(Instant::now());
            this.woken.recv_timeout(left).ok()
        })
    }

    /// Reads what there is to read, and between waits for a generation that is ready.
    fn wait(&mut self, ready: impl Fn(&Self) -> Option<usize>) -> Option<Next<'_, T>> {
        loop {
            // It may have ended since it was ready.
            let reading = self.reading.filter(|key| self.open.contains(*key));
            let Some(key) = reading else {
                self.reading = Some(ready(self)?);
                continue;
            };
            let open = &mut self.open[key];
            let mut context = Context::from_waker(&open.waker);
            let ended = match Pin::new(&mut open.generation).poll_next(&mut context) {
                Poll::Ready(Some(Ok(event))) => {
                    return Some(Next::Event(&mut self.open[key].with, event));
                }
                Poll::Pending => {
                    self.reading = None;
                    continue;
                }
                Poll::Ready(Some(Err(error))) => Err(error),
                Poll::Ready(None) => Ok(()),
            };
            self.reading = None;
            return Some(Next::Ended(self.open.remove(key).with, ended));
        }
    }
}
