//! Which song each question is asked about.

use super::benchmark::Benchmark;
use super::random::Random;
use crate::args::EvalArgs;
use crate::error::Error;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// What questions are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Their own songs.
    Own,
    /// Nothing.
    Nothing,
    /// Other questions' songs, as a seed has it.
    Exchanged(u64),
}

/// The song of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Song {
    /// It is in this file. Songs are numbered as they first come.
    There(usize, PathBuf),
    /// There is no such file.
    Missing(String),
    /// The question is asked without one.
    None,
}

impl Hearing {
    pub(super) fn of(args: &EvalArgs) -> Hearing {
        match (args.no_audio, args.exchange_audio) {
            (true, _) => Hearing::Nothing,
            (false, Some(seed)) => Hearing::Exchanged(seed),
            (false, None) => Hearing::Own,
        }
    }

    /// As logs and reports have it.
    pub(super) fn to_json(self) -> Value {
        match self {
            Hearing::Own => json!("own"),
            Hearing::Nothing => json!("none"),
            Hearing::Exchanged(seed) => json!(format!("exchanged by seed {seed}")),
        }
    }
}

/// The song of each of a benchmark's questions. All songs take part in an exchange, found or not, so
/// that it is the same when those that are missing have come.
pub(super) fn songs(
    benchmark: &Benchmark,
    folder: &Path,
    hearing: Hearing,
) -> Result<Vec<Song>, Error> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<&str> = Vec::new();
    for question in &benchmark.questions {
        numbers.entry(&question.audio).or_insert_with(|| {
            names.push(&question.audio);
            names.len() - 1
        });
    }
    let mut heard = names;
    match hearing {
        Hearing::Nothing => return Ok(vec![Song::None; benchmark.questions.len()]),
        Hearing::Own => {}
        Hearing::Exchanged(_) if heard.len() < 2 => {
            return Err(Error::Benchmark {
                path: benchmark.path.clone(),
                reason: format!("{} song, expected 2 or more to exchange", heard.len()),
            });
        }
        Hearing::Exchanged(seed) => Random::new(seed, 0).displace(&mut heard),
    }
    let files: Vec<Song> = heard
        .iter()
        .enumerate()
        .map(|(number, name)| match benchmark.find_audio(folder, name) {
            Some(path) => Song::There(number, path),
            None => Song::Missing((*name).to_owned()),
        })
        .collect();
    let of = |audio: &str| numbers.get(audio).and_then(|number| files.get(*number));
    let songs = benchmark.questions.iter().map(|q| of(&q.audio).cloned());
    Ok(songs.map(|song| song.unwrap_or(Song::None)).collect())
}

/// The names of songs that are missing, each once.
pub(super) fn missing<'a>(songs: impl Iterator<Item = &'a Song>) -> BTreeSet<&'a str> {
    let names = songs.filter_map(|song| match song {
        Song::Missing(name) => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}
