//! What the scheduler wants done next.

use crate::prefix::Key;
use std::ops::Range;

/// One step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Pages to be copied before all else, from and to.
    pub(crate) copies: Vec<(u32, u32)>,
    /// Positions to compute.
    pub(crate) rows: Vec<Rows>,
    /// The sequences that draw a token.
    pub(crate) draws: Vec<usize>,
    /// A unit of the work to hear a clip.
    pub(crate) hearing: Option<Unit>,
    /// Requests for no more than their audio, which is there.
    pub(crate) heard: Vec<usize>,
    /// Whether sequences got their pages, whose generated rows come with the next plan.
    pub(super) admitted: bool,
}

/// Successive positions of one sequence.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) sequence: usize,
    pub(crate) start: usize,
    pub(crate) rows: usize,
    /// Whether they were generated.
    pub(crate) generated: bool,
    /// How many of the last have logits that are wanted.
    pub(crate) wanted: usize,
    /// Which of the plan's draws are from the logits of the last.
    pub(crate) draws: Range<usize>,
    /// The admission that gave the sequence its pages.
    pub(super) admission: u64,
}

/// A unit of the work to hear a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) clip: Key,
    /// Which of them.
    pub(crate) unit: usize,
    /// How many there are.
    pub(crate) units: usize,
}

impl Plan {
    pub(crate) fn clear(&mut self) {
        self.copies.clear();
        self.rows.clear();
        self.draws.clear();
        self.hearing = None;
        self.heard.clear();
        self.admitted = false;
    }

    /// Whether there is nothing to do, now or next.
    pub(crate) fn is_empty(&self) -> bool {
        let Plan { rows, heard, .. } = self;
        rows.is_empty() && self.hearing.is_none() && heard.is_empty() && !self.admitted
    }

    /// Does without a sequence that gives its pages back.
    pub(super) fn drop_sequence(&mut self, sequence: usize, pages: &[u32]) {
        self.rows.retain(|rows| rows.sequence != sequence);
        self.copies.retain(|(_, to)| !pages.contains(to));
    }
}
