//! Many generations read on one thread, which sleeps until an event comes.
//!
//! A thread for each would take time of the processor that computes: on the host the device itself.

use crate::error::{Error, SubmitError};
use crate::event::Event;
use crate::generation::Generation;
use futures_core::Stream;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

/// See [the module](self).
pub(super) struct Readers {
    messages: Receiver<Message>,
    sender: Sender<Message>,
    open: HashMap<usize, (Generation, Waker)>,
    /// The one that is being read.
    reading: Option<usize>,
}

enum Message {
    /// A request was submitted.
    Submitted(usize, Result<Generation, SubmitError>),
    /// A generation has events.
    Ready(usize),
}

/// Where submitted requests are handed in, from any thread.
pub(super) struct Inlet(Sender<Message>);

impl Inlet {
    /// Hands in a request of any number that no other has; whether anybody reads it.
    pub(super) fn submit(&self, index: usize, result: Result<Generation, SubmitError>) -> bool {
        self.0.send(Message::Submitted(index, result)).is_ok()
    }
}

struct Bell {
    index: usize,
    sender: Sender<Message>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Where nobody reads any more, nobody needs to know.
        drop(self.sender.send(Message::Ready(self.index)));
    }
}

impl Readers {
    pub(super) fn new() -> Readers {
        let (sender, messages) = channel();
        Readers {
            messages,
            sender,
            open: HashMap::new(),
            reading: None,
        }
    }

    pub(super) fn inlet(&self) -> Inlet {
        Inlet(self.sender.clone())
    }

    /// Waits for the next event of any request, with its number and the time. The last event of each
    /// is the end of its answer or an error, be it that of its submission; whoever calls must know
    /// that there is one to come.
    pub(super) fn next(&mut self) -> (usize, Instant, Result<Event, Error>) {
        loop {
            if let Some(index) = self.reading {
                match self.poll(index) {
                    Poll::Ready(Some(event)) => return (index, Instant::now(), event),
                    Poll::Ready(None) => drop(self.open.remove(&index)),
                    Poll::Pending => {}
                }
                self.reading = None;
            }
            match self.messages.recv() {
                Ok(Message::Ready(index)) => self.reading = Some(index),
                Ok(Message::Submitted(index, Ok(generation))) => {
                    let sender = self.sender.clone();
                    let waker = Waker::from(Arc::new(Bell { index, sender }));
                    self.open.insert(index, (generation, waker));
                    self.reading = Some(index);
                }
                Ok(Message::Submitted(index, Err(error))) => {
                    return (index, Instant::now(), Err(error.into()));
                }
                // Not while this one has a sender itself.
                Err(_) => return (0, Instant::now(), Err(Error::ShutDown)),
            }
        }
    }

    fn poll(&mut self, index: usize) -> Poll<Option<Result<Event, Error>>> {
        match self.open.get_mut(&index) {
            Some((generation, waker)) => {
                Pin::new(generation).poll_next(&mut Context::from_waker(waker))
            }
            None => Poll::Pending,
        }
    }
}
