//! Streams.
#![allow(unsafe_code)]

use super::abi::{Device, HostFunction, Out, StreamCallback};
use super::capture::{CaptureId, Part};
use super::code::Code;
use super::entry::enter;
use super::queue::Ticket;
use super::table::{Handle, serial};
use super::work::{HostPointer, Work};
use super::{Driver, State};
use std::ffi::{c_int, c_uint, c_void};

/// The handle that always means the legacy default stream (`CU_STREAM_LEGACY`), as null does.
const LEGACY: Handle = 1;

/// The handle that means a thread's own default stream (`CU_STREAM_PER_THREAD`).
const PER_THREAD: Handle = 2;

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: c_uint = 1;

/// The priorities that a stream can have. They order nothing here: any order is allowed.
pub(super) const LEAST_PRIORITY: c_int = 0;
pub(super) const GREATEST_PRIORITY: c_int = -5;

/// A stream.
pub(super) struct Stream {
    pub(super) context: Handle,
    pub(super) kind: Kind,
    priority: c_int,
    /// Its last operation; 0 before the first, which counts as done.
    pub(super) last: Ticket,
    /// Its part in a capture, while it captures.
    pub(super) part: Option<Part>,
}

/// How a stream goes with the legacy default stream of its context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is the one: its operations wait for all blocking streams.
    Legacy,
    /// Its operations wait for the legacy stream's.
    Blocking,
    /// Neither waits for the other.
    NonBlocking,
}

impl Stream {
    pub(super) fn new(context: Handle, kind: Kind, priority: c_int) -> Stream {
        Stream {
            context,
            kind,
            priority,
            last: 0,
            part: None,
        }
    }

    /// Whether it takes part in a capture.
    pub(super) fn captures(&self, capture: CaptureId) -> bool {
        self.part
            .as_ref()
            .is_some_and(|part| part.capture == capture)
    }

    fn flags(&self) -> c_uint {
        match self.kind {
            Kind::NonBlocking => NON_BLOCKING,
            Kind::Legacy | Kind::Blocking => 0,
        }
    }
}

/// A stream that a call names, and its context.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) stream: Handle,
    pub(super) context: Handle,
}

impl State {
    /// The calling thread's own default stream in a context.
    fn per_thread_stream(&mut self, context: Handle) -> Result<Handle, Code> {
        let thread = std::thread::current().id();
        let owner = self.contexts.get_mut(context, Code::InvalidContext)?;
        let streams = &mut self.streams;
        let new = || streams.insert(Stream::new(context, Kind::Blocking, LEAST_PRIORITY));
        Ok(*owner.per_thread_streams.entry(thread).or_insert_with(new))
    }
}

impl Driver {
    /// The stream that a handle names, in a context that no fault spoilt.
    pub(super) fn stream(&self, handle: Handle) -> Result<Named, Code> {
        let current = self.current()?;
        let mut state = self.state();
        let stream = match handle {
            0 | LEGACY => state.context(current)?.default_stream,
            PER_THREAD => state.per_thread_stream(current)?,
            handle => handle,
        };
        let context = state.streams.get(stream, Code::InvalidHandle)?.context;
        state.healthy(context)?;
        Ok(Named { stream, context })
    }

    /// A stream that the caller waits for, and what must be done for that. A stream that captures
    /// is not waited for.
    fn waited_for(&self, handle: Handle) -> Result<(Named, Vec<Ticket>), Code> {
        let named = self.stream(handle)?;
        let mut state = self.state();
        state.refuse_capture(named.stream, Code::StreamCaptureUnsupported)?;
        state.refuse_unsafe()?;
        Ok((named, state.unfinished(named.stream)?))
    }

    /// The legacy default stream of the current context, for what does not say which stream it
    /// means and is done at once. Only captures of blocking streams forbid that.
    pub(super) fn default_stream_now(&self) -> Result<Named, Code> {
        let named = self.stream(LEGACY)?;
        self.state().admit(named.stream)?;
        Ok(named)
    }
}

