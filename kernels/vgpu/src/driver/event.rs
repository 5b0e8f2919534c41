//! Events.
#![allow(unsafe_code)]

use super::abi::Out;
use super::capture::CapturedEvent;
use super::code::Code;
use super::entry::enter;
use super::queue::Ticket;
use super::stream::Named;
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

/// The flag of a record or a wait that is to be a node (`CU_EVENT_{RECORD,WAIT}_EXTERNAL`).
const EXTERNAL: c_uint = 1;

/// An event.
pub(super) struct Event {
    pub(super) context: Handle,
    flags: c_uint,
    recorded: Option<Recorded>,
}

/// The last time that an event was recorded.
enum Recorded {
    InStream {
        /// The operation that reaches it.
        ticket: Ticket,
        time: Arc<OnceLock<Instant>>,
    },
    InCapture(CapturedEvent),
}

impl Event {
    /// The operation that reaches the event, if it was recorded last in a stream that executes.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        match self.recorded {
            Some(Recorded::InStream { ticket, .. }) => Some(ticket),
            _ => None,
        }
    }

    /// What it stands for, if it was recorded last in a stream that captured.
    pub(super) fn captured(&self) -> Option<&CapturedEvent> {
        match &self.recorded {
            Some(Recorded::InCapture(captured)) => Some(captured),
            _ => None,
        }
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
        match recorded {
            Recorded::InStream { time, .. } => time.get().copied().ok_or(Code::NotReady),
            Recorded::InCapture(_) => Err(Code::CapturedEvent),
        }
    }
}

impl Driver {
    /// An event that the caller waits for: its context and the operation that reaches it.
    fn waited_for_event(&self, event: Handle) -> Result<(Handle, Option<Ticket>), Code> {
        let mut state = self.state();
        let found = state.events.get(event, Code::InvalidHandle)?;
        let (context, ticket) = (found.context, found.ticket());
        state.healthy(context)?;
        state.refuse_captured_event(event)?;
        state.refuse_unsafe()?;
        Ok((context, ticket))
    }

    /// Checks the flags of a record or a wait. The only one asks for a node of its own in a
    /// graph (`CU_EVENT_{RECORD,WAIT}_EXTERNAL`), which this driver does not make, and there is
    /// none where nothing is captured.
    pub(super) fn check_event_flags(&self, named: Named, flags: c_uint) -> Result<(), Code> {
        match flags {
            0 => Ok(()),
            EXTERNAL => {
                let mut state = self.state();
                state.refuse_node(named.stream, "an external event")?;
                Err(Code::IllegalState)
            }
            _ => Err(Code::InvalidValue),
        }
    }
}

fn record(event: Handle, stream: Handle, flags: c_uint) -> Code {
    enter(|driver| {
        let named = driver.stream(stream)?;
        driver.check_event_flags(named, flags)?;
        let mut state = driver.state();
        let context = state.events.get(event, Code::InvalidHandle)?.context;
        state.healthy(context)?;
        if context != named.context {
            return Err(Code::InvalidHandle);
        }
        let (recorded, ticket) = match state.admit(named.stream)? {
            Some(capture) => {
                let stream = state.streams.get(named.stream, Code::InvalidHandle)?;
                let part = stream.part.as_ref().ok_or(Code::Unknown)?;
                let after = part.after.clone();
                let captured = CapturedEvent { capture, after };
                (Recorded::InCapture(captured), None)
            }
            None => {
                let time = Arc::new(OnceLock::new());
                let work = Work::Record(time.clone());
                let ticket = state.enqueue(named.stream, None, work)?;
                (Recorded::InStream { ticket, time }, Some(ticket))
            }
        };
        state.events.get_mut(event, Code::InvalidHandle)?.recorded = Some(recorded);
        drop(state);
        if let Some(ticket) = ticket {
            driver.make_room(named.context, ticket);
        }
        Ok(())
    })
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
    record(event, stream, 0)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecordWithFlags(event: Handle, stream: Handle, flags: c_uint) -> Code {
    record(event, stream, flags)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(event: Handle) -> Code {
    enter(|driver| {
        let (context, ticket) = driver.waited_for_event(event)?;
        driver.poll(context, ticket.as_slice())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: Handle) -> Code {
    enter(|driver| {
        let (context, ticket) = driver.waited_for_event(event)?;
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
