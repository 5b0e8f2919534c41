//! Timing a model's stages on a device. Every function runs once uncounted and then as often as
//! asked, and calls `tick` after each run.

pub use crate::overhead::overhead;

use crate::engine::Engine;
use crate::error::Error;
use crate::event::Usage;
use crate::input::{AudioInput, Input, Request};
use crate::model::Model;
use crate::observe::Stage;
use crate::sampling::SamplingParams;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Decoding and resampling an audio file.
    Audio,
    /// A stage of the audio's way into the decoder.
    Stage(Stage),
    /// A prompt of `tokens` tokens.
    Prompt {
        /// Its length.
        tokens: usize,
    },
    /// `tokens` single tokens after `depth` others.
    Generation {
        /// Tokens generated.
        tokens: usize,
        /// Tokens in the context before.
        depth: usize,
    },
}

/// One test with the time of every repetition.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was timed.
    pub test: Test,
    /// Tokens that a repetition handled; of audio and its stages, audio tokens.
    pub tokens: usize,
    /// The time of every repetition.
    pub times: Vec<Duration>,
}

impl Test {
    /// Its name in tables, as llama-bench writes it: `pp512`, `tg32 @ d1000`.
    pub fn name(self) -> String {
        match self {
            Test::Audio => "audio".to_owned(),
            Test::Stage(stage) => stage.name().to_owned(),
            Test::Prompt { tokens } => format!("pp{tokens}"),
            Test::Generation { tokens, depth: 0 } => format!("tg{tokens}"),
            Test::Generation { tokens, depth } => format!("tg{tokens} @ d{depth}"),
        }
    }
}

impl Row {
    /// The middle time.
    pub fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// The shortest time.
    pub fn min(&self) -> Duration {
        self.times.iter().min().copied().unwrap_or_default()
    }

    /// Mean and standard deviation of tokens a second.
    pub fn rate(&self) -> (f64, f64) {
        let rates: Vec<f64> = self
            .times
            .iter()
            .map(|t| self.tokens as f64 / t.as_secs_f64())
            .collect();
        let n = rates.len().max(1) as f64;
        let mean = rates.iter().sum::<f64>() / n;
        let variance = rates.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }
}

/// Decodes an audio file once uncounted and then `repetitions` times, and returns its samples.
///
/// # Errors
/// As [`Engine::decode_audio`].
pub fn audio(
    engine: &Engine,
    audio: &AudioInput,
    repetitions: usize,
    tick: &mut dyn FnMut(),
) -> Result<(Row, Vec<f32>), Error> {
    let samples = engine.decode_audio(audio)?.samples;
    tick();
    let mut times = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let start = Instant::now();
        engine.decode_audio(audio)?;
        times.push(start.elapsed());
        tick();
    }
    Ok((
        Row {
            test: Test::Audio,
            tokens: Model::audio_tokens(samples.len()),
            times,
        },
        samples,
    ))
}

/// Hears `samples` once uncounted and then `repetitions` times: a row for every stage.
///
/// # Errors
/// As [`Engine::load_audio`].
pub fn stages(
    engine: &Engine,
    samples: &[f32],
    repetitions: usize,
    tick: &mut dyn FnMut(),
) -> Result<Vec<Row>, Error> {
    let mut rows: Vec<Row> = Vec::new();
    for repetition in 0..=repetitions {
        // Another song every time, or it would be known.
        let mut samples: Arc<[f32]> = samples.into();
        if let Some(first) = Arc::get_mut(&mut samples).and_then(|s| s.first_mut()) {
            *first = repetition as f32 / (1 + repetitions) as f32;
        }
        let song = engine.load_audio(AudioInput::Samples(samples))?;
        tick();
        let stages = &song.usage().stages;
        if repetition == 0 {
            let row = |(stage, _): &(Stage, Duration)| Row {
                test: Test::Stage(*stage),
                tokens: song.tokens(),
                times: Vec::with_capacity(repetitions),
            };
            rows = stages.iter().map(row).collect();
            continue;
        }
        for (row, (_, time)) in rows.iter_mut().zip(stages) {
            row.times.push(*time);
        }
    }
    Ok(rows)
}

/// Computes a prompt of `tokens` tokens without audio, once uncounted and then `repetitions` times,
/// and draws a token after it.
///
/// # Errors
/// If the prompt does not fit the context.
pub fn prompt(
    engine: &Engine,
    tokens: usize,
    repetitions: usize,
    tick: &mut dyn FnMut(),
) -> Result<Row, Error> {
    let mut times = Vec::with_capacity(repetitions);
    for repetition in 0..=repetitions {
        // Another prompt every time, or it would be in the cache.
        let usage = run(engine, (repetition, tokens), 1)?;
        if repetition > 0 {
            times.push(usage.prefill);
        }
        tick();
    }
    Ok(Row {
        test: Test::Prompt { tokens },
        tokens,
        times,
    })
}

/// Draws `tokens` tokens one after the other after `depth` others, once uncounted and then
/// `repetitions` times. The first token comes with the prompt and is not counted.
///
/// # Errors
/// If the tokens do not fit the context.
pub fn generation(
    engine: &Engine,
    depth: usize,
    tokens: usize,
    repetitions: usize,
    tick: &mut dyn FnMut(),
) -> Result<Row, Error> {
    let mut times = Vec::with_capacity(repetitions);
    for repetition in 0..=repetitions {
        let usage = run(engine, (0, depth.max(1)), tokens.saturating_add(1))?;
        if repetition > 0 {
            times.push(usage.decode);
        }
        tick();
    }
    Ok(Row {
        test: Test::Generation { tokens, depth },
        tokens,
        times,
    })
}

/// What it takes to draw exactly `max_tokens` tokens after a prompt of some length, another for
/// every seed.
fn run(engine: &Engine, (seed, prompt): (usize, usize), max_tokens: usize) -> Result<Usage, Error> {
    let (tokens, most) = (
        prompt.saturating_add(max_tokens),
        engine.plan().max_model_len,
    );
    if tokens > most {
        let audio = 0;
        return Err(Error::PromptTooLong {
            tokens,
            audio,
            most,
        });
    }
    let prompt = arbitrary(engine, seed, prompt);
    let params = SamplingParams {
        max_tokens,
        ignore_eos: true,
        ..SamplingParams::default()
    };
    let request = Request::new(Input::Tokens(prompt)).params(params);
    let completion = engine.submit(request)?.wait()?;
    let answer = completion.answers.into_iter().next();
    Ok(answer.unwrap_or_default().usage)
}

/// Any tokens but the audio's placeholder, others for every seed.
fn arbitrary(engine: &Engine, seed: usize, tokens: usize) -> Vec<u32> {
    let model = engine.model();
    let config = model.config();
    let vocabulary = config.text.vocab_size;
    let token = |position: usize| (position * 7919 + seed * 104_729) % vocabulary;
    let other = |token: usize| match token as u32 == config.audio_token_index {
        true => (token as u32 + 1) % vocabulary as u32,
        false => token as u32,
    };
    (0..tokens).map(token).map(other).collect()
}
