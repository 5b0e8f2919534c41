//! Rows and loads on the demo model, on the host.

use super::{Load, Shape, generation, prompt};
use crate::engine::{Engine, EngineOptions};
use crate::error::Error;
use crate::input::AudioInput;
use crate::model::Model;
use gamut_kernels::DeviceChoice;
use gamut_loader::synthetic;
use std::sync::Arc;
use std::time::Duration;

fn engine(change: impl FnOnce(&mut EngineOptions)) -> Engine {
    let model = Arc::new(Model::random(&synthetic::demo_config().to_string(), 0).unwrap());
    let mut options = EngineOptions {
        device: DeviceChoice::Host,
        threads: 2,
        max_model_len: Some(512),
        max_num_seqs: 4,
        kv_cache_tokens: Some(4096),
        max_songs: 2,
        ..EngineOptions::default()
    };
    change(&mut options);
    Engine::new(model, &options).unwrap()
}

/// Prompts are computed anew each time, and what is before them is not.
#[test]
fn prompts_are_computed_and_what_is_before_them_is_cached() {
    let engine = engine(|_| ());
    let mut ticks = 0;
    for (shape, cached) in [
        (Shape::new(70, 0, 1), 0),
        (Shape::new(140, 0, 1), 0),
        (Shape::new(140, 0, 1), 0),
        (Shape::new(70, 64, 3), 3 * 64 * 3),
        (Shape::new(70, 0, 3), 0),
    ] {
        let before = engine.stats().cached_tokens;
        let row = prompt(&engine, shape, 2, &mut || ticks += 1).unwrap();
        assert_eq!(row.tokens, shape.tokens * shape.batch);
        assert_eq!(row.times.len(), 2);
        assert!(row.times.iter().all(|time| !time.is_zero()));
        assert!(row.steps.steps >= 2, "{:?}", row.steps);
        super::settle(&engine);
        assert_eq!(engine.stats().cached_tokens - before, cached, "{shape:?}");
    }
    assert_eq!(ticks, 5 * 3);
}

/// Several sequences run side by side: a step has a token of each.
#[test]
fn sequences_of_a_batch_share_their_steps() {
    let engine = engine(|_| ());
    for (shape, steps) in [(Shape::new(24, 0, 1), 24), (Shape::new(24, 100, 4), 24)] {
        let row = generation(&engine, shape, 2, &mut || ()).unwrap();
        assert_eq!(row.tokens, 24 * shape.batch);
        // A look at the engine may come a step late, at either end.
        let found = row.steps.steps;
        assert!((2 * steps - 4..=2 * steps + 4).contains(&found), "{found}");
        let (each, share) = row.steps.overhead().unwrap();
        assert!(!each.is_zero() && (0.0..1.0).contains(&share), "{row:?}");
    }
}

/// The engine's clock stands still while it has nothing to do.
#[test]
fn the_device_has_a_part_of_the_steps_time() {
    let engine = engine(|_| ());
    generation(&engine, Shape::new(8, 0, 1), 1, &mut || ()).unwrap();
    super::settle(&engine);
    let stats = engine.stats();
    assert!(!stats.device_time.is_zero() && stats.device_time < stats.step_time);
    std::thread::sleep(Duration::from_millis(20));
    let song = AudioInput::Samples(vec![0.1; 8_000].into());
    let again = engine.stats();
    assert_eq!(
        (stats.step_time, stats.device_time),
        (again.step_time, again.device_time)
    );
    // Hearing is the device's work too.
    engine.load_audio(song).unwrap();
    super::settle(&engine);
    assert!(engine.stats().device_time > stats.device_time);
}

fn load(rate: f64, requests: usize) -> Load {
    Load {
        rate,
        requests,
        prompt: 20,
        generated: 5,
        song: None,
    }
}

#[test]
fn a_load_is_answered_whole() {
    let engine = engine(|_| ());
    let song = AudioInput::Samples(vec![0.1; 16_000].into());
    let song = engine.load_audio(song).unwrap();
    for (song, audio) in [(None, 0), (Some(song), 25)] {
        for rate in [200.0, f64::INFINITY] {
            let mut ended = Vec::new();
            let report = Load {
                song: song.clone(),
                ..load(rate, 30)
            }
            .run(&engine, &mut |n| ended.push(n))
            .unwrap();
            assert_eq!((report.completed, report.refused), (30, 0));
            assert_eq!(report.generated_tokens, 30 * 5);
            assert_eq!(report.prompt_tokens, 30 * (20 + audio));
            assert!(ended.is_sorted() && ended.last() == Some(&30));
            assert!((1..=30).contains(&report.peak));
            if rate.is_infinite() {
                assert_eq!(report.peak, 30);
            }
            let counts = [report.ttft, report.tpot, report.itl, report.e2e].map(|s| s.count);
            assert_eq!(counts, [30, 30, 30 * 4, 30]);
            for (first, whole) in [
                (report.ttft.mean, report.e2e.mean),
                (report.ttft.p50, report.e2e.p50),
                (report.ttft.p99, report.e2e.p99),
            ] {
                assert!(first <= whole && whole <= report.duration);
            }
            assert!(report.steps.steps >= 5);
        }
    }
}

#[test]
fn what_the_engine_refuses_is_counted() {
    let engine = engine(|options| {
        options.max_num_seqs = 1;
        options.max_queued = 2;
    });
    let report = load(f64::INFINITY, 40).run(&engine, &mut |_| ()).unwrap();
    assert!(report.refused > 0, "{report:?}");
    assert_eq!(report.completed + report.refused, 40);
    assert_eq!(report.generated_tokens, report.completed * 5);
}

#[test]
fn impossible_loads_are_refused() {
    let engine = engine(|_| ());
    let fails = |load: Load| load.run(&engine, &mut |_| ()).unwrap_err().to_string();
    for rate in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-9, 1e9] {
        let error = fails(load(rate, 1));
        assert!(
            error.starts_with(&format!("the rate is {rate} ")),
            "{error}"
        );
    }
    for (load, parts) in [
        (load(1.0, 0), ["number of requests is 0", "expected 1 to"]),
        (
            load(1.0, usize::MAX),
            ["number of requests is 1844", "1000000"],
        ),
        (
            Load {
                prompt: 0,
                ..load(1.0, 1)
            },
            ["length of prompts is 0", "expected 1 to"],
        ),
        (
            Load {
                generated: usize::MAX,
                ..load(1.0, 1)
            },
            ["18446744073709551615 tokens", "context holds 512"],
        ),
    ] {
        let error = fails(load);
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    for shape in [Shape::new(usize::MAX, 0, 1), Shape::new(1, 512, 1)] {
        for run in [prompt, generation] {
            let result = run(&engine, shape, 1, &mut || ());
            assert!(matches!(result, Err(Error::PromptTooLong { .. })));
        }
    }
}
