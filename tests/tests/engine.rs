//! The engine as services use it: many requests at a time, each with the bits that it has alone.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{
    AudioInput, Completion, Continuation, DType, DeviceChoice, Engine, EngineOptions, Error, Event,
    Finish, Input, Model, OpenOptions, Request, Sampling, SamplingParams, SubmitError,
};
use gamut_loader::synthetic::{self, Fill, SyntheticOptions};
use gamut_tests::chance::Random;
use gamut_tests::nvrtc::NEWEST;
use gamut_tests::sounds::song;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A model on disk, of random weights from a seed.
fn checkpoint(seed: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let options = SyntheticOptions {
        fill: Fill::Random { seed },
        ..SyntheticOptions::default()
    };
    synthetic::write(dir.path(), &options).unwrap();
    dir
}

fn model(seed: u64) -> Arc<Model> {
    // The mapped files stay when their names are gone.
    Arc::new(Model::open(checkpoint(seed).path(), &OpenOptions::default()).unwrap())
}

/// Little of everything, so that requests are in each other's way.
fn small() -> EngineOptions {
    EngineOptions {
        device: DeviceChoice::Host,
        threads: 2,
        max_model_len: Some(512),
        max_num_seqs: 3,
        max_num_batched_tokens: 3 + 100,
        kv_cache_tokens: Some(640),
        max_songs: 2,
        ..EngineOptions::default()
    }
}

/// Room for a request alone.
fn roomy(options: &EngineOptions) -> EngineOptions {
    EngineOptions {
        max_num_seqs: 8,
        max_num_batched_tokens: 512,
        kv_cache_tokens: Some(4096),
        ..options.clone()
    }
}

fn request(random: &mut Random, model: &Model, most: usize) -> Request {
    let placeholder = model.audio_token().unwrap();
    let kind = random.below(2);
    let len = 1 + random.below(150);
    let mut ids: Vec<u32> = (0..len)
        .map(|i| 1 + ((i * 7 + kind * 31) % 200) as u32)
        .collect();
    let mut audio = Vec::new();
    if random.below(3) > 0 {
        ids.insert(random.below(4).min(len), placeholder);
        audio.push(song(random.below(3)));
    }
    ids.push(1 + random.below(50) as u32);
    let params = SamplingParams {
        sampling: Sampling {
            temperature: [0.0, 1.5][random.below(2)],
            repetition_penalty: [1.0, 1.2][random.below(2)],
            seed: random.below(1000) as u64,
            ..Sampling::default()
        },
        max_tokens: 1 + random.below(most),
        ignore_eos: random.below(2) == 0,
        logprobs: 2,
        prompt_logprobs: [None, None, Some(1)][random.below(3)],
        n: 1 + random.below(3),
        ..SamplingParams::default()
    };
    let mut request = Request::new(Input::Tokens(ids))
        .params(params)
        .priority(random.below(2) as i32)
        .client(["a", "b"][random.below(2)]);
    request.audio = audio;
    request
}

/// Everything of a completion that must not depend on company, logits by the bits of what they give.
fn bits(completion: &Completion) -> impl PartialEq + std::fmt::Debug {
    let token = |t: &gamut_engine::Token| {
        let top: Vec<_> = t.top.iter().map(|(id, x)| (*id, x.to_bits())).collect();
        (t.id, t.logprob.to_bits(), top)
    };
    let answer = |a: &gamut_engine::Answer| {
        let tokens: Vec<_> = a.tokens.iter().map(token).collect();
        (tokens, a.text.clone(), a.finish)
    };
    let prompt: Vec<_> = completion.prompt.iter().map(token).collect();
    (
        prompt,
        completion.answers.iter().map(answer).collect::<Vec<_>>(),
    )
}

