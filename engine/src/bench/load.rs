//! Requests that come when they come: latencies as those who ask meet them.

use super::arrivals::Arrivals;
use super::percentiles::Summary;
use super::readers::{Inlet, Readers};
use super::{Steps, arbitrary, fits, request, settle, unused};
use crate::engine::{Engine, Song};
use crate::error::{Error, SubmitError};
use crate::event::Event;
use gamut_kernels::PAGE;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The seed of arrivals: the same ones in every test.
const SEED: u64 = 0;
/// Rates that are possible, beside an infinite one.
const RATES: std::ops::RangeInclusive<f64> = 1e-3..=1e6;
const MOST_REQUESTS: usize = 1_000_000;

/// A test under load: requests of one size, at the arrivals of a Poisson process.
#[derive(Clone, Debug)]
pub struct Load {
    /// Requests a second on average; an infinite rate sends all at once.
    pub rate: f64,
    /// Requests.
    pub requests: usize,
    /// Tokens of each prompt, others for every request.
    pub prompt: usize,
    /// Tokens of each answer.
    pub generated: usize,
    /// What all ask about, if it is not text alone. Its keys and values are in the cache.
    pub song: Option<Song>,
}

/// What came of a test under load. Times begin with the request's arrival as the process had it, be
/// it submitted late or not, and are taken where events are read.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Requests that were answered.
    pub completed: usize,
    /// Requests that the engine refused as it had too much to do.
    pub refused: usize,
    /// From the first arrival to the end of the last answer.
    pub duration: Duration,
    /// Tokens of the prompts that were answered, those of audio included.
    pub prompt_tokens: usize,
    /// Tokens of all answers.
    pub generated_tokens: usize,
    /// The most requests that had come and were not yet answered, at any time.
    pub peak: usize,
    /// Time to first token: from the arrival to the first token.
    pub ttft: Summary,
    /// Time per output token: of each answer the mean over its tokens after the first.
    pub tpot: Summary,
    /// Inter-token latency: each time between two successive tokens of an answer.
    pub itl: Summary,
    /// End to end: from the arrival to the answer's end.
    pub e2e: Summary,
    /// The decoder's steps.
    pub steps: Steps,
}

impl LoadReport {
    /// Answers a second.
    pub fn requests_per_second(&self) -> f64 {
        self.per_second(self.completed)
    }

    /// Tokens of answers a second.
    pub fn tokens_per_second(&self) -> f64 {
        self.per_second(self.generated_tokens)
    }

    /// Tokens of prompts and answers a second.
    pub fn total_tokens_per_second(&self) -> f64 {
        self.per_second(self.prompt_tokens + self.generated_tokens)
    }

    fn per_second(&self, count: usize) -> f64 {
        match self.duration.is_zero() {
            true => 0.0,
            false => count as f64 / self.duration.as_secs_f64(),
        }
    }
}

impl Load {
    /// Its name in tables: `pp512+tg32 @ 4/s`, or `pp512+tg32 @ inf`.
    pub fn name(&self) -> String {
        let rate = match self.rate.is_finite() {
            true => format!("{}/s", self.rate),
            false => "inf".to_owned(),
        };
        format!("pp{}+tg{} @ {rate}", self.prompt, self.generated)
    }

    /// Whether its values are possible.
    ///
    /// # Errors
    /// Naming the first one that is not.
    pub fn check(&self) -> Result<(), Error> {
        let (least, most) = RATES.into_inner();
        if self.rate != f64::INFINITY && !RATES.contains(&self.rate) {
            let found = self.rate;
            return Err(Error::Rate { found, least, most });
        }
        for (name, found, most) in [
            ("the number of requests", self.requests, MOST_REQUESTS),
            ("the length of prompts", self.prompt, usize::MAX),
            ("the length of answers", self.generated, usize::MAX),
        ] {
            if !(1..=most).contains(&found) {
                return Err(Error::Option {
                    name,
                    found,
                    least: 1,
                    most,
                });
            }
        }
        Ok(())
    }

    /// Tokens of its sequences behind those of a song: the context that it needs.
    pub fn max_model_len(&self) -> usize {
        self.prompt.saturating_add(self.generated)
    }

    /// Tokens whose keys and values there must be room for beside those of a song, if
    /// `max_num_seqs` sequences run at a time.
    pub fn kv_cache_tokens(&self, max_num_seqs: usize) -> usize {
        // Pages are not shared, and the scheduler keeps one free for each sequence.
        self.max_model_len()
            .saturating_add(3 * PAGE)
            .saturating_mul(max_num_seqs.min(self.requests))
    }

