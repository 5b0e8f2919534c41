//! `gamut eval`: a benchmark's questions in, accuracies with their intervals out.
//!
//! Questions are asked song by song, many at a time. Every answer is logged as soon as it is whole; a
//! rerun asks only what has none, and scores all.

mod against;
mod ask;
mod benchmark;
mod boundaries;
mod checkpoint;
mod extract;
mod interval;
mod log;
mod mmau;
mod muchomusic;
mod musicbench;
mod random;
mod report;
mod scoring;
mod settings;
mod songs;
mod structure;

pub(crate) use benchmark::{Format, Split};

use crate::args::EvalArgs;
use crate::error::Error;
use crate::output;
use crate::setup::{self, Weights};
use ask::Asker;
use benchmark::{Benchmark, Question};
use clap::ValueEnum;
use log::{Answer, Answers, Log};
use report::{Counts, Report};
use scoring::{Scored, metrics, score};
use serde::Serialize;
use serde_json::{Map, Value, json};
use songs::{Hearing, Song};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// How an option is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// By what the model writes.
    #[default]
    Generation,
    /// By which option is the likeliest answer.
    Likelihood,
}

pub(crate) fn run(args: &EvalArgs) -> Result<ExitCode, Error> {
    let benchmark = Benchmark::open(&args.benchmark, args.format, args.sampling.seed)?;
    let wrong = |reason: &str| Error::Benchmark {
        path: args.benchmark.clone(),
        reason: reason.to_owned(),
    };
    if args.by == By::Likelihood && benchmark.format == Format::Structure {
        return Err(wrong("structure has no options, expected --by generation"));
    }
    if args.by == By::Generation && args.normalize {
        return Err(wrong("--normalize is given, which needs --by likelihood"));
    }
    let numbers = selected(&benchmark, args);
    if numbers.is_empty() {
        return Err(wrong("no question is of this split, expected some"));
    }
    match args.rescore {
        true => rescore(args, &benchmark, &numbers),
        false => evaluate(args, &benchmark, &numbers),
    }
}

/// The numbers of the questions that are to be asked.
fn selected(benchmark: &Benchmark, args: &EvalArgs) -> Vec<usize> {
    let most = args.limit.map_or(usize::MAX, |n| n as usize);
    let questions = benchmark.questions.iter().enumerate();
    let of_split =
        |question: &Question| args.split.is_none_or(|split| question.split == Some(split));
    let questions = questions.filter(|(_, question)| of_split(question));
    questions.map(|(number, _)| number).take(most).collect()
}

/// Asks what has no answer yet, and scores all.
fn evaluate(args: &EvalArgs, benchmark: &Benchmark, numbers: &[usize]) -> Result<ExitCode, Error> {
    let start = Instant::now();
    let folder = output_folder(args)?;
    if output::is_same_file(&benchmark.path, &benchmark.filled(&folder)) {
        let path = benchmark.path.clone();
        return Err(Error::OutputIsInput { path });
    }
    let hearing = Hearing::of(args);
    let root = args.audio.as_deref().unwrap_or(benchmark.folder());
    let songs = songs::songs(benchmark, root, hearing)?;
    let questions: Vec<&Question> = numbers.iter().map(|n| &benchmark.questions[*n]).collect();
    let checkpoint = setup::checkpoint(args.model.as_ref())?;
    let digest = checkpoint::digest(&checkpoint)?;
    let settings = settings::settings(args, benchmark, &questions, hearing, &digest)?;
    std::fs::create_dir_all(&folder).map_err(|reason| Error::Write {
        path: folder.clone(),
        reason,
    })?;
    let (mut log, mut answers) = Log::open(&folder, &settings, args.by, benchmark)?;
    let open = |number: &&usize| answers[**number].is_none();
    let open: Vec<(usize, &Song)> = numbers
        .iter()
        .filter(open)
        .map(|n| (*n, &songs[*n]))
        .collect();
    let missing = songs::missing(open.iter().map(|(_, song)| *song));
    let todo = open
        .iter()
        .filter(|(_, song)| !matches!(song, Song::Missing(_)));
    let todo: Vec<(usize, &Song)> = todo.copied().collect();
    let (asked, skipped) = (todo.len(), numbers.len() - open.len());
    // A model is not loaded for nothing.
    if asked > 0 {
        let opened = setup::open_many(Weights::Stored(&checkpoint), &args.engine, &args.batching)?;
        let params = settings::params(args, benchmark.format);
        let logged = (&mut log, &mut answers);
        let asker = Asker::new(&opened.engine, benchmark, &args.template, params, logged);
        asker?.ask(args.by, todo)?;
    }
    log.finish()?;
    let outputs = outputs(args, benchmark, &answers);
    benchmark.write(&folder, &outputs)?;

    let counts = Counts {
        missing_audio: open.len() - asked,
        ..Counts::default()
    };
    let missing = missing.into_iter().map(str::to_owned).collect();
    let mut report = report(args, benchmark, numbers, &answers, (settings, counts));
    report.missing_audio = missing;
    if let Some(other) = &args.against {
        let scored = scored(args, benchmark, numbers, &answers);
        report.comparison = Some(against::compare(other, args, benchmark, &scored)?);
    }
    write_report(&folder, &report)?;
    report.print()?;
    let Counts {
        failed, pending, ..
    } = report.counts;
    output::note(&format!(
        "{asked} asked | {failed} failed | {pending} pending | {skipped} skipped as already there | total {}\n",
        output::duration(start.elapsed())
    ));
    Ok(ExitCode::from(u8::from(failed + pending > 0)))
}

