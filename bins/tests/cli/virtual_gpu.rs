//! The same kernels and launches as on a GPU, on the virtual one.

use crate::support::{Home, Run, assert_refused};
use gamut_tests::nvrtc::{NEWEST, OLDEST, Version};
use serde_json::Value;

/// Runs a command with NVRTC of some version, whose kernels are kept for the next test.
fn run(home: &Home, nvrtc: Version, line: &str) -> Run {
    let path = nvrtc.nvrtc();
    let mut command = home.command(line);
    command.env("GAMUT_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"));
    Run::of(command.env("GAMUT_NVRTC", path).output().unwrap())
}

/// The counters of a case of `verify --json --counters`.
#[track_caller]
fn counters<'a>(report: &'a Value, op: &str, case: &str) -> &'a Value {
    let mut cases = report["cases"].as_array().unwrap().iter();
    let found = cases.find(|found| found["op"] == op && found["case"] == case);
    &found.unwrap_or_else(|| panic!("no case {case} of {op}"))["counters"]
}

/// Every case, by the oldest compiler; `limits.rs` in gamut-tests has them by the newest.
#[test]
fn verify_counts_what_kernels_do_against_their_contracts() {
    let home = Home::new();
    let on_host = home.passes("verify --json --device host").json();
    let line = "verify --json --counters --coverage --device virtual";
    let run_json = run(&home, OLDEST, line);
    let (text, stderr) = (run_json.text(), &run_json.stderr);
    assert_eq!(run_json.code, Some(0), "{text}{stderr}");
    let report = run_json.json();
    let description = report["description"].as_str().unwrap();
    assert!(description.contains("NVRTC 13.0"), "{description}");
    let on_host = on_host["cases"].as_array().unwrap();
    assert_eq!(report["cases"].as_array().unwrap().len(), on_host.len());
    // Every element is read or written once, sixteen bytes a lane.
    let pool = counters(&report, "avg_pool", "1500x64 of 64 to 750");
    let bytes = (1500 + 750) * 64 * 4;
    assert_eq!(pool["contract"]["bytes"], bytes);
    assert_eq!(pool["moved_bytes"], bytes);
    assert_eq!(pool["touched_bytes"], bytes);
    assert_eq!(pool["ratios"]["sectors"], 1.0);
    // One tile of 128 by 128, two steps of 64 deep.
    let gemm = counters(&report, "gemm", "97x80x100 bf16");
    assert_eq!(gemm["contract"]["operations"], 2 * 97 * 80 * 100);
    // Two matrices are stacked, of which the first, of 66 outputs, has a bias, in f32.
    let bytes = 2 * (97 * 80 + 80 * 100 + 97 * 100) + 4 * 66;
    assert_eq!(gemm["contract"]["bytes"], bytes);
    assert_eq!(gemm["matrix_operations"], 2 * 128 * 128 * 128);
    let launches = gemm["launches"].as_array().unwrap();
    assert_eq!(launches.len(), 1);
    assert_eq!(launches[0]["kernel"], "gemm_128_store");
    assert_eq!(launches[0]["grid"], serde_json::json!([1, 1, 1]));
    let lines = launches[0]["lines"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["source"]["file"] == "gemm.cu"));
    // Sums leave in f32.
    let logits = counters(&report, "gemm_f32", "97x80x100 bf16");
    assert_eq!(logits["contract"]["bytes"], bytes + 2 * 97 * 100);
    let kernels = report["coverage"].as_array().unwrap();
    assert!(kernels.iter().any(|kernel| kernel["kernel"] == "rope_kv"));

    let line = "verify --dtype f32 --counters --coverage --roofline pictures --device virtual";
    let run_text = run(&home, OLDEST, line);
    let text = run_text.text();
    assert_eq!(run_text.code, Some(0), "{text}{}", run_text.stderr);
    for case in on_host {
        let name = format!("  {}", case["case"].as_str().unwrap());
        assert!(text.lines().any(|row| row.starts_with(&name)), "{name}");
    }
    let row = text
        .lines()
        .find(|row| row.starts_with("  1500x64 of 64 to 750"));
    let cells: Vec<&str> = row.unwrap().split_whitespace().collect();
    let ratios = [
        "562.5", "KiB", "562.5", "KiB", "1.00", "1.00", "1.00", "-", "-", "0",
    ];
    assert!(cells.ends_with(&ratios), "{cells:?}");
    assert!(text.contains("lines of PTX in"), "{text}");
    for op in ["gemm", "attention_paged", "gather"] {
        let svg = String::from_utf8(home.read(&format!("pictures/{op}.svg"))).unwrap();
        assert!(
            svg.starts_with("<svg") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
        assert!(svg.contains(&format!(">{op}<")), "{svg}");
    }
}

#[test]
fn only_the_virtual_gpu_counts() {
    let home = Home::new();
    for option in ["--counters", "--coverage", "--roofline pictures"] {
        let line = format!("verify --device host {option}");
        home.refuses(&line, &["host", "counts nothing", "--device virtual"]);
    }
    assert!(!home.path("pictures").exists());
}

#[test]
fn ask_gives_the_answer_of_the_host_and_says_that_it_emulates() {
    let home = Home::furnished();
    let line = "ask clip.wav -m model -p When? -n 4 --temperature 0 --json --device";
    let on_host = home.passes(&format!("{line} host"));
    let emulated = run(&home, NEWEST, &format!("{line} virtual --dtype f32"));
    assert_eq!(emulated.code, Some(0), "{}", emulated.stderr);
    assert!(
        emulated.stderr.contains("Emulating a GPU"),
        "{}",
        emulated.stderr
    );
    assert!(!on_host.stderr.contains("Emulating"), "{}", on_host.stderr);
    assert_eq!(emulated.json()["tokens"], on_host.json()["tokens"]);
    assert_eq!(emulated.json()["text"], on_host.json()["text"]);
}

#[test]
fn what_is_missing_is_named() {
    let home = Home::new();
    let refused = |name: &str, value: &str, line: &str, parts: &[&str]| {
        let mut command = home.command(line);
        let run = Run::of(command.env(name, value).output().unwrap());
        assert_refused(&run, parts);
    };
    let line = "verify --device virtual";
    refused(
        "GAMUT_VGPU",
        "nowhere.so",
        line,
        &["virtual", "nowhere.so", "cargo build -p gamut-vgpu"],
    );
    refused(
        "GAMUT_NVRTC",
        "nowhere.so",
        line,
        &["virtual", "nowhere.so"],
    );
    home.refuses(
        "verify --device host --dtype bf16",
        &["host", "f32", "bf16"],
    );
}
