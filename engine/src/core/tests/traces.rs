//! Requests in company give what they give alone.

use super::fake::{END, Fake, VOCABULARY, mix};
use crate::core::request::{Clip, Heard, Reader, Submission, Task, Told, Unexpanded};
use crate::core::{Core, Load, Loaded, Vocabulary};
use crate::error::Error;
use crate::event::Finish;
use crate::generation::Completion;
use crate::input::AudioInput;
use crate::mailbox::{Bell, Mailbox};
use crate::prefix::Key;
use crate::sampling::SamplingParams;
use crate::scheduler::Limits;
use gamut_kernels::{PAGE, Sampling};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// In place of audio in a prompt.
const PLACEHOLDER: u32 = VOCABULARY - 1;
const MOST: usize = 5 * PAGE;
const LONGEST_CLIP: usize = 2 * PAGE;

struct Letters;

impl Vocabulary for Letters {
    fn bytes(&self, token: u32) -> Vec<u8> {
        vec![b'a' + token as u8]
    }

    fn ends(&self, token: u32) -> bool {
        token == END
    }
}

/// Random numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = mix(self.0, 0x5eed);
        (self.0 % sides as u64) as usize
    }
}

/// A request of a trace.
#[derive(Clone, Debug)]
struct Asked {
    tick: usize,
    ids: Vec<u32>,
    songs: Vec<usize>,
    params: SamplingParams,
    /// Tokens that are given, if it is to be scored.
    score: Option<usize>,
    /// Ticks that the song is kept, if no more than that is wanted; at most until all others have
    /// ended.
    keeps: Option<usize>,
    priority: i32,
    client: usize,
    /// The tick at which its reader wants no more, and whether it says so or just goes.
    stops: Option<(usize, bool)>,
    /// Ticks between two looks into the mailbox, and the events that one takes at most.
    reads: (usize, usize),
    /// Nothing is read before this other request has ended.
    after: Option<usize>,
}

/// A trace and the machine that it runs on.
#[derive(Debug)]
struct Trace {
    limits: Limits,
    asked: Vec<Asked>,
    /// Ticks that reading a song takes.
    load_ticks: usize,
}

fn song(index: usize) -> Arc<[f32]> {
    let len = [1, 63, 64, 70, 100, 128][index % 6];
    (0..len).map(|i| (index * 1000 + i) as f32).collect()
}

impl Trace {
    fn random(seed: u64) -> Trace {
        let mut dice = Dice(seed);
        let max_num_seqs = 1 + dice.roll(5);
        let limits = Limits {
            pages: MOST / PAGE + dice.roll(12),
            blocks: LONGEST_CLIP / PAGE * (1 + dice.roll(2)),
            max_num_seqs,
            max_num_batched_tokens: max_num_seqs + PAGE + dice.roll(3 * PAGE),
            max_queued: 1000,
        };
        let requests = 1 + dice.roll(8);
        let mut asked: Vec<Asked> = (0..requests)
            .map(|_| Asked::random(&mut dice, max_num_seqs))
            .collect();
        for (index, asked) in asked.iter_mut().enumerate() {
            let later = index + 1 + dice.roll(2);
            asked.after = (later < requests && dice.roll(3) == 0).then_some(later);
        }
        Trace {
            limits,
            asked,
            load_ticks: dice.roll(4),
        }
    }

    fn alone(asked: &Asked) -> Trace {
        Trace {
            limits: Limits {
                pages: 40,
                blocks: 8,
                max_num_seqs: 8,
                max_num_batched_tokens: 8 + 7 * PAGE,
                max_queued: 1,
            },
            asked: vec![Asked {
                tick: 0,
                stops: None,
                reads: (1, usize::MAX),
                after: None,
                ..asked.clone()
            }],
            load_ticks: 0,
        }
    }
}

