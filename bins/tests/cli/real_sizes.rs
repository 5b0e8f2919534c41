//! Models of real sizes, whose weights take no room, and plans for GPUs that are not there.

use crate::support::Home;
use serde_json::Value;
use std::fs;

const GIB: u64 = 1 << 30;

/// What `gamut info` says of a shape on a GPU of so many GiB.
fn plan(home: &Home, shape: &str, gib: &str) -> Value {
    let line = format!("info {shape} --json --gpu-memory {gib}");
    home.passes(&line).json()
}

/// The bytes and tokens by hand, from the models' configs.
#[test]
fn real_sizes_are_planned_before_anything_is_loaded() {
    let home = Home::new();
    for (shape, gigabytes, layers, kv_heads, song_tokens) in [
        ("gamma-8b", 19, 36, 8, 7500),
        ("gamma-14b", 32, 40, 8, 7500),
        ("flamingo-7b", 16, 28, 4, 30_000),
    ] {
        let run = home.passes(&format!("demo-model {shape} --shape {shape} --fill zero"));
        assert!(run.text().contains("zeros"), "{}", run.text());
        let file = fs::metadata(home.path(shape).join("model.safetensors")).unwrap();
        assert_eq!(file.len() / 1_000_000_000, gigabytes, "{shape}");
        #[cfg(unix)]
        {
            let taken = std::os::unix::fs::MetadataExt::blocks(&file) * 512;
            assert!(taken < 1 << 20, "{shape}: {taken} bytes");
        }

        let fits = plan(&home, shape, "79.5");
        assert_eq!(fits["fits"], true);
        assert_eq!(fits["gpu_memory_bytes"], (79.5 * GIB as f64) as u64);
        let memory = &fits["memory_bytes"];
        let size = |part: &str| memory[part].as_u64().unwrap();
        let about = |key: &str| fits[key].as_u64().unwrap();
        assert_eq!(size("song_tokens"), song_tokens);
        // Keys and values in bf16, of pages of 64 tokens.
        let pages = song_tokens.div_ceil(64);
        assert_eq!(
            about("kv_per_song_bytes"),
            pages * 64 * 2 * layers * kv_heads * 128 * 2
        );
        assert_eq!(about("songs"), size("pages") / pages);
        let parts = [
            "weights",
            "kv",
            "workspace",
            "decode",
            "hearing",
            "audio_pool",
            "rope",
        ];
        let all: u64 = parts.map(size).iter().sum();
        assert!((71 * GIB..72 * GIB).contains(&all), "{shape}: {all}");
        assert!(about("songs") > 30);
        // Padding of rows aside.
        assert!((file.len()..file.len() + file.len() / 100).contains(&size("weights")));

        let text = home.passes(&format!("info {shape} --gpu-memory 10")).text();
        assert!(
            text.contains("not even the weights fit into 10.00 GiB"),
            "{text}"
        );
        assert!(text.contains("none fits"), "{text}");
        assert_eq!(plan(&home, shape, "10")["fits"], false);
        let weights = size("weights") as f64 / GIB as f64;
        let text = home
            .passes(&format!("info {shape} --gpu-memory {}", weights + 0.1))
            .text();
        assert!(text.contains("does not fit into"), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused() {
    let home = Home::new();
    for (line, part) in [
        ("demo-model new --shape gamma-80b", "gamma-8b"),
        (
            "demo-model new --shape gamma-8b --config c.json",
            "--config",
        ),
        ("demo-model new --fill ones", "zero"),
        ("info model --gpu-memory 0", "GiB"),
        ("info model --gpu-memory nan", "GiB"),
        ("info model --gpu-memory -8", "-8"),
        ("info model --gpu-memory much", "much"),
    ] {
        let run = home.run(line);
        assert_eq!(run.code, Some(2), "gamut {line}");
        assert!(run.stderr.contains(part), "gamut {line}: {}", run.stderr);
    }
    assert!(!home.path("new").exists());
}

/// Nothing is divided by the zeros.
#[test]
fn zeros_are_computed_with() {
    let home = Home::furnished();
    home.passes("demo-model zeros --fill zero --shards 2");
    let report = home
        .passes("ask clip.wav -p When? -m zeros -n 2 --ignore-eos --json")
        .json();
    assert_eq!(report["usage"]["completion_tokens"], 2);
    home.passes("bench --random flamingo-7b --predict h100 --seconds 30 -p 8 -n 1 -o json");
}
