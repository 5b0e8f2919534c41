//! The engine without its threads: requests in, steps on a device, events out.
//!
//! Everything happens in [`Core::tick`], in an order that depends on nothing but the calls before,
//! and on how fast readers are. Each tick begins a step on the device, schedules the next one while
//! that runs, and then waits for its tokens.

mod answer;
pub(crate) mod idle;
mod load;
pub(crate) mod request;
mod runner;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use answer::Vocabulary;
pub(crate) use load::{Load, Loaded, Ticket};
pub(crate) use runner::{Runner, Step};

use crate::engine::Stats;
use crate::error::{Error, SubmitError};
use crate::event::Finish;
use crate::model::Model;
use crate::prefix::Key;
use crate::scheduler::{BLOCK, Job, Limits, Plan, Scheduler};
use crate::sync::Arc;
use answer::Answer;
use request::{Heard, Request, Submission, Task};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::SyncSender;
use std::time::Instant;
use step::Lists;

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
    lists: Lists,
    /// Weights that are to come when nobody runs any more.
    updates: VecDeque<Update>,
    /// What was done so far.
    done: Stats,
    /// When the last tick ended, if it had a step.
    stepped: Option<Instant>,
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
            lists: Lists::default(),
            updates: VecDeque::new(),
            done: Stats::default(),
            stepped: None,
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
        let began = self.stepped.take().unwrap_or_else(Instant::now);
        let stopped = self.end_stopped() | self.take_updates();
        self.pause_the_unread();
        let mut plan = std::mem::take(&mut self.plan);
        plan.rows.retain(|rows| self.scheduler.is_current(rows));
        plan.hearing
            .take_if(|unit| !self.scheduler.is_hearing(unit));
        // Also if all that was planned has ended since: others may go on by now.
        let told = plan.is_empty() && self.schedule(&mut plan);
        let idle = plan.is_empty();
        if !idle {
            self.step(&mut plan);
            let now = Instant::now();
            self.done.step_time += now - began;
            self.stepped = Some(now);
        }
        // The plan's lists are used again.
        plan.clear();
        self.plan = std::mem::replace(&mut self.next, plan);
        !idle || stopped || told
    }

    /// Plans a step; whether requests for no more than their audio have ended.
    fn schedule(&mut self, plan: &mut Plan) -> bool {
        self.scheduler.schedule(plan);
        let told = !plan.heard.is_empty();
        for job in plan.heard.drain(..) {
            self.tell_heard(job);
        }
        told
    }

    /// Answers a request for no more than its audio, which is there.
    fn tell_heard(&mut self, job: usize) {
        let Some(request) = self.requests.get(&job) else {
            return;
        };
        if let (Task::Hear { told, .. }, [span, ..]) = (&request.task, &request.prompt.audio[..]) {
            let key = span.clip;
            if !self.has_room_for_song(&key) {
                let kept = self.songs.len();
                return self.fail(job, Error::TooManySongs { kept });
            }
            let clip = request.clips[0];
            let usage = request.usage.clone();
            self.scheduler.pin_clip(&key);
            *self.songs.entry(key).or_default() += 1;
            told.tell(Ok(Heard { clip, usage }));
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
        self.drop_samples(Scheduler::wants_clip);
    }

    /// Drops audio that waits to be heard and is not `wanted`.
    fn drop_samples(&mut self, wanted: fn(&Scheduler, &Key) -> bool) {
        let scheduler = &mut self.scheduler;
        self.samples.retain(|clip, _| {
            let wanted = wanted(scheduler, clip);
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
        self.scheduler.add_to(Stats {
            device_time: self.runner.device_time(),
            ..self.done
        })
    }

    /// Whether the pool holds all of some clips beside the songs that are kept.
    fn has_room<'a>(&'a self, clips: impl Iterator<Item = &'a Key>) -> bool {
        let blocks = self.scheduler.blocks_of(self.songs.keys().chain(clips));
        blocks <= self.scheduler.limits().blocks
    }

    /// Whether one more song can be kept so that the pool still holds the longest clip, and those of
    /// each request that is there.
    fn has_room_for_song(&self, clip: &Key) -> bool {
        let kept = self.scheduler.blocks_of(self.songs.keys().chain([clip]));
        let longest = self.longest_clip.div_ceil(BLOCK);
        kept + longest <= self.scheduler.limits().blocks
            && self.requests.values().all(|request| {
                let audio = request.prompt.audio.iter();
                self.has_room(audio.map(|span| &span.clip).chain([clip]))
            })
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
