//! The engine without its threads: requests in, steps on a device, events out.
//!
//! Everything happens in [`Core::tick`], in an order that depends on nothing but the calls before,
//! and on how fast readers are. Each tick begins a step on the device, schedules the next one while
//! that runs, and then waits for its tokens.

mod answer;
mod load;
pub(crate) mod request;
mod runner;
#[cfg(test)]
mod tests;

pub(crate) use answer::Vocabulary;
pub(crate) use load::{Load, Loaded, Ticket};
pub(crate) use runner::{Runner, Step};

use crate::engine::Stats;
use crate::error::{Error, SubmitError};
use crate::event::{Event, Finish, Phase, Token};
use crate::model::Model;
use crate::prefix::Key;
use crate::scheduler::{BLOCK, Job, Limits, Plan, Scheduler, Unit};
use crate::sync::Arc;
use answer::Answer;
use gamut_kernels::ops::{Draw, Sampled, Source};
use gamut_kernels::{History, PAGE, Sampling, Sequence};
use request::{Heard, Request, Submission, Task};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

/// Other weights of the same sizes.
pub(crate) struct Update {
    pub(crate) model: Arc<Model>,
    pub(crate) vocabulary: Box<dyn Vocabulary + Send>,
    /// Is told when they are there.
    pub(crate) sender: SyncSender<Result<(), Error>>,
}

/// See [the module](self).
pub(crate) struct Core<R> {
    runner: R,
    scheduler: Scheduler,
    vocabulary: Box<dyn Vocabulary + Send>,
    /// The longest sequence, in tokens.
    max_model_len: usize,
    /// The longest clip, in rows.
    longest_clip: usize,
    /// By the scheduler's number of the request.
    requests: BTreeMap<usize, Request>,
    /// By the scheduler's number of the sequence.
    answers: BTreeMap<usize, Answer>,
    /// Audio that waits to be heard.
    samples: BTreeMap<Key, Arc<[f32]>>,
    /// Requests whose audio is being read.
    loading: usize,
    ids: u64,
    /// Songs that somebody keeps in the pool, and how often.
    songs: BTreeMap<Key, usize>,
    /// How a given token is chosen.
    given: (Sampling, History),
    /// Weights that are to come when nobody runs any more.
    updates: VecDeque<Update>,
    /// What was done so far.
    done: Stats,
    /// What the next tick does.
    plan: Plan,
    /// What the one after it does.
    next: Plan,
}

impl<R: Runner> Core<R> {
    pub(crate) fn new(
        runner: R,
        limits: Limits,
        vocabulary: Box<dyn Vocabulary + Send>,
        (max_model_len, longest_clip): (usize, usize),
    ) -> Core<R> {
        Core {
            runner,
            scheduler: Scheduler::new(limits),
            vocabulary,
            max_model_len,
            longest_clip,
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            samples: BTreeMap::new(),
            loading: 0,
            ids: 0,
            songs: BTreeMap::new(),
            given: Default::default(),
            updates: VecDeque::new(),
            done: Stats::default(),
            plan: Plan::default(),
            next: Plan::default(),
        }
    }

    /// Takes a request, or ends it since the queue is full.
    pub(crate) fn submit(&mut self, submission: Submission) {
        let job = Job {
            priority: submission.priority,
            samples: submission.params.n,
        };
        let job = self.scheduler.submit(&submission.client, job);
        self.ids += 1;
        let request = Request::new(self.ids, submission);
        match job {
            Ok(job) => {
                let silent = request.unexpanded.audio.is_empty();
                self.requests.insert(job, request);
                if silent {
                    self.begin(job, Vec::new());
                }
            }
            Err(overloaded) => request.fail(SubmitError::from(overloaded).into()),
        }
    }

    /// Takes other weights as soon as requests that have begun have ended. Others wait meanwhile.
    pub(crate) fn update(&mut self, update: Update) {
        self.updates.push_back(update);
        self.scheduler.close(true);
    }

    /// Takes the weights that have come, if nobody has begun with the old ones; whether it did.
    fn take_updates(&mut self) -> bool {
        if self.updates.is_empty() || self.scheduler.has_begun() {
            return false;
        }
        while let Some(update) = self.updates.pop_front() {
            let replaced = self.runner.replace(&update.model);
            if replaced.is_ok() {
                self.vocabulary = update.vocabulary;
            }
            self.runner.abort();
            self.scheduler.forget_all();
            // Whoever asked may be gone.
            drop(update.sender.try_send(replaced));
        }
        self.plan.clear();
        self.scheduler.close(false);
        true
    }

