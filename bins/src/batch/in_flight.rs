//! Requests that the engine has, all of them waited for by one thread.

use super::line::BatchRequest;
use futures_core::Stream;
use gamut_engine::{Completion, Error, Generation};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};

/// Requests under way.
#[derive(Debug)]
pub(super) struct InFlight {
    tasks: HashMap<usize, Task>,
    next: usize,
    woken: Receiver<usize>,
    sender: Sender<usize>,
}

#[derive(Debug)]
struct Task {
    request: BatchRequest,
    generation: Generation,
    completion: Completion,
    waker: Waker,
}

/// Says that a task has something to read.
struct TaskWaker {
    task: usize,
    sender: Sender<usize>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more when the command fails.
        let _ = self.sender.send(self.task);
    }
}

impl InFlight {
    pub(super) fn new() -> InFlight {
        let (sender, woken) = channel();
        InFlight {
            tasks: HashMap::new(),
            next: 0,
            woken,
            sender,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Bytes of audio in memory.
    pub(super) fn held(&self) -> usize {
        self.tasks.values().map(|task| task.request.held).sum()
    }

    /// Follows a request that the engine has taken.
    pub(super) fn push(&mut self, request: BatchRequest, generation: Generation) {
        let task = self.next;
        self.next += 1;
        let sender = self.sender.clone();
        let waker = Waker::from(Arc::new(TaskWaker { task, sender }));
        waker.wake_by_ref();
        self.tasks.insert(
            task,
            Task {
                request,
                generation,
                completion: Completion::default(),
                waker,
            },
        );
    }

    /// Waits until one ends; nothing if there is none.
    pub(super) fn next_ended(&mut self) -> Option<(BatchRequest, Result<Completion, Error>)> {
        while !self.tasks.is_empty() {
            let number = self.woken.recv().ok()?;
            // It may have ended since.
            if let Some(task) = self.tasks.get_mut(&number)
                && let Poll::Ready(ended) = task.read()
                && let Some(task) = self.tasks.remove(&number)
            {
                return Some((task.request, ended.map(|()| task.completion)));
            }
        }
        None
    }
}

impl Task {
    /// Takes what there is to read; whether that was all.
    fn read(&mut self) -> Poll<Result<(), Error>> {
        let mut context = Context::from_waker(&self.waker);
        loop {
            match Pin::new(&mut self.generation).poll_next(&mut context) {
                Poll::Ready(Some(Ok(event))) => self.completion.take(event),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
