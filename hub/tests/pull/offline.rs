//! What the cache can do alone.

use crate::support::{Cache, SHARDS, noise, sharded, single};
use gamut_tests::hub::COMMIT;
use std::fs;

#[test]
fn what_is_there_is_found_and_nobody_is_asked() {
    for hub in [single(), sharded()] {
        let mut cache = Cache::for_hub(&hub);
        cache.pull().unwrap();
        hub.seen();
        cache.options.offline = true;
        for revision in ["main", COMMIT] {
            assert_eq!(cache.pull_revision(revision).unwrap(), cache.snapshot());
        }
        assert!(hub.seen().is_empty());
    }
}

#[test]
fn what_is_not_there_is_named() {
    let hub = sharded();
    let mut cache = Cache::for_hub(&hub);
    cache.options.offline = true;
    let dir = cache.path().to_str().unwrap().to_owned();
    cache.refuses(&["org/name@main is not in the cache", &dir, "offline"]);

    cache.options.offline = false;
    cache.pull().unwrap();
    cache.options.offline = true;
    let error = cache.pull_revision("v2").unwrap_err().to_string();
    assert!(error.contains("org/name@v2 is not in the cache"), "{error}");

    let shard = cache.blob(SHARDS[1], &noise(60_000));
    fs::remove_file(shard).unwrap();
    let snapshot = cache.snapshot();
    let snapshot = snapshot.to_str().unwrap();
    cache.refuses(&["org/name@main", SHARDS[1], "is not in the cache", snapshot]);
    for file in [
        "model.safetensors.index.json",
        "tokenizer.json",
        "config.json",
    ] {
        fs::remove_file(cache.snapshot().join(file)).unwrap();
        let named = if file.ends_with("index.json") {
            "model.safetensors"
        } else {
            file
        };
        cache.refuses(&["org/name@main", named, "is not in the cache"]);
    }
    assert!(hub.seen().iter().all(|s| !s.path.contains("v2")));
}
