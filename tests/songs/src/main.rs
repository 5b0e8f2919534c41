//! Writes songs: to listen to, to train with, or to measure with.

use clap::{Args, Parser, Subcommand};
use gamut_songs::{
    Entry, Piece, Question, Random, Split, benchmark, features, render, sample, wav, windows,
};
use rayon::prelude::*;
use serde::Serialize;
use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
            windows: windows(piece.samples()),
            questions: asked.collect(),
            piece,
        }
    }

    /// The seeds, if such pieces can be made.
    fn seeds(&self) -> Result<Range<u64>, Box<dyn Error>> {
        check_length(self.shortest, self.longest)?;
        let (first, count) = (self.first, self.count);
        let end = first.checked_add(count);
        let end = end.ok_or(format!("{count} seeds from {first}, expected fewer"))?;
        Ok(first..end)
    }
}

fn check_length(shortest: f64, longest: f64) -> Result<(), String> {
    match 16.0 <= shortest && shortest <= longest && longest <= 300.0 {
        true => Ok(()),
        false => Err(format!(
            "lengths are {shortest} to {longest}, expected 16 to 300"
        )),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Says which file an error is about.
fn at<E: Display>(path: &Path) -> impl Fn(E) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

fn run() -> Result<(), Box<dyn Error>> {
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

fn create(path: &Path) -> Result<BufWriter<fs::File>, String> {
    fs::File::create(path).map(BufWriter::new).map_err(at(path))
}

fn read(questions: &Path) -> Result<Vec<Entry>, String> {
    let text = fs::read(questions).map_err(at(questions))?;
    serde_json::from_slice(&text).map_err(at(questions))
}

fn write_songs(pieces: &Pieces, out: &Path) -> Result<(), Box<dyn Error>> {
    let seeds = pieces.seeds()?;
    fs::create_dir_all(out).map_err(at(out))?;
    for seed in seeds {
        let labelled = pieces.labelled(seed);
        let samples = render(&labelled.piece);
        let path = out.join(format!("{seed}.wav"));
        fs::write(&path, wav(&samples)).map_err(at(&path))?;
        let json = serde_json::to_string_pretty(&labelled)?;
        let path = path.with_extension("json");
        fs::write(&path, json).map_err(at(&path))?;
    }
    Ok(())
}

fn write_plans(pieces: &Pieces, out: &Path) -> Result<(), Box<dyn Error>> {
    let seeds = pieces.seeds()?;
    let mut lines = create(&out.with_extension("jsonl"))?;
    for seed in seeds {
        serde_json::to_writer(&mut lines, &pieces.labelled(seed))?;
        lines.write_all(b"\n")?;
    }
    Ok(lines.flush()?)
}

fn write_features(pieces: &Pieces, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut mel = create(&out.with_extension("f16"))?;
    let seeds = pieces.seeds()?;
    // So many at a time are held in memory.
    for first in seeds.clone().step_by(32) {
        let heard: Vec<_> = (first..seeds.end.min(first.saturating_add(32)))
            .into_par_iter()
            .map(|seed| features(&render(&pieces.piece(seed))))
            .collect::<Result<_, _>>()?;
        for value in heard.into_iter().flatten() {
            mel.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(mel.flush()?)
}

fn write_benchmark(pieces: &Pieces, out: &Path) -> Result<(), Box<dyn Error>> {
    let seeds = pieces.seeds()?;
    let mut entries: Vec<Entry> = match out.exists() {
        true => read(out)?,
        false => Vec::new(),
    };
    let length = (pieces.shortest, pieces.longest);
    entries.extend(benchmark(seeds, length, pieces.questions));
    let text = serde_json::to_string_pretty(&entries)? + "\n";
    Ok(fs::write(out, text).map_err(at(out))?)
}

fn write_sounds(questions: &Path) -> Result<(), Box<dyn Error>> {
    let mut entries = read(questions)?;
    for Entry { id, length, .. } in &entries {
        check_length(length.0, length.1).map_err(|e| format!("{id}: {e}"))?;
    }
    entries.dedup_by(|a, b| a.audio == b.audio);
    let folder = questions.parent().unwrap_or(Path::new(""));
    entries.par_iter().try_for_each(|entry| {
        let path = folder.join(&entry.audio);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        fs::write(&path, entry.sound()).map_err(at(&path))
    })?;
    Ok(())
}