fn create(out: Out<Handle>, flags: c_uint, priority: c_int) -> Code {
    enter(|driver| {
        out.check()?;
        let context = driver.current()?;
        let kind = match flags {
            0 => Kind::Blocking,
            NON_BLOCKING => Kind::NonBlocking,
            _ => return Err(Code::InvalidValue),
        };
        let priority = priority.clamp(GREATEST_PRIORITY, LEAST_PRIORITY);
        let stream = Stream::new(context, kind, priority);
        out.set(driver.state().streams.insert(stream))
    })
}

/// Answers a question about a stream.
fn ask<T>(handle: Handle, out: Out<T>, question: impl FnOnce(Handle, &Stream) -> T) -> Code {
    enter(|driver| {
        let named = driver.stream(handle)?;
        let state = driver.state();
        let stream = state.streams.get(named.stream, Code::InvalidHandle)?;
        out.set(question(named.stream, stream))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreate(stream: Out<Handle>, flags: c_uint) -> Code {
    create(stream, flags, LEAST_PRIORITY)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreateWithPriority(
    stream: Out<Handle>,
    flags: c_uint,
    priority: c_int,
) -> Code {
    create(stream, flags, priority)
}

/// The work that waits in the stream stays in the queue, unless the legacy default stream would
/// have to wait for it: then it is done now.
#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(handle: Handle) -> Code {
    enter(|driver| {
        let (context, kind, last) = {
            let state = driver.state();
            let stream = state.streams.get(handle, Code::InvalidHandle)?;
            (stream.context, stream.kind, stream.last)
        };
        match kind {
            Kind::Legacy => return Err(Code::InvalidHandle),
            Kind::Blocking => driver.run(&driver.running(), [last]),
            Kind::NonBlocking => {}
        }
        let mut state = driver.state();
        state.leave_capture(handle);
        state.streams.remove(handle, Code::InvalidHandle)?;
        state.healthy(context)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(handle: Handle) -> Code {
    enter(|driver| {
        let (named, unfinished) = driver.waited_for(handle)?;
        driver.finish(named.context, unfinished)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamQuery(handle: Handle) -> Code {
    enter(|driver| {
        let (named, unfinished) = driver.waited_for(handle)?;
        driver.poll(named.context, &unfinished)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(handle: Handle, event: Handle, flags: c_uint) -> Code {
    enter(|driver| {
        let named = driver.stream(handle)?;
        driver.check_event_flags(named, flags)?;
        let mut state = driver.state();
        if state.wait_captured(named.stream, event)? {
            return Ok(());
        }
        let ticket = state.events.get(event, Code::InvalidHandle)?.ticket();
        let ticket = state.enqueue(named.stream, ticket, Work::Nothing)?;
        drop(state);
        driver.make_room(named.context, ticket);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchHostFunc(
    handle: Handle,
    function: Option<HostFunction>,
    data: *mut c_void,
) -> Code {
    enter(|driver| {
        let named = driver.stream(handle)?;
        let function = function.ok_or(Code::InvalidValue)?;
        let data = HostPointer(data);
        driver
            .submit(named, Work::Call { function, data })
            .map(drop)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamAddCallback(
    handle: Handle,
    function: Option<StreamCallback>,
    data: *mut c_void,
    flags: c_uint,
) -> Code {
    enter(|driver| {
        let named = driver.stream(handle)?;
        let function = function.filter(|_| flags == 0).ok_or(Code::InvalidValue)?;
        let work = Work::CallWithStream {
            function,
            stream: handle,
            data: HostPointer(data),
        };
        driver.submit(named, work).map(drop)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamGetFlags(handle: Handle, flags: Out<c_uint>) -> Code {
    ask(handle, flags, |_, stream| stream.flags())
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamGetPriority(handle: Handle, priority: Out<c_int>) -> Code {
    ask(handle, priority, |_, stream| stream.priority)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamGetCtx(handle: Handle, context: Out<Handle>) -> Code {
    ask(handle, context, |_, stream| stream.context)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamGetDevice(handle: Handle, device: Out<Device>) -> Code {
    ask(handle, device, |_, _| 0)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamGetId(handle: Handle, id: Out<u64>) -> Code {
    ask(handle, id, |stream, _| serial(stream))
}
