//! Rows: one kind of work each, done once uncounted and then as often as asked. Every function calls
//! `tick` after each repetition.

use super::test::{AHEAD, Shape, Test, prompt_of};
use super::{Steps, arbitrary, percentile, request, settle, unused};
use crate::engine::Engine;
use crate::error::Error;
use crate::event::Event;
use crate::generations::{Generations, Next};
use crate::input::{AudioInput, Request};
use crate::observe::Stage;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One test with the time of every repetition.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// What was timed.
    pub test: Test,
    /// Tokens that a repetition handled; of audio and its stages, audio tokens.
    pub tokens: usize,
    /// The time of every repetition.
    pub times: Vec<Duration>,
    /// The decoder's steps in all of them.
    pub steps: Steps,
}

impl Row {
    fn new(test: Test, tokens: usize) -> Row {
        Row {
            test,
            tokens,
            times: Vec::new(),
            steps: Steps::default(),
        }
    }

    /// The middle time.
    pub fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        percentile(&times, 50.0)
    }

    /// The shortest time.
    pub fn min(&self) -> Duration {
        self.times.iter().min().copied().unwrap_or_default()
    }

    /// Tokens a second of every repetition.
    pub fn rates(&self) -> Vec<f64> {
        let rate = |time: &Duration| self.tokens as f64 / time.as_secs_f64();
        self.times.iter().map(rate).collect()
    }

    /// Mean and standard deviation of tokens a second.
    pub fn rate(&self) -> (f64, f64) {
        mean_and_deviation(&self.rates())
    }

    /// Mean and standard deviation of the times in seconds.
    pub fn seconds(&self) -> (f64, f64) {
        let seconds: Vec<f64> = self.times.iter().map(Duration::as_secs_f64).collect();
        mean_and_deviation(&seconds)
    }
}

/// The mean, and the standard deviation that the sample lets expect, of a single value 0.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (mean, (squares.sum::<f64>() / (n - 1.0).max(1.0)).sqrt())
}

/// Decodes an audio file, and returns its samples.
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
    let mut row = Row::new(Test::Audio, engine.model().audio_tokens(samples.len()));
    for _ in 0..repetitions {
        let start = Instant::now();
        engine.decode_audio(audio)?;
        row.times.push(start.elapsed());
        tick();
    }
    Ok((row, samples))
}

/// Hears `samples`: a row for every stage.
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
            let row = |(stage, _): &(Stage, Duration)| Row::new(Test::Stage(*stage), song.tokens());
            rows = stages.iter().map(row).collect();
            continue;
        }
        for (row, (_, time)) in rows.iter_mut().zip(stages) {
            row.times.push(*time);
        }
    }
    Ok(rows)
}

/// Computes prompts without audio, all submitted at once, and draws a token after each. The time is
/// from before the first is submitted until the last has its token. Of what is in the context before,
/// whole pages of 64 tokens are in the cache, and the rest is computed with the prompt.
///
/// # Errors
/// If a prompt does not fit the context.
pub fn prompt(
    engine: &Engine,
    shape: Shape,
    repetitions: usize,
    tick: &mut dyn FnMut(),
) -> Result<Row, Error> {
    let Shape {
        tokens,
        depth,
        batch,
    } = shape;
    super::fits(engine, Test::Prompt(shape).max_model_len(), 0)?;
    let before = |sequence| arbitrary(engine, &[1, sequence], depth);
    repeat(Test::Prompt(shape), repetitions, tick, || {
        if depth > 0 {
            let prompts = (0..batch as u64).map(|sequence| before(sequence).collect());
            time_prompts(engine, requests(engine, prompts, 1)?)?;
        }
        let seed = unused(engine);
        let prompts = (0..batch as u64).map(|sequence| {
            let tokens = arbitrary(engine, &[2, seed, sequence], tokens);
            before(sequence).chain(tokens).collect()
        });
        time_prompts(engine, requests(engine, prompts, 1)?)
    })
}

/// Draws tokens one after the other in sequences that run side by side. The time is from when the
/// last of them has its first token, which comes with the prompt and is not counted, until each has
/// as many more as asked.
///
/// # Errors
/// If the tokens do not fit the context.
pub fn generation(
    engine: &Engine,
    shape: Shape,
    repetitions: usize,
    tick: &mut dyn FnMut(),
) -> Result<Row, Error> {
    super::fits(engine, Test::Generation(shape).max_model_len(), 0)?;
    let (prompt, max_tokens) = (prompt_of(shape), shape.tokens + 1);
    let ahead = if shape.batch > 1 { AHEAD } else { 0 };
    let room = engine.plan().max_model_len - prompt;
    repeat(Test::Generation(shape), repetitions, tick, || {
        let prompts = (0..shape.batch as u64)
            .map(|sequence| arbitrary(engine, &[1, sequence], prompt).collect());
        let requests = requests(engine, prompts, (max_tokens + ahead).min(room))?;
        time_generation(engine, requests, shape)
    })
}

