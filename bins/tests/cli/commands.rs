//! Every subcommand doing its job.

use crate::support::{Home, keys, tone, wav};
use serde_json::Value;

#[test]
fn every_subcommand_has_help() {
    let home = Home::new();
    let all = home.passes("--help").text();
    for name in [
        "ask",
        "chat",
        "batch",
        "info",
        "verify",
        "inspect",
        "bench",
        "demo-model",
    ] {
        assert!(all.contains(&format!("  {name} ")), "{all}");
        assert!(
            home.passes(&format!("{name} --help"))
                .text()
                .contains("Usage: gamut")
        );
    }
}

#[test]
fn ask_writes_json() {
    let home = Home::furnished();
    let report = home
        .passes("ask clip.wav -p When? -m model -n 5 --ignore-eos --json")
        .json();
    let expected = [
        "answer",
        "reasoning",
        "finish_reason",
        "usage",
        "audio_seconds",
        "times_ms",
    ];
    assert_eq!(keys(&report), expected);
    assert_eq!(report["finish_reason"], "length");
    assert_eq!(report["audio_seconds"], 2.0);
    assert_eq!(report["usage"]["audio_tokens"], 50);
    assert_eq!(report["usage"]["cached_tokens"], 0);
    assert_eq!(report["usage"]["completion_tokens"], 5);
    assert!(report["usage"]["prompt_tokens"].as_u64().unwrap() > 50);
    assert!(
        report["times_ms"]
            .as_object()
            .unwrap()
            .values()
            .all(|t| t.as_f64().unwrap() >= 0.0)
    );
}

#[test]
fn ask_reports_log_probabilities() {
    let home = Home::furnished();
    let line = "ask clip.wav -p When? -m model -n 3 --ignore-eos --logprobs 2";
    let report = home.passes(&format!("{line} --json")).json();
    let tokens = report["logprobs"].as_array().unwrap();
    assert_eq!(tokens.len(), 3);
    for token in tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 2);
        // Greedy: the token is the likeliest one.
        assert_eq!(top[0]["id"], token["id"]);
        assert_eq!(top[0]["logprob"], token["logprob"]);
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
        assert!(top[1]["logprob"].as_f64() <= top[0]["logprob"].as_f64());
    }
    let text = home.passes(line).text();
    for token in tokens {
        assert!(
            text.lines()
                .any(|l| l.starts_with(&format!("{} ", token["id"]))),
            "{text}"
        );
    }
}

#[test]
fn ask_hears_a_part_and_standard_input() {
    let home = Home::furnished();
    let ask = |audio: &str| format!("ask {audio} -p When? -m model -n 4 --json");
    let whole = home.passes(&ask("clip.wav")).json();
    let piped = home.run_with(&ask("-"), &home.read("clip.wav"));
    assert_eq!(piped.code, Some(0), "{}", piped.stderr);
    assert_eq!(piped.json()["answer"], whole["answer"]);

    let part = home.passes(&ask("clip.wav --from 0.5 --to 1.5")).json();
    assert_eq!(part["audio_seconds"], 1.0);
    home.write("part.wav", &wav(&tone(2.0)[8_000..24_000]));
    assert_eq!(
        home.passes(&ask("part.wav")).json()["answer"],
        part["answer"]
    );
}

#[test]
fn long_audio_is_cut_on_request() {
    let home = Home::furnished();
    home.edit_json("model/config.json", |c| c["max_audio_seconds"] = 1.into());
    let report = home
        .passes("ask clip.wav -p When? -m model -n 1 --truncate --json")
        .json();
    assert_eq!(report["audio_seconds"], 1.0);
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    let home = Home::furnished();
    let ask = |seed: u32| {
        let line = "ask clip.wav -p When? -m model -n 24 --ignore-eos --temperature 1.5";
        home.passes(&format!("{line} --seed {seed}")).stdout
    };
    assert_eq!(ask(7), ask(7));
    assert_ne!(ask(7), ask(8));
}

#[test]
fn threads_and_mapping_do_not_change_the_answer() {
    let home = Home::furnished();
    let ask = |flags: &str| {
        home.passes(&format!(
            "ask clip.wav -p When? -m model -n 12 --ignore-eos {flags}"
        ))
        .stdout
    };
    let expected = ask("--threads 1");
    for flags in [
        "--threads 2",
        "--threads 5",
        "--no-mmap",
        "--max-model-len 128",
    ] {
        assert_eq!(ask(flags), expected, "{flags}");
    }
}

