//! Downloads that are cut off, and go on.

use crate::support::{Cache, gets, noise, single};
use gamut_tests::hub::{Fault, Seen};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const FILE: &str = "model.safetensors";
const LARGE: &str = "GET /large/model.safetensors";

fn bytes() -> Vec<u8> {
    noise(300_000)
}

fn partial(cache: &Cache) -> PathBuf {
    cache.partial(FILE, &bytes())
}

#[track_caller]
fn is_whole(cache: &Cache) {
    assert_eq!(fs::read(cache.snapshot().join(FILE)).unwrap(), bytes());
    assert!(!partial(cache).exists());
    cache.is_sound();
}

fn ranges(seen: &[Seen]) -> Vec<(Option<&str>, usize)> {
    let gets = gets(seen, FILE);
    gets.iter().map(|s| (s.range.as_deref(), s.sent)).collect()
}

#[test]
fn the_next_pull_asks_for_the_rest_only() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    hub.fail(LARGE, Fault::Drop(120_000), 1);
    cache.refuses(&["/large/model.safetensors", "the connection failed"]);
    assert_eq!(fs::read(partial(&cache)).unwrap(), bytes()[..120_000]);
    assert!(!cache.snapshot().join(FILE).exists());
    assert!(!cache.model().join("refs/main").exists());

    hub.seen();
    cache.pull().unwrap();
    let seen = hub.seen();
    assert_eq!(ranges(&seen), [(Some("bytes=120000-"), 180_000)]);
    // The other files are there already.
    assert_eq!(seen.iter().filter(|s| s.method == "GET").count(), 3);
    is_whole(&cache);
}

#[test]
fn a_drop_is_tried_again_from_where_it_was() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    cache.options.retries = 3;
    for length in [100_000, 0, 50_000] {
        hub.fail(LARGE, Fault::Drop(length), 1);
    }
    cache.pull().unwrap();
    let expected = [
        (None, 100_000),
        (Some("bytes=100000-"), 0),
        (Some("bytes=100000-"), 50_000),
        (Some("bytes=150000-"), 150_000),
    ];
    assert_eq!(ranges(&hub.seen()), expected);
    is_whole(&cache);
}

#[test]
fn tries_are_few_unless_they_bring_something() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    cache.options.retries = 2;
    hub.fail(LARGE, Fault::Drop(10), 100);
    cache.refuses(&["the connection failed"]);
    assert_eq!(ranges(&hub.seen()).len(), 3);

    let large = noise(5 << 20);
    hub.put(FILE, large.clone());
    let hub = single();
    hub.put(FILE, large.clone());
    cache.options.endpoint = hub.endpoint();
    hub.fail(LARGE, Fault::Drop(1_100_000), 4);
    cache.pull().unwrap();
    assert_eq!(ranges(&hub.seen()).len(), 5);
    assert_eq!(fs::read(cache.snapshot().join(FILE)).unwrap(), large);
}

#[test]
fn a_server_that_cannot_go_on_sends_the_whole() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    hub.fail(LARGE, Fault::Drop(120_000), 1);
    cache.pull().unwrap_err();
    hub.fail(LARGE, Fault::IgnoreRange, 1);
    hub.seen();
    cache.pull().unwrap();
    assert_eq!(ranges(&hub.seen()), [(None, 300_000)]);
    is_whole(&cache);
}

#[test]
fn a_part_that_is_whole_needs_no_bytes() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    hub.fail(LARGE, Fault::Drop(0), 1);
    cache.pull().unwrap_err();
    // As if the process had been killed before it gave the file its name.
    fs::write(partial(&cache), bytes()).unwrap();
    hub.seen();
    cache.pull().unwrap();
    assert_eq!(ranges(&hub.seen()), []);
    is_whole(&cache);
}

#[test]
fn a_part_that_is_too_long_is_none() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    hub.fail(LARGE, Fault::Drop(0), 1);
    cache.pull().unwrap_err();
    fs::write(partial(&cache), noise(300_001)).unwrap();
    hub.seen();
    cache.pull().unwrap();
    assert_eq!(ranges(&hub.seen()), [(None, 300_000)]);
    is_whole(&cache);
}

#[test]
fn a_bad_part_is_noticed_and_deleted() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    hub.fail(LARGE, Fault::Drop(120_000), 1);
    cache.pull().unwrap_err();
    let mut bad = fs::read(partial(&cache)).unwrap();
    bad[7] ^= 1;
    fs::write(partial(&cache), bad).unwrap();
    let blob = cache.blob(FILE, &bytes());
    let expected = blob.file_name().unwrap().to_str().unwrap();
    cache.refuses(&[FILE, "sha256", expected, "deleted"]);
    assert!(!partial(&cache).exists() && !blob.exists());
    hub.seen();
    cache.pull().unwrap();
    assert_eq!(ranges(&hub.seen()), [(None, 300_000)]);
    is_whole(&cache);
}

#[test]
fn passing_failures_are_tried_again() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    cache.options.retries = 2;
    hub.fail("GET /api/", Fault::Status(500, ""), 1);
    hub.fail("GET /api/", Fault::Drop(20), 1);
    hub.fail("HEAD /org/name/resolve", Fault::Status(429, ""), 2);
    hub.fail(
        "GET /org/name/resolve",
        Fault::Status(503, "Retry-After: 0"),
        2,
    );
    // An address that was signed too long ago.
    hub.fail(LARGE, Fault::Status(403, ""), 1);
    hub.fail(LARGE, Fault::NoLength(1_000), 1);
    cache.pull().unwrap();
    is_whole(&cache);
}

#[test]
fn a_wait_that_the_server_asks_for_is_kept() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    cache.options.retries = 1;
    hub.fail("GET /api/", Fault::Status(429, "Retry-After: 1"), 1);
    let start = Instant::now();
    cache.pull().unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_stall_ends_and_goes_on() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    cache.options.timeout = Duration::from_millis(300);
    hub.fail(LARGE, Fault::Stall(100_000), 1);
    let start = Instant::now();
    cache.refuses(&[
        "/large/model.safetensors",
        "the connection failed",
        "timeout",
    ]);
    assert!(start.elapsed() < Duration::from_secs(10));
    hub.seen();
    cache.pull().unwrap();
    assert_eq!(ranges(&hub.seen()), [(Some("bytes=100000-"), 200_000)]);
    is_whole(&cache);
}
