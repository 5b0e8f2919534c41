//! CUDA graphs: kernels that are recorded once and then launched together.
#![allow(unsafe_code)]

use super::{Cuda, driver};
use crate::DType;
use crate::error::{Error, Result};
use cudarc::driver::{CudaGraph, sys};
use std::fmt;

/// Kernels that were recorded, with their arguments.
pub struct Graph {
    graph: CudaGraph,
    /// Bytes of workspace that the kernels use, from its start on.
    pub(crate) workspace: usize,
    pub(crate) output: Output,
}

/// Where in the workspace a graph's output is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) offset: usize,
    pub(crate) dtype: DType,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

// SAFETY: nothing in a graph belongs to the thread that made it, and it is launched through `&mut` alone.
unsafe impl Send for Graph {}
// SAFETY: `&Graph` gives nobody the graph.
unsafe impl Sync for Graph {}

impl Cuda {
    /// Records the kernels that `work` launches, none of which runs. Also returns what it returns.
    ///
    /// # Errors
    /// If `work` fails, copies or waits, or the driver cannot make a graph of it.
    pub(crate) fn record<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(CudaGraph, T)> {
        let failed = |e| driver::error("recording a graph".to_owned(), e);
        // What other threads do meanwhile is their own concern.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).map_err(failed)?;
        let done = work();
        let graph = self.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        let done = done?;
        let graph = graph.map_err(failed)?.ok_or_else(|| Error::Cuda {
            what: "recording a graph".to_owned(),
            reason: "the driver made none".to_owned(),
        })?;
        graph.upload().map_err(failed)?;
        Ok((graph, done))
    }
}

impl Graph {
    pub(crate) fn new(graph: CudaGraph, workspace: usize, output: Output) -> Graph {
        Graph {
            graph,
            workspace,
            output,
        }
    }

    /// Launches the kernels behind all work before them.
    pub(crate) fn launch(&mut self) -> Result<()> {
        let launched = self.graph.launch();
        launched.map_err(|e| driver::error("launching a graph".to_owned(), e))
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({} bytes, {:?})", self.workspace, self.output)
    }
}