impl Asked {
    fn random(dice: &mut Dice, max_num_seqs: usize) -> Asked {
        // Few beginnings, so that many are shared.
        let (kind, len) = (dice.roll(3) as u64, 1 + dice.roll(2 * PAGE + 30));
        let token = |i: usize| mix(kind, i as u64) as u32 % (PLACEHOLDER - 1) + 1;
        let mut ids: Vec<u32> = (0..len).map(token).collect();
        let mut songs = Vec::new();
        for _ in 0..[0, 1, 1, 1, 1, 2][dice.roll(6)] {
            songs.push(dice.roll(6));
            ids.insert(dice.roll(5).min(len), PLACEHOLDER);
        }
        let keeps = (dice.roll(10) == 0).then(|| {
            (ids, songs) = (vec![PLACEHOLDER], vec![dice.roll(6)]);
            [dice.roll(200), usize::MAX][dice.roll(2)]
        });
        for _ in 0..dice.roll(3) {
            if keeps.is_none() {
                ids.push(1 + dice.roll(5) as u32);
            }
        }
        let score = (dice.roll(6) == 0 && ids.len() > 1).then(|| 1 + dice.roll(ids.len() - 1));
        let params = SamplingParams {
            sampling: Sampling {
                seed: dice.roll(3) as u64,
                ..Sampling::default()
            },
            max_tokens: [0, 1, 5, 30, 100, 150][dice.roll(6)],
            ignore_eos: dice.roll(2) == 0,
            n: 1 + dice.roll(max_num_seqs.min(3)),
            prompt_logprobs: (dice.roll(5) == 0).then_some(0),
            ..SamplingParams::default()
        };
        Asked {
            tick: dice.roll(60),
            ids,
            songs,
            score,
            keeps,
            params,
            priority: dice.roll(3) as i32 / 2,
            client: dice.roll(3),
            stops: (dice.roll(4) == 0).then(|| (dice.roll(80), dice.roll(2) == 0)),
            reads: [(1, usize::MAX), (1, usize::MAX), (2, 1), (40, usize::MAX)][dice.roll(4)],
            after: None,
        }
    }

    fn submission(&self, reader: Arc<Reader>, heard: SyncSender<Heard>) -> Submission {
        let audio = |song_index: &usize| AudioInput::Samples(song(*song_index));
        Submission {
            client: self.client.to_string(),
            priority: self.priority,
            prompt: Unexpanded {
                ids: self.ids.clone(),
                placeholder: Some(PLACEHOLDER),
                audio: self.songs.iter().map(audio).collect(),
                thinking: false,
            },
            params: self.params.clone(),
            guide: None,
            task: match (self.keeps, self.score) {
                (Some(_), _) => Task::Hear {
                    told: Told::new({
                        let reader = reader.clone();
                        move |result| match result {
                            Ok(song) => heard.send(song).unwrap(),
                            Err(error) => reader.put(Err(error)),
                        }
                    }),
                    reader,
                },
                (None, Some(given)) => Task::Score { given, reader },
                (None, None) => Task::Generate(reader),
            },
            came: Instant::now(),
        }
    }
}

/// What became of a request.
#[derive(Debug, Default)]
struct Outcome {
    completion: Completion,
    error: Option<Error>,
    ended: bool,
}

/// A request under way.
struct Under {
    reader: Arc<Reader>,
    heard: Receiver<Heard>,
    /// The song that is kept, and until which tick.
    kept: Option<(Key, usize)>,
    outcome: Outcome,
    gone: bool,
}