/// A time with the steps of the decoder in it.
type Measured = (Duration, Steps);

fn repeat(
    test: Test,
    repetitions: usize,
    tick: &mut dyn FnMut(),
    mut run: impl FnMut() -> Result<Measured, Error>,
) -> Result<Row, Error> {
    let mut row = Row::new(test, test.shape().map_or(0, Shape::total));
    for repetition in 0..=repetitions {
        let (time, steps) = run()?;
        if repetition > 0 {
            row.times.push(time);
            row.steps += steps;
        }
        tick();
    }
    Ok(row)
}

fn requests(
    engine: &Engine,
    prompts: impl Iterator<Item = Vec<u32>>,
    max_tokens: usize,
) -> Result<Vec<Request>, Error> {
    let requests = prompts.map(|prompt| request(engine, None, prompt, max_tokens));
    requests.collect()
}

/// Submits requests for one token each, all at once.
fn time_prompts(engine: &Engine, requests: Vec<Request>) -> Result<Measured, Error> {
    settle(engine);
    let before = engine.stats();
    let start = Instant::now();
    let mut last = start;
    let mut generations = submit(engine, requests)?;
    while let Some((_, event)) = next(&mut generations)? {
        if let Event::Token { .. } = event {
            last = Instant::now();
        }
    }
    settle(engine);
    Ok((last - start, Steps::since(&before, engine)))
}

/// Submits requests, each with its place among them.
fn submit(engine: &Engine, requests: Vec<Request>) -> Result<Generations<usize>, Error> {
    let mut generations = Generations::new();
    for (sequence, request) in requests.into_iter().enumerate() {
        generations.push(engine.submit(request)?, sequence);
    }
    Ok(generations)
}

/// The next event, and whose it is.
fn next(generations: &mut Generations<usize>) -> Result<Option<(usize, Event)>, Error> {
    while let Some(next) = generations.next() {
        match next {
            Next::Event(sequence, event) => return Ok(Some((*sequence, event))),
            Next::Ended(_, ended) => ended?,
        }
    }
    Ok(None)
}

/// Submits requests all at once, and times `shape.tokens` tokens of each while all of them run.
fn time_generation(
    engine: &Engine,
    requests: Vec<Request>,
    shape: Shape,
) -> Result<Measured, Error> {
    settle(engine);
    let mut generations = submit(engine, requests)?;
    let mut sequences = vec![Drawing::default(); shape.batch];
    let (mut unbegun, mut end) = (shape.batch, Instant::now());
    while unbegun > 0
        && let Some((sequence, event)) = next(&mut generations)?
    {
        if sequences[sequence].take(&event) {
            unbegun -= usize::from(sequences[sequence].drawn == 1);
            end = Instant::now();
        }
    }
    let (start, before) = (end, engine.stats());
    for sequence in &mut sequences {
        sequence.wanted = sequence.drawn + shape.tokens;
    }
    let mut counted = 0;
    while sequences.iter().any(Drawing::goes_on)
        && let Some((sequence, event)) = next(&mut generations)?
    {
        if sequences[sequence].take(&event) {
            counted += 1;
            end = Instant::now();
        }
    }
    let steps = Steps::since(&before, engine);
    // As many as asked, but for one more or less of a sequence where the reader was late, or for one
    // that began so far ahead of the others that it has come to its end.
    let tokens = shape.total() as f64 / f64::from(u32::max(counted, 1));
    Ok(((end - start).mul_f64(tokens), steps))
}

/// How far a sequence is.
#[derive(Clone, Debug, Default)]
struct Drawing {
    drawn: usize,
    /// At so many it is done.
    wanted: usize,
    ended: bool,
}

impl Drawing {
    /// Takes an event; whether it is a token.
    fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::Token { .. } => self.drawn += 1,
            Event::Finished { .. } => self.ended = true,
            _ => {}
        }
        matches!(event, Event::Token { .. })
    }

    fn goes_on(&self) -> bool {
        !self.ended && self.drawn < self.wanted
    }
}
