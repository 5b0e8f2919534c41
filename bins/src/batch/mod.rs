//! `gamut batch`: a file of requests in, a file of answers out.
//!
//! Requests are read ahead as far as there is room, and many of them are under way at a time. An
//! answer is written as soon as it is whole, in any order. What is in the output is not asked again.

mod answer;
mod audio;
mod fault;
mod fields;
mod in_flight;
mod line;
mod lines;
mod log;
mod params;
mod queue;
mod requests;
mod shard;

pub(crate) use shard::Shard;

use crate::args::BatchArgs;
use crate::error::Error;
use crate::output;
use crate::progress::Progress;
use crate::setup::{self, Opened};
use fault::Fault;
use gamut_engine::{Completion, Engine};
use in_flight::InFlight;
use line::BatchRequest;
use log::{Log, Name};
use params::Defaults;
use queue::Queue;
use requests::{Item, Requests};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Requests that the engine has for each that it may run, so that it never waits for another.
const UNDER_WAY: usize = 2;
/// Bytes of audio in requests at which none is read ahead.
const MAX_HELD: usize = 256 << 20;
/// How long an engine is left alone that takes no requests and has none of ours.
const PATIENCE: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &BatchArgs) -> Result<ExitCode, Error> {
    let start = Instant::now();
    let (shard, path) = (args.shard.unwrap_or(Shard::WHOLE), output_path(args));
    let file = Requests::open(&args.requests)?;
    if is_same_file(&args.requests, &path) {
        return Err(Error::OutputIsInput { path });
    }
    let (log, recovered) = Log::open(&path)?;
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

fn is_same_file(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    whole(a).is_some_and(|a| Some(a) == whole(b))
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
    queue: Queue,
    in_flight: InFlight,
    log: Log,
    tally: Tally,
    progress: Progress,
}

impl<'a> Batch<'a> {
    fn new(opened: &'a Opened, args: &BatchArgs, requests: Requests, log: Log) -> Batch<'a> {
        let engine = &opened.engine;
        let model = engine.model();
        let name = model.checkpoint().path().file_name().unwrap_or_default();
        Batch {
            engine,
            name: name.to_string_lossy().into_owned(),
            folder: args.requests.parent().unwrap_or(Path::new("")).to_owned(),
            defaults: Defaults {
                params: setup::sampling(engine, &args.sampling),
                logprobs: args.sampling.logprobs.is_some(),
            },
            requests,
            queue: Queue::default(),
            in_flight: InFlight::default(),
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
            self.submit()?;
            match self.in_flight.next_ended() {
                Some((request, Ok(completion))) => self.answer(&request, &completion)?,
                Some((request, Err(error))) => {
                    self.fail(request, Fault::of(&error), error)?;
                }
                // The engine has too much to do, and none of it is ours.
                None if self.queue.len() > 0 => std::thread::sleep(PATIENCE),
                None if ended => return Ok(()),
                None => {}
            }
            let waiting = self.queue.len() + self.in_flight.len();
            let done = self.requests.read() as usize - waiting;
            let total = self.requests.estimate() as usize;
            self.progress.show("batch", done, total);
        }
    }

    /// Reads requests while there is room; whether there are no more.
    fn read_ahead(&mut self) -> Result<bool, Error> {
        while self.queue.has_room() && self.queue.held() + self.in_flight.held() < MAX_HELD {
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
            Item::Refused(name, message) => self.refuse(&name, fault::INVALID_LINE, &message),
            Item::Request(line) => {
                let (id, number) = (line.id.clone(), line.number);
                match line.parse(&self.folder, &self.defaults) {
                    Ok(request) => {
                        self.queue.push(request);
                        Ok(())
                    }
                    Err(message) => {
                        let message = format!("line {number}: {message}");
                        self.refuse(&Name::Id(id), fault::INVALID_REQUEST, &message)
                    }
                }
            }
        }
    }

    /// Hands requests to the engine, as many as it takes.
    fn submit(&mut self) -> Result<(), Error> {
        let most = UNDER_WAY * self.engine.plan().max_num_seqs;
        while self.in_flight.len() < most
            && let Some(request) = self.queue.pop()
        {
            match self.engine.submit(request.inner.clone()) {
                Ok(generation) => self.in_flight.push(request, generation),
                Err(error) => {
                    let fault = Fault::of_submission(&error);
                    self.fail(request, fault, error.into())?;
                    if fault == Fault::Overload {
                        break;
                    }
                }
            }
        }
        Ok(())
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
    fn fail(
        &mut self,
        request: BatchRequest,
        fault: Fault,
        error: gamut_engine::Error,
    ) -> Result<(), Error> {
        let number = request.number;
        match fault {
            Fault::Request(code) => {
                let message = format!("line {number}: {error}");
                self.refuse(&Name::Id(request.id), code, &message)
            }
            Fault::Moment => {
                self.progress.clear();
                output::note(&format!("line {number} stays unanswered: {error}\n"));
                self.tally.failed += 1;
                Ok(())
            }
            Fault::Overload => {
                self.queue.put_back(request);
                Ok(())
            }
            Fault::Machine => Err(error.into()),
        }
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