    /// Does what can be done next. False if there is nothing until something comes.
    pub(crate) fn tick(&mut self) -> bool {
        let stopped = self.end_stopped() | self.take_updates();
        self.pause_the_unread();
        if self.plan.is_empty() {
            let mut plan = std::mem::take(&mut self.plan);
            self.schedule(&mut plan);
            self.plan = plan;
        }
        let mut plan = std::mem::take(&mut self.plan);
        plan.rows.retain(|rows| self.scheduler.is_current(rows));
        plan.hearing
            .take_if(|unit| !self.scheduler.is_hearing(unit));
        let idle = plan.is_empty();
        if !idle {
            self.step(&mut plan);
        }
        // The plan's lists are used again.
        plan.clear();
        self.plan = std::mem::replace(&mut self.next, plan);
        !idle || stopped
    }

    fn schedule(&mut self, plan: &mut Plan) {
        self.scheduler.schedule(plan);
        for job in plan.heard.drain(..) {
            self.tell_heard(job);
        }
    }

    fn step(&mut self, plan: &mut Plan) {
        let started = match plan.rows.is_empty() {
            true => Ok(()),
            false => self.start(plan),
        };
        // The next step is scheduled while this one runs.
        let mut next = std::mem::take(&mut self.next);
        self.schedule(&mut next);
        self.next = next;
        if let Some(unit) = plan.hearing
            && !self.hear(unit)
        {
            plan.hearing = None;
        }
        let drawn = match plan.rows.is_empty() {
            true => Ok(Vec::new()),
            false => started.and_then(|()| self.runner.finish()),
        };
        match drawn {
            Ok(drawn) => {
                self.scheduler.commit(plan);
                self.count(plan);
                self.take(plan, drawn);
            }
            Err(error) => {
                let failed = std::mem::take(&mut plan.rows);
                self.scheduler.commit(plan);
                for rows in failed {
                    if let Some((job, _)) = self.scheduler.sample_of(rows.sequence) {
                        self.fail(job, error.clone().into());
                    }
                }
            }
        }
    }

    /// Counts a step that was done.
    fn count(&mut self, plan: &Plan) {
        self.done.steps += u64::from(!plan.rows.is_empty());
        self.done.generated_tokens += plan.draws.len() as u64;
        let prompted = plan.rows.iter().filter(|rows| !rows.generated);
        self.done.prompt_tokens += prompted.map(|rows| rows.rows as u64).sum::<u64>();
    }

    /// Begins a step on the device.
    fn start(&mut self, plan: &Plan) -> Result<(), gamut_kernels::Error> {
        let now = Instant::now();
        for rows in &plan.rows {
            if let Some((job, _)) = self.scheduler.sample_of(rows.sequence)
                && let Some(request) = self.requests.get_mut(&job)
                && request.began.is_none()
            {
                self.done.cached_tokens += rows.start as u64;
                request.begin(rows.start, now);
            }
            for sequence in &plan.draws[rows.draws.clone()] {
                let Some((job, sample)) = self.scheduler.sample_of(*sequence) else {
                    continue;
                };
                let request = &self.requests[&job];
                let answer = self.answers.entry(*sequence);
                answer.or_insert_with(|| Answer::new(request, sample));
            }
        }
        let (mut sequences, mut sources, mut wanted, mut draws) = (vec![], vec![], vec![], vec![]);
        for rows in &plan.rows {
            let Some((job, _)) = self.scheduler.sample_of(rows.sequence) else {
                continue;
            };
            let request = &self.requests[&job];
            let answer = self.answers.get(&rows.sequence);
            let first = sources.len();
            let end = rows.start + rows.rows;
            sequences.push(Sequence {
                generated: rows.generated,
                start: rows.start,
                rows: rows.rows,
                pages: self.scheduler.pages_of(rows.sequence),
            });
            let positions = rows.start..end;
            sources.extend(positions.map(|position| self.source(request, answer, position)));
            let drawing = &plan.draws[rows.draws.clone()];
            let scores = rows.wanted - usize::from(!drawing.is_empty());
            let alternatives = request.params.prompt_logprobs.unwrap_or(0);
            for position in end - rows.wanted..end - rows.wanted + scores {
                wanted.push(first + position - rows.start);
                draws.push(Draw {
                    sampling: &self.given.0,
                    history: &self.given.1,
                    position: position as u64 + 1,
                    alternatives,
                    given: request.prompt.tokens.get(position + 1).copied(),
                    allowed: None,
                });
            }
            for sequence in drawing {
                let Some(answer) = self.answers.get(sequence) else {
                    continue;
                };
                wanted.push(first + rows.rows - 1);
                draws.push(Draw {
                    sampling: &answer.sampling,
                    history: &answer.history,
                    position: end as u64,
                    alternatives: request.params.logprobs,
                    given: None,
                    allowed: None,
                });
            }
        }
        self.runner.start(&Step {
            copies: &plan.copies,
            sequences: &sequences,
            sources: &sources,
            wanted: &wanted,
            draws: &draws,
        })
    }