#[test]
fn info_shows_sizes_and_memory() {
    let home = Home::furnished();
    let text = home.passes("info model").text();
    for word in [
        "temporal expert",
        "global expert",
        "fusion",
        "decoder",
        "weights",
        "kv",
    ] {
        assert!(text.contains(word), "{text}");
    }
    let mapped = home.passes("info model --json").json();
    let memory = &mapped["memory_bytes"];
    assert_eq!(mapped["max_audio_seconds"], 300);
    assert_eq!(
        memory["weights"].as_u64(),
        mapped["parameters"].as_u64().map(|n| 2 * n)
    );
    let held = home.passes("info model --json --no-mmap").json();
    let bytes = |info: &Value| info["anonymous_bytes"].as_u64().unwrap();
    assert_eq!(
        bytes(&held) - bytes(&mapped),
        memory["weights"].as_u64().unwrap()
    );
    let short = home.passes("info model --json --max-model-len 1024").json();
    assert!(bytes(&short) < bytes(&mapped));
}

#[test]
fn verify_passes_every_case() {
    let home = Home::new();
    let report = home.passes("verify --json").json();
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(report["failed"], 0);
    for op in [
        "log_mel",
        "conv_stem",
        "gemm",
        "attention",
        "attention_paged",
        "rope_kv",
        "sample",
    ] {
        assert!(cases.iter().any(|c| c["op"] == op), "no case of {op}");
    }
    assert!(
        cases
            .iter()
            .all(|c| c["relative"].as_f64() <= c["tolerance"].as_f64())
    );
    let table = home.passes("verify --device host --threads 1").text();
    assert_eq!(
        table.lines().filter(|l| l.ends_with(" ok")).count(),
        cases.len()
    );
}

#[test]
fn inspect_writes_every_stage() {
    let home = Home::furnished();
    home.passes(
        "inspect clip.wav --model model --prompt When? --max-tokens 6 --device host --out o.st",
    );
    let bytes = home.read("o.st");
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let header: Value =
        serde_json::from_slice(&rest[..u64::from_le_bytes(*length) as usize]).unwrap();
    let prompt = header["prompt_tokens"]["shape"][0].as_u64().unwrap();
    for (name, dtype, shape) in [
        ("mel", "F32", vec![1, 128, 3000]),
        ("temporal", "F32", vec![50, 64]),
        ("global", "F32", vec![50, 64]),
        ("fused", "F32", vec![50, 64]),
        ("projected", "F32", vec![50, 128]),
        ("logits", "F32", vec![576]),
        ("prompt_tokens", "I64", vec![prompt]),
        ("tokens", "I64", vec![6]),
    ] {
        assert_eq!(header[name]["dtype"], dtype, "{name}");
        assert_eq!(header[name]["shape"], Value::from(shape), "{name}");
    }
}

#[test]
fn demo_model_takes_sizes_types_and_shards() {
    let home = Home::furnished();
    home.edit_json("model/config.json", |c| {
        c["text_config"]["num_hidden_layers"] = 2.into();
        c["fusion_config"]["gate"] = "token".into();
    });
    home.passes("demo-model other --config model/config.json --dtype f16 --shards 3 --seed 5");
    let info = home.passes("info other --json").json();
    assert_eq!(info["files"], 3);
    home.passes("ask clip.wav -p When? -m other -n 2");
}

#[test]
fn demo_model_refuses_a_directory_in_use() {
    let home = Home::furnished();
    home.refuses("demo-model model", &["model", "not empty"]);
    home.passes("info model");
}

#[test]
fn verify_draws_other_inputs_from_another_seed() {
    let home = Home::new();
    let digests = |seed: u64| -> Vec<String> {
        let report = home
            .passes(&format!("verify --json --device host --seed {seed}"))
            .json();
        let cases = report["cases"].as_array().unwrap().iter();
        let some = cases.filter(|case| case["op"] == "gemm");
        some.map(|case| case["digest"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(digests(5), digests(5));
    assert_ne!(digests(5), digests(6));
}

#[cfg(not(feature = "pull"))]
#[test]
fn without_its_feature_pull_says_how_to_get_it() {
    let home = Home::new();
    let parts = [
        "built without pull",
        "cargo build --release --features pull",
    ];
    for line in ["pull org/name", "pull org/name --revision v1 --offline"] {
        home.refuses(line, &parts);
    }
}