/// Runs a trace to its end, on a device that is prepared for it.
fn run(trace: &Trace, prepare: impl FnOnce(&mut Fake)) -> (Vec<Outcome>, Core<Fake>) {
    let limits = trace.limits;
    let mut fake = Fake::new(limits.pages, limits.blocks);
    prepare(&mut fake);
    let mut core = Core::new(fake, limits, Box::new(Letters), (MOST, LONGEST_CLIP));
    let mut under: Vec<Option<Under>> = trace.asked.iter().map(|_| None).collect();
    let mut loads: Vec<(usize, Load)> = Vec::new();
    let bell: Arc<Bell> = Arc::default();
    // Whether the engine's thread would not sleep.
    let mut awake = true;
    for tick in 0.. {
        assert!(
            tick < 20_000,
            "no end: awake {awake} {:?} {:?} {trace:?}",
            core.stats(),
            under
                .iter()
                .map(|u| u.as_ref().map(|u| (u.outcome.ended, u.gone)))
                .collect::<Vec<_>>()
        );
        let ended: Vec<bool> = under
            .iter()
            .map(|u| u.as_ref().is_some_and(Under::has_ended))
            .collect();
        for (asked, under) in trace.asked.iter().zip(&mut under) {
            if asked.tick == tick {
                let reader = Arc::new(Mailbox::new(6, 4 * asked.params.n + 8, bell.clone()));
                let (sender, heard) = sync_channel(1);
                core.submit(asked.submission(reader.clone(), sender));
                awake = true;
                *under = Some(Under {
                    reader,
                    heard,
                    kept: None,
                    outcome: Outcome::default(),
                    gone: false,
                });
            }
            let Some(under) = under else { continue };
            if let Some((_, says)) = asked.stops.filter(|(stop, _)| *stop == tick) {
                under.gone = !says;
                match says {
                    true => under.reader.stop(),
                    false => under.reader.abandon(),
                }
            }
            if let (Some(ticks), Ok(heard)) = (asked.keeps, under.heard.try_recv()) {
                under.kept = Some((heard.clip.key, tick.saturating_add(ticks)));
            }
            let all = ended.iter().all(|ended| *ended);
            if let Some((song, _)) = under.kept.take_if(|(_, until)| *until <= tick || all) {
                core.unpin(&song);
                awake = true;
            }
            let (every, most) = asked.reads;
            let reads = asked.after.is_none_or(|other| ended[other]);
            if tick % every == 0 && !under.gone && reads {
                under.read(most);
            }
        }
        let ready = loads.extract_if(.., |(ready, _)| *ready <= tick);
        for (_, load) in ready.collect::<Vec<_>>() {
            let known = load.samples;
            let loaded = load.audio.iter().map(|audio| read(&core, audio, known));
            core.loaded(load.ticket, Ok(loaded.collect()));
            awake = true;
        }
        if awake || bell.has_rung() {
            awake = core.tick();
            while let Some(load) = core.next_load() {
                loads.push((tick + trace.load_ticks, load));
            }
        }
        let all = under.iter().all(|u| {
            u.as_ref()
                .is_some_and(|u| u.has_ended() && u.kept.is_none())
        });
        if all && loads.is_empty() && !awake && core.is_idle() {
            break;
        }
    }
    let outcomes = under.into_iter().flatten().map(|under| under.outcome);
    (outcomes.collect(), core)
}

impl Under {
    fn has_ended(&self) -> bool {
        self.gone || self.outcome.ended
    }

    fn read(&mut self, most: usize) {
        for _ in 0..most {
            let Poll::Ready(event) = self.reader.poll(Waker::noop()) else {
                break;
            };
            match event {
                Some(Ok(event)) => self.outcome.completion.take(event),
                Some(Err(error)) => self.outcome.error = Some(error),
                None => {
                    self.outcome.ended = true;
                    break;
                }
            }
        }
    }
}

fn read(core: &Core<Fake>, audio: &AudioInput, wanted: bool) -> Loaded {
    let AudioInput::Samples(samples) = audio else {
        panic!("{audio:?}");
    };
    let clip = Clip {
        key: Key::of_samples(samples),
        samples: samples.len(),
    };
    let known = !wanted && core.knows(&clip.key);
    Loaded {
        clip,
        samples: (!known).then(|| samples.clone()),
        time: Duration::ZERO,
    }
}

