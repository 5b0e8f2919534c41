//! What the scheduler knows of a request and its sequences.

use crate::prefix::Key;
use gamut_kernels::PAGE;
use std::cmp::Reverse;

/// A request, as the scheduler sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// The higher goes first.
    pub(crate) priority: i32,
    /// Answers to the one prompt.
    pub(crate) samples: usize,
}

/// A prompt, as the scheduler sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompt {
    pub(crate) tokens: usize,
    /// The contents of its whole pages.
    pub(crate) keys: Vec<Key>,
    /// The first position whose logits are wanted; those of all behind it are, too.
    pub(crate) wanted: usize,
    /// The audio in it, with the position behind its last.
    pub(crate) audio: Vec<(Key, usize)>,
    /// Most tokens of an answer.
    pub(crate) max_tokens: usize,
}

/// A request in the scheduler.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) job: Job,
    pub(super) client: usize,
    /// Counts requests as they come.
    pub(super) arrival: u64,
    pub(super) prompt: Prompt,
    /// Every answer's sequence that has not ended. Before the prompt is computed there is one.
    pub(super) sequences: Vec<usize>,
    /// The answers have sequences of their own.
    pub(super) forked: bool,
    /// Its reader is slow: it draws no tokens for now.
    pub(super) paused: bool,
}

impl Entry {
    /// Tokens after which an answer is as long as it may be.
    pub(super) fn most(&self) -> usize {
        self.prompt.tokens + self.prompt.max_tokens
    }

    /// Whether a clip is in its prompt.
    pub(super) fn has(&self, clip: &Key) -> bool {
        self.prompt.audio.iter().any(|(other, _)| other == clip)
    }

    /// Pages that need not be computed if they are there: the first row whose logits are wanted lies
    /// behind them.
    pub(super) fn reusable(&self) -> &[Key] {
        &self.prompt.keys[..self.prompt.keys.len().min(self.prompt.wanted / PAGE)]
    }
}

/// The positions of one answer, with its prompt.
#[derive(Debug)]
pub(super) struct Sequence {
    /// Its request.
    pub(super) job: usize,
    /// Which of the answers.
    pub(super) sample: usize,
    /// Tokens of prompt and answer, the one that is being drawn included.
    pub(super) known: usize,
    /// Positions whose keys and values are in its pages, or will be when the step under way is done.
    pub(super) computed: usize,
    pub(super) pages: Vec<u32>,
    /// Whether it is among the running ones.
    pub(super) running: bool,
    /// It waits for another to compute this page.
    pub(super) held: Option<Key>,
    /// It keeps its audio in the pool.
    pub(super) pinned: bool,
    /// Changes whenever it gets its pages anew.
    pub(super) admission: u64,
}

/// The order in which sequences keep their pages when these run short: the greatest goes first.
pub(super) type Rank = (Reverse<i32>, u64, usize);

/// The order in which sequences get pages and prompts are computed, the least first.
pub(super) type Turn = (Reverse<i32>, u64, u64, usize);