    /// Runs it, and calls `tick` with the number of requests that have ended. Before that some requests
    /// are not counted: they warm up the device for every number of sequences.
    ///
    /// # Errors
    /// If a value is not possible, the sequences do not fit the context, or the engine fails.
    pub fn run(&self, engine: &Engine, tick: &mut dyn FnMut(usize)) -> Result<LoadReport, Error> {
        self.check()?;
        let audio = self.song.as_ref().map_or(0, Song::tokens);
        fits(engine, self.max_model_len(), audio)?;
        self.warm_up(engine)?;
        let seed = unused(engine);
        let before = engine.stats();
        let mut readers = Readers::new();
        let (inlet, start) = (readers.inlet(), Instant::now());
        let (stop, stopped) = channel::<()>();
        let times = std::thread::scope(|scope| {
            let submit = move || self.submit(engine, (start, seed), &inlet, &stopped);
            std::thread::Builder::new()
                .spawn_scoped(scope, submit)
                .map_err(|e| Error::Thread {
                    reason: e.to_string(),
                })?;
            let times = self.read(&mut readers, start, tick);
            // Else the thread might wait for the next arrival for long.
            drop(stop);
            times
        })?;
        settle(engine);
        let mut report = times.report(start);
        report.prompt_tokens = report.completed * (audio + self.prompt);
        report.steps = Steps::since(&before, engine);
        Ok(report)
    }

    /// Runs all numbers of sequences from `max_num_seqs` down to one, by powers of two.
    fn warm_up(&self, engine: &Engine) -> Result<(), Error> {
        let sequences = engine.plan().max_num_seqs.min(self.requests);
        let generations = (1..=sequences).map(|nth| {
            let prompt = arbitrary(engine, &[3], self.prompt).collect();
            let tokens = 2 + (sequences / nth).ilog2() as usize;
            let tokens = tokens.min(self.generated);
            Ok(engine.submit(request(engine, self.song.as_ref(), prompt, tokens)?)?)
        });
        let generations: Result<Vec<_>, Error> = generations.collect();
        generations?
            .into_iter()
            .try_for_each(|generation| generation.wait().map(drop))
    }

    /// Submits all requests at their arrivals, unless it is stopped.
    fn submit(
        &self,
        engine: &Engine,
        (start, seed): (Instant, u64),
        inlet: &Inlet,
        stopped: &Receiver<()>,
    ) {
        let arrivals = Arrivals::new(self.rate, SEED).take(self.requests);
        for (index, arrival) in arrivals.enumerate() {
            let prompt = arbitrary(engine, &[4, seed, index as u64], self.prompt).collect();
            let request = request(engine, self.song.as_ref(), prompt, self.generated);
            let wait = (start + arrival).saturating_duration_since(Instant::now());
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let submitted = request
                .map_err(SubmitError::from)
                .and_then(|request| engine.submit(request));
            if !inlet.submit(index, submitted) {
                return;
            }
        }
    }

    /// Reads all answers.
    fn read(
        &self,
        readers: &mut Readers,
        start: Instant,
        tick: &mut dyn FnMut(usize),
    ) -> Result<Times, Error> {
        let mut arrivals = Arrivals::new(self.rate, SEED).map(|arrival| start + arrival);
        let mut times = Times::default();
        while times.ended < self.requests {
            let (index, now, event) = readers.next();
            let unknown = (index + 1).saturating_sub(times.answers.len());
            let came = arrivals.by_ref().take(unknown).map(AnswerTimes::new);
            times.answers.extend(came);
            match event {
                Ok(event) => times.take(index, now, &event),
                Err(Error::Submit(e)) if matches!(*e, SubmitError::Overloaded { .. }) => {
                    times.ended += 1;
                }
                Err(error) => return Err(error),
            }
            tick(times.ended);
        }
        Ok(times)
    }
}

/// When what came.
#[derive(Debug, Default)]
struct Times {
    answers: Vec<AnswerTimes>,
    /// Times between two successive tokens of all answers.
    gaps: Vec<Duration>,
    /// Requests that have ended, refused ones among them.
    ended: usize,
}

#[derive(Clone, Copy, Debug)]
struct AnswerTimes {
    arrival: Instant,
    tokens: usize,
    first: Instant,
    last: Instant,
    /// None if it was refused, or has not ended.
    end: Option<Instant>,
}

impl AnswerTimes {
    fn new(arrival: Instant) -> AnswerTimes {
        AnswerTimes {
            arrival,
            tokens: 0,
            first: arrival,
            last: arrival,
            end: None,
        }
    }
}

