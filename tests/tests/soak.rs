//! Thousands of random requests from several threads, a third of them given up, some by readers that
//! panic: each ends in an answer or in an error that says what was wrong with it, and nothing is left
//! of any.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use futures_core::Stream;
use gamut_engine::{
    AudioInput, Blocking, Completion, Constraint, Continuation, DeviceChoice, Engine,
    EngineOptions, Error, Event, Excerpt, Generation, Input, Message, Model, Request, Sampling,
    SamplingParams, Song, SubmitError, Variables,
};
use gamut_loader::synthetic;
use gamut_tests::chance::Random;
use gamut_tests::sounds::{song, tone, wav};
use std::ops::{AddAssign, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 4;
/// Requests of each client.
const REQUESTS: usize = 500;
/// Requests of a client that are open at a time, at most.
const OPEN: usize = 6;
const PATIENCE: Duration = Duration::from_secs(120);

/// Little of everything, so that requests wait, are preempted and refused.
fn options() -> EngineOptions {
    EngineOptions {
        device: DeviceChoice::Host,
        threads: 2,
        max_model_len: Some(384),
        max_num_seqs: 4,
        max_num_batched_tokens: 4 + 64,
        kv_cache_tokens: Some(640),
        max_songs: 2,
        max_queued: 20,
        event_buffer: 4,
        ..EngineOptions::default()
    }
}

/// How requests ended.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    answered: usize,
    given_up: usize,
    overloaded: usize,
    refused: usize,
    panicked: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.answered += other.answered;
        self.given_up += other.given_up;
        self.overloaded += other.overloaded;
        self.refused += other.refused;
        self.panicked += other.panicked;
    }
}

/// Wakes nobody. Its panics are raised past the hook, which would print them all.
#[derive(Default)]
struct Panicking {
    wakes: AtomicUsize,
}

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        resume_unwind(Box::new("the waker of a reader"));
    }
}

/// Reads all that comes when the request is cancelled after so many events.
fn cancel_after(mut events: Blocking, read: usize) -> Result<Completion, Error> {
    let mut completion = Completion::default();
    let mut left = read;
    while let Some(event) = events.next() {
        completion.take(event?);
        left = left.saturating_sub(1);
        if left == 0 {
            events.cancel();
        }
    }
    Ok(completion)
}

