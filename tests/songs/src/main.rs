//! Writes songs: to listen to, to train with, or to measure with.

use clap::{Args, Parser, Subcommand};
use gamut_songs::{
    Entry, Piece, Question, Random, Split, benchmark, features, render, sample, wav,
};
use rayon::prelude::*;
use serde::Serialize;
use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(
    name = "gamut-songs",
    about = "Makes songs whose truth is known, and questions about them"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes SEED.wav and SEED.json, the plan with its questions, into a directory
    Render {
        #[command(flatten)]
        pieces: Pieces,
        /// The directory
        out: PathBuf,
    },
    /// Writes OUT.jsonl, the plan of each piece with its questions
    Plans {
        #[command(flatten)]
        pieces: Pieces,
        /// The file's stem
        out: PathBuf,
    },
    /// Writes OUT.jsonl as `plans` does, and OUT.f16, the log-mel windows of all pieces
    Features {
        #[command(flatten)]
        pieces: Pieces,
        /// The files' stem
        out: PathBuf,
    },
    /// Writes multiple-choice questions about held-out pieces in the shape of MusicBench
    Benchmark {
        #[command(flatten)]
        pieces: Pieces,
        /// The file, which is added to if it is there
        out: PathBuf,
    },
    /// Makes the songs that the questions of a file are about, beside it
    Sounds {
        /// The file
        questions: PathBuf,
    },
}

#[derive(Args)]
struct Pieces {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many pieces
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Which seeds and timbres
    #[arg(long, default_value = "train")]
    split: Split,
    /// Least length in seconds
    #[arg(long, default_value_t = 20.0)]
    shortest: f64,
    /// Greatest length in seconds
    #[arg(long, default_value_t = 29.9)]
    longest: f64,
    /// Questions about each piece
    #[arg(long, default_value_t = 24)]
    questions: usize,
}

/// A piece with questions, as the files have it.
#[derive(Serialize)]
struct Labelled {
    #[serde(flatten)]
    piece: Piece,
    /// Log-mel windows.
    windows: usize,
    questions: Vec<Asked>,
}

#[derive(Serialize)]
struct Asked {
    #[serde(flatten)]
    question: Question,
    prompt: String,
    reply: String,
}

impl Pieces {
    fn piece(&self, seed: u64) -> Piece {
        Piece::new(seed, self.split, self.shortest, self.longest)
    }

    fn labelled(&self, seed: u64) -> Labelled {
        let piece = self.piece(seed);
        let mut random = Random::new(seed, "questions");
        let questions = sample(&piece, &mut random, self.questions);
        let asked = questions.into_iter().map(|question| Asked {
            prompt: question.prompt(),
            reply: question.reply(),
            question,
        });
        Labelled {
            windows: (piece.seconds / 30.0).ceil() as usize,
            questions: asked.collect(),
            piece,
        }
    }

    fn seeds(&self) -> Vec<u64> {
        (self.first..self.first + self.count).collect()
    }

    fn check(&self) -> Result<(), Box<dyn Error>> {
        if !(16.0..=300.0).contains(&self.shortest)
            || self.longest < self.shortest
            || self.longest > 300.0
        {
            let (shortest, longest) = (self.shortest, self.longest);
            return Err(format!("lengths are {shortest} to {longest}, expected 16 to 300").into());
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Render { pieces, out } => write_songs(&pieces, &out),
        Command::Plans { pieces, out } => write_plans(&pieces, &out),
        Command::Features { pieces, out } => {
            write_plans(&pieces, &out)?;
            write_features(&pieces, &out)
        }
        Command::Benchmark { pieces, out } => write_benchmark(&pieces, &out),
        Command::Sounds { questions } => write_sounds(&questions),
    }
}

fn write_songs(pieces: &Pieces, out: &Path) -> Result<(), Box<dyn Error>> {
    pieces.check()?;
    fs::create_dir_all(out)?;
    for seed in pieces.seeds() {
        let labelled = pieces.labelled(seed);
        let samples = render(&labelled.piece);
        fs::write(out.join(format!("{seed}.wav")), wav(&samples))?;
        let json = serde_json::to_string_pretty(&labelled)?;
        fs::write(out.join(format!("{seed}.json")), json)?;
    }
    Ok(())
}

fn write_plans(pieces: &Pieces, out: &Path) -> Result<(), Box<dyn Error>> {
    pieces.check()?;
    let mut lines = BufWriter::new(fs::File::create(out.with_extension("jsonl"))?);
    for seed in pieces.seeds() {
        serde_json::to_writer(&mut lines, &pieces.labelled(seed))?;
        lines.write_all(b"\n")?;
    }
    Ok(lines.flush()?)
}

fn write_features(pieces: &Pieces, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut mel = BufWriter::new(fs::File::create(out.with_extension("f16"))?);
    // So many at a time are held in memory.
    for seeds in pieces.seeds().chunks(32) {
        let heard: Vec<_> = seeds
            .par_iter()
            .map(|seed| features(&render(&pieces.piece(*seed))))
            .collect::<Result<_, _>>()?;
        for value in heard.into_iter().flatten() {
            mel.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(mel.flush()?)
}

fn write_benchmark(pieces: &Pieces, out: &Path) -> Result<(), Box<dyn Error>> {
    pieces.check()?;
    let mut entries: Vec<Entry> = match out.exists() {
        true => serde_json::from_slice(&fs::read(out)?)?,
        false => Vec::new(),
    };
    let length = (pieces.shortest, pieces.longest);
    entries.extend(benchmark(
        pieces.seeds().into_iter(),
        length,
        pieces.questions,
    ));
    fs::write(out, serde_json::to_string_pretty(&entries)? + "\n")?;
    Ok(())
}

fn write_sounds(questions: &Path) -> Result<(), Box<dyn Error>> {
    let mut entries: Vec<Entry> = serde_json::from_slice(&fs::read(questions)?)?;
    entries.dedup_by(|a, b| a.audio == b.audio);
    let folder = questions.parent().unwrap_or(Path::new(""));
    entries.par_iter().try_for_each(|entry| {
        let path = folder.join(&entry.audio);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, entry.sound())
    })?;
    Ok(())
}
