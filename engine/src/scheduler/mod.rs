//! Who runs next.
//!
//! The scheduler knows of requests no more than lengths, contents of pages by their keys, and what
//! is in the caches; it has no device and no clock. The same calls in the same order give the same
//! plans. A step, [`Scheduler::schedule`]:
//!
//! 1. Every running answer gets a row for its newest token, and a page where it needs one. If there
//!    is none, the answer that came last loses its own, and is computed again later.
//! 2. Waiting requests get their pages, the highest priority first, and of those the client that had
//!    least. Whoever needs a prefix that another is computing waits for it.
//! 3. A song that somebody waits for is heard, one unit of the work a step.
//! 4. What is left of the step's rows goes to prompts, in whole pages.
//!
//! So talking streams get a token a step, however long the song is that arrives.

mod admission;
mod clients;
mod clips;
mod job;
mod plan;
mod step;
#[cfg(test)]
mod tests;

use crate::engine::Stats;
use crate::error::SubmitError;
use crate::pages::Pages;
use crate::prefix::Key;
use clients::Clients;
use clips::Clips;
pub(crate) use clips::{BLOCK, State};
use gamut_kernels::PAGE;
use job::{Entry, Rank, Sequence, Turn};
pub(crate) use job::{Job, Prompt};
pub(crate) use plan::{Plan, Rows, Unit};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// The sizes that the scheduler keeps to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Pages of keys and values.
    pub(crate) pages: usize,
    /// Blocks of the pool of audio.
    pub(crate) blocks: usize,
    /// Sequences that run at a time.
    pub(crate) max_num_seqs: usize,
    /// Rows of a step. At least `max_num_seqs` and a page.
    pub(crate) max_num_batched_tokens: usize,
    /// Requests that have not begun to run.
    pub(crate) max_queued: usize,
}

impl Limits {
    /// Rows of a step whose logits are wanted: those of every sequence, and of one prompt as many
    /// again, or a page.
    pub(crate) fn max_wanted(&self) -> usize {
        self.max_num_seqs + self.max_num_seqs.max(PAGE)
    }
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded {
    /// Requests that wait.
    queued: usize,
    /// How many may.
    most: usize,
}

impl From<Overloaded> for SubmitError {
    fn from(Overloaded { queued, most }: Overloaded) -> SubmitError {
        SubmitError::Overloaded { queued, most }
    }
}

/// See [the module](self).
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    jobs: Slab<Entry>,
    sequences: Slab<Sequence>,
    clients: Clients,
    pages: Pages,
    clips: Clips,
    /// Requests whose prompts are not known yet, in the order of their arrival.
    unheard: Vec<Unheard>,
    /// By rank, the first to keep its pages first.
    running: Vec<usize>,
    waiting: Vec<usize>,
    /// Pages that running sequences are about to compute and publish.
    pending: HashMap<Key, usize>,
    /// The clip that is being heard.
    hearing: Option<Key>,
    /// Nobody who has not begun is admitted.
    closed: bool,
    arrivals: u64,
    admissions: u64,
    preemptions: u64,
    /// Scratch: waiting sequences or prompts by their turn.
    order: Vec<(Turn, usize)>,
    /// Waiting sequences that lack audio, by their turn.
    deaf: Vec<usize>,
}

