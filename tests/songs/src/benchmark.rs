//! MusicBench-mini: multiple-choice questions about held-out pieces, in the shape of GaMMA's MusicBench.
//!
//! The file has text and seeds; [`Entry::sound`] makes the audio again.

use crate::piece::{Piece, Split};
use crate::questions::{Question, Scope, questions};
use crate::random::Random;
use crate::{render, wav};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A question of the benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, by which results are compared.
    pub id: String,
    /// The song, from the file's folder.
    pub audio: String,
    /// Without the options.
    pub question: String,
    /// Four.
    pub options: Vec<String>,
    /// The letter of the right one.
    pub answer: String,
    /// What is asked.
    pub category: String,
    /// `Global` or `Temporal`.
    pub split: String,
    /// What the piece is made from.
    pub seed: u64,
    /// Bounds of its length in seconds, which are part of that.
    pub length: (f64, f64),
}

impl Entry {
    /// The song as a wav file.
    pub fn sound(&self) -> Vec<u8> {
        wav(&render(&Piece::new(
            self.seed,
            Split::HeldOut,
            self.length.0,
            self.length.1,
        )))
    }
}

/// At most one question of each category about each piece, half of them temporal where there are as many.
pub fn benchmark(seeds: impl Iterator<Item = u64>, length: (f64, f64), each: usize) -> Vec<Entry> {
    seeds.flat_map(|seed| entries(seed, length, each)).collect()
}

fn entries(seed: u64, length: (f64, f64), each: usize) -> Vec<Entry> {
    let piece = Piece::new(seed, Split::HeldOut, length.0, length.1);
    let mut random = Random::new(seed, "benchmark");
    let mut all = questions(&piece, &mut random);
    all.retain(|q| !q.options.is_empty());
    random.shuffle(&mut all);
    let mut categories = HashSet::new();
    all.retain(|q| categories.insert((q.scope == Scope::Global, q.category)));
    let (global, temporal): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|q| q.scope == Scope::Global);
    let global = global.into_iter().take(each / 2);
    let temporal = temporal.into_iter().take(each - each / 2);
    let entry = |(i, question): (usize, Question)| {
        let split = match question.scope {
            Scope::Global => "Global",
            Scope::Temporal => "Temporal",
        };
        Entry {
            id: format!("{seed}-{i}"),
            audio: format!("songs/{seed}.wav"),
            answer: question.letter().map(String::from).unwrap_or_default(),
            question: question.question,
            options: question.options,
            category: question.category.to_string(),
            split: split.to_string(),
            seed,
            length,
        }
    };
    temporal.chain(global).enumerate().map(entry).collect()
}
