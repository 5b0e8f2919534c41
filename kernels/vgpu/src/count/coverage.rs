//! Which lines of a kernel ran.

use super::{Counters, Source};
use crate::module::Kernel;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The lines of a kernel over several launches.
#[derive(Clone, Debug)]
pub struct Coverage {
    kernel: Arc<Kernel>,
    launches: u64,
    /// Lane instructions by line of the PTX text.
    lanes: BTreeMap<u32, u64>,
}

/// A line of PTX that has instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CoveredLine {
    /// Line of the PTX text, from 1.
    pub ptx_line: u32,
    /// The line itself, trimmed.
    pub text: String,
    /// The CUDA source line.
    pub source: Option<Source>,
    /// How many lanes ran it; 0 where only warps did whose guard kept every lane out.
    pub lanes: u64,
}

impl Coverage {
    /// Of a kernel that did not run yet.
    pub fn new(kernel: Arc<Kernel>) -> Coverage {
        Coverage {
            kernel,
            launches: 0,
            lanes: BTreeMap::new(),
        }
    }

    /// Adds a launch of the kernel.
    pub fn add(&mut self, counters: &Counters) {
        self.launches += 1;
        for line in &counters.lines {
            *self.lanes.entry(line.ptx_line).or_default() += line.executed.lanes;
        }
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// Its launches.
    pub fn launches(&self) -> u64 {
        self.launches
    }

    /// All lines that have instructions, in order. Calls are none: what they call is inlined.
    pub fn lines(&self) -> Vec<CoveredLine> {
        let lines = self.kernel.lines().into_iter();
        let covered = lines.map(|line| CoveredLine {
            lanes: self.lanes.get(&line.ptx_line).copied().unwrap_or(0),
            ptx_line: line.ptx_line,
            text: line.text,
            source: line.source,
        });
        covered.collect()
    }
}