/// Reads all by hand, since whoever is woken panics.
fn poll(generation: &mut Generation, waker: &Waker) -> Result<Completion, Error> {
    let mut completion = Completion::default();
    loop {
        match Pin::new(&mut *generation).poll_next(&mut Context::from_waker(waker)) {
            Poll::Ready(Some(event)) => completion.take(event?),
            Poll::Ready(None) => return Ok(completion),
            Poll::Pending => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// A thread that asks.
struct Client<'a> {
    engine: &'a Engine,
    sounds: &'a [AudioInput],
    waker: Waker,
    random: Random,
    counts: Counts,
    /// What it keeps in the engine's memory.
    song: Option<Song>,
}

impl Client<'_> {
    fn run(mut self) -> Counts {
        let mut open = Vec::new();
        for _ in 0..REQUESTS {
            let before = self.counts.overloaded;
            match self.random.below(20) {
                0 => self.score(),
                1 => self.talk(),
                2 => self.load(),
                3 | 4 => self.ask_in_vain(),
                _ => {
                    let request = self.request();
                    let answers = request.params.n;
                    match self.engine.submit(request) {
                        Ok(generation) => open.push((generation, answers)),
                        Err(SubmitError::Overloaded { .. }) => self.counts.overloaded += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            // Who is told that the engine has too much to do asks for less.
            let overloaded = self.counts.overloaded > before;
            while open.len() > self.random.below(OPEN) || (overloaded && !open.is_empty()) {
                let (generation, answers) = open.swap_remove(self.random.below(open.len()));
                self.read(generation, answers);
            }
        }
        for (generation, answers) in open {
            self.read(generation, answers);
        }
        self.counts
    }

    fn sound(&mut self) -> AudioInput {
        // The first is asked about more often than the others.
        let most = 1 + self.random.below(self.sounds.len());
        match &self.song {
            Some(song) if self.random.percent(20) => song.clone().into(),
            _ => self.sounds[self.random.below(most)].clone(),
        }
    }

    fn words(&mut self) -> String {
        let words = ["verse", "chorus", "bass", "key", "when", "why", "♭"];
        let count = 1 + self.random.below(20);
        let words: Vec<&str> = (0..count)
            .map(|_| words[self.random.below(words.len())])
            .collect();
        words.join(" ")
    }

    fn params(&mut self) -> SamplingParams {
        SamplingParams {
            sampling: Sampling {
                temperature: [0.0, 1.5][self.random.below(2)],
                top_k: self.random.below(3) * 20,
                repetition_penalty: [1.0, 1.2][self.random.below(2)],
                seed: self.random.below(1000) as u64,
                ..Sampling::default()
            },
            max_tokens: self.random.below(40),
            stop: [vec![], vec!["e".to_owned(), "ab".to_owned()]][self.random.below(2)].clone(),
            stop_token_ids: (0..self.random.below(3) as u32).collect(),
            ignore_eos: self.random.percent(50),
            logprobs: self.random.below(3),
            prompt_logprobs: [None, None, Some(1)][self.random.below(3)],
            n: 1 + self.random.below(3),
            constraint: self
                .random
                .percent(20)
                .then(|| Constraint::Regex("(verse|chorus) [0-9]+".to_owned())),
        }
    }

    fn request(&mut self) -> Request {
        let placeholder = self.engine.model().audio_token().unwrap();
        let mut audio = Vec::new();
        let input = match self.random.below(4) {
            0 => Input::Text(self.words()),
            1 => {
                let kind = self.random.below(2);
                let tokens = (0..1 + self.random.below(110)).map(|i| (i * 7 + kind * 31) % 200);
                let mut tokens: Vec<u32> = tokens.map(|id| 1 + id as u32).collect();
                for _ in 0..self.random.below(3) {
                    let most = tokens.len().min(3);
                    tokens.insert(self.random.below(most + 1), placeholder);
                    audio.push(self.sound());
                }
                Input::Tokens(tokens)
            }
            2 => {
                let said = [("user", self.words()), ("assistant", self.words())];
                let mut messages: Vec<Message> = Vec::new();
                messages.extend(said.map(|(who, what)| Message::text(who, what)));
                messages.push(Message::text("user", self.words()));
                Input::Messages(messages, Variables::default())
            }
            _ => {
                audio.push(self.sound());
                let messages = vec![Message::audio("user", self.words())];
                Input::Messages(messages, Variables::default())
            }
        };
        let mut request = Request::new(input)
            .params(self.params())
            .priority(self.random.below(3) as i32)
            .client(["a", "b", ""][self.random.below(3)]);
        request.audio = audio;
        request
    }

    /// Reads all answers, or some events of them.
    fn read(&mut self, mut generation: Generation, answers: usize) {
        let some = self.random.below(20);
        let read = match self.random.below(10) {
            0 => {
                self.counts.given_up += 1;
                return;
            }
            1 => {
                self.counts.given_up += 1;
                let read = generation
                    .blocking()
                    .take(some)
                    .collect::<Result<Vec<_>, _>>();
                return drop(self.count(read));
            }
            2 => {
                self.counts.given_up += 1;
                cancel_after(generation.blocking(), some)
            }
            3 => poll(&mut generation, &self.waker),
            _ => generation.wait(),
        };
        if let Some(completion) = self.count(read) {
            let ended = completion.answers.iter().filter(|a| a.finish.is_some());
            assert_eq!(ended.count(), answers, "{completion:?}");
        }
    }

    /// Counts what was answered, unless the engine had too much to do.
    fn count<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                self.counts.answered += 1;
                Some(value)
            }
            Err(Error::Submit(error)) if matches!(*error, SubmitError::Overloaded { .. }) => {
                self.counts.overloaded += 1;
                None
            }
            Err(Error::TooManySongs { .. } | Error::NoRoomForAudio { .. }) => {
                self.counts.refused += 1;
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn score(&mut self) {
        let request = self.request();
        let words = Continuation::Text(self.words());
        let continuations = [words, Continuation::Tokens(vec![3, 4, 5])];
        let scored = self.engine.score(&request, &continuations);
        if let Some(scored) = self.count(scored) {
            assert_eq!(scored[1].prompt.len(), 3);
        }
    }

    fn talk(&mut self) {
        let audio = self.sound();
        let mut session = self.engine.session();
        session.hear(audio);
        for _ in 0..2 {
            let (words, params) = (self.words(), self.params());
            let mut patience = self.random.below(40);
            let answer = session.ask(&words, &params, &mut |event| {
                patience =
                    patience.saturating_sub(usize::from(matches!(event, Event::Token { .. })));
                match patience {
                    0 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            });
            self.count(answer);
        }
    }

    /// Has a song heard, by a listener that may panic.
    fn load(&mut self) {
        let (audio, panics) = (self.sound(), self.random.percent(40));
        let engine = self.engine;
        let loaded = catch_unwind(AssertUnwindSafe(|| {
            engine.load_audio_with(audio, &mut |_, _, _| {
                if panics {
                    resume_unwind(Box::new("a listener"));
                }
            })
        }));
        match loaded {
            Ok(loaded) => self.song = self.count(loaded),
            Err(_) => self.counts.panicked += 1,
        }
    }

    /// Asks what cannot be answered.
    fn ask_in_vain(&mut self) {
        let placeholder = self.engine.model().audio_token().unwrap();
        let bytes = |data: &[u8]| AudioInput::Bytes {
            name: "upload".to_owned(),
            data: data.into(),
            excerpt: Excerpt::default(),
        };
        let request = match self.random.below(8) {
            0 => Request::new(Input::Tokens(vec![])),
            1 => Request::new(Input::Tokens(vec![1; 400])),
            2 => Request::new(Input::Tokens(vec![u32::MAX])),
            3 => Request::new(Input::Tokens(vec![placeholder; 2])),
            4 => Request::ask(AudioInput::Samples([0.0, f32::NAN].into()), "?"),
            5 => Request::ask(AudioInput::Samples(tone(5.0).into()), "?"),
            6 => Request::ask(bytes(b"no audio at all"), "?"),
            _ => Request::new(Input::Text("?".to_owned())).params(SamplingParams {
                n: 5,
                ..SamplingParams::default()
            }),
        };
        let error = match self.engine.submit(request) {
            Ok(generation) => generation.wait().unwrap_err(),
            Err(error) => error.into(),
        };
        match error {
            Error::Submit(_) => self.counts.overloaded += 1,
            Error::Panicked | Error::ShutDown | Error::Device(_) => panic!("{error}"),
            _ => self.counts.refused += 1,
        }
    }
}

/// The names of an engine's threads that this process has.
#[cfg(target_os = "linux")]
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // One may end meanwhile.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("gamut")).collect()
}

/// Waits until something holds.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Ends all requests with an error if none gets any further until `done` says so.
fn watch(engine: &Engine, done: &Receiver<()>) {
    let mut before = 0;
    while done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        let stats = engine.stats();
        if stats.steps == before {
            println!("nothing happens any more: {stats:?}");
            engine.shutdown(Duration::ZERO);
        }
        before = stats.steps;
    }
}

fn shared(audio: &AudioInput) -> usize {
    match audio {
        AudioInput::Samples(samples) => Arc::strong_count(samples),
        AudioInput::Bytes { data, .. } => Arc::strong_count(data),
        _ => 0,
    }
}

#[test]
fn nothing_is_left_of_thousands_of_requests() {
    // Clips of at most four seconds, so that the pool of audio has room for few.
    let mut config = synthetic::demo_config();
    config["max_audio_seconds"] = 4.into();
    let model = Arc::new(Model::random(&config.to_string(), 0).unwrap());
    let file = AudioInput::Bytes {
        name: "upload".to_owned(),
        data: wav(&tone(1.5)).into(),
        excerpt: Excerpt::default(),
    };
    let sounds = [song(0), song(1), file, song(2)];
    let panicking = Arc::new(Panicking::default());

    let engine = Engine::new(model.clone(), &options()).unwrap();
    let greedy = || {
        let request = Request::ask(sounds[1].clone(), "When does the chorus start?");
        let params = SamplingParams {
            max_tokens: 40,
            ..SamplingParams::default()
        };
        let mut completion = engine
            .submit(request.params(params))
            .unwrap()
            .wait()
            .unwrap();
        completion.answers.remove(0).tokens
    };
    let before = greedy();
    let mut counts = Counts::default();
    std::thread::scope(|scope| {
        let engine = &engine;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let client = Client {
                    engine,
                    sounds: &sounds,
                    waker: panicking.clone().into(),
                    random: Random(seed),
                    counts: Counts::default(),
                    song: None,
                };
                scope.spawn(|| client.run())
            })
            .collect();
        let (ended, done) = channel::<()>();
        scope.spawn(move || watch(engine, &done));
        for client in clients {
            counts += client.join().unwrap();
        }
        drop(ended);
    });
    wait_for("requests are left", || {
        let stats = engine.stats();
        stats.running + stats.waiting == 0
    });
    let stats = engine.stats();
    println!("{counts:?}, {stats:?}");
    assert_eq!(stats.pages_used, 0);
    // There was of everything.
    let wakes = panicking.wakes.load(Ordering::Relaxed);
    let Counts {
        answered,
        given_up,
        overloaded,
        refused,
        panicked,
    } = counts;
    let seen = [answered, given_up, overloaded, refused, panicked, wakes];
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    assert!(
        stats.preemptions > 0 && stats.cached_tokens > 0,
        "{stats:?}"
    );
    assert_eq!(greedy(), before);
    // Nor does a song stay whose asker has gone: there would be no room for the longest, or beside it.
    for sound in &sounds {
        drop(engine.load_audio(sound.clone()).unwrap());
    }

    drop(engine);
    #[cfg(target_os = "linux")]
    wait_for("threads are left", || threads().is_empty());
    wait_for("the model is left", || Arc::strong_count(&model) == 1);
    let left = sounds.each_ref().map(shared);
    assert_eq!((left, Arc::strong_count(&panicking)), ([1; 4], 1));
}
