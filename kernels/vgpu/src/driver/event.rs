//! Events.
#![allow(unsafe_code)]

use super::abi::Out;
use super::code::Code;
use super::entry::enter;
use super::queue::Ticket;
use super::table::Handle;
use super::work::Work;
use super::{Driver, State};
use std::ffi::c_uint;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The flags that an event can have: blocking synchronisation, no timing, interprocess.
const FLAGS: c_uint = 0b111;
const DISABLE_TIMING: c_uint = 0b010;
const INTERPROCESS: c_uint = 0b100;

/// An event.
pub(super) struct Event {
    pub(super) context: Handle,
    flags: c_uint,
    recorded: Option<Recorded>,
}

/// The last time that an event was recorded.
struct Recorded {
    ticket: Ticket,
    time: Arc<OnceLock<Instant>>,
}

impl Event {
    /// The operation that reaches the event, once it was recorded.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        self.recorded.as_ref().map(|recorded| recorded.ticket)
    }
}

impl State {
    /// When an event was reached, for a measurement.
    fn reached(&self, event: Handle) -> Result<Instant, Code> {
        let event = self.events.get(event, Code::InvalidHandle)?;
        let recorded = event.recorded.as_ref().ok_or(Code::InvalidHandle)?;
        if event.flags & DISABLE_TIMING != 0 {
            return Err(Code::InvalidHandle);
        }
        recorded.time.get().copied().ok_or(Code::NotReady)
    }
}

impl Driver {
    /// An event's context and the operation that reaches it.
    fn event(&self, event: Handle) -> Result<(Handle, Option<Ticket>), Code> {
        let state = self.state();
        let event = state.events.get(event, Code::InvalidHandle)?;
        state.healthy(event.context)?;
        Ok((event.context, event.ticket()))
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(event: Out<Handle>, flags: c_uint) -> Code {
    enter(|driver| {
        event.check()?;
        let context = driver.current()?;
        let timed_between_processes = flags & INTERPROCESS != 0 && flags & DISABLE_TIMING == 0;
        if flags & !FLAGS != 0 || timed_between_processes {
            return Err(Code::InvalidValue);
        }
        let new = Event {
            context,
            flags,
            recorded: None,
        };
        event.set(driver.state().events.insert(new))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: Handle) -> Code {
    enter(|driver| {
        let mut state = driver.state();
        let removed = state.events.remove(event, Code::InvalidHandle)?;
        state.healthy(removed.context)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> Code {
    enter(|driver| {
        let named = driver.stream(stream)?;
        if driver.event(event)?.0 != named.context {
            return Err(Code::InvalidHandle);
        }
        let time = Arc::new(OnceLock::new());
        let ticket = driver.submit(named, Work::Record(time.clone()))?;
        let mut state = driver.state();
        let recorded = Recorded { ticket, time };
        state.events.get_mut(event, Code::InvalidHandle)?.recorded = Some(recorded);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecordWithFlags(event: Handle, stream: Handle, flags: c_uint) -> Code {
    if flags > 1 {
        return Code::InvalidValue;
    }
    cuEventRecord(event, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(event: Handle) -> Code {
    enter(|driver| {
        let (context, ticket) = driver.event(event)?;
        driver.poll(context, ticket.as_slice())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: Handle) -> Code {
    enter(|driver| {
        let (context, ticket) = driver.event(event)?;
        driver.finish(context, ticket)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: Handle, end: Handle) -> Code {
    enter(|driver| {
        let state = driver.state();
        let (start, end) = (state.reached(start)?, state.reached(end)?);
        let seconds = match end.checked_duration_since(start) {
            Some(duration) => duration.as_secs_f64(),
            None => -start.duration_since(end).as_secs_f64(),
        };
        milliseconds.set((seconds * 1e3) as f32)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime(milliseconds: Out<f32>, start: Handle, end: Handle) -> Code {
    cuEventElapsedTime_v2(milliseconds, start, end)
}
