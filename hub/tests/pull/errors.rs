//! Every way to fail: one line that says what and where, and nothing bad in the cache.

use crate::support::{Cache, SHARDS, noise, sharded, single};
use gamut_hub::{ModelRef, pull};
use gamut_tests::hub::{Fault, Hub};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

const LARGE: &str = "GET /large/model.safetensors";

#[test]
fn a_model_that_is_not_there() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    let model = ModelRef::new("org/other", "main").unwrap();
    let mut refused = |token: Option<&str>| {
        cache.options.token = token.map(str::to_owned);
        pull(&model, &cache.options, &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    let error = refused(Some("hf_x"));
    for part in ["org/other@main", "no such model", &hub.endpoint(), "404"] {
        assert!(error.contains(part), "{error}");
    }
    // The hub does not tell a stranger whether there is one.
    let error = refused(None);
    for part in ["org/other@main", "without a token", "401", "HF_TOKEN"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_revision_that_is_not_there() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    let error = cache.pull_revision("v2").unwrap_err().to_string();
    for part in ["org/name@v2", "no such revision", &hub.endpoint()] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_gated_model() {
    let hub = single();
    hub.require_token("hf_good");
    let mut cache = Cache::for_hub(&hub);
    cache.refuses(&[
        "org/name@main",
        "without a token",
        "401",
        "accept its terms",
        "HF_TOKEN",
    ]);
    cache.options.token = Some("hf_bad".to_owned());
    cache.refuses(&[
        "org/name@main",
        "with this token",
        "401",
        "accept its terms",
        "HF_TOKEN",
    ]);

    // As gated models do: all may see the names of the files, and not the files.
    let hub = single();
    hub.fail(
        "HEAD /org/name/resolve",
        Fault::Status(403, "X-Error-Code: GatedRepo"),
        1,
    );
    let cache = Cache::for_hub(&hub);
    cache.refuses(&[
        "org/name@main",
        "without a token",
        "403",
        "accept its terms",
    ]);
}

#[test]
fn a_model_that_is_no_checkpoint() {
    for (file, parts) in [
        ("config.json", ["there is no config.json", "org/name@main"]),
        (
            "tokenizer.json",
            ["there is no tokenizer.json", "org/name@main"],
        ),
        (
            "model.safetensors",
            ["no weights", "model.safetensors.index.json"],
        ),
    ] {
        let hub = single();
        hub.remove(file);
        let cache = Cache::for_hub(&hub);
        cache.refuses(&parts);
        // Said before anything is downloaded.
        assert_eq!(hub.seen().len(), 1);
    }
}

#[test]
fn an_index_that_is_none() {
    let index = "model.safetensors.index.json";
    let hub = sharded();
    hub.remove(SHARDS[1]);
    Cache::for_hub(&hub).refuses(&["org/name@main", "there is no", SHARDS[1], index]);
    for (text, problem) in [
        ("{", "bad index"),
        (
            r#"{"weight_map": {"a": "../../../x.safetensors"}}"#,
            "expected a plain file name",
        ),
        (
            r#"{"weight_map": {"a": "/tmp/x.safetensors"}}"#,
            "expected a plain file name",
        ),
    ] {
        let hub = sharded();
        hub.put(index, text);
        let cache = Cache::for_hub(&hub);
        cache.refuses(&[index, problem]);
        assert!(hub.seen().iter().all(|s| !s.path.contains("x.safetensors")));
    }
}

#[test]
fn wrong_bytes() {
    for (name, request, algorithm) in [
        ("model.safetensors", LARGE, "sha256"),
        ("config.json", "GET /org/name/resolve", "git blob id"),
    ] {
        let hub = single();
        let cache = Cache::for_hub(&hub);
        hub.fail(request, Fault::WrongByte, 1);
        let bytes = match name {
            "config.json" => crate::support::SMALL[0].1.as_bytes().to_vec(),
            _ => noise(300_000),
        };
        let blob = cache.blob(name, &bytes);
        let expected = blob.file_name().unwrap().to_str().unwrap();
        cache.refuses(&[name, algorithm, expected, "deleted"]);
        assert!(!blob.exists() && !cache.partial(name, &bytes).exists());
        assert!(!cache.snapshot().join(name).exists());
        cache.pull().unwrap();
        cache.is_sound();
    }
}

#[test]
fn wrong_sizes() {
    for (fault, parts) in [
        (Fault::Long, ["300001 bytes", "expected 300000"]),
        (Fault::Short(1_000), ["1000 bytes", "expected 300000"]),
        (
            Fault::Header("Content-Length", "17"),
            ["17 bytes", "expected 300000"],
        ),
        (
            Fault::Header("Content-Length", "99999999999999999"),
            ["99999999999999999", "300000"],
        ),
    ] {
        let hub = single();
        let cache = Cache::for_hub(&hub);
        hub.fail(LARGE, fault, 1);
        cache.refuses(&parts);
        assert!(!cache.snapshot().join("model.safetensors").exists());
        cache.pull().unwrap();
        cache.is_sound();
    }
}

#[test]
fn a_body_without_a_length_is_held_to_the_size() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    hub.fail(LARGE, Fault::NoLength(1_000), 1);
    cache.refuses(&["model.safetensors", "1000 bytes", "expected 300000"]);
    hub.fail(LARGE, Fault::NoLength(299_000), 1);
    cache.pull().unwrap();
    cache.is_sound();
}

#[test]
fn answers_that_are_none() {
    for (request, fault, parts) in [
        (
            "GET /api/",
            Fault::Body("<html>"),
            ["/api/models/org/name", "not a model's description"],
        ),
        (
            "GET /api/",
            Fault::Body(r#"{"sha": "x", "siblings": []}"#),
            ["bad answer", "not a commit"],
        ),
        (
            "GET /api/",
            Fault::Body(r#"{"sha": "../../../../../../tmp", "siblings": []}"#),
            ["bad answer", "not a commit"],
        ),
        (
            "HEAD ",
            Fault::Header("ETag", ""),
            ["/config.json", "the ETag is absent"],
        ),
        (
            "HEAD ",
            Fault::Header("ETag", "\"../../../x\""),
            ["/config.json", "expected a sha256"],
        ),
        (
            "HEAD ",
            Fault::Header("Content-Length", "x"),
            ["/config.json", ""],
        ),
        (
            "HEAD ",
            Fault::Header("Content-Length", "-1"),
            ["/config.json", ""],
        ),
        (
            "HEAD ",
            Fault::Status(302, ""),
            ["/config.json", "redirect to no address"],
        ),
        (
            "HEAD ",
            Fault::Status(302, "Location: file:///etc/passwd"),
            ["bad answer", "redirect"],
        ),
        (
            "HEAD ",
            Fault::Status(404, "X-Error-Code: EntryNotFound"),
            ["/config.json", "404"],
        ),
        ("HEAD ", Fault::Status(418, ""), ["/config.json", "418"]),
        (
            "GET /api/",
            Fault::Status(500, ""),
            ["/api/models/org/name", "500"],
        ),
        (
            "GET /api/",
            Fault::Status(429, ""),
            ["/api/models/org/name", "429"],
        ),
        (
            LARGE,
            Fault::Status(404, ""),
            ["/large/model.safetensors", "404"],
        ),
        (LARGE, Fault::Status(204, ""), ["/model.safetensors", "204"]),
    ] {
        let hub = single();
        let cache = Cache::for_hub(&hub);
        hub.fail(request, fault.clone(), 1);
        println!("{fault:?}");
        cache.refuses(&parts);
        cache.pull().unwrap();
        cache.is_sound();
    }
}

#[test]
fn parts_that_were_not_asked_for() {
    for range in [
        "bytes 0-299999/300000",
        "bytes 1000-299999/400000",
        "bytes 1000-2000/300000",
        "x",
        "",
    ] {
        let hub = single();
        let cache = Cache::for_hub(&hub);
        hub.fail(LARGE, Fault::Drop(1_000), 1);
        cache.pull().unwrap_err();
        let fault = Fault::Header(
            "Content-Range",
            Box::leak(range.to_owned().into_boxed_str()),
        );
        hub.fail(LARGE, fault, 1);
        cache.refuses(&[
            "model.safetensors",
            "Content-Range",
            "expected bytes 1000-299999/300000",
        ]);
        cache.pull().unwrap();
        cache.is_sound();
    }
}

#[test]
fn redirects_without_an_end() {
    let hub = single();
    let here = "Location: /api/models/org/name/revision/main";
    hub.fail("GET /api/", Fault::Status(307, here), 100);
    Cache::for_hub(&hub).refuses(&["more than 10 redirects"]);
}

#[test]
fn a_hub_that_never_answers() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    cache.options.timeout = Duration::from_millis(200);
    cache.options.retries = 1;
    hub.fail("GET /api/", Fault::Silence, 2);
    let start = Instant::now();
    cache.refuses(&["/api/models/org/name", "timeout"]);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(hub.seen().len(), 2);
}

#[test]
fn a_hub_that_is_not_there() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    cache.options.endpoint = format!("http://{free}");
    cache.refuses(&[&free.to_string(), "the connection failed", "refused"]);
    cache.options.endpoint = "http://no-such-host.invalid".to_owned();
    cache.refuses(&["no-such-host.invalid", "the connection failed"]);
    cache.options.endpoint = "no address".to_owned();
    cache.refuses(&["no address", "not an address of a hub"]);
}

#[test]
fn a_cache_that_cannot_be_written() {
    let hub = single();
    let mut cache = Cache::for_hub(&hub);
    let file = cache.path().join("file");
    fs::write(&file, "").unwrap();
    cache.options.cache = file.join("cache");
    cache.refuses(&[file.to_str().unwrap(), "cannot create"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let hub = single();
    let cache = Cache::for_hub(&hub);
    let partial = cache.partial("model.safetensors", &noise(300_000));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    cache.refuses(&[partial.to_str().unwrap(), "cannot write", "No space left"]);
    fs::remove_file(&partial).unwrap();
    cache.pull().unwrap();
    cache.is_sound();
}

#[test]
fn no_name_of_the_hub_leads_out_of_the_cache() {
    // Its files have such names already, and an index may: see above.
    let hub = Hub::new([
        ("../../../escape", "x"),
        ("/tmp/escape", "x"),
        ("config.json", "{}"),
    ]);
    let cache = Cache::for_hub(&hub);
    cache.refuses(&["there is no tokenizer.json"]);
    let hub = single();
    let cache = Cache::for_hub(&hub);
    cache.pull().unwrap();
    assert!(!cache.path().join("escape.json").exists());
    assert!(!Path::new("/tmp/escape").exists());
}
