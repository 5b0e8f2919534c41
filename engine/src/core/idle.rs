//! A device that computes nothing: what is left of a step is the engine's own work.

use super::request::{Reader, Submission, Task, Unexpanded};
use super::{Core, Runner, Step, Vocabulary};
use crate::mailbox::Mailbox;
use crate::model::Model;
use crate::observe::Stage;
use crate::sampling::SamplingParams;
use crate::scheduler::Limits;
use crate::sync::Arc;
use gamut_kernels::ops::Sampled;
use gamut_kernels::{Batch, Bucket, Context, DType, Error, KvCache, PAGE, Target, Tensor};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// See [the module](self). It makes the tables that a GPU would read, and draws the same token
/// always.
#[derive(Debug)]
pub(crate) struct Idle {
    cx: Context,
    kv: KvCache,
    tables: Tensor,
    draws: usize,
}

impl Idle {
    /// With so many pages, for as many sequences of as many positions at a time.
    fn new(limits: &Limits, positions: usize) -> Result<Idle, Error> {
        let cx = Context::plan(Target::Cuda { dtype: DType::BF16 });
        let bucket = Bucket::holding(limits.max_num_seqs, positions);
        Ok(Idle {
            kv: KvCache::new(&cx, 1, limits.pages, 1, 128)?,
            tables: cx.table_memory(bucket.table_len())?,
            draws: 0,
            cx,
        })
    }
}

/// The token that is drawn.
const TOKEN: u32 = 1;

impl Runner for Idle {
    fn start(&mut self, step: &Step<'_>) -> Result<(), Error> {
        self.draws = step.draws.len();
        let Idle { cx, kv, tables, .. } = self;
        match Bucket::of(step.sequences).filter(|_| step.wants_all()) {
            Some(bucket) => {
                let known = (&*kv, TOKEN as usize + 1);
                Batch::in_bucket(cx, bucket, tables, known, step.sequences, step.sources).map(drop)
            }
            None => cx.step(step.sequences, step.sources, step.wanted).map(drop),
        }
    }

    fn finish(&mut self, drawn: &mut Vec<Result<Sampled, Error>>) -> Result<(), Error> {
        drawn.resize_with(self.draws, || {
            Ok(Sampled {
                token: TOKEN,
                ..Sampled::default()
            })
        });
        Ok(())
    }

    fn rows(&self, samples: usize) -> usize {
        samples
    }

    fn units(&self, _: usize) -> usize {
        1
    }

    fn hear(&mut self, _: &[f32], _: usize, _: &[u32]) -> Result<Stage, Error> {
        Ok(Stage::Projected)
    }

    fn replace(&mut self, _: &Arc<Model>) -> Result<(), crate::Error> {
        Ok(())
    }

    fn device_time(&self) -> Duration {
        Duration::ZERO
    }

    fn abort(&mut self) {}
}

/// No token has text, so that nothing is detokenized.
struct Silent;

impl Vocabulary for Silent {
    fn bytes(&self, _: u32) -> Vec<u8> {
        Vec::new()
    }

    fn ends(&self, _: u32) -> bool {
        false
    }
}

/// An engine in the midst of many answers.
pub(crate) struct Steady<R> {
    core: Core<R>,
    readers: Vec<Arc<Reader>>,
}

impl Steady<Idle> {
    /// Steps before the first answer ends.
    pub(crate) const STEPS: usize = 2 * PAGE - 24;

    /// On an idle device: so many answers, of each `pages` pages of prompt before the first step and
    /// room for two more.
    pub(crate) fn idle(answers: usize, pages: usize) -> Result<Steady<Idle>, Error> {
        let limits = Limits {
            pages: answers * (pages + 3),
            blocks: 1,
            max_num_seqs: answers,
            max_num_batched_tokens: answers + 64 * PAGE,
            max_queued: answers,
        };
        let idle = Idle::new(&limits, (pages + 2) * PAGE)?;
        Ok(Steady::new(idle, limits, pages))
    }
}

impl<R: Runner> Steady<R> {
    /// As many answers as may run, behind `pages` pages of prompt each.
    pub(crate) fn new(runner: R, limits: Limits, pages: usize) -> Steady<R> {
        let answers = limits.max_num_seqs;
        let positions = (pages + 2) * PAGE;
        let mut core = Core::new(runner, limits, Box::new(Silent), (positions, 0));
        let mut readers = Vec::with_capacity(answers);
        for answer in 0..answers {
            let reader = Arc::new(Mailbox::new(8, 8, Arc::default()));
            // Each begins with another token, so that no page is shared.
            let mut ids = vec![TOKEN; pages * PAGE];
            ids[0] = TOKEN + answer as u32;
            core.submit(Submission {
                client: String::new(),
                priority: 0,
                prompt: Unexpanded {
                    ids,
                    ..Unexpanded::default()
                },
                guide: None,
                params: SamplingParams {
                    max_tokens: 2 * PAGE,
                    ..SamplingParams::default()
                },
                task: Task::Generate(reader.clone()),
                came: Instant::now(),
            });
            readers.push(reader);
        }
        let mut steady = Steady { core, readers };
        // Nobody reads, so that answers whose prompts are done wait for the others.
        let prompted = answers * pages * PAGE;
        while steady.core.stats().prompt_tokens < prompted as u64 {
            steady.step();
        }
        steady.read();
        // Lists grow to what they need.
        for _ in 0..4 {
            steady.step();
            steady.read();
        }
        steady
    }

    /// A step, in which every answer gets a token.
    pub(crate) fn step(&mut self) {
        self.core.tick();
    }

    /// Reads what the answers' readers would.
    pub(crate) fn read(&self) {
        for reader in &self.readers {
            while let Poll::Ready(Some(_)) = reader.poll(Waker::noop()) {}
        }
    }

    #[cfg(test)]
    pub(crate) fn stats(&self) -> crate::engine::Stats {
        self.core.stats()
    }
}
