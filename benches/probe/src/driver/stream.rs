//! Streams, graphs, events and timing.
#![allow(unsafe_code)]

use super::call;
use crate::error::Result;
use cudarc::driver::sys;
use std::ptr;

/// A stream that does not wait for the default one.
#[derive(Debug)]
pub(crate) struct Stream(pub(crate) sys::CUstream);

impl Stream {
    pub(crate) fn new() -> Result<Stream> {
        let mut stream = ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        call!(cuStreamCreate(&mut stream, flags))?;
        Ok(Stream(stream))
    }

    pub(crate) fn synchronize(&self) -> Result<()> {
        call!(cuStreamSynchronize(self.0))
    }

    pub(crate) fn wait(&self, event: &Event) -> Result<()> {
        call!(cuStreamWaitEvent(self.0, event.0, 0))
    }

    /// Everything that `queue` puts on the stream, as a graph.
    pub(crate) fn capture(&self, queue: impl FnOnce() -> Result<()>) -> Result<Graph> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        call!(cuStreamBeginCapture_v2(self.0, mode))?;
        let queued = queue();
        let mut graph = ptr::null_mut();
        let ended = call!(cuStreamEndCapture(self.0, &mut graph));
        queued?;
        ended?;
        let mut executable = ptr::null_mut();
        let made = call!(cuGraphInstantiateWithFlags(&mut executable, graph, 0));
        call!(cuGraphDestroy(graph))?;
        made?;
        Ok(Graph(executable))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // As with device memory.
        let _ = call!(cuStreamDestroy_v2(self.0));
    }
}

/// An executable graph.
#[derive(Debug)]
pub(crate) struct Graph(sys::CUgraphExec);

impl Graph {
    pub(crate) fn launch(&self, stream: &Stream) -> Result<()> {
        call!(cuGraphLaunch(self.0, stream.0))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // As with device memory.
        let _ = call!(cuGraphExecDestroy(self.0));
    }
}

/// A point in a stream with its time.
#[derive(Debug)]
pub(crate) struct Event(pub(crate) sys::CUevent);

impl Event {
    pub(crate) fn new() -> Result<Event> {
        let mut event = ptr::null_mut();
        call!(cuEventCreate(&mut event, 0))?;
        Ok(Event(event))
    }

    pub(crate) fn record(&self, stream: &Stream) -> Result<()> {
        call!(cuEventRecord(self.0, stream.0))
    }

    pub(crate) fn synchronize(&self) -> Result<()> {
        call!(cuEventSynchronize(self.0))
    }

    /// Milliseconds since `start`; both must have happened.
    pub(crate) fn since(&self, start: &Event) -> Result<f32> {
        let mut milliseconds = 0.0;
        call!(cuEventElapsedTime_v2(&mut milliseconds, start.0, self.0))?;
        Ok(milliseconds)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // As with device memory.
        let _ = call!(cuEventDestroy_v2(self.0));
    }
}

/// Milliseconds that the GPU takes for what `queue` puts on the stream: one result a repetition.
pub(crate) fn time(
    stream: &Stream,
    repetitions: usize,
    mut queue: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<f32>> {
    let (start, end) = (Event::new()?, Event::new()?);
    (0..repetitions)
        .map(|repetition| {
            start.record(stream)?;
            queue(repetition)?;
            end.record(stream)?;
            end.synchronize()?;
            end.since(&start)
        })
        .collect()
}

/// The middle of `values` (the upper one of an even number); 0 of none.
pub(crate) fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