/// Scores the outputs that a benchmark has already.
fn rescore(args: &EvalArgs, benchmark: &Benchmark, numbers: &[usize]) -> Result<ExitCode, Error> {
    let answers: Answers = benchmark
        .questions
        .iter()
        .map(|question| {
            let output = question.output.clone()?;
            Some(Answer::Text {
                output,
                reasoning: String::new(),
                finish: None,
                tokens: 0,
            })
        })
        .collect();
    if numbers.iter().all(|number| answers[*number].is_none()) {
        return Err(Error::Benchmark {
            path: benchmark.path.clone(),
            reason: format!(
                "no outputs, expected {} in its questions",
                benchmark::OUTPUT
            ),
        });
    }
    let questions: Vec<&Question> = numbers.iter().map(|n| &benchmark.questions[*n]).collect();
    let settings = json!({
        "names": {
            "gamut": env!("CARGO_PKG_VERSION"),
            "benchmark": benchmark.path.file_name().map(|name| name.to_string_lossy()),
        },
        "format": benchmark.format,
        "benchmark_hash": benchmark.hash,
        "split": args.split,
        "limit": args.limit,
        "questions": numbers.len(),
        "by": "outputs in the file",
        "prompt_hash": settings::prompt_hash(&questions),
    });
    let settings = match settings {
        Value::Object(settings) => settings,
        _ => Map::new(),
    };
    let report = report(
        args,
        benchmark,
        numbers,
        &answers,
        (settings, Counts::default()),
    );
    if let Some(folder) = &args.output {
        write_report(folder, &report)?;
    }
    report.print()?;
    Ok(ExitCode::SUCCESS)
}

/// The scores of the questions that have answers.
fn scored(
    args: &EvalArgs,
    benchmark: &Benchmark,
    numbers: &[usize],
    answers: &Answers,
) -> Vec<(usize, Scored)> {
    let answered = numbers.iter().filter_map(|number| {
        let (question, answer) = (&benchmark.questions[*number], answers[*number].as_ref()?);
        let scored = score(benchmark.format, args.by, question, answer, args.normalize);
        Some((*number, scored))
    });
    answered.collect()
}

/// What every question's output is, if it has one.
fn outputs(args: &EvalArgs, benchmark: &Benchmark, answers: &Answers) -> Vec<Option<String>> {
    let answered = benchmark.questions.iter().zip(answers);
    let outputs = answered.map(|(question, answer)| {
        let answer = answer.as_ref()?;
        Some(scoring::output(
            benchmark.format,
            question,
            answer,
            args.normalize,
        ))
    });
    outputs.collect()
}

fn report(
    args: &EvalArgs,
    benchmark: &Benchmark,
    numbers: &[usize],
    answers: &Answers,
    (settings, counts): (Map<String, Value>, Counts),
) -> Report {
    let scored = scored(args, benchmark, numbers, answers);
    let metrics = metrics(benchmark.format, args.by);
    let is_failed = |number: &&usize| matches!(answers[**number], Some(Answer::Failed { .. }));
    Report {
        settings,
        counts: Counts {
            questions: numbers.len(),
            failed: numbers.iter().filter(is_failed).count(),
            pending: numbers.len() - scored.len() - counts.missing_audio,
            left_out: benchmark.left_out,
            ..counts
        },
        metrics,
        likelihood: (args.by == By::Likelihood).then_some(match args.normalize {
            true => "the log-probability of an option divided by the number of its tokens",
            false => "the log-probability of an option, the sum of those of its tokens",
        }),
        rows: report::rows(benchmark, metrics, &scored),
        missing_audio: Vec::new(),
        comparison: None,
    }
}

fn write_report(folder: &Path, report: &Report) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|reason| Error::Write {
        path: folder.to_owned(),
        reason,
    })?;
    let json = format!("{:#}\n", report.to_json());
    benchmark::write(&folder.join("report.json"), &json)?;
    benchmark::write(&folder.join("report.md"), &report.to_markdown())
}

/// Where answers and reports go.
fn output_folder(args: &EvalArgs) -> Result<PathBuf, Error> {
    if let Some(folder) = &args.output {
        return Ok(folder.clone());
    }
    let path = &args.benchmark;
    let name = match path.is_dir() {
        true => path.file_name(),
        false => path.file_stem(),
    };
    let Some(name) = name else {
        return Err(Error::Benchmark {
            path: path.clone(),
            reason: "no name to call an output after, expected --output".to_owned(),
        });
    };
    let mut name = name.to_owned();
    name.push(".eval");
    Ok(path.with_file_name(name))
}