    /// The embedding of a position.
    fn source(&self, request: &Request, answer: Option<&Answer>, position: usize) -> Source {
        let prompt = &request.prompt;
        if let Some((clip, row)) = prompt.audio_at(position) {
            let block = self.scheduler.clip_blocks(clip).get(row / PAGE);
            let first = block.map_or(0, |block| *block * PAGE as u32);
            return Source::Audio(first + (row % PAGE) as u32);
        }
        let generated = || answer?.tokens.get(position - prompt.tokens.len()).copied();
        let token = prompt.tokens.get(position).copied().or_else(generated);
        Source::Token(token.unwrap_or_default())
    }

    /// Takes what a step has drawn.
    fn take(&mut self, plan: &Plan, drawn: Vec<Sampled>) {
        let now = Instant::now();
        let mut drawn = drawn.into_iter().map(|sampled| Token {
            id: sampled.token,
            logprob: sampled.logprob,
            top: sampled.alternatives,
        });
        for rows in &plan.rows {
            let drawing = &plan.draws[rows.draws.clone()];
            let scores = rows.wanted - usize::from(!drawing.is_empty());
            let mut tokens = drawn.by_ref().take(scores + drawing.len());
            let job = self.scheduler.sample_of(rows.sequence).map(|(job, _)| job);
            let Some((job, request)) = job.and_then(|j| Some((j, self.requests.get_mut(&j)?)))
            else {
                tokens.for_each(drop);
                continue;
            };
            let end = rows.start + rows.rows;
            if let Some(answer) = self.answers.get_mut(&rows.sequence) {
                answer.compute(rows.start, end);
            }
            let first = end - rows.wanted;
            for (position, token) in (first..first + scores).zip(&mut tokens) {
                request.score(position + 1, token);
            }
            if !rows.generated {
                self.prompted(job, end, now);
            }
            for (sequence, token) in drawing.iter().zip(tokens) {
                let answer = self.answers.get_mut(sequence);
                let (Some(answer), Some(request)) = (answer, self.requests.get(&job)) else {
                    continue;
                };
                if let Some(finish) = answer.take(request, &*self.vocabulary, token, now) {
                    self.end_answer(*sequence, finish);
                }
            }
        }
    }

    /// Tells how far a prompt is, and what is known when it is all computed.
    fn prompted(&mut self, job: usize, end: usize, now: Instant) {
        let Some(request) = self.requests.get_mut(&job) else {
            return;
        };
        let (cached, len) = (request.usage.cached_tokens, request.computed_tokens());
        let (done, total) = (end.saturating_sub(cached), len.saturating_sub(cached));
        let phase = Phase::Prefill;
        request.tell_progress(Event::Progress { phase, done, total });
        if end < len || request.ended_prompt.is_some() {
            return;
        }
        request.ended_prompt = Some(now);
        request.tell_scores();
        if request.max_tokens == 0 {
            let finish = match request.task {
                Task::Score { .. } => Finish::Stop,
                _ => Finish::Length,
            };
            for sample in 0..request.params.n {
                Answer::new(request, sample).end(request, finish);
            }
            self.remove(job);
        }
    }

    /// Does a unit of hearing; whether it worked.
    fn hear(&mut self, unit: Unit) -> bool {
        let Unit { clip, unit, units } = unit;
        let start = Instant::now();
        let waits = |request: &Request| {
            request.prompt.audio.iter().any(|span| span.clip == clip) && request.began.is_none()
        };
        let blocks = self.scheduler.clip_blocks(&clip);
        let heard = match self.samples.get(&clip) {
            Some(samples) => self.runner.hear(samples, unit, blocks),
            None => Err(gamut_kernels::Error::OutOfMemory {
                what: "the audio, which is gone",
                bytes: 0,
            }),
        };
        match heard {
            Ok(stage) => {
                let time = start.elapsed();
                for request in self.requests.values_mut().filter(|request| waits(request)) {
                    request.add_stage(stage, time);
                    request.tell_progress(Event::Progress {
                        phase: Phase::Hear(stage),
                        done: unit + 1,
                        total: units,
                    });
                }
                if unit + 1 == units {
                    self.samples.remove(&clip);
                }
                true
            }
            Err(error) => {
                self.runner.abort();
                self.samples.remove(&clip);
                self.scheduler.lose_clip(&clip);
                let waiting = self.requests.iter_mut();
                let waiting = waiting.filter(|(_, request)| waits(request));
                let jobs: Vec<usize> = waiting.map(|(job, _)| *job).collect();
                for job in jobs {
                    self.fail(job, error.clone().into());
                }
                false
            }
        }
    }