/// Runs traces of requests that come at once, some of which are dropped, and compares the others with
/// the same requests alone in an engine of their own.
fn traces(options: &EngineOptions, seeds: std::ops::Range<u64>, requests: usize, most: usize) {
    let model = model(0);
    for seed in seeds {
        let engine = Engine::new(model.clone(), options).unwrap();
        let mut random = Random(seed);
        let requests: Vec<Request> = (0..requests)
            .map(|_| request(&mut random, &model, most))
            .collect();
        let mut generations: Vec<_> = requests
            .iter()
            .map(|r| Some(engine.submit(r.clone()).unwrap()))
            .collect();
        for generation in &mut generations {
            if random.below(4) == 0 {
                *generation = None;
            }
        }
        for (request, generation) in requests.into_iter().zip(generations) {
            let Some(generation) = generation else {
                continue;
            };
            let found = generation.wait().unwrap();
            let alone = Engine::new(model.clone(), &roomy(options)).unwrap();
            let expected = alone.submit(request.clone()).unwrap().wait().unwrap();
            assert_eq!(bits(&found), bits(&expected), "seed {seed}: {request:?}");
        }
        idle(&engine);
        let stats = engine.stats();
        assert_eq!(
            (stats.running, stats.waiting, stats.pages_used),
            (0, 0, 0),
            "seed {seed}"
        );
    }
}

