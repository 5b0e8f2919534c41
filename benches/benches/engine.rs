//! What sharing saves, and what the engine itself costs: `cargo bench -p gamut-benches --bench engine`.
//!
//! On the host with the demo model. Times of one row are of one run, so that their ratio means
//! something on a busy machine; each is the least of several.

use gamut_engine::{
    AudioInput, DeviceChoice, Engine, EngineOptions, Error, Generation, Model, OpenOptions,
    Request, SAMPLE_RATE, SamplingParams, bench,
};
use gamut_loader::synthetic::{self, SyntheticOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

const QUESTIONS: usize = 8;
const SECONDS: usize = 120;
const ANSWER: usize = 64;
const RUNS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    synthetic::write(dir.path(), &SyntheticOptions::default())?;
    let model = Model::open(dir.path(), &OpenOptions::default())?;
    let options = EngineOptions {
        device: DeviceChoice::Host,
        max_num_seqs: QUESTIONS,
        ..EngineOptions::default()
    };
    let engine = Engine::new(Arc::new(model), &options)?;
    let mut songs = 0;
    let mut song = || {
        songs += 1;
        song(songs)
    };

    println!(
        "{SECONDS} s of audio, answers of {ANSWER} tokens, {}",
        engine.device().describe()
    );
    let (mut apart, mut together) = (Duration::MAX, Duration::MAX);
    let (mut cold, mut hit) = (Duration::MAX, Duration::MAX);
    for _ in 0..RUNS {
        let start = Instant::now();
        for question in 0..QUESTIONS {
            // Another song each, so that nothing is shared.
            cold = cold.min(first_token(ask(&engine, song(), question)?)?);
        }
        apart = apart.min(start.elapsed());
        let (start, same) = (Instant::now(), song());
        let asked = (0..QUESTIONS).map(|question| ask(&engine, same.clone(), question));
        for generation in asked.collect::<Result<Vec<_>, Error>>()? {
            generation.wait()?;
        }
        together = together.min(start.elapsed());
        hit = hit.min(first_token(ask(&engine, same, 0)?)?);
    }
    let row = |name: &str, time: Duration, other: Duration| {
        let ratio = time.as_secs_f64() / other.as_secs_f64();
        println!("{name:<58} {time:>10.2?} of {other:>10.2?}: {ratio:.4}");
    };
    row(
        &format!("{QUESTIONS} questions about one song, of as many about others"),
        together,
        apart,
    );
    row(
        "first token where the song is known, of where it is not",
        hit,
        cold,
    );

    let mut times = bench::overhead(64, 64, 100)?;
    times.sort_unstable();
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "the engine's own work in a step of 64 answers with 4096 pages: {median:.1?}, at most {most:.1?}"
    );
    Ok(())
}

fn ask(engine: &Engine, song: AudioInput, question: usize) -> Result<Generation, Error> {
    let params = SamplingParams {
        max_tokens: ANSWER,
        ignore_eos: true,
        ..SamplingParams::default()
    };
    let request = Request::ask(song, format!("What is in part {question} of the song?"));
    Ok(engine.submit(request.params(params))?)
}

/// The time to the first token, once the answer is there.
fn first_token(generation: Generation) -> Result<Duration, Error> {
    let completion = generation.wait()?;
    Ok(completion
        .answers
        .first()
        .map_or(Duration::ZERO, |answer| answer.usage.ttft))
}

/// A tone, another for each index.
fn song(index: usize) -> AudioInput {
    let value = |i: usize| (i as f32 * (0.01 + index as f32 * 0.0003)).sin() * 0.3;
    AudioInput::Samples((0..SECONDS * SAMPLE_RATE as usize).map(value).collect())
}