impl Times {
    fn take(&mut self, index: usize, now: Instant, event: &Event) {
        let answer = &mut self.answers[index];
        match event {
            Event::Token { .. } => {
                match answer.tokens {
                    0 => answer.first = now,
                    _ => self.gaps.push(now - answer.last),
                }
                answer.last = now;
                answer.tokens += 1;
            }
            Event::Finished { .. } => {
                answer.end = Some(now);
                self.ended += 1;
            }
            _ => {}
        }
    }

    fn report(self, start: Instant) -> LoadReport {
        let ended = self.answers.iter().filter_map(|a| Some((a, a.end?)));
        let ended: Vec<(&AnswerTimes, Instant)> = ended.collect();
        let summary = |time: &dyn Fn(&(&AnswerTimes, Instant)) -> Option<Duration>| {
            Summary::new(ended.iter().filter_map(time).collect())
        };
        let per_token = |answer: &AnswerTimes| {
            let after = u32::try_from(answer.tokens).ok()?.checked_sub(1)?;
            (answer.last - answer.first).checked_div(after)
        };
        LoadReport {
            completed: ended.len(),
            refused: self.ended - ended.len(),
            duration: ended
                .iter()
                .map(|(_, end)| *end - start)
                .max()
                .unwrap_or_default(),
            prompt_tokens: 0,
            generated_tokens: ended.iter().map(|(answer, _)| answer.tokens).sum(),
            peak: peak(ended.iter().map(|(answer, end)| (answer.arrival, *end))),
            ttft: summary(&|(answer, _)| Some(answer.first - answer.arrival)),
            tpot: summary(&|(answer, _)| per_token(answer)),
            itl: Summary::new(self.gaps),
            e2e: summary(&|(answer, end)| Some(*end - answer.arrival)),
            steps: Steps::default(),
        }
    }
}

/// The most of these spans that hold one moment.
fn peak(spans: impl Iterator<Item = (Instant, Instant)>) -> usize {
    let mut changes: Vec<(Instant, isize)> = spans
        .flat_map(|(start, end)| [(start, 1), (end, -1)])
        .collect();
    // Of what happens at one moment the ends first.
    changes.sort_unstable();
    let mut open = 0;
    let opened = changes.iter().map(|(_, change)| {
        open += change;
        open
    });
    opened.max().unwrap_or(0).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Finish, Token, Usage};

    fn token() -> Event {
        Event::Token {
            sample: 0,
            token: Token {
                id: 1,
                logprob: 0.0,
                top: Vec::new(),
            },
            pieces: Vec::new(),
        }
    }

    fn finished() -> Event {
        Event::Finished {
            sample: 0,
            finish: Finish::Length,
            pieces: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// Three answers and a refusal, by hand.
    #[test]
    fn a_report_counts_from_arrivals() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut times = Times {
            answers: [0, 10, 20, 100].map(|ms| AnswerTimes::new(at(ms))).into(),
            ended: 1,
            ..Times::default()
        };
        for (index, tokens, end) in [
            (0, vec![30, 40, 60], 61),
            (1, vec![40, 60], 60),
            (3, vec![150], 150),
        ] {
            for ms in tokens {
                times.take(index, at(ms), &token());
            }
            times.take(index, at(end), &finished());
        }
        assert_eq!(times.ended, 4);
        let report = times.report(start);
        assert_eq!((report.completed, report.refused), (3, 1));
        assert_eq!((report.generated_tokens, report.peak), (6, 2));
        let ms = Duration::from_millis;
        assert_eq!(report.duration, ms(150));
        for (summary, count, p50) in [
            (report.ttft, 3, ms(30)),
            // 15 and 20; the last has a single token.
            (report.tpot, 2, Duration::from_micros(17_500)),
            (report.itl, 3, ms(20)),
            (report.e2e, 3, ms(50)),
        ] {
            assert_eq!((summary.count, summary.p50), (count, p50));
        }
        assert_eq!(report.requests_per_second(), 20.0);
        assert_eq!(report.tokens_per_second(), 40.0);
    }

    #[test]
    fn the_peak_counts_spans_that_meet() {
        let start = Instant::now();
        let spans = |ms: &[(u64, u64)]| {
            let at = |ms: u64| start + Duration::from_millis(ms);
            peak(ms.iter().map(|(a, b)| (at(*a), at(*b))))
        };
        assert_eq!(spans(&[]), 0);
        assert_eq!(spans(&[(0, 1), (1, 2), (2, 3)]), 1);
        assert_eq!(spans(&[(0, 9), (1, 3), (2, 4), (4, 5)]), 3);
    }
}
