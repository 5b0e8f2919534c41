//! A runner whose logits are a hash of the very keys and values that it was given.

use crate::core::{Runner, Step};
use crate::model::Model;
use crate::observe::Stage;
use crate::scheduler::BLOCK;
use gamut_kernels::ops::{Draw, Sampled, Source};
use gamut_kernels::{Error, PAGE};
use std::sync::Arc;
use std::time::Duration;

/// Tokens of the fake model; the first ends an answer.
pub(super) const VOCABULARY: u32 = 24;
pub(super) const END: u32 = 0;
/// What was never written.
const GARBAGE: u64 = 0xdead_beef_dead_beef;

pub(super) struct Fake {
    /// `[pages, PAGE]`
    kv: Vec<u64>,
    /// `[blocks * BLOCK]`
    pool: Vec<u64>,
    drawn: Vec<Result<Sampled, Error>>,
    /// The sum over the clip that is being heard, and its next unit.
    hearing: Option<(u64, usize)>,
    /// Counts calls that may fail; the ones named do.
    pub(super) calls: u64,
    pub(super) fails: Box<dyn Fn(u64) -> bool>,
    /// Rows whose draws have this seed have no token.
    pub(super) undrawable: Option<u64>,
    /// What a step took, for tests of the scheduler's promises.
    pub(super) log: Vec<StepLog>,
}

/// What a step was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepLog {
    pub(super) rows: usize,
    pub(super) generated: usize,
    pub(super) wanted: usize,
    pub(super) copies: usize,
}

/// Mixes two numbers (the finalizer of splitmix64).
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.rotate_left(23) ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Fake {
    pub(super) fn new(pages: usize, blocks: usize) -> Fake {
        Fake {
            kv: vec![GARBAGE; pages * PAGE],
            pool: vec![GARBAGE; blocks * BLOCK],
            drawn: Vec::new(),
            hearing: None,
            calls: 0,
            fails: Box::new(|_| false),
            undrawable: None,
            log: Vec::new(),
        }
    }

    fn call(&mut self) -> Result<(), Error> {
        self.calls += 1;
        match (self.fails)(self.calls) {
            true => Err(Error::OutOfMemory {
                what: "a test",
                bytes: 1,
            }),
            false => Ok(()),
        }
    }

    fn slot(&self, pages: &[u32], position: usize) -> usize {
        pages[position / PAGE] as usize * PAGE + position % PAGE
    }

    fn draw(&self, pages: &[u32], position: usize, draw: &Draw<'_>) -> Result<Sampled, Error> {
        if self.undrawable == Some(draw.sampling.seed) {
            return Err(Error::Argument {
                op: "fake",
                what: "the row".to_owned(),
                expected: "a token".to_owned(),
                found: "none".to_owned(),
            });
        }
        let kv = (0..=position).map(|p| self.kv[self.slot(pages, p)]);
        let logits = kv.fold(0, |sum: u64, kv| (sum ^ kv).wrapping_mul(0x0100_0000_01b3));
        let random = mix(mix(logits, draw.sampling.seed), draw.position);
        let token = (random % u64::from(VOCABULARY)) as u32;
        Ok(Sampled {
            token: draw.given.unwrap_or(token),
            logprob: f32::from_bits((random >> 40) as u32),
            alternatives: Vec::new(),
        })
    }
}

impl Runner for Fake {
    fn start(&mut self, step: &Step<'_>) -> Result<(), Error> {
        assert!(
            self.drawn.is_empty(),
            "a step begins before the last has ended"
        );
        self.call()?;
        // All copies happen at once: none may read what another writes.
        for (from, to) in step.copies {
            let clash = step
                .copies
                .iter()
                .filter(|c| c.1 == *to || c.1 == *from)
                .count();
            assert_eq!(clash, 1, "{:?}", step.copies);
            let from = *from as usize * PAGE;
            self.kv.copy_within(from..from + PAGE, *to as usize * PAGE);
        }
        let mut rows = Vec::new();
        let mut written = std::collections::HashSet::new();
        for sequence in step.sequences {
            // Kernels take prompts in whole pages.
            assert!(sequence.generated || sequence.start.is_multiple_of(PAGE));
            for position in sequence.start..sequence.start + sequence.rows {
                let source = match step.sources[rows.len()] {
                    Source::Token(token) => u64::from(token),
                    Source::Audio(row) => self.pool[row as usize],
                };
                let before = position.checked_sub(1);
                let before = before.map_or(1, |p| self.kv[self.slot(sequence.pages, p)]);
                let kind = 2 * position as u64 + u64::from(sequence.generated);
                let slot = self.slot(sequence.pages, position);
                assert!(written.insert(slot), "two rows have one slot");
                self.kv[slot] = mix(mix(source, kind), before);
                rows.push((sequence, position));
            }
        }
        assert_eq!(rows.len(), step.sources.len());
        self.log.push(StepLog {
            rows: rows.len(),
            generated: step
                .sequences
                .iter()
                .filter(|s| s.generated)
                .map(|s| s.rows)
                .sum(),
            wanted: step.wanted.len(),
            copies: step.copies.len(),
        });
        assert_eq!(step.wanted.len(), step.draws.len());
        let wanted = step.wanted.iter().zip(step.draws);
        self.drawn = wanted
            .map(|(row, draw)| {
                let (sequence, position) = rows[*row];
                self.draw(sequence.pages, position, draw)
            })
            .collect();
        Ok(())
    }

    fn finish(&mut self, drawn: &mut Vec<Result<Sampled, Error>>) -> Result<(), Error> {
        drawn.append(&mut self.drawn);
        self.call()
    }

    fn rows(&self, samples: usize) -> usize {
        samples
    }

    fn units(&self, samples: usize) -> usize {
        2 + samples / 50
    }

    fn hear(&mut self, samples: &[f32], unit: usize, blocks: &[u32]) -> Result<Stage, Error> {
        self.call()?;
        if unit == 0 {
            self.hearing = Some((
                samples
                    .iter()
                    .fold(7, |sum, x| mix(sum, x.to_bits().into())),
                0,
            ));
        }
        let (sum, next) = self.hearing.as_mut().expect("units come in order");
        assert_eq!(*next, unit);
        *next += 1;
        if unit + 1 == 2 + samples.len() / 50 {
            assert_eq!(blocks.len(), samples.len().div_ceil(BLOCK));
            for row in 0..samples.len() {
                let place = blocks[row / BLOCK] as usize * BLOCK + row % BLOCK;
                self.pool[place] = mix(*sum, row as u64);
            }
            self.hearing = None;
        }
        Ok(Stage::Mel)
    }

    fn replace(&mut self, _: &Arc<Model>) -> Result<(), crate::Error> {
        Ok(())
    }

    fn device_time(&self) -> Duration {
        Duration::from_nanos(self.calls)
    }

    fn abort(&mut self) {
        self.hearing = None;
        self.drawn.clear();
    }
}
