//! Peak anonymous memory against the plan that `gamut info` prints, and too little of it.

use crate::support::{Home, Run, assert_refused, tone, wav};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The command, its libraries and the decoder of the audio.
const OVERHEAD: u64 = 64 << 20;

/// The most anonymous memory in bytes that `gamut LINE` held at once.
fn peak(home: &Home, line: &str) -> u64 {
    let mut command = home.command(line);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let held = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let held = held.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(held.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success(), "gamut {line}");
    peak
}

/// Asserts that an answer about the longest clip stays within the plan, and needs most of it.
#[track_caller]
fn stays_within_the_plan(home: &Home, flags: &str) {
    let info = home
        .passes(&format!("info model --json --threads 2 {flags}"))
        .json();
    let plan = info["anonymous_bytes"].as_u64().unwrap();
    let peak = peak(
        home,
        &format!("ask clip.wav -p When? -m model -n 4 --threads 2 {flags}"),
    );
    let (planned, found) = (plan >> 20, peak >> 20);
    println!("{flags:10} plan {planned} MiB, peak {found} MiB");
    assert!(
        peak <= plan + plan / 10 + OVERHEAD,
        "planned {planned} MiB, found {found} MiB"
    );
    assert!(
        peak >= plan / 2,
        "planned {planned} MiB, only {found} MiB were touched"
    );
}

#[test]
fn the_longest_clip_stays_within_the_plan() {
    let home = Home::furnished();
    home.write("clip.wav", &wav(&tone(300.0)));
    stays_within_the_plan(&home, "");
}

/// Some 60 million weights, and clips of at most a minute.
fn larger(config: &mut Value) {
    config["max_audio_seconds"] = 60.into();
    for expert in ["temporal_config", "global_config"] {
        config[expert]["d_model"] = 256.into();
        config[expert]["encoder_ffn_dim"] = 1024.into();
    }
    config["projector_config"]["hidden_size"] = 1024.into();
    let text = &mut config["text_config"];
    for (key, value) in [
        ("hidden_size", 1024),
        ("intermediate_size", 2048),
        ("vocab_size", 16_384),
        ("num_attention_heads", 8),
        ("head_dim", 128),
    ] {
        text[key] = json!(value);
    }
}

#[test]
fn larger_weights_stay_within_the_plan() {
    let home = Home::furnished();
    home.edit_json("model/config.json", larger);
    fs::rename(home.path("model"), home.path("sizes")).unwrap();
    home.passes("demo-model model --config sizes/config.json");
    home.write("clip.wav", &wav(&tone(60.0)));
    stays_within_the_plan(&home, "");
    stays_within_the_plan(&home, "--no-mmap");

    fs::remove_dir_all(home.path("model")).unwrap();
    home.passes("demo-model model --config sizes/config.json --dtype fp8");
    stays_within_the_plan(&home, "");
}

#[test]
fn more_memory_than_there_is() {
    let home = Home::furnished();
    home.edit_json("model/config.json", |c| {
        c["text_config"]["max_position_embeddings"] = (1 << 24).into();
    });
    // Keys and values of 32 GiB, in an address space of 4 GiB.
    let gamut = home.command("ask clip.wav -p When? -m model --max-model-len 16777216");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 4194304; exec \"$0\" \"$@\""]);
    limited
        .arg(gamut.get_program())
        .args(gamut.get_args())
        .current_dir(home.path("."));
    assert_refused(
        &Run::of(limited.output().unwrap()),
        &[
            "no memory for the keys and values",
            "--max-model-len",
            "bytes",
        ],
    );
}
