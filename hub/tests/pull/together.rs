//! Several pulls at once, of one cache.

use crate::support::{Cache, SHARDS, gets, sharded};
use gamut_hub::Event;
use gamut_tests::hub::Fault;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn every_file_comes_once() {
    let hub = sharded();
    let cache = Cache::for_hub(&hub);
    for name in SHARDS {
        hub.fail(
            &format!("GET /large/{name}"),
            Fault::Late(Duration::from_millis(400)),
            1,
        );
    }
    let waits = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut report = |event: Event<'_>| {
                    if let Event::Waiting { file } = event {
                        assert!(!file.is_empty());
                        waits.fetch_add(1, Ordering::Relaxed);
                    }
                };
                assert_eq!(
                    cache.pull_with("main", &mut report).unwrap(),
                    cache.snapshot()
                );
            });
        }
    });
    let seen = hub.seen();
    for name in SHARDS {
        assert_eq!(gets(&seen, name).len(), 1, "{name}");
    }
    assert!(waits.into_inner() > 0);
    cache.is_sound();
    hub.seen();
    cache.pull().unwrap();
    assert_eq!(hub.seen().len(), 1);
}
