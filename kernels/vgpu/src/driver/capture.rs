//! Stream capture: which streams capture what, and what captures forbid.
//!
//! The rules are those of the CUDA C++ Programming Guide, "Creating a Graph Using Stream Capture",
//! and of `cuThreadExchangeStreamCaptureMode`: whoever would tie captured work to work that is
//! executed gets an error, and the captures in question are spoilt until they are ended. Where
//! those leave the code open, it is the one that an H100's driver gave
//! (`benches/results/2026-11-26-captures-h100.txt`).

use super::abi::EdgeData;
use super::code::Code;
use super::graph::{Graph, Node};
use super::stream::Kind;
use super::table::Handle;
use super::work::Work;
use super::{Driver, State};
use std::cell::Cell;
use std::ffi::c_uint;
use std::thread::ThreadId;

/// The number of a capture, which no other has in the life of the process.
pub(super) type CaptureId = u64;

/// Which other calls a capture forbids (`CU_STREAM_CAPTURE_MODE_…`). It is a thread's setting as
/// well, for how far it heeds captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Mode {
    /// Calls of all threads that could go past the capture.
    Global = 0,
    /// Those of the thread that began it.
    ThreadLocal = 1,
    /// None.
    Relaxed = 2,
}

impl TryFrom<c_uint> for Mode {
    type Error = Code;

    fn try_from(number: c_uint) -> Result<Mode, Code> {
        match number {
            0 => Ok(Mode::Global),
            1 => Ok(Mode::ThreadLocal),
            2 => Ok(Mode::Relaxed),
            _ => Err(Code::InvalidValue),
        }
    }
}

