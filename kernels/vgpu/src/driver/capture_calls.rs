//! The calls that begin, end and look at captures.
#![allow(unsafe_code)]

use super::abi::{EdgeData, In, Out};
use super::capture::{Mode, exchange_mode};
use super::code::Code;
use super::entry::{enter, refuse};
use super::table::Handle;
use super::{Driver, State};
use std::ffi::c_uint;

/// What a stream has to do with captures (`CU_STREAM_CAPTURE_STATUS_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Status {
    None = 0,
    Active = 1,
    Invalidated = 2,
}

/// How the nodes in a call go with those that a stream depends on
/// (`CU_STREAM_{ADD,SET}_CAPTURE_DEPENDENCIES`).
mod dependencies {
    pub(super) const ADD: u32 = 0;
    pub(super) const SET: u32 = 1;
}

impl State {
    fn capture_status(&self, stream: Handle) -> Result<Status, Code> {
        self.implicit(stream)?;
        let stream = self.streams.get(stream, Code::InvalidHandle)?;
        let Some(part) = &stream.part else {
            return Ok(Status::None);
        };
        let capture = self.captures.get(&part.capture).ok_or(Code::Unknown)?;
        Ok(if capture.invalidated {
            Status::Invalidated
        } else {
            Status::Active
        })
    }
}

/// Where a list is, or null if there is nothing in it.
fn start<T>(list: &[T]) -> *const T {
    list.first().map_or(std::ptr::null(), std::ptr::from_ref)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(stream: Handle, mode: c_uint) -> Code {
    enter(|driver| {
        let mode = Mode::try_from(mode)?;
        let named = driver.stream(stream)?;
        driver.state().begin_capture(named.stream, mode)
    })
}

/// Without a place for the graph the capture ends all the same: `cuStreamGetCaptureInfo` told the
/// graph's handle to who asked.
#[unsafe(no_mangle)]
extern "C" fn cuStreamEndCapture(stream: Handle, graph: Out<Handle>) -> Code {
    enter(|driver| {
        let named = driver.stream(stream)?;
        let ended = driver.state().end_capture(named.stream);
        graph.set_if_wanted(ended.unwrap_or(0));
        ended.map(drop)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamIsCapturing(stream: Handle, status: Out<Status>) -> Code {
    enter(|driver| {
        status.check()?;
        let named = driver.stream(stream)?;
        status.set(driver.state().capture_status(named.stream)?)
    })
}

/// The lists stay where they are until the stream's dependencies change. Empty ones are nowhere.
#[unsafe(no_mangle)]
extern "C" fn cuStreamGetCaptureInfo_v3(
    stream: Handle,
    status: Out<Status>,
    id: Out<u64>,
    graph: Out<Handle>,
    nodes: Out<*const Handle>,
    edges: Out<*const EdgeData>,
    count: Out<usize>,
) -> Code {
    enter(|driver| {
        status.check()?;
        if edges.check().is_ok() {
            nodes.check()?;
        }
        let named = driver.stream(stream)?;
        let mut state = driver.state();
        let found = state.capture_status(named.stream)?;
        status.set(found)?;
        if found != Status::Active {
            return Ok(());
        }
        let state = &mut *state;
        let entry = state.streams.get_mut(named.stream, Code::InvalidHandle)?;
        let part = entry.part.as_mut().ok_or(Code::Unknown)?;
        let capture = state.captures.get(&part.capture).ok_or(Code::Unknown)?;
        id.set_if_wanted(part.capture);
        graph.set_if_wanted(capture.graph);
        part.edges.resize(part.after.len(), EdgeData::default());
        nodes.set_if_wanted(start(&part.after));
        edges.set_if_wanted(start(&part.edges));
        count.set_if_wanted(part.after.len());
        Ok(())
    })
}

fn update_dependencies(
    driver: &Driver,
    stream: Handle,
    nodes: In<Handle>,
    edges: In<EdgeData>,
    count: usize,
    flags: c_uint,
) -> Result<(), Code> {
    if !matches!(flags, dependencies::ADD | dependencies::SET) {
        return Err(Code::InvalidValue);
    }
    let named = driver.stream(stream)?;
    let mut state = driver.state();
    let capture = state.admit(named.stream)?.ok_or(Code::IllegalState)?;
    let graph = state.captures.get(&capture).ok_or(Code::Unknown)?.graph;
    let nodes = state.dependencies(graph, nodes, edges, count)?;
    let entry = state.streams.get_mut(named.stream, Code::InvalidHandle)?;
    let part = entry.part.as_mut().ok_or(Code::Unknown)?;
    if flags == dependencies::SET {
        part.after.clear();
    }
    part.join(&nodes);
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamUpdateCaptureDependencies_v2(
    stream: Handle,
    nodes: In<Handle>,
    edges: In<EdgeData>,
    count: usize,
    flags: c_uint,
) -> Code {
    enter(|driver| update_dependencies(driver, stream, nodes, edges, count, flags))
}

/// A number that is no mode is taken too. The thread heeds all captures then, as at first.
#[unsafe(no_mangle)]
extern "C" fn cuThreadExchangeStreamCaptureMode(mode: Out<c_uint>) -> Code {
    enter(|_| {
        let new = Mode::try_from(mode.get()?).unwrap_or(Mode::Global);
        mode.set(exchange_mode(new) as c_uint)
    })
}

refuse! {
    cuStreamBeginCaptureToGraph
}
