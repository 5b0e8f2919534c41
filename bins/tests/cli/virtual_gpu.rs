//! The same kernels and launches as on a GPU, on the virtual one.

use crate::support::{Home, Run, assert_refused};
use gamut_tests::nvrtc::{NEWEST, OLDEST, Version};

/// Runs a command with NVRTC of some version, whose kernels are kept for the next test.
fn run(home: &Home, nvrtc: Version, line: &str) -> Run {
    let path = nvrtc.nvrtc();
    let mut command = home.command(line);
    command.env("GAMUT_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"));
    Run::of(command.env("GAMUT_NVRTC", path).output().unwrap())
}

/// Both versions in both types: kernels differ between all of them.
#[test]
fn verify_passes_every_case() {
    let home = Home::new();
    let on_host = home.passes("verify --json --device host").json();
    for (nvrtc, name) in [(OLDEST, "NVRTC 13.0"), (NEWEST, "NVRTC 13.5")] {
        for dtype in ["bf16", "f32"] {
            let line = format!("verify --json --device virtual --dtype {dtype}");
            let run = run(&home, nvrtc, &line);
            assert_eq!(
                run.code,
                Some(0),
                "{name}, {dtype}: {}{}",
                run.text(),
                run.stderr
            );
            let report = run.json();
            assert!(
                report["description"].as_str().unwrap().contains(name),
                "{report}"
            );
            let cases = |report: &serde_json::Value| report["cases"].as_array().unwrap().len();
            assert_eq!(cases(&report), cases(&on_host));
        }
    }
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
