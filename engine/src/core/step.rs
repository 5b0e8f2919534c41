//! One step: what the device is given, and what becomes of the tokens that it has drawn.

use super::answer::Answer;
use super::request::{Request, Task};
use super::{Core, Runner, Step};
use crate::error::Error;
use crate::event::{Event, Finish, Phase, Token};
use crate::scheduler::{Plan, Rows, Scheduler, Unit};
use gamut_kernels::ops::{Draw, Sampled, Source};
use gamut_kernels::{History, PAGE, Sampling, Sequence};
use std::time::Instant;

/// What steps are made of, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Lists {
    sequences: Vec<Sequence<'static>>,
    sources: Vec<Source>,
    wanted: Vec<usize>,
    draws: Vec<Draw<'static>>,
    drawn: Vec<Drawn>,
    /// How a given token is chosen.
    given: (Sampling, History),
}

/// What a device has drawn.
type Drawn = Result<Sampled, gamut_kernels::Error>;

/// An empty list in the memory of another; the standard library collects in place.
fn reuse<T, U>(mut list: Vec<T>) -> Vec<U> {
    list.clear();
    list.into_iter().filter_map(|_| None).collect()
}

impl<R: Runner> Core<R> {
    /// Does what a plan has, and takes it from there what it could not do.
    pub(super) fn step(&mut self, plan: &mut Plan) {
        tracing::trace!("step begins");
        let started = match plan.rows.is_empty() {
            true => Ok(()),
            false => self.start(plan),
        };
        // The next step is scheduled while this one runs.
        let mut next = std::mem::take(&mut self.next);
        self.schedule(&mut next);
        self.next = next;
        tracing::trace!("next step scheduled");
        if let Some(unit) = plan.hearing
            && !self.hear(unit)
        {
            plan.hearing = None;
        }
        let mut drawn = std::mem::take(&mut self.lists.drawn);
        drawn.clear();
        let done = match plan.rows.is_empty() {
            true => Ok(()),
            false => started.and_then(|()| self.runner.finish(&mut drawn)),
        };
        tracing::trace!("step ends");
        match done {
            Ok(()) => {
                self.scheduler.commit(plan);
                self.count(plan);
                self.take(plan, &mut drawn);
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
        self.lists.drawn = drawn;
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
        self.note_begun(plan);
        let lists = &mut self.lists;
        let mut sequences = reuse(std::mem::take(&mut lists.sequences));
        let mut draws = reuse(std::mem::take(&mut lists.draws));
        lists.sources.clear();
        lists.wanted.clear();
        for rows in &plan.rows {
            let Some((job, _)) = self.scheduler.sample_of(rows.sequence) else {
                continue;
            };
            let request = &self.requests[&job];
            let answer = self.answers.get(&rows.sequence);
            let first = lists.sources.len();
            let end = rows.start + rows.rows;
            sequences.push(Sequence {
                generated: rows.generated,
                start: rows.start,
                rows: rows.rows,
                pages: self.scheduler.pages_of(rows.sequence),
            });
            let source = |position| source(&self.scheduler, request, answer, position);
            lists.sources.extend((rows.start..end).map(source));
            let drawing = &plan.draws[rows.draws.clone()];
            let scores = rows.wanted - usize::from(!drawing.is_empty());
            let alternatives = request.params.prompt_logprobs.unwrap_or(0);
            for position in end - rows.wanted..end - rows.wanted + scores {
                lists.wanted.push(first + position - rows.start);
                draws.push(Draw {
                    alternatives,
                    given: request.prompt.tokens.get(position + 1).copied(),
                    ..Draw::new(&lists.given.0, &lists.given.1, position as u64 + 1)
                });
            }
            for sequence in drawing {
                let Some(answer) = self.answers.get(sequence) else {
                    continue;
                };
                lists.wanted.push(first + rows.rows - 1);
                draws.push(Draw {
                    alternatives: request.params.logprobs,
                    allowed: answer.allowed(),
                    ..Draw::new(&answer.sampling, &answer.history, end as u64)
                });
            }
        }
        let started = self.runner.start(&Step {
            copies: &plan.copies,
            sequences: &sequences,
            sources: &lists.sources,
            wanted: &lists.wanted,
            draws: &draws,
        });
        let (sequences, draws) = (reuse(sequences), reuse(draws));
        (lists.sequences, lists.draws) = (sequences, draws);
        started
    }

    /// Notes who begins with a step, and makes the answers that it draws the first tokens of.
    fn note_begun(&mut self, plan: &Plan) {
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
    }

    /// Takes what a step has drawn.
    fn take(&mut self, plan: &Plan, drawn: &mut Vec<Drawn>) {
        let now = Instant::now();
        let mut drawn = drawn.drain(..);
        for rows in &plan.rows {
            let drawing = &plan.draws[rows.draws.clone()];
            let scores = rows.wanted - usize::from(!drawing.is_empty());
            let mut tokens = drawn.by_ref().take(scores + drawing.len());
            if let Some((job, _)) = self.scheduler.sample_of(rows.sequence)
                && let Err(error) = self.take_rows(job, (rows, drawing), &mut tokens, now)
            {
                self.fail(job, error);
            }
            tokens.for_each(drop);
        }
    }

    /// Takes what was drawn from the rows of one sequence: the prompt's tokens whose
    /// log-probabilities are wanted, then a token for each of `drawing`.
    fn take_rows(
        &mut self,
        job: usize,
        (rows, drawing): (&Rows, &[usize]),
        tokens: &mut dyn Iterator<Item = Drawn>,
        now: Instant,
    ) -> Result<(), Error> {
        let Some(request) = self.requests.get_mut(&job) else {
            return Ok(());
        };
        let end = rows.start + rows.rows;
        if let Some(answer) = self.answers.get_mut(&rows.sequence) {
            answer.compute(rows.start, end);
        }
        let scores = rows.wanted - usize::from(!drawing.is_empty());
        let scored = end - rows.wanted..end - rows.wanted + scores;
        for (position, drawn) in scored.zip(&mut *tokens) {
            request.score(position + 1, token(drawn)?);
        }
        if !rows.generated {
            self.prompted(job, end, now);
        }
        for (sequence, drawn) in drawing.iter().zip(tokens) {
            let answer = self.answers.get_mut(sequence);
            let (Some(answer), Some(request)) = (answer, self.requests.get(&job)) else {
                continue;
            };
            let taken = answer.take(request, &*self.vocabulary, token(drawn)?, now);
            if let Some(finish) = taken? {
                self.end_answer(*sequence, finish);
            }
        }
        Ok(())
    }

    /// Tells how far a prompt is, and what is known when it is all computed.
    fn prompted(&mut self, job: usize, end: usize, now: Instant) {
        let Some(request) = self.requests.get_mut(&job) else {
            return;
        };
        if request.ended_prompt.is_some() {
            // It is computed again. To tell of that might fill the mailbox of a slow reader, and the
            // answer would pause before its next token, time and again.
            return;
        }
        let (cached, len) = (request.usage.cached_tokens, request.computed_tokens());
        let (done, total) = (end.saturating_sub(cached), len.saturating_sub(cached));
        let phase = Phase::Prefill;
        request.tell_progress(Event::Progress { phase, done, total });
        if end < len {
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
}

/// A drawn token, as events have it.
fn token(drawn: Drawn) -> Result<Token, Error> {
    let drawn = drawn.map_err(Error::NoToken)?;
    Ok(Token {
        id: drawn.token,
        logprob: drawn.logprob,
        top: drawn.alternatives,
    })
}

/// The embedding of a position.
fn source(
    scheduler: &Scheduler,
    request: &Request,
    answer: Option<&Answer>,
    position: usize,
) -> Source {
    let prompt = &request.prompt;
    if let Some((clip, row)) = prompt.audio_at(position) {
        let block = scheduler.clip_blocks(clip).get(row / PAGE);
        let first = block.map_or(0, |block| *block * PAGE as u32);
        return Source::Audio(first + (row % PAGE) as u32);
    }
    let generated = || answer?.tokens.get(position - prompt.tokens.len()).copied();
    let token = prompt.tokens.get(position).copied().or_else(generated);
    Source::Token(token.unwrap_or_default())
}
