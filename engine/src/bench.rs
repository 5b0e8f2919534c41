//! Timing a model's stages on a device. Every function runs once uncounted and then as often as
//! asked, and calls `tick` after each run.

use crate::engine::{Engine, Song};
use crate::error::Error;
use crate::model::Model;
use crate::observe::Stage;
use crate::session::Session;
use gamut_frontend::{Options as AudioOptions, Source as AudioSource};
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
/// As [`Engine::load_audio`].
pub fn audio(
    engine: &Engine,
    source: &AudioSource,
    repetitions: usize,
    tick: &mut dyn FnMut(),
) -> Result<(Row, Vec<f32>), Error> {
    let options = AudioOptions {
        max_seconds: f64::INFINITY,
        ..AudioOptions::default()
    };
    let samples = engine.load_audio(source, &options)?.samples;
    tick();
    let mut times = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        let start = Instant::now();
        engine.load_audio(source, &options)?;
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
/// As [`Engine::hear`].
pub fn stages(
    engine: &Engine,
    samples: &[f32],
    repetitions: usize,
    tick: &mut dyn FnMut(),
) -> Result<Vec<Row>, Error> {
    let mut rows: Vec<Row> = Vec::new();
    for repetition in 0..=repetitions {
        let song = engine.hear(samples, &mut ())?;
        tick();
        if repetition == 0 {
            let row = |(stage, _): &(Stage, Duration)| Row {
                test: Test::Stage(*stage),
                tokens: song.tokens(),
                times: Vec::with_capacity(repetitions),
            };
            rows = song.times().iter().map(row).collect();
            continue;
        }
        for (row, (_, time)) in rows.iter_mut().zip(song.times()) {
            row.times.push(*time);
        }
    }
    Ok(rows)
}

/// Computes a prompt of `tokens` tokens without audio, once uncounted and then `repetitions` times.
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
        let mut session = engine.session(&Song::silent(engine)?);
        let start = Instant::now();
        fill(engine, &mut session, tokens)?;
        if repetition > 0 {
            times.push(start.elapsed());
        }
        tick();
    }
    Ok(Row {
        test: Test::Prompt { tokens },
        tokens,
        times,
    })
}

/// Takes `tokens` steps of one token after `depth` others, once uncounted and then `repetitions`
/// times.
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
        let mut session = engine.session(&Song::silent(engine)?);
        fill(engine, &mut session, depth)?;
        session.reserve(depth.saturating_add(tokens))?;
        let start = Instant::now();
        for i in 0..tokens {
            session.advance(&[arbitrary(engine, depth + i)], true)?;
        }
        if repetition > 0 {
            times.push(start.elapsed());
        }
        tick();
    }
    Ok(Row {
        test: Test::Generation { tokens, depth },
        tokens,
        times,
    })
}

/// Any token, another at every position.
fn arbitrary(engine: &Engine, position: usize) -> u32 {
    (position * 7919 % engine.model().config().text.vocab_size) as u32
}

/// Computes `tokens` positions in chunks.
fn fill(engine: &Engine, session: &mut Session, tokens: usize) -> Result<(), Error> {
    session.reserve(tokens)?;
    let ids: Vec<u32> = (0..tokens)
        .map(|position| arbitrary(engine, position))
        .collect();
    ids.chunks(crate::session::PREFILL_CHUNK)
        .try_for_each(|chunk| session.advance(chunk, false))
}