/// Waits until the engine has nothing to do.
fn idle(engine: &Engine) {
    let start = Instant::now();
    while engine.stats().running + engine.stats().waiting > 0 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{:?}",
            engine.stats()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn requests_in_company_have_the_bits_that_they_have_alone() {
    traces(&small(), 0..200, 4, 40);
}

#[test]
fn requests_in_company_have_the_bits_that_they_have_alone_on_the_virtual_gpu() {
    NEWEST.nvrtc();
    let options = EngineOptions {
        device: DeviceChoice::Virtual,
        dtype: Some(DType::BF16),
        ..small()
    };
    traces(&options, 0..2, 5, 12);
}

fn ask(question: &str, max_tokens: usize) -> Request {
    Request::ask(song(1), question).params(SamplingParams {
        max_tokens,
        ignore_eos: true,
        ..SamplingParams::default()
    })
}

#[test]
fn a_song_is_heard_and_prefilled_once() {
    let options = EngineOptions {
        max_num_batched_tokens: 512,
        kv_cache_tokens: Some(2048),
        ..small()
    };
    let engine = Engine::new(model(0), &options).unwrap();
    let first = engine.submit(ask("What?", 4)).unwrap().wait().unwrap();
    let second = engine.submit(ask("Why?", 4)).unwrap().wait().unwrap();
    let [first, second] = [first, second].map(|c| c.answers[0].usage.clone());
    assert_eq!((first.cached_tokens, first.stages.len()), (0, 5));
    assert_eq!(
        (second.stages.len(), second.audio_tokens),
        (0, first.audio_tokens)
    );
    assert!(
        second.cached_tokens >= first.audio_tokens / 64 * 64,
        "{second:?}"
    );
    // Many at once: nobody computes what another is computing.
    let questions: Vec<_> = (0..6)
        .map(|i| engine.submit(ask(&format!("{i}?"), 3)).unwrap())
        .collect();
    let before = engine.stats().prompt_tokens;
    questions.into_iter().for_each(|q| drop(q.wait().unwrap()));
    let computed = (engine.stats().prompt_tokens - before) as usize;
    assert!(
        computed < 6 * (first.prompt_tokens - first.audio_tokens + 64),
        "{computed}"
    );
}

#[test]
fn each_of_many_answers_is_what_its_seed_gives_alone() {
    let engine = Engine::new(model(0), &small()).unwrap();
    let mut request = ask("What?", 20);
    request.params.sampling.temperature = 1.5;
    request.params.n = 3;
    let together = engine.submit(request.clone()).unwrap().wait().unwrap();
    request.params.n = 1;
    for answer in &together.answers {
        let alone = engine.submit(request.clone()).unwrap().wait().unwrap();
        assert_eq!(answer.tokens, alone.answers[0].tokens);
        request.params.sampling.seed += 1;
    }
    assert!(together.answers[0].tokens != together.answers[1].tokens);
}

#[test]
fn continuations_are_scored_as_they_would_be_drawn() {
    let engine = Engine::new(model(0), &roomy(&small())).unwrap();
    let request = ask("What?", 5);
    let drawn = engine.submit(request.clone()).unwrap().wait().unwrap();
    let tokens: Vec<u32> = drawn.answers[0].tokens.iter().map(|t| t.id).collect();
    let scored = engine
        .score(
            &request,
            &[
                Continuation::Tokens(tokens.clone()),
                Continuation::Tokens(vec![3, 4]),
            ],
        )
        .unwrap();
    let ids = |c: &Completion| c.prompt.iter().map(|t| t.id).collect::<Vec<_>>();
    assert_eq!((ids(&scored[0]), ids(&scored[1])), (tokens, vec![3, 4]));
    // On the host prompted and generated rows have the same arithmetic.
    let logprobs = |tokens: &[gamut_engine::Token]| -> Vec<u32> {
        tokens.iter().map(|t| t.logprob.to_bits()).collect()
    };
    assert_eq!(
        logprobs(&scored[0].prompt),
        logprobs(&drawn.answers[0].tokens)
    );
    let none = engine.score(&request, &[Continuation::Tokens(vec![])]);
    assert!(matches!(none, Err(Error::EmptyPrompt)));
}

#[test]
fn a_reader_that_stops_reading_holds_up_nobody() {
    let options = EngineOptions {
        event_buffer: 8,
        max_num_seqs: 2,
        ..small()
    };
    let engine = Engine::new(model(0), &options).unwrap();
    let slow: Vec<_> = (0..3)
        .map(|i| engine.submit(ask(&format!("{i}"), 60)).unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(50));
    let quick = engine.submit(ask("Quick?", 40)).unwrap().wait().unwrap();
    assert_eq!(quick.answers[0].tokens.len(), 40);
    assert!(engine.stats().generated_tokens < 3 * 60 + 40);
    for slow in slow {
        assert_eq!(slow.wait().unwrap().answers[0].tokens.len(), 60);
    }
}

#[test]
fn too_many_requests_are_refused() {
    let options = EngineOptions {
        max_queued: 2,
        event_buffer: 1,
        max_num_seqs: 1,
        ..small()
    };
    let engine = Engine::new(model(0), &options).unwrap();
    let mut kept = Vec::new();
    let refused = loop {
        match engine.submit(ask("?", 50)) {
            Ok(generation) => kept.push(generation),
            Err(error) => break error,
        }
        assert!(kept.len() < 100);
    };
    assert!(
        matches!(refused, SubmitError::Overloaded { most: 2, .. }),
        "{refused}"
    );
    drop(kept);
    idle(&engine);
    assert!(engine.submit(ask("?", 2)).unwrap().wait().is_ok());
}

#[test]
fn a_cancelled_request_ends_with_what_it_has() {
    let engine = Engine::new(model(0), &small()).unwrap();
    let mut request = ask("?", 200);
    request.params.n = 2;
    let mut events = engine.submit(request).unwrap().blocking();
    let mut completion = Completion::default();
    while let Some(event) = events.next() {
        let event = event.unwrap();
        if matches!(event, Event::Token { .. }) {
            events.cancel();
        }
        completion.take(event);
    }
    assert_eq!(completion.answers.len(), 2);
    for answer in &completion.answers {
        assert_eq!(answer.finish, Some(Finish::Cancelled));
        assert!(answer.tokens.len() < 200);
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let engine = Engine::new(model(0), &small()).unwrap();
    let fails = |request: Request| match engine.submit(request) {
        Ok(generation) => generation.wait().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    let no_file = Request::ask(AudioInput::path("/nowhere.mp3"), "?");
    assert!(fails(no_file).contains("/nowhere.mp3: cannot be read"));
    let empty = Request::new(Input::Tokens(vec![]));
    assert_eq!(fails(empty), "the prompt has no tokens");
    let long = Request::new(Input::Tokens(vec![1; 512]));
    assert!(fails(long).starts_with("the prompt has 512 tokens (0 of them audio)"));
    let unknown = Request::new(Input::Tokens(vec![1 << 30]));
    assert!(fails(unknown).starts_with("token of the prompt is 1073741824, expected at most"));
    let missing = Request::new(Input::Tokens(vec![engine.model().audio_token().unwrap()]));
    assert!(fails(missing).contains("1 times, expected 0"));
    let mut many = ask("?", 1);
    many.params.n = 4;
    assert_eq!(fails(many), "n is 4, expected 1 to 3");
    let nan = Request::ask(AudioInput::Samples([f32::NAN].into()), "?");
    assert!(fails(nan).starts_with("sample 0 of the clip is NaN"));
    assert!(engine.submit(ask("?", 2)).unwrap().wait().is_ok());
}

/// Prompts that are short share a step, also where none may be as long as it.
#[test]
fn a_step_is_full_of_short_prompts() {
    let options = EngineOptions {
        max_model_len: Some(70),
        max_num_seqs: 8,
        max_num_batched_tokens: 512,
        kv_cache_tokens: Some(2048),
        ..small()
    };
    let engine = Engine::new(model(0), &options).unwrap();
    let prompts = (0..40).map(|i| (0..64).map(|j| 1 + (i * 64 + j) % 500).collect());
    let generations = prompts.map(|ids| {
        let request = Request::new(Input::Tokens(ids)).params(ask("", 3).params);
        engine.submit(request).unwrap()
    });
    for generation in generations.collect::<Vec<_>>() {
        assert_eq!(generation.wait().unwrap().answers[0].tokens.len(), 3);
    }
}

#[test]
fn songs_stay_while_somebody_keeps_them() {
    let engine = Engine::new(model(0), &small()).unwrap();
    let kept = engine.load_audio(song(0)).unwrap();
    assert!(kept.tokens() > 0 && kept.usage().stages.len() == 5);
    // With another one there would be no room for the longest clip.
    let most = engine.stats().audio_blocks;
    assert!(engine.stats().audio_blocks_used > 0 && most > 0);
    let mut session = engine.session();
    session.hear(kept);
    let answer = session.ask("What?", &ask("", 3).params, &mut |_| {
        std::ops::ControlFlow::Continue(())
    });
    assert!(answer.unwrap().usage.stages.is_empty());
}

#[test]
fn new_weights_are_used_and_nothing_cached_is() {
    let engine = Engine::new(model(0), &small()).unwrap();
    let song = engine.load_audio(song(1)).unwrap();
    let request = || {
        let mut request = ask("What?", 12);
        request.audio = vec![song.clone().into()];
        request
    };
    let old = engine.submit(request()).unwrap().wait().unwrap();
    let begun = engine.submit(ask("Long?", 100)).unwrap();
    let dir = checkpoint(1);
    engine
        .update_weights(dir.path(), &OpenOptions::default())
        .unwrap();
    let new = engine.submit(request()).unwrap().wait().unwrap();
    let fresh = Engine::new(model(1), &small()).unwrap();
    let expected = fresh.submit(ask("What?", 12)).unwrap().wait().unwrap();
    assert_eq!(bits(&new), bits(&expected));
    assert_eq!(new.answers[0].usage.cached_tokens, 0);
    assert!(old.answers[0].tokens != new.answers[0].tokens);
    assert_eq!(begun.wait().unwrap().answers[0].tokens.len(), 100);
    assert!(
        engine
            .update_weights("/nowhere", &OpenOptions::default())
            .is_err()
    );
}

#[test]
fn an_engine_ends_when_it_is_told_or_dropped() {
    let engine = Engine::new(model(0), &small()).unwrap();
    let generation = engine.submit(ask("?", 20)).unwrap();
    assert!(engine.shutdown(Duration::from_secs(60)));
    assert!(matches!(
        engine.submit(ask("?", 2)),
        Err(SubmitError::ShutDown)
    ));
    assert_eq!(generation.wait().unwrap().answers[0].tokens.len(), 20);

    let options = EngineOptions {
        event_buffer: 1,
        ..small()
    };
    let engine = Engine::new(model(0), &options).unwrap();
    let unread = engine.submit(ask("?", 50)).unwrap();
    assert!(!engine.shutdown(Duration::from_millis(20)));
    assert!(matches!(unread.wait(), Err(Error::ShutDown)));

    // The last handle may go before its answers.
    let engine = Engine::new(model(0), &small()).unwrap();
    let generation = engine.submit(ask("?", 30)).unwrap();
    drop(engine);
    assert_eq!(generation.wait().unwrap().answers[0].tokens.len(), 30);
}
