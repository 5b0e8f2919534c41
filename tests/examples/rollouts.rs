//! Answers drawn by the engine, for reinforcement learning: `tests/demo-model/grpo.py` asks, this program answers.
//!
//! Its argument is a checkpoint. Each line on standard input is a command, each line on standard output the reply to it:
//!
//! - `{"checkpoint": DIR}`: from now on with these weights. `{}`
//! - `{"songs": [{"seed": N, "length": [20.0, 29.9], "prompts": [TEXT, ...]}, ...], "answers": N, "temperature": 1.0,
//!   "seed": N, "max_tokens": N}`: answers to each prompt about each of training's songs, by song and prompt:
//!   `[[[{"text": TEXT, "tokens": [ID, ...], "logprobs": [NATURAL LOGARITHM, ...]}, ...], ...], ...]`. Log-probabilities
//!   are by the model's own logits, whatever the temperature.

use gamut_engine::{
    Answer, AudioInput, Engine, EngineOptions, Generation, Model, OpenOptions, Request, Sampling,
    SamplingParams,
};
use gamut_songs::{Piece, Split, render};
use serde::Deserialize;
use serde_json::{Value, json};
use std::error::Error;
use std::io::{Write, stdin, stdout};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(untagged)]
enum Command {
    Update { checkpoint: PathBuf },
    Draw(Draw),
}

#[derive(Deserialize)]
struct Draw {
    songs: Vec<Song>,
    answers: usize,
    temperature: f32,
    seed: u64,
    max_tokens: usize,
}

#[derive(Deserialize)]
struct Song {
    seed: u64,
    length: (f64, f64),
    prompts: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let checkpoint = std::env::args()
        .nth(1)
        .ok_or("usage: rollouts CHECKPOINT")?;
    let model = Model::open(checkpoint, &OpenOptions::default())?;
    let options = EngineOptions {
        max_num_seqs: 128,
        ..EngineOptions::default()
    };
    let engine = Engine::new(Arc::new(model), &options)?;
    for line in stdin().lines() {
        let reply = match serde_json::from_str(&line?)? {
            Command::Update { checkpoint } => {
                engine.update_weights(checkpoint, &OpenOptions::default())?;
                json!({})
            }
            Command::Draw(draw) => answers(&engine, &draw)?,
        };
        println!("{reply}");
        stdout().flush()?;
    }
    Ok(())
}

/// All requests are in the engine at once, those about a song together, so that it is heard once.
fn answers(engine: &Engine, draw: &Draw) -> Result<Value, Box<dyn Error>> {
    let mut running: Vec<Vec<Generation>> = Vec::new();
    // Answer `i` to a prompt has the seed `i` further on.
    let mut seeds = (draw.seed..).step_by(draw.answers.max(1));
    for song in &draw.songs {
        let piece = Piece::new(song.seed, Split::Train, song.length.0, song.length.1);
        let samples: Arc<[f32]> = render(&piece).into();
        let ask = |(prompt, seed): (&String, u64)| {
            let sampling = Sampling {
                temperature: draw.temperature,
                seed,
                ..Sampling::default()
            };
            let params = SamplingParams {
                sampling,
                max_tokens: draw.max_tokens,
                n: draw.answers,
                ..SamplingParams::default()
            };
            let request = Request::ask(AudioInput::Samples(samples.clone()), prompt);
            engine.submit(request.params(params))
        };
        let asked: Result<_, _> = song.prompts.iter().zip(&mut seeds).map(ask).collect();
        running.push(asked?);
    }
    let mut all = Vec::new();
    for song in running {
        let mut prompts = Vec::new();
        for generation in song {
            let completion = generation.wait()?;
            prompts.push(completion.answers.iter().map(told).collect::<Value>());
        }
        all.push(prompts);
    }
    Ok(json!(all))
}

fn told(answer: &Answer) -> Value {
    json!({
        "text": answer.text,
        "tokens": answer.tokens.iter().map(|token| token.id).collect::<Vec<_>>(),
        "logprobs": answer.tokens.iter().map(|token| token.logprob).collect::<Vec<_>>(),
    })
}
