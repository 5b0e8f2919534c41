//! `gamut batch`: a file of requests in, a file of answers out.
//!
//! Requests are read ahead as far as there is room, and many of them are under way at a time. An
//! answer is written as soon as it is whole, in any order. What is in the output is not asked again.

mod answer;
mod audio;
mod line;
mod log;
mod params;
mod requests;
mod shard;

pub(crate) use shard::Shard;

use crate::args::BatchArgs;
use crate::asking::{self, Asking, Failure};
use crate::error::Error;
use crate::journal::Journal;
use crate::output;
use crate::progress::Progress;
use crate::setup::{self, Opened};
use gamut_engine::{Completion, Engine};
use line::BatchRequest;
use log::{Name, Recovered};
use params::Defaults;
use requests::{Item, Requests};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

pub(crate) fn run(args: &BatchArgs) -> Result<ExitCode, Error> {
    let start = Instant::now();
    let (shard, path) = (args.shard.unwrap_or(Shard::WHOLE), output_path(args));
    let file = Requests::open(&args.requests)?;
    if output::is_same_file(&args.requests, &path) {
        return Err(Error::OutputIsInput { path });
    }
    let (log, recovered) = Recovered::open(&path)?;
    let failed_before = recovered.failed;
    let mut requests = Requests::new(&args.requests, file, shard, recovered)?;
    // A model is not loaded for nothing.
    let (requests, log, tally) = match requests.next()? {
        None => (requests, log, Tally::default()),
        Some(first) => {
            let opened =
                setup::open_many(args.model.as_ref().into(), &args.engine, &args.batching)?;
            let mut batch = Batch::new(&opened, args, requests, log);
            batch.run(first)?;
            (batch.requests, batch.log, batch.tally)
        }
    };
    log.finish()?;
    output::note(&(tally.summary(requests.skipped(), start) + "\n"));
    let failed = tally.failed + failed_before > 0;
    Ok(ExitCode::from(u8::from(failed)))
}

/// Where answers go.
fn output_path(args: &BatchArgs) -> PathBuf {
    if let Some(path) = &args.output {
        return path.clone();
    }
    let stem = match args.requests.extension() {
        Some(extension) if extension == "jsonl" => args.requests.with_extension(""),
        _ => args.requests.clone(),
    };
    let mut name = stem.into_os_string();
    if let Some(shard) = args.shard {
        name.push(format!(".{shard}"));
    }
    name.push(".out.jsonl");
    name.into()
}

/// Requests on their way from one file to the other.
struct Batch<'a> {
    engine: &'a Engine,
    /// What answers call the model.
    name: String,
    /// What relative paths of audio start from.
    folder: PathBuf,
    defaults: Defaults,
    requests: Requests,
    asking: Asking<'a, BatchRequest>,
    log: Journal,
    tally: Tally,
    progress: Progress,
}

impl<'a> Batch<'a> {
    fn new(opened: &'a Opened, args: &BatchArgs, requests: Requests, log: Journal) -> Batch<'a> {
        let engine = &opened.engine;
        let model = engine.model();
        let name = model.checkpoint().path().file_name().unwrap_or_default();
        Batch {
            engine,
            name: name.to_string_lossy().into_owned(),
            folder: args.requests.parent().unwrap_or(Path::new("")).to_owned(),
            defaults: Defaults {
                params: setup::sampling(engine, &args.sampling, &args.logprobs),
                logprobs: args.logprobs.logprobs.is_some(),
            },
            requests,
            asking: Asking::new(engine),
            log,
            tally: Tally {
                began: Some(Instant::now()),
                ..Tally::default()
            },
            progress: Progress::new(),
        }
    }

    /// Answers the first request and all that come behind it.
    fn run(&mut self, first: Item) -> Result<(), Error> {
        self.take(first)?;
        loop {
            let ended = self.read_ahead()?;
            match self.asking.next()? {
                Some((request, Ok(completion))) => self.answer(&request, &completion)?,
                Some((request, Err(failure))) => self.fail(request, &failure)?,
                None if ended => return Ok(()),
                None => {}
            }
            let done = self.requests.read() as usize - self.asking.len();
            let total = self.requests.estimate() as usize;
            self.progress.show("batch", done, total);
        }
    }

    /// Reads requests while there is room; whether there are no more.
    fn read_ahead(&mut self) -> Result<bool, Error> {
        while self.asking.has_room() {
            match self.requests.next()? {
                Some(item) => self.take(item)?,
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Takes what was read.
    fn take(&mut self, item: Item) -> Result<(), Error> {
        match item {
            Item::Refused(name, message) => self.refuse(&name, asking::INVALID_LINE, &message),
            Item::Request(line) => {
                let (id, number) = (line.id.clone(), line.number);
                match line.parse(&self.folder, &self.defaults) {
                    Ok(request) => {
                        self.asking.push(request);
                        Ok(())
                    }
                    Err(message) => {
                        let message = format!("line {number}: {message}");
                        self.refuse(&Name::Id(id), asking::INVALID_REQUEST, &message)
                    }
                }
            }
        }
    }

    fn answer(&mut self, request: &BatchRequest, completion: &Completion) -> Result<(), Error> {
        let model = self.engine.model();
        let named = (self.name.as_str(), &*model);
        let line = answer::success(&request.id, completion, request.logprobs, named);
        self.log.add(&line)?;
        self.tally.count(completion);
        Ok(())
    }

    /// Does what is to be done about a request that failed.
    fn fail(&mut self, request: BatchRequest, failure: &Failure) -> Result<(), Error> {
        let (number, error) = (request.number, &failure.error);
        if let Some(code) = failure.code {
            let message = format!("line {number}: {error}");
            return self.refuse(&Name::Id(request.id), code, &message);
        }
        self.progress.clear();
        output::note(&format!("line {number} stays unanswered: {error}\n"));
        self.tally.failed += 1;
        Ok(())
    }

    /// Answers with an error.
    fn refuse(&mut self, name: &Name, code: &str, message: &str) -> Result<(), Error> {
        self.log.add(&answer::failure(name, code, message))?;
        self.tally.failed += 1;
        Ok(())
    }
}

/// What a run has done.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
    /// Tokens of answers.
    tokens: usize,
    /// Tokens of prompts, and of those the ones that were in the cache.
    prompts: usize,
    cached: usize,
    /// When the engine was ready.
    began: Option<Instant>,
}

impl Tally {
    fn count(&mut self, completion: &Completion) {
        self.done += 1;
        self.tokens += answer::completion_tokens(completion);
        if let Some(answer) = completion.answers.first() {
            self.prompts += answer.usage.prompt_tokens;
            self.cached += answer.usage.cached_tokens;
        }
    }

    fn summary(&self, skipped: u64, start: Instant) -> String {
        let mut parts = vec![
            format!("{} done", self.done),
            format!("{} failed", self.failed),
            format!("{skipped} skipped as already there"),
        ];
        if let Some(began) = self.began {
            let (tokens, prompts, cached) = (self.tokens, self.prompts, self.cached);
            let rate = tokens as f64 / began.elapsed().as_secs_f64();
            parts.push(format!("{tokens} tokens, {rate:.1} tok/s"));
            parts.push(format!("{cached} of {prompts} prompt tokens cached"));
        }
        parts.push(format!("total {}", output::duration(start.elapsed())));
        parts.join(" | ")
    }
}

#[cfg(test)]
mod tests;
