//! The whole suite at its smallest, on the virtual GPU.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_tests::nvrtc::NEWEST;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn suite(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gamut-suite"));
    command.args(line.split_whitespace()).current_dir(folder);
    command.env("GAMUT_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"));
    command.env("GAMUT_NVRTC", NEWEST.nvrtc()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Every number of a section's rows that tells a time.
fn times<'a>(results: &'a Value, section: &str) -> Vec<(&'a String, Option<f64>)> {
    let rows = results[section].as_object().unwrap().iter();
    let rows = rows.filter(|(name, row)| row.is_object() && *name != "open");
    rows.map(|(name, row)| (name, row["us"].as_f64())).collect()
}

#[test]
fn every_section_gives_what_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let line = "run --device virtual --seed 3 --commit abc --date 2026-11-26 --out first.json \
        --only ceilings --only ops --only pipeline --only upload --only counters";
    let run = suite(folder.path(), line);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let results: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("first.json")).unwrap()).unwrap();
    for (section, outcome) in results["outcomes"].as_object().unwrap() {
        assert_eq!(outcome, "ok", "{section}: {}", text(&run.stderr));
    }
    let operations = times(&results, "ops");
    // Twenty kinds of rows, most of them at several sizes.
    assert!(operations.len() > 50, "{}", operations.len());
    for (name, us) in operations.into_iter().chain(times(&results, "pipeline")) {
        assert!(us.is_some_and(|us| us > 0.0), "{name}: {us:?}");
    }
    assert!(
        results["upload"]["page cache to device"]["bytes_per_second"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    let counted = results["counters"].as_object().unwrap().values();
    let counted: Vec<&Value> = counted.filter(|row| row.is_object()).collect();
    assert!(counted.len() > 50, "{}", counted.len());
    for row in counted {
        let number = |name: &str| {
            row[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name} of {row}"))
        };
        assert!(
            number("launches") >= 1.0 && number("moved_bytes") > 0.0,
            "{row}"
        );
        // No request takes fewer sectors than it must, and nothing is read or written by half.
        assert!(
            number("sectors") >= 1.0 && number("touched_bytes") <= number("moved_bytes"),
            "{row}"
        );
    }
    let table = text(&run.stdout);
    for part in [
        "Gamut virtual GPU",
        "commit abc, 2026-11-26",
        "time to first token",
        "operation, counted",
    ] {
        assert!(table.contains(part), "{table}");
    }

    let again = suite(folder.path(), "show first.json --against first.json");
    assert!(text(&again.stdout).contains("no time changed beyond the noise"));
}

#[test]
fn what_is_missing_is_named_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    for (line, part) in [
        ("run --device virtual --only cooking", "cooking"),
        (
            "run --device virtual --against nowhere.json",
            "nowhere.json",
        ),
        ("run --device virtual --config nowhere.json", "nowhere.json"),
    ] {
        let run = suite(folder.path(), line);
        assert!(!run.status.success(), "{line}");
        assert!(text(&run.stderr).contains(part), "{}", text(&run.stderr));
    }
}