thread_local! {
    /// How far this thread heeds captures.
    static MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// Sets how far the calling thread heeds captures, and returns what was set before.
pub(super) fn exchange_mode(mode: Mode) -> Mode {
    MODE.replace(mode)
}

/// A capture that was begun and not ended.
pub(super) struct Capture {
    pub(super) graph: Handle,
    /// The stream that it was begun on.
    pub(super) origin: Handle,
    mode: Mode,
    thread: ThreadId,
    pub(super) invalidated: bool,
    /// What destroyed streams captured last, which is to be joined like that of live ones.
    left: Vec<Handle>,
}

/// A stream's part in a capture.
pub(super) struct Part {
    pub(super) capture: CaptureId,
    /// The nodes that the stream's next one depends on.
    pub(super) after: Vec<Handle>,
    /// As much edge data, once somebody asked for it.
    pub(super) edges: Vec<EdgeData>,
}

/// What an event that was recorded in a capture stands for.
#[derive(Clone)]
pub(super) struct CapturedEvent {
    pub(super) capture: CaptureId,
    pub(super) after: Vec<Handle>,
}

impl Part {
    fn new(capture: CaptureId) -> Part {
        Part {
            capture,
            after: Vec::new(),
            edges: Vec::new(),
        }
    }

    /// Has the next node depend on more nodes.
    pub(super) fn join(&mut self, nodes: &[Handle]) {
        for &node in nodes {
            if !self.after.contains(&node) {
                self.after.push(node);
            }
        }
    }
}

impl State {
    fn capture_of(&mut self, id: CaptureId) -> Result<&mut Capture, Code> {
        self.captures.get_mut(&id).ok_or(Code::Unknown)
    }

    /// The streams that take part in a capture.
    fn members(&self, id: CaptureId) -> Vec<Handle> {
        let streams = self.streams.iter();
        let members = streams.filter(|(_, stream)| stream.captures(id));
        members.map(|(handle, _)| handle).collect()
    }

    /// The captures that a context's streams of some kinds take part in.
    fn captures_in(&self, context: Handle, kinds: &[Kind]) -> Vec<CaptureId> {
        let streams = self.streams.values();
        let streams = streams.filter(|s| s.context == context && kinds.contains(&s.kind));
        let parts = streams.filter_map(|s| s.part.as_ref());
        parts.map(|part| part.capture).collect()
    }

    /// Spoils captures.
    fn invalidate(&mut self, captures: &[CaptureId]) {
        for id in captures {
            if let Some(capture) = self.captures.get_mut(id) {
                capture.invalidated = true;
            }
        }
    }

    /// Refuses uses of the legacy stream that would touch blocking streams which capture.
    pub(super) fn implicit(&self, stream: Handle) -> Result<(), Code> {
        let entry = self.streams.get(stream, Code::InvalidHandle)?;
        let touches = entry.kind == Kind::Legacy
            && !self
                .captures_in(entry.context, &[Kind::Blocking])
                .is_empty();
        if touches {
            return Err(Code::StreamCaptureImplicit);
        }
        Ok(())
    }

    /// The capture that a stream's next operation belongs to, if the stream captures.
    pub(super) fn admit(&mut self, stream: Handle) -> Result<Option<CaptureId>, Code> {
        if let Err(code) = self.implicit(stream) {
            let context = self.streams.get(stream, Code::InvalidHandle)?.context;
            self.invalidate(&self.captures_in(context, &[Kind::Blocking]));
            return Err(code);
        }
        let entry = self.streams.get(stream, Code::InvalidHandle)?;
        let Some(id) = entry.part.as_ref().map(|part| part.capture) else {
            return Ok(None);
        };
        if self.capture_of(id)?.invalidated {
            return Err(Code::StreamCaptureInvalidated);
        }
        Ok(Some(id))
    }

    /// Refuses, with `code`, what cannot be captured, if a stream captures.
    pub(super) fn refuse_capture(&mut self, stream: Handle, code: Code) -> Result<(), Code> {
        match self.admit(stream)? {
            Some(capture) => {
                self.invalidate(&[capture]);
                Err(code)
            }
            None => Ok(()),
        }
    }

    /// Refuses what could be a node but is none that this driver makes, if a stream captures.
    pub(super) fn refuse_node(&mut self, stream: Handle, what: &str) -> Result<(), Code> {
        let refused = self.refuse_capture(stream, Code::NotSupported);
        if refused == Err(Code::NotSupported) {
            self.last_fault = format!("{what} in a stream that captures: not on the virtual GPU");
        }
        refused
    }

    /// Refuses what waits for a whole context, if one of its streams captures.
    pub(super) fn refuse_captures_in(&mut self, context: Handle) -> Result<(), Code> {
        let captures = self.captures_in(context, &[Kind::Blocking, Kind::NonBlocking]);
        if captures.is_empty() {
            return Ok(());
        }
        self.invalidate(&captures);
        Err(Code::StreamCaptureUnsupported)
    }

    /// Refuses what goes past the streams, if a capture forbids that to the calling thread.
    pub(super) fn refuse_unsafe(&mut self) -> Result<(), Code> {
        let heeded = MODE.get();
        if heeded == Mode::Relaxed || self.captures.is_empty() {
            return Ok(());
        }
        let thread = std::thread::current().id();
        let forbids = |capture: &Capture| match capture.mode {
            Mode::Relaxed => false,
            Mode::ThreadLocal => capture.thread == thread,
            Mode::Global => capture.thread == thread || heeded == Mode::Global,
        };
        let captures = self.captures.iter();
        let forbidding = captures.filter(|(_, capture)| forbids(capture));
        let forbidding: Vec<CaptureId> = forbidding.map(|(&id, _)| id).collect();
        if forbidding.is_empty() {
            return Ok(());
        }
        self.invalidate(&forbidding);
        Err(Code::StreamCaptureUnsupported)
    }

    /// Whether a capture was neither ended nor spoilt. What was recorded in one that was means
    /// nothing any more.
    fn goes_on(&self, id: CaptureId) -> bool {
        let capture = self.captures.get(&id);
        capture.is_some_and(|capture| !capture.invalidated)
    }

    /// Refuses to wait for an event that stands for captured work.
    pub(super) fn refuse_captured_event(&mut self, event: Handle) -> Result<(), Code> {
        let event = self.events.get(event, Code::InvalidHandle)?;
        let Some(capture) = event.captured().map(|captured| captured.capture) else {
            return Ok(());
        };
        if !self.goes_on(capture) {
            return Err(Code::InvalidValue);
        }
        self.invalidate(&[capture]);
        Err(Code::CapturedEvent)
    }

    /// Makes work the next node of a stream that captures.
    pub(super) fn add_captured(&mut self, stream: Handle, work: Work) -> Result<(), Code> {
        let entry = self.streams.get(stream, Code::InvalidHandle)?;
        let context = entry.context;
        let part = entry.part.as_ref().ok_or(Code::IllegalState)?;
        let (id, after) = (part.capture, part.after.clone());
        let graph = self.capture_of(id)?.graph;
        let node = Node::new(graph, context, after, work);
        let node = node.inspect_err(|_| self.invalidate(&[id]))?;
        let node = self.add_node(node)?;
        let entry = self.streams.get_mut(stream, Code::InvalidHandle)?;
        if let Some(part) = &mut entry.part {
            part.after = vec![node];
        }
        Ok(())
    }

    /// Has a stream wait for an event where one of the two belongs to a capture. Returns whether
    /// that is so.
    pub(super) fn wait_captured(&mut self, stream: Handle, event: Handle) -> Result<bool, Code> {
        let own = self.admit(stream)?;
        let event = self.events.get(event, Code::InvalidHandle)?;
        let Some(captured) = event.captured().cloned() else {
            return match own {
                Some(capture) if event.ticket().is_some() => {
                    self.invalidate(&[capture]);
                    Err(Code::StreamCaptureIsolation)
                }
                // An event that was never recorded stands for no work.
                own => Ok(own.is_some()),
            };
        };
        let kind = self.streams.get(stream, Code::InvalidHandle)?.kind;
        let code = match own {
            _ if !self.goes_on(captured.capture) => Some(Code::InvalidValue),
            Some(own) if own != captured.capture => Some(Code::StreamCaptureMerge),
            None if kind == Kind::Legacy => Some(Code::StreamCaptureImplicit),
            _ => None,
        };
        if let Some(code) = code {
            self.invalidate(&[captured.capture]);
            self.invalidate(own.as_slice());
            return Err(code);
        }
        let entry = self.streams.get_mut(stream, Code::InvalidHandle)?;
        let new = || Part::new(captured.capture);
        let part = entry.part.get_or_insert_with(new);
        part.join(&captured.after);
        Ok(true)
    }

    /// Begins a capture on a stream.
    pub(super) fn begin_capture(&mut self, stream: Handle, mode: Mode) -> Result<(), Code> {
        let entry = self.streams.get(stream, Code::InvalidHandle)?;
        if entry.kind == Kind::Legacy {
            return Err(Code::StreamCaptureUnsupported);
        }
        if entry.part.is_some() {
            return Err(Code::IllegalState);
        }
        self.last_capture += 1;
        let id = self.last_capture;
        let graph = self.graphs.insert(Graph::captured());
        self.captures.insert(
            id,
            Capture {
                graph,
                origin: stream,
                mode,
                thread: std::thread::current().id(),
                invalidated: false,
                left: Vec::new(),
            },
        );
        let entry = self.streams.get_mut(stream, Code::InvalidHandle)?;
        entry.part = Some(Part::new(id));
        Ok(())
    }

    /// Ends the capture that was begun on a stream, and returns the graph. From another thread it
    /// ends the capture too, without a graph; on another stream it spoils it.
    pub(super) fn end_capture(&mut self, stream: Handle) -> Result<Handle, Code> {
        let entry = self.streams.get(stream, Code::InvalidHandle)?;
        let part = entry.part.as_ref().ok_or(Code::IllegalState)?;
        let (id, tail) = (part.capture, part.after.clone());
        let capture = self.capture_of(id)?;
        if capture.origin != stream {
            capture.invalidated = true;
            return Err(Code::StreamCaptureUnmatched);
        }
        let foreign =
            capture.mode != Mode::Relaxed && capture.thread != std::thread::current().id();
        let (graph, spoilt) = (capture.graph, capture.invalidated);
        let mut ends = capture.left.clone();
        for member in self.members(id) {
            let part = self.streams.get(member, Code::InvalidHandle)?.part.as_ref();
            ends.extend(part.into_iter().flat_map(|part| &part.after));
        }
        let joined = self.reached_from(tail);
        let outcome = if foreign {
            Err(Code::StreamCaptureWrongThread)
        } else if spoilt {
            Err(Code::StreamCaptureInvalidated)
        } else if !ends.iter().all(|end| joined.contains(end)) {
            Err(Code::StreamCaptureUnjoined)
        } else {
            Ok(graph)
        };
        self.release_capture(id);
        match outcome {
            Ok(graph) => self.graphs.get_mut(graph, Code::Unknown)?.in_capture = false,
            Err(_) => self.destroy_graph(graph),
        }
        outcome
    }

    /// Lets the streams of a capture go on as others do.
    fn release_capture(&mut self, id: CaptureId) {
        for member in self.members(id) {
            if let Ok(stream) = self.streams.get_mut(member, Code::InvalidHandle) {
                stream.part = None;
            }
        }
        self.captures.remove(&id);
    }

    /// Takes a stream that is being destroyed out of its capture, which ends with its origin.
    pub(super) fn leave_capture(&mut self, stream: Handle) {
        let Ok(entry) = self.streams.get_mut(stream, Code::InvalidHandle) else {
            return;
        };
        let Some(part) = entry.part.take() else {
            return;
        };
        let Some(capture) = self.captures.get_mut(&part.capture) else {
            return;
        };
        if capture.origin == stream {
            let graph = capture.graph;
            self.release_capture(part.capture);
            self.destroy_graph(graph);
        } else {
            capture.left.extend(part.after);
        }
    }

    /// Takes the streams of a context that is being destroyed out of their captures.
    pub(super) fn leave_captures(&mut self, context: Handle) {
        let streams = self.streams.iter();
        let leaving = streams.filter(|(_, s)| s.context == context && s.part.is_some());
        let leaving: Vec<Handle> = leaving.map(|(handle, _)| handle).collect();
        for stream in leaving {
            self.leave_capture(stream);
        }
    }
}

impl Driver {
    /// Refuses what goes past the streams, if a capture forbids that to the calling thread.
    pub(super) fn refuse_unsafe(&self) -> Result<(), Code> {
        self.state().refuse_unsafe()
    }
}
