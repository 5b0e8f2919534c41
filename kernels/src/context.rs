//! Where operations run: a device with its workspace.

use crate::arena::Arena;
use crate::error::Result;
use crate::host::Host;
use crate::tensor::{Tensor, View};
use crate::work::Work;
use std::sync::{Arc, Mutex, PoisonError};

/// A device and the memory for activations on it.
#[derive(Debug)]
pub struct Context {
    device: Device,
    arena: Arc<Arena>,
    poison: bool,
}

/// What runs an operation.
#[derive(Debug)]
pub(crate) enum Device {
    Host(Arc<Host>),
    /// Checks shapes and counts, and computes nothing.
    Plan {
        threads: usize,
        calls: Mutex<Vec<(&'static str, Work)>>,
    },
}

impl Context {
    /// The host device with a workspace of `elements` f32 elements.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn host(host: Arc<Host>, elements: usize) -> Result<Context> {
        Ok(Context {
            device: Device::Host(host),
            arena: Arena::host(elements)?,
            poison: false,
        })
    }

    /// A dry run of a host device with `threads` threads: operations check their arguments, take
    /// their workspace and note their work, but compute nothing. What it counted is in
    /// [`Context::workspace_peak`] and [`Context::work`].
    pub fn plan(threads: usize) -> Context {
        Context {
            device: Device::Plan {
                threads,
                calls: Mutex::default(),
            },
            arena: Arena::counting(),
            poison: false,
        }
    }

    /// Fills every new tensor with NaN, so that an element left unwritten shows.
    pub fn poisoned(mut self) -> Context {
        self.poison = true;
        self
    }

    /// The most elements of workspace that were ever spanned.
    pub fn workspace_peak(&self) -> usize {
        self.arena.peak()
    }

    /// On a dry run: the operations in the order of their calls, with the work of each.
    pub fn work(&self) -> Vec<(&'static str, Work)> {
        match &self.device {
            Device::Plan { calls, .. } => {
                calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
            Device::Host(_) => Vec::new(),
        }
    }

    /// A matrix `[rows, cols]` from the workspace, holding whatever was there before.
    ///
    /// # Errors
    /// If the workspace is used up.
    pub fn tensor(&self, rows: usize, cols: usize) -> Result<Tensor> {
        let region = self.arena.take(rows.saturating_mul(cols))?;
        let mut tensor = Tensor::new(region, rows, cols);
        if self.poison {
            tensor.data_mut().fill(f32::NAN);
        }
        Ok(tensor)
    }

    /// A matrix `[values.len() / cols, cols]` with these values.
    ///
    /// # Errors
    /// If the workspace is used up.
    pub fn upload(&self, values: &[f32], cols: usize) -> Result<Tensor> {
        let mut tensor = self.tensor(values.len().checked_div(cols).unwrap_or(0), cols)?;
        for (to, from) in tensor.data_mut().iter_mut().zip(values) {
            *to = *from;
        }
        Ok(tensor)
    }

    /// A copy of `x`, from whatever workspace.
    ///
    /// # Errors
    /// If the workspace is used up.
    pub fn copy(&self, x: View<'_>) -> Result<Tensor> {
        let mut tensor = self.tensor(x.rows(), x.cols())?;
        let rows = tensor.data_mut().chunks_exact_mut(x.cols().max(1));
        for (row, to) in rows.enumerate() {
            to.copy_from_slice(x.row(row));
        }
        Ok(tensor)
    }

    /// Runs an operation: on the host, or only notes it.
    pub(crate) fn run(&self, op: &'static str, work: Work, host: impl FnOnce(&Host)) {
        match &self.device {
            Device::Host(device) => host(device),
            Device::Plan { calls, .. } => {
                calls
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((op, work));
            }
        }
    }

    /// Scratch of `each` elements for every thread that `tasks` tasks can keep busy.
    pub(crate) fn host_scratch_for(&self, tasks: usize, each: usize) -> Result<Tensor> {
        let threads = match &self.device {
            Device::Host(host) => host.threads(),
            Device::Plan { threads, .. } => *threads,
        };
        self.tensor(threads.min(tasks), each)
    }

    /// Scratch of `each` elements for every thread of the host.
    pub(crate) fn host_scratch(&self, each: usize) -> Result<Tensor> {
        self.host_scratch_for(usize::MAX, each)
    }
}
