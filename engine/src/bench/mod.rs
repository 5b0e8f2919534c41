//! Measuring a model on a device: rows of one kind of work each, and tests under load.

mod arrivals;
mod load;
mod overhead;
mod percentiles;
mod random;
mod rows;
mod test;

pub use load::{Load, LoadReport};
pub use overhead::overhead;
pub use percentiles::{Summary, percentile};
pub use rows::{Row, audio, generation, prompt, stages};
pub use test::{Shape, Test};

use crate::engine::{Engine, Song, Stats};
use crate::error::Error;
use crate::input::{AudioInput, Input, Request};
use crate::sampling::SamplingParams;
use random::Random;
use std::ops::AddAssign;
use std::time::Duration;

/// What steps of the decoder took, and the device's part in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Steps {
    /// How many there were.
    pub steps: u64,
    /// As [`Stats::step_time`].
    pub time: Duration,
    /// As [`Stats::device_time`].
    pub device: Duration,
}

impl Steps {
    /// What happened since an earlier look at an engine.
    fn since(before: &Stats, engine: &Engine) -> Steps {
        let after = engine.stats();
        Steps {
            steps: after.steps - before.steps,
            time: after.step_time - before.step_time,
            device: after.device_time - before.device_time,
        }
    }

    /// What the engine adds to a step of the device on average, and which share of the whole that
    /// is; nothing if there were no steps.
    pub fn overhead(&self) -> Option<(Duration, f64)> {
        let added = self.time.saturating_sub(self.device).as_secs_f64();
        (self.steps > 0 && !self.time.is_zero()).then(|| {
            let each = Duration::from_secs_f64(added / self.steps as f64);
            (each, added / self.time.as_secs_f64())
        })
    }
}

impl AddAssign for Steps {
    fn add_assign(&mut self, other: Steps) {
        self.steps += other.steps;
        self.time += other.time;
        self.device += other.device;
    }
}

/// A request for exactly `max_tokens` tokens after a prompt of token ids, behind a song if there is
/// one.
///
/// # Errors
/// If they do not fit the context.
fn request(
    engine: &Engine,
    song: Option<&Song>,
    mut prompt: Vec<u32>,
    max_tokens: usize,
) -> Result<Request, Error> {
    let audio = song.map_or(0, Song::tokens);
    fits(engine, prompt.len().saturating_add(max_tokens), audio)?;
    if song.is_some() {
        prompt.insert(0, engine.model().audio()?.token);
    }
    let mut request = Request::new(Input::Tokens(prompt)).params(SamplingParams {
        max_tokens,
        ignore_eos: true,
        ..SamplingParams::default()
    });
    request.audio = song.cloned().map(AudioInput::Song).into_iter().collect();
    Ok(request)
}

/// Whether a sequence of so many tokens behind audio fits the context.
fn fits(engine: &Engine, tokens: usize, audio: usize) -> Result<(), Error> {
    let most = engine.plan().max_model_len;
    let tokens = tokens.saturating_add(audio);
    match tokens > most {
        true => Err(Error::PromptTooLong {
            tokens,
            audio,
            most,
        }),
        false => Ok(()),
    }
}

/// Any tokens but the audio's placeholder, the same for the same seed.
fn arbitrary(engine: &Engine, seed: &[u64], tokens: usize) -> impl Iterator<Item = u32> + use<> {
    let model = engine.model();
    let placeholder = model.config().audio.as_ref().map(|audio| audio.token);
    let vocabulary = model.config().text.vocab_size;
    let mut random = Random::new(seed);
    (0..tokens).map(move |_| match random.below(vocabulary) as u32 {
        token if Some(token) == placeholder => (token + 1) % vocabulary as u32,
        token => token,
    })
}

/// Part of a seed of prompts that are not in the cache: it grows with every use of the engine.
fn unused(engine: &Engine) -> u64 {
    settle(engine);
    engine.stats().steps
}

/// Waits until the engine has nothing left to do.
fn settle(engine: &Engine) {
    while engine.stats().running + engine.stats().waiting > 0 {
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[cfg(test)]
mod tests;
