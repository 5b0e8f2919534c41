//! Requests that come when they come: latencies as those who ask meet them.

use super::arrivals::Arrivals;
use super::percentiles::Summary;
use super::{Steps, arbitrary, fits, request, settle, unused};
use crate::engine::{Engine, Song};
use crate::error::{Error, SubmitError};
use crate::event::Event;
use crate::generations::{Generations, Next};
use gamut_kernels::PAGE;
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
        let start = Instant::now();
        let times = self.time(engine, start, seed, tick)?;
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

    /// Submits all requests at their arrivals, and reads all answers.
    fn time(
        &self,
        engine: &Engine,
        start: Instant,
        seed: u64,
        tick: &mut dyn FnMut(usize),
    ) -> Result<Times, Error> {
        let mut generations = Generations::new();
        let mut times = Times::default();
        let arrivals = Arrivals::new(self.rate, SEED).take(self.requests);
        for (index, arrival) in arrivals.enumerate() {
            let arrival = start + arrival;
            let prompt = arbitrary(engine, &[4, seed, index as u64], self.prompt).collect();
            let request = request(engine, self.song.as_ref(), prompt, self.generated)?;
            while let Some(next) = generations.next_before(arrival) {
                times.take(next)?;
                tick(times.ended());
            }
            match engine.submit(request) {
                Ok(generation) => generations.push(generation, AnswerTimes::new(arrival)),
                Err(SubmitError::Overloaded { .. }) => times.refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        while let Some(next) = generations.next() {
            times.take(next)?;
            tick(times.ended());
        }
        Ok(times)
    }
}

/// When what came.
#[derive(Debug, Default)]
struct Times {
    /// Answers that have ended.
    answers: Vec<AnswerTimes>,
    /// Times between two successive tokens of all answers.
    gaps: Vec<Duration>,
    refused: usize,
}

#[derive(Clone, Copy, Debug)]
struct AnswerTimes {
    arrival: Instant,
    tokens: usize,
    first: Instant,
    last: Instant,
    end: Instant,
}

impl AnswerTimes {
    fn new(arrival: Instant) -> AnswerTimes {
        AnswerTimes {
            arrival,
            tokens: 0,
            first: arrival,
            last: arrival,
            end: arrival,
        }
    }

    /// Notes an event; for a token after the first the time since the one before.
    fn take(&mut self, now: Instant, event: &Event) -> Option<Duration> {
        let mut gap = None;
        match event {
            Event::Token { .. } => {
                match self.tokens {
                    0 => self.first = now,
                    _ => gap = Some(now - self.last),
                }
                self.last = now;
                self.tokens += 1;
            }
            Event::Finished { .. } => self.end = now,
            _ => {}
        }
        gap
    }
}

impl Times {
    /// Requests that have ended.
    fn ended(&self) -> usize {
        self.answers.len() + self.refused
    }

    fn take(&mut self, next: Next<'_, AnswerTimes>) -> Result<(), Error> {
        match next {
            Next::Event(answer, event) => self.gaps.extend(answer.take(Instant::now(), &event)),
            Next::Ended(answer, Ok(())) => self.answers.push(answer),
            Next::Ended(_, Err(Error::Submit(error)))
                if matches!(*error, SubmitError::Overloaded { .. }) =>
            {
                self.refused += 1;
            }
            Next::Ended(_, Err(error)) => return Err(error),
        }
        Ok(())
    }

    fn report(self, start: Instant) -> LoadReport {
        let answers = &self.answers;
        let summary = |time: &dyn Fn(&AnswerTimes) -> Option<Duration>| {
            Summary::new(answers.iter().filter_map(time).collect())
        };
        let per_token = |answer: &AnswerTimes| {
            let after = u32::try_from(answer.tokens).ok()?.checked_sub(1)?;
            (answer.last - answer.first).checked_div(after)
        };
        let last = answers.iter().map(|answer| answer.end).max();
        LoadReport {
            completed: answers.len(),
            refused: self.refused,
            duration: last.map_or(Duration::ZERO, |last| last - start),
            prompt_tokens: 0,
            generated_tokens: answers.iter().map(|answer| answer.tokens).sum(),
            peak: peak(answers.iter().map(|answer| (answer.arrival, answer.end))),
            ttft: summary(&|answer| Some(answer.first - answer.arrival)),
            tpot: summary(&per_token),
            itl: Summary::new(self.gaps),
            e2e: summary(&|answer| Some(answer.end - answer.arrival)),
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
            refused: 1,
            ..Times::default()
        };
        for (arrival, tokens, end) in [
            (0, vec![30, 40, 60], 61),
            (10, vec![40, 60], 60),
            (100, vec![150], 150),
        ] {
            let mut answer = AnswerTimes::new(at(arrival));
            for ms in tokens {
                times.gaps.extend(answer.take(at(ms), &token()));
            }
            answer.take(at(end), &finished());
            times.answers.push(answer);
        }
        assert_eq!(times.ended(), 4);
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
