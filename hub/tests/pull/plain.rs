//! Downloads that go well.

use crate::support::{Cache, SHARDS, SMALL, noise, sharded, single};
use gamut_hub::Event;
use gamut_tests::hub::{COMMIT, Fault};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_files_of_a_checkpoint_are_laid_out_as_huggingface_hub_does() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    let snapshot = cache.pull().unwrap();
    assert_eq!(snapshot, cache.snapshot());

    let weights = ("model.safetensors", noise(300_000));
    let small = SMALL.map(|(name, text)| (name, text.as_bytes().to_vec()));
    let files: Vec<_> = small.into_iter().chain([weights]).collect();
    assert_eq!(
        names(&snapshot),
        files.iter().map(|(n, _)| (*n).to_owned()).collect()
    );
    let mut blobs = BTreeSet::new();
    for (name, bytes) in &files {
        assert_eq!(&fs::read(snapshot.join(name)).unwrap(), bytes, "{name}");
        let blob = cache.blob(name, bytes);
        assert_eq!(&fs::read(&blob).unwrap(), bytes, "{name}");
        let blob = blob.file_name().unwrap().to_str().unwrap().to_owned();
        #[cfg(unix)]
        assert_eq!(
            fs::read_link(snapshot.join(name)).unwrap(),
            Path::new("../../blobs").join(&blob)
        );
        blobs.insert(blob);
    }
    assert_eq!(names(&cache.model().join("blobs")), blobs);
    let main = cache.model().join("refs/main");
    assert_eq!(fs::read_to_string(main).unwrap(), COMMIT);
    assert_eq!(
        names(&cache.model()),
        ["blobs", "refs", "snapshots"].map(String::from).into()
    );
    assert_eq!(
        names(cache.path()),
        [".locks", "models--org--name"].map(String::from).into()
    );
}

#[test]
fn shards_are_those_that_the_index_names() {
    let hub = sharded();
    hub.put("model-00003-of-00002.safetensors", "unnamed");
    let cache = Cache::for_hub(&hub);
    let snapshot = cache.pull().unwrap();
    let mut expected: BTreeSet<String> = SMALL.map(|(name, _)| name.to_owned()).into();
    expected.insert("model.safetensors.index.json".to_owned());
    expected.extend(SHARDS.map(String::from));
    assert_eq!(names(&snapshot), expected);
    assert_eq!(fs::read(snapshot.join(SHARDS[0])).unwrap(), noise(50_000));
    assert_eq!(fs::read(snapshot.join(SHARDS[1])).unwrap(), noise(60_000));
}

#[test]
fn one_file_of_weights_makes_shards_needless() {
    let hub = sharded();
    hub.put("model.safetensors", "all");
    let cache = Cache::for_hub(&hub);
    let snapshot = cache.pull().unwrap();
    assert!(snapshot.join("model.safetensors").exists());
    assert!(!snapshot.join(SHARDS[0]).exists());
}

#[test]
fn what_is_there_is_not_asked_for_again() {
    let hub = sharded();
    let cache = Cache::for_hub(&hub);
    let first = cache.pull().unwrap();
    hub.seen();
    assert_eq!(cache.pull().unwrap(), first);
    let seen = hub.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].path.starts_with("/api/"));

    // One blob is gone: it alone comes again.
    fs::remove_file(cache.blob(SHARDS[0], &noise(50_000))).unwrap();
    cache.pull().unwrap();
    let seen = hub.seen();
    assert_eq!(
        seen.iter().map(|s| s.sent).sum::<usize>(),
        50_000 + seen[0].sent
    );
    assert_eq!(fs::read(first.join(SHARDS[0])).unwrap(), noise(50_000));

    // The snapshot is gone, its blobs are not: links come without bytes.
    fs::remove_dir_all(cache.snapshot()).unwrap();
    cache.pull().unwrap();
    let seen = hub.seen();
    assert!(seen[1..].iter().all(|s| s.method == "HEAD"), "{seen:?}");
    assert_eq!(fs::read(first.join(SHARDS[0])).unwrap(), noise(50_000));
}

#[test]
fn revisions_are_branches_commits_and_requests() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    for revision in [COMMIT, "refs/pr/1"] {
        assert_eq!(cache.pull_revision(revision).unwrap(), cache.snapshot());
    }
    let refs = cache.model().join("refs");
    assert_eq!(names(&refs), ["refs".to_owned()].into());
    assert_eq!(fs::read_to_string(refs.join("refs/pr/1")).unwrap(), COMMIT);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let hub = single();
    hub.require_token("hf_good");
    let mut cache = Cache::for_hub(&hub);
    cache.options.token = Some("hf_good".to_owned());
    cache.pull().unwrap();
    let seen = hub.seen();
    let (elsewhere, hub): (Vec<_>, Vec<_>) =
        seen.iter().partition(|s| s.path.starts_with("/large/"));
    assert_eq!(elsewhere.len(), 1);
    assert!(elsewhere.iter().all(|s| s.authorization.is_none()));
    assert!(hub.len() > 5);
    assert!(
        hub.iter()
            .all(|s| s.authorization.as_deref() == Some("Bearer hf_good"))
    );
}

#[test]
fn without_a_token_none_is_sent() {
    let hub = single();
    Cache::for_hub(&hub).pull().unwrap();
    assert!(hub.seen().iter().all(|s| s.authorization.is_none()));
}

#[test]
fn a_model_that_has_moved_is_followed() {
    let hub = single();
    // As the hub does with a name of old: to an address on itself.
    let moved = "Location: /api/models/org/name/revision/0123456789abcdef0123456789abcdef01234567";
    hub.fail(
        "GET /api/models/org/name/revision/main",
        Fault::Status(307, moved),
        1,
    );
    let moved = "Location: /org/name/resolve/main/config.json";
    hub.fail("HEAD /org/name/resolve/0123", Fault::Status(307, moved), 1);
    let cache = Cache::for_hub(&hub);
    cache.pull().unwrap();
    cache.is_sound();
}

#[test]
fn events_count_the_bytes_of_all_files() {
    let hub = sharded();
    let cache = Cache::for_hub(&hub);
    let (mut last, mut seen) = ((0, 0), BTreeSet::new());
    let mut report = |event: Event<'_>| {
        let Event::Bytes { file, done, total } = event else {
            panic!("nobody else is here: {event:?}");
        };
        assert!(
            last.0 <= done && done <= total && last.1 <= total,
            "{event:?}"
        );
        last = (done, total);
        seen.insert(file.to_owned());
    };
    cache.pull_with("main", &mut report).unwrap();
    assert_eq!(last.0, last.1);
    assert!(last.0 > 110_000);
    assert_eq!(seen.len(), 7);
}

#[test]
fn an_empty_file_is_a_file() {
    let hub = single();
    hub.put("generation_config.json", "");
    let cache = Cache::for_hub(&hub);
    let snapshot = cache.pull().unwrap();
    assert_eq!(
        fs::read(snapshot.join("generation_config.json")).unwrap(),
        b""
    );
}