    /// Answers a request for no more than its audio, which is there.
    fn tell_heard(&mut self, job: usize) {
        let Some(request) = self.requests.get(&job) else {
            return;
        };
        if let (Task::Hear { sender, .. }, [span, ..]) = (&request.task, &request.prompt.audio[..])
        {
            let key = span.clip;
            if !self.has_room_for_song(&key) {
                let kept = self.songs.len();
                return self.fail(job, Error::TooManySongs { kept });
            }
            let clip = request.clips[0];
            let usage = request.usage.clone();
            self.scheduler.pin_clip(&key);
            *self.songs.entry(key).or_default() += 1;
            // Whoever asked may be gone; then nobody would let it go.
            if sender.try_send(Ok(Heard { clip, usage })).is_err() {
                self.unpin(&key);
            }
        }
        self.remove(job);
    }

    /// Ends the requests whose readers want no more; whether there were any.
    fn end_stopped(&mut self) -> bool {
        let stopped = self
            .requests
            .iter()
            .filter(|(_, request)| request.is_stopped());
        let stopped: Vec<usize> = stopped.map(|(job, _)| *job).collect();
        for job in &stopped {
            self.cancel(*job);
        }
        !stopped.is_empty()
    }

    /// Ends a request's answers as they are.
    fn cancel(&mut self, job: usize) {
        let Some(request) = self.requests.get(&job) else {
            return;
        };
        let mut open = request.open_samples();
        for answer in self.answers.values_mut() {
            // Each sequence is of one request.
            if answer.request == request.id {
                answer.end(request, Finish::Cancelled);
                open.retain(|sample| *sample != answer.sample);
            }
        }
        for sample in open {
            Answer::new(request, sample).end(request, Finish::Cancelled);
        }
        self.remove(job);
    }

    fn pause_the_unread(&mut self) {
        for sequence in self.answers.keys() {
            if let Some((job, _)) = self.scheduler.sample_of(*sequence)
                && let Some(request) = self.requests.get(&job)
            {
                self.scheduler.pause(job, request.reader().is_full());
            }
        }
    }

    /// Ends an answer, and with the last one its request.
    fn end_answer(&mut self, sequence: usize, finish: Finish) {
        let Some((job, _)) = self.scheduler.sample_of(sequence) else {
            return;
        };
        let answer = self.answers.remove(&sequence);
        if let (Some(mut answer), Some(request)) = (answer, self.requests.get_mut(&job)) {
            answer.end(request, finish);
            request.ended.push(answer.sample);
        }
        if self.scheduler.finish(sequence) {
            self.forget(job);
        }
    }

    /// Ends a request with an error.
    fn fail(&mut self, job: usize, error: Error) {
        if let Some(request) = self.requests.remove(&job) {
            request.fail(error);
            self.remove(job);
        }
    }

    /// Takes a request from the scheduler.
    fn remove(&mut self, job: usize) {
        for sequence in self.scheduler.sequences_of(job) {
            self.answers.remove(sequence);
        }
        self.scheduler.remove(job);
        self.forget(job);
    }

    /// Forgets a request that the scheduler has forgotten.
    fn forget(&mut self, job: usize) {
        if let Some(request) = self.requests.remove(&job) {
            request.reader().end();
        }
        let scheduler = &mut self.scheduler;
        self.samples.retain(|clip, _| {
            let wanted = scheduler.wants_clip(clip);
            if !wanted {
                scheduler.unload_clip(clip);
            }
            wanted
        });
    }

    /// Whether there are no requests.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Ends all requests with an error, and forgets all that is in the caches. Whatever state a panic
    /// has left is gone with it.
    pub(crate) fn fail_all(&mut self, error: impl Fn() -> Error) {
        while let Some((_, request)) = self.requests.pop_first() {
            request.fail(error());
        }
        self.answers.clear();
        self.samples.clear();
        self.songs.clear();
        self.scheduler = Scheduler::new(*self.scheduler.limits());
        self.plan.clear();
        self.next.clear();
        self.runner.abort();
    }

    /// Counts of what there is and was done.
    pub(crate) fn stats(&self) -> Stats {
        self.scheduler.add_to(self.done)
    }

    /// Whether the pool holds the longest clip beside the songs that are kept and one more.
    fn has_room_for_song(&self, clip: &Key) -> bool {
        let others = self.songs.keys().filter(|song| *song != clip);
        let blocks = |song: &Key| self.scheduler.clip_blocks(song).len();
        let kept: usize = others.map(blocks).sum::<usize>() + blocks(clip);
        kept + self.longest_clip.div_ceil(BLOCK) <= self.scheduler.limits().blocks
    }

    /// Lets a song's rows go.
    pub(crate) fn unpin(&mut self, clip: &Key) {
        if let Some(kept) = self.songs.get_mut(clip) {
            self.scheduler.unpin_clip(clip);
            *kept -= 1;
            if *kept == 0 {
                self.songs.remove(clip);
            }
        }
    }
}