/// Compares a request in company with the same one alone.
fn compare(seed: u64, trace: &Trace, asked: &Asked, outcome: &Outcome, alone: &Outcome) {
    let mut songs: Vec<usize> = asked.songs.clone();
    songs.sort_unstable();
    songs.dedup();
    let blocks: usize = songs
        .iter()
        .map(|index| song(*index).len().div_ceil(PAGE))
        .sum();
    let keeps = trace.asked.iter().any(|asked| asked.keeps.is_some());
    let no_room = |error: &Error| {
        matches!(
            error,
            Error::TooManySongs { .. } | Error::NoRoomForAudio { .. }
        )
    };
    if outcome.error.as_ref().is_some_and(no_room) {
        assert!(
            blocks > trace.limits.blocks || keeps,
            "seed {seed}: {asked:?}"
        );
        return;
    }
    let stopped = asked.stops.is_some();
    if !stopped || outcome.error.is_some() {
        assert_eq!(
            outcome.error.as_ref().map(ToString::to_string),
            alone.error.as_ref().map(ToString::to_string),
            "seed {seed}"
        );
    }
    let (here, there) = (&outcome.completion, &alone.completion);
    if !here.prompt.is_empty() || !stopped {
        assert_eq!(here.prompt, there.prompt, "seed {seed}: {asked:?}");
    }
    for (sample, answer) in here.answers.iter().enumerate() {
        let Some(expected) = there.answers.get(sample) else {
            assert!(
                stopped && answer.tokens.is_empty(),
                "seed {seed}: {asked:?}"
            );
            continue;
        };
        let len = answer.tokens.len();
        let name = format!("seed {seed}, sample {sample} of {asked:?}");
        assert_eq!(answer.tokens, expected.tokens[..len], "{name}");
        if answer.finish != Some(Finish::Cancelled) && (!stopped || answer.finish.is_some()) {
            assert_eq!(len, expected.tokens.len(), "{name}");
            assert_eq!(
                (&answer.text, answer.finish),
                (&expected.text, expected.finish),
                "{name}"
            );
        }
    }
    if !stopped {
        assert_eq!(
            here.answers.len(),
            there.answers.len(),
            "seed {seed}: {asked:?}"
        );
    }
}

/// Checks a trace, and counts what makes it hard: preemptions, tokens found, pages copied.
fn check(seed: u64) -> [u64; 3] {
    let trace = Trace::random(seed);
    let (outcomes, core) = run(&trace, |_| ());
    for (asked, outcome) in trace.asked.iter().zip(&outcomes) {
        let (alone, _) = run(&Trace::alone(asked), |_| ());
        compare(seed, &trace, asked, outcome, &alone[0]);
    }
    let stats = core.stats();
    assert_eq!(
        (stats.running, stats.waiting, stats.pages_used),
        (0, 0, 0),
        "seed {seed}"
    );
    for step in &core.runner.log {
        assert!(
            step.rows <= trace.limits.max_num_batched_tokens,
            "seed {seed}: {step:?}"
        );
        assert!(
            step.wanted <= trace.limits.max_wanted(),
            "seed {seed}: {step:?}"
        );
    }
    // The same calls, the same steps.
    let (_, again) = run(&trace, |_| ());
    assert_eq!(core.runner.log, again.runner.log, "seed {seed}");
    let copies = core.runner.log.iter().map(|step| step.copies as u64).sum();
    [stats.preemptions, stats.cached_tokens, copies]
}

#[test]
fn requests_in_company_give_what_they_give_alone() {
    let mut hardships = [0; 3];
    for seed in 0..10_000 {
        for (sum, here) in hardships.iter_mut().zip(check(seed)) {
            *sum += here;
        }
    }
    assert!(hardships.iter().all(|n| *n > 1_000), "{hardships:?}");
}

/// Every call of the device fails in turn: each request ends, and the engine goes on.
#[test]
fn requests_end_whatever_fails() {
    for seed in 0..200 {
        let trace = Trace::random(seed);
        let (_, whole) = run(&trace, |_| ());
        for failing in (1..=whole.runner.calls).step_by(1 + seed as usize % 7) {
            let (outcomes, core) = run(&trace, |fake| {
                fake.fails = Box::new(move |call| call == failing)
            });
            for (asked, outcome) in trace.asked.iter().zip(&outcomes) {
                if outcome.error.is_none() {
                    let (alone, _) = run(&Trace::alone(asked), |_| ());
                    compare(seed, &trace, asked, outcome, &alone[0]);
                }
            }
            let stats = core.stats();
            let left = (stats.running, stats.waiting, stats.pages_used);
            assert_eq!(left, (0, 0, 0), "seed {seed}, call {failing}");
        }
    }
}