/// A request whose audio has to be read before its prompt is known.
#[derive(Debug)]
struct Unheard {
    job: usize,
    loading: bool,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits) -> Scheduler {
        Scheduler {
            jobs: Slab::new(),
            sequences: Slab::with_capacity(limits.max_num_seqs),
            clients: Clients::default(),
            pages: Pages::new(limits.pages),
            clips: Clips::new(limits.blocks),
            unheard: Vec::new(),
            running: Vec::with_capacity(limits.max_num_seqs),
            waiting: Vec::new(),
            pending: HashMap::with_capacity(limits.pages),
            hearing: None,
            closed: false,
            arrivals: 0,
            admissions: 0,
            preemptions: 0,
            order: Vec::with_capacity(limits.max_num_seqs),
            deaf: Vec::new(),
            limits,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A request of the client of this name, whose prompt is not known yet; returns its number.
    pub(crate) fn submit(&mut self, client: &str, job: Job) -> Result<usize, Overloaded> {
        let queued = self.unheard.len() + self.waiting.len();
        if queued >= self.limits.max_queued {
            let most = self.limits.max_queued;
            return Err(Overloaded { queued, most });
        }
        self.arrivals += 1;
        let client = self.clients.enter(client);
        let job = self.jobs.insert(Entry {
            job,
            client,
            arrival: self.arrivals,
            prompt: Prompt::default(),
            sequences: Vec::with_capacity(job.samples),
            forked: false,
            paused: false,
        });
        let loading = false;
        self.unheard.push(Unheard { job, loading });
        Ok(job)
    }

    /// The request whose audio is to be read next: for the first time, or again, as the rows of the
    /// clip returned are lost.
    pub(crate) fn next_load(&mut self) -> Option<(usize, Option<Key>)> {
        let turn = |this: &Scheduler, job: usize| this.turn_of(job, 0);
        let deaf = self.deaf.iter().filter_map(|id| {
            let sequence = self.sequences.get(*id)?;
            let clips = &self.jobs[sequence.job].prompt.audio;
            let known = |(clip, _): &&(Key, usize)| self.clips.state(clip) == Some(State::Known);
            let clip = clips.iter().find(known)?.0;
            Some((turn(self, sequence.job), sequence.job, Some(clip)))
        });
        let unheard = self.unheard.iter().filter(|unheard| !unheard.loading);
        let unheard = unheard.map(|unheard| (turn(self, unheard.job), unheard.job, None));
        let (_, job, clip) = deaf.chain(unheard).min_by_key(|(turn, ..)| *turn)?;
        match clip {
            Some(clip) => self.clips.set(&clip, State::Loading),
            None => {
                let unheard = self.unheard.iter_mut().find(|unheard| unheard.job == job);
                unheard
                    .into_iter()
                    .for_each(|unheard| unheard.loading = true);
            }
        }
        Some((job, clip))
    }

    /// Notes a clip of so many rows, which takes so many units to hear, and whether its samples are
    /// there.
    pub(crate) fn know_clip(&mut self, clip: Key, rows: usize, units: usize, loaded: bool) {
        self.clips.insert(clip, rows, units, loaded);
        if self.clips.are_many() {
            let entries = self.jobs.iter().flat_map(|(_, entry)| &entry.prompt.audio);
            let wanted: HashSet<Key> = entries.map(|(clip, _)| *clip).chain([clip]).collect();
            self.clips.forget_one(|clip| wanted.contains(clip));
        }
    }

    /// How far a clip is.
    pub(crate) fn clip_state(&self, clip: &Key) -> Option<State> {
        self.clips.state(clip)
    }

    /// The blocks of a clip that is heard or being heard.
    pub(crate) fn clip_blocks(&self, clip: &Key) -> &[u32] {
        self.clips.get(clip).map_or(&[], |clip| &clip.blocks)
    }

    /// A clip's samples could not be had, or its rows not be computed.
    pub(crate) fn lose_clip(&mut self, clip: &Key) {
        self.hearing.take_if(|hearing| hearing == clip);
        self.clips.give_back(clip, State::Known);
    }

    /// A clip's samples have been given back, since nobody wanted them.
    pub(crate) fn unload_clip(&mut self, clip: &Key) {
        if self.clips.state(clip) == Some(State::Loaded) {
            self.clips.set(clip, State::Known);
        }
    }

    /// Keeps a heard clip's rows in the pool, until it is unpinned as often.
    pub(crate) fn pin_clip(&mut self, clip: &Key) {
        self.clips.pin(clip);
    }

    pub(crate) fn unpin_clip(&mut self, clip: &Key) {
        self.clips.unpin(clip);
    }

    /// A request's prompt is known: it waits for its pages.
    pub(crate) fn start(&mut self, job: usize, prompt: Prompt) {
        self.unheard.retain(|unheard| unheard.job != job);
        let entry = &mut self.jobs[job];
        entry.prompt = prompt;
        let known = entry.prompt.tokens;
        let id = self.sequences.insert(Sequence {
            job,
            sample: 0,
            known,
            computed: 0,
            pages: Vec::with_capacity(entry.most().div_ceil(PAGE)),
            running: false,
            held: None,
            pinned: false,
            admission: 0,
        });
        entry.sequences.push(id);
        self.waiting.push(id);
    }

    /// Whether a request draws no tokens for now.
    pub(crate) fn pause(&mut self, job: usize, paused: bool) {
        self.jobs[job].paused = paused;
    }

    /// Admits no request that has not begun, or again.
    pub(crate) fn close(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// An answer has ended. Whether it was the request's last; the request is gone then.
    pub(crate) fn finish(&mut self, sequence: usize) -> bool {
        let job = self.sequences[sequence].job;
        self.give_up_pages(sequence);
        self.running.retain(|id| *id != sequence);
        self.waiting.retain(|id| *id != sequence);
        self.sequences.remove(sequence);
        let entry = &mut self.jobs[job];
        entry.sequences.retain(|id| *id != sequence);
        let last = entry.sequences.is_empty();
        if last {
            self.leave(job);
        }
        last
    }

    /// Ends a request with all its answers.
    pub(crate) fn remove(&mut self, job: usize) {
        let sequences = self.jobs[job].sequences.clone();
        if sequences.is_empty() {
            self.leave(job);
        }
        for sequence in sequences {
            self.finish(sequence);
        }
    }

    /// Forgets a request that has no sequences.
    fn leave(&mut self, job: usize) {
        self.unheard.retain(|unheard| unheard.job != job);
        let entry = self.jobs.remove(job);
        self.clients.leave(entry.client);
        if let Some(clip) = self.hearing
            && entry.has(&clip)
            && !self.wants_clip(&clip)
        {
            self.lose_clip(&clip);
        }
    }

    /// A plan's step is done: pages of prompts can be found, and a clip may have been heard.
    pub(crate) fn commit(&mut self, plan: &Plan) {
        for rows in &plan.rows {
            if rows.generated || !self.is_current(rows) {
                continue;
            }
            let sequence = &self.sequences[rows.sequence];
            let keys = &self.jobs[sequence.job].prompt.keys;
            let (first, end) = (rows.start / PAGE, (rows.start + rows.rows) / PAGE);
            let whole = keys.iter().zip(&sequence.pages).take(end).skip(first);
            for (key, page) in whole {
                self.pages.publish(*page, *key);
                self.pending.remove(key);
            }
        }
        if let Some(Unit { clip, unit, units }) = plan.hearing
            && self.hearing == Some(clip)
            && unit + 1 == units
        {
            self.clips.set(&clip, State::Heard);
            self.hearing = None;
        }
    }

    /// Forgets all that the model has computed: its weights are others now. Only while no request has
    /// begun.
    pub(crate) fn forget_all(&mut self) {
        self.pages.forget_all();
        self.hearing = None;
        self.clips.forget_all();
    }

    /// Whether the rows of a plan are still to be computed: their sequence has not ended or lost its
    /// pages since.
    pub(crate) fn is_current(&self, rows: &Rows) -> bool {
        let sequence = self.sequences.get(rows.sequence);
        sequence.is_some_and(|s| s.running && s.admission == rows.admission)
    }

    /// Whether a plan's unit of hearing is still to be done: the clip has not been lost since.
    pub(crate) fn is_hearing(&self, unit: &Unit) -> bool {
        let Unit { clip, unit, .. } = unit;
        self.hearing == Some(*clip) && self.clips.state(clip) == Some(State::Hearing(unit + 1))
    }

    /// Whether a request has this clip in its prompt.
    pub(crate) fn wants_clip(&self, clip: &Key) -> bool {
        self.jobs.iter().any(|(_, entry)| entry.has(clip))
    }

    /// Whether somebody waits for this clip's rows who could go on with them.
    pub(crate) fn awaits_clip(&self, clip: &Key) -> bool {
        let mut jobs = self.jobs.iter();
        self.hearing == Some(*clip) || jobs.any(|(_, entry)| !entry.paused && entry.has(clip))
    }

    /// Blocks of the pool that all of some clips take.
    pub(crate) fn blocks_of<'a>(&self, clips: impl IntoIterator<Item = &'a Key>) -> usize {
        self.clips.blocks_of(clips)
    }

    /// The request of a sequence, and which of its answers it is.
    pub(crate) fn sample_of(&self, sequence: usize) -> Option<(usize, usize)> {
        let sequence = self.sequences.get(sequence)?;
        Some((sequence.job, sequence.sample))
    }

    /// The sequences of a request that have not ended.
    pub(crate) fn sequences_of(&self, job: usize) -> &[usize] {
        self.jobs.get(job).map_or(&[], |entry| &entry.sequences)
    }

    /// The pages of a sequence.
    pub(crate) fn pages_of(&self, sequence: usize) -> &[u32] {
        self.sequences.get(sequence).map_or(&[], |s| &s.pages)
    }

    /// Whether a request has begun that has not ended.
    pub(crate) fn has_begun(&self) -> bool {
        self.sequences.iter().any(|(_, s)| s.admission > 0)
    }

    /// Adds counts of what there is to others.
    pub(crate) fn add_to(&self, stats: Stats) -> Stats {
        Stats {
            running: self.running.len(),
            waiting: self.waiting.len() + self.unheard.len(),
            pages_used: self.pages.total() - self.pages.available(),
            pages_cached: self.pages.published(),
            pages: self.pages.total(),
            audio_blocks_used: self.clips.used(),
            audio_blocks: self.limits.blocks,
            preemptions: self.preemptions,
            ..stats
        }
    }

    /// Whether a sequence's request waits for its reader.
    fn is_paused(&self, sequence: usize) -> bool {
        self.jobs[self.sequences[sequence].job].paused
    }

    fn turn_of(&self, job: usize, sample: usize) -> Turn {
        let entry = &self.jobs[job];
        let served = self.clients.served(entry.client);
        (Reverse(entry.job.priority), served, entry.arrival, sample)
    }

    fn turn(&self, sequence: usize) -> Turn {
        let sequence = &self.sequences[sequence];
        self.turn_of(sequence.job, sequence.sample)
    }

    fn rank(&self, sequence: usize) -> Rank {
        let Sequence { job, sample, .. } = self.sequences[sequence];
        let entry = &self.jobs[job];
        (Reverse(entry.job.priority), entry.arrival, sample)
    }
}
