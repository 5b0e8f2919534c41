//! A trace of what a program gives the streams, what it waits for, and what runs when.
#![allow(unsafe_code)]

use super::DRIVER;
use super::abi::{Out, Text};
use super::code::Code;
use super::entry::enter;
use serde::Serialize;
use std::ffi::{c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was traced and not taken yet.
#[derive(Default)]
pub(super) struct Trace(Mutex<Traced>);

#[derive(Default)]
struct Traced {
    on: bool,
    events: Vec<Event>,
}

/// Something that happened.
#[derive(Serialize)]
struct Event {
    kind: Kind,
    what: String,
}

/// What kind of thing.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Work joined a stream.
    Submit,
    /// A graph's work joined a stream.
    Graph,
    /// The program waits, until work is done.
    Wait,
    /// Work is done now.
    Run,
    /// The program says something.
    Mark,
}

impl Trace {
    /// Adds an event, if tracing is on.
    pub(super) fn note(&self, kind: Kind, what: impl FnOnce() -> String) {
        let mut traced = self.lock();
        if traced.on {
            let what = what();
            traced.events.push(Event { kind, what });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Traced> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `CUresult gamutVgpuTrace(int on)`: from now on, events are traced or not.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuTrace(on: c_int) -> Code {
    enter(|driver| {
        driver.trace.lock().on = on != 0;
        Ok(())
    })
}

/// `CUresult gamutVgpuMark(const char *text)`: puts a text of the program's among the events.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuMark(text: Text) -> Code {
    enter(|driver| {
        let text = text.get()?.to_string_lossy().into_owned();
        driver.trace.note(Kind::Mark, || text);
        Ok(())
    })
}

/// `size_t gamutVgpuTakeTrace(char *buffer, size_t size)`: the events in their order, as a JSON
/// array of `{"kind": .., "what": ..}`.
///
/// Returns how many bytes it takes without the zero behind it. If the buffer is not null and takes
/// them all, writes them there and forgets the events.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuTakeTrace(buffer: Out<c_char>, size: usize) -> usize {
    let Some(driver) = DRIVER.get() else {
        buffer.set_text("[]", size);
        return 2;
    };
    let mut traced = driver.trace.lock();
    // Texts always have a JSON form.
    let text = serde_json::to_string(&traced.events).unwrap_or_default();
    buffer.set_text(&text, size);
    if buffer.check().is_ok() && size > text.len() {
        traced.events.clear();
    }
    text.len()
}