/// A row without a token ends its own request, and no other of its step.
#[test]
fn rows_without_a_token_harm_nobody_else() {
    let prepare = |fake: &mut Fake| fake.undrawable = Some(2);
    let mut failed = 0;
    for seed in 0..300 {
        let trace = Trace::random(seed);
        let (outcomes, core) = run(&trace, prepare);
        for (asked, outcome) in trace.asked.iter().zip(&outcomes) {
            let (alone, _) = run(&Trace::alone(asked), prepare);
            compare(seed, &trace, asked, outcome, &alone[0]);
            failed += usize::from(matches!(outcome.error, Some(Error::NoToken(_))));
        }
        let stats = core.stats();
        let left = (stats.running, stats.waiting, stats.pages_used);
        assert_eq!(left, (0, 0, 0), "seed {seed}");
    }
    assert!(failed > 100, "{failed}");
}

/// Audio that only paused requests wait for is in nobody's way.
#[test]
fn audio_is_read_for_those_who_can_go_on() {
    let mut asked = Asked::random(&mut Dice(1), 1);
    (asked.keeps, asked.score, asked.ids) = (None, None, vec![PLACEHOLDER, 1]);
    let trace = Trace::alone(&asked);
    let limits = Limits {
        max_queued: 10,
        ..trace.limits
    };
    let fake = Fake::new(limits.pages, limits.blocks);
    let mut core = Core::new(fake, limits, Box::new(Letters), (MOST, LONGEST_CLIP));
    let mut submit = |core: &mut Core<Fake>, index| {
        asked.songs = vec![index];
        let reader = Arc::new(Mailbox::new(6, 12, Arc::default()));
        core.submit(asked.submission(reader, sync_channel(1).0));
    };
    (0..4).for_each(|song| submit(&mut core, song));
    let mut jobs = Vec::new();
    while let Some(load) = core.next_load() {
        let loaded = load.audio.iter().map(|audio| read(&core, audio, true));
        let loaded = loaded.collect();
        jobs.push(load.ticket.job);
        core.loaded(load.ticket, Ok(loaded));
    }
    assert_eq!(jobs.len(), 4);
    submit(&mut core, 4);
    // There is enough for the device to do.
    assert!(core.next_load().is_none());
    jobs.into_iter()
        .for_each(|job| core.scheduler.pause(job, true));
    assert!(core.next_load().is_some());
}

/// What might have become a stop string is told when no more will come.
#[test]
fn a_cancelled_answer_keeps_what_was_held_back() {
    let mut asked = Asked::random(&mut Dice(1), 1);
    (asked.songs, asked.score) = (Vec::new(), None);
    asked.ids = vec![1, 2, 3];
    asked.params = SamplingParams {
        max_tokens: 50,
        ignore_eos: true,
        ..SamplingParams::default()
    };
    let (whole, _) = run(&Trace::alone(&asked), |_| ());
    let whole = &whole[0].completion.answers[0].text;
    // The fifth letter may begin this one.
    asked.params.stop = vec![format!("{}!", &whole[4..5])];
    let trace = Trace::alone(&asked);
    let mut core = Core::new(
        Fake::new(trace.limits.pages, trace.limits.blocks),
        trace.limits,
        Box::new(Letters),
        (MOST, LONGEST_CLIP),
    );
    let reader = Arc::new(Mailbox::new(100, 10, Arc::default()));
    let (sender, heard) = sync_channel(1);
    core.submit(asked.submission(reader.clone(), sender));
    while core.stats().generated_tokens < 5 {
        core.tick();
    }
    let mut under = Under {
        reader,
        heard,
        kept: None,
        outcome: Outcome::default(),
        gone: false,
    };
    under.read(usize::MAX);
    assert_eq!(under.outcome.completion.answers[0].text, whole[..4]);
    under.reader.stop();
    core.tick();
    under.read(usize::MAX);
    let answer = &under.outcome.completion.answers[0];
    assert_eq!(answer.finish, Some(Finish::Cancelled));
    assert_eq!(answer.text, whole[..5]);
    assert!(under.outcome.ended);
}
