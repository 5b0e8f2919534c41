//! Requests on their way through an engine: many at a time, in bounded memory, those about the same
//! song together.

mod fault;
mod in_flight;
mod queue;

use crate::error::Error;
use fault::Fault;
pub(crate) use fault::{INVALID_LINE, INVALID_REQUEST};
use gamut_engine::{Completion, Engine, Request};
use in_flight::InFlight;
use queue::Queue;
use std::time::Duration;

/// Requests that the engine has for each that it may run, so that it never waits for another.
pub(crate) const UNDER_WAY: usize = 2;
/// Bytes of audio in requests at which none is read ahead.
const MAX_HELD: usize = 256 << 20;
/// How long an engine is left alone that takes no requests and has none of ours.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is asked.
pub(crate) trait Asks {
    /// The digest of its song.
    fn song(&self) -> u128;
    /// What the engine gets.
    fn request(&self) -> &Request;
    /// Bytes of audio that it has in memory.
    fn held(&self) -> usize;
}

/// Requests that wait or are under way.
pub(crate) struct Asking<'a, R> {
    engine: &'a Engine,
    queue: Queue<R>,
    in_flight: InFlight<R>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code of a failure that is the request's own; none if it may be answered at another time.
    pub(crate) code: Option<&'static str>,
    pub(crate) error: gamut_engine::Error,
}

/// A request that has ended, and how.
pub(crate) type Ended<R> = (R, Result<Completion, Failure>);

impl<'a, R: Asks> Asking<'a, R> {
    /// None so far.
    pub(crate) fn new(engine: &'a Engine) -> Asking<'a, R> {
        Asking {
            engine,
            queue: Queue::default(),
            in_flight: InFlight::default(),
        }
    }

    /// Whether there is room for another.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.has_room() && self.queue.held() + self.in_flight.held() < MAX_HELD
    }

    /// Those that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.in_flight.len()
    }

    /// Puts a request behind the others.
    pub(crate) fn push(&mut self, request: R) {
        self.queue.push(request);
    }

    /// Waits until one ends; nothing if there is none.
    ///
    /// # Errors
    /// If no other request would be answered either.
    pub(crate) fn next(&mut self) -> Result<Option<Ended<R>>, Error> {
        loop {
            if let Some(refused) = self.submit()? {
                return Ok(Some(refused));
            }
            match self.in_flight.next_ended() {
                Some((request, Ok(completion))) => return Ok(Some((request, Ok(completion)))),
                Some((request, Err(error))) => {
                    if let Some(failed) = self.failed(request, Fault::of(&error), error)? {
                        return Ok(Some(failed));
                    }
                }
                // The engine has too much to do, and none of it is ours.
                None if self.queue.len() > 0 => std::thread::sleep(PATIENCE),
                None => return Ok(None),
            }
        }
    }

    /// Hands requests to the engine, as many as it takes, up to one that it refuses.
    fn submit(&mut self) -> Result<Option<Ended<R>>, Error> {
        let most = UNDER_WAY * self.engine.plan().max_num_seqs;
        while self.in_flight.len() < most
            && let Some(request) = self.queue.pop()
        {
            match self.engine.submit(request.request().clone()) {
                Ok(generation) => self.in_flight.push(request, generation),
                Err(error) => {
                    let fault = Fault::of_submission(&error);
                    return self.failed(request, fault, error.into());
                }
            }
        }
        Ok(None)
    }

    /// What is to be told of a request that failed; nothing if it is put back.
    fn failed(
        &mut self,
        request: R,
        fault: Fault,
        error: gamut_engine::Error,
    ) -> Result<Option<Ended<R>>, Error> {
        if fault == Fault::Overload {
            self.queue.put_back(request);
            return Ok(None);
        }
        let failure = Failure::new(fault, error)?;
        Ok(Some((request, Err(failure))))
    }
}

impl Failure {
    /// What an error means for its request.
    ///
    /// # Errors
    /// As [`Asking::next`].
    pub(crate) fn of(error: gamut_engine::Error) -> Result<Failure, Error> {
        Failure::new(Fault::of(&error), error)
    }

    fn new(fault: Fault, error: gamut_engine::Error) -> Result<Failure, Error> {
        let code = match fault {
            Fault::Request(code) => Some(code),
            Fault::Moment | Fault::Overload => None,
            Fault::Machine => return Err(error.into()),
        };
        Ok(Failure { code, error })
    }
}
