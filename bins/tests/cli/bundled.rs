//! The model that comes with the command hears what it is asked about.

use crate::eval::{json_of, mean, row};
use crate::support::{Home, Run};
use gamut_songs::Entry;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The first questions of MusicBench-mini, about twelve songs, half of them temporal.
const SUBSET: usize = 96;

/// A home with those questions and their songs.
fn musicbench_mini() -> Home {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/musicbench-mini/questions.json");
    let mut entries: Vec<Entry> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    entries.truncate(SUBSET);
    let home = Home::new();
    fs::create_dir(home.path("songs")).unwrap();
    let mut songs = entries.clone();
    songs.dedup_by_key(|entry| entry.seed);
    for song in songs {
        home.write(&song.audio, &song.sound());
    }
    home.write("questions.json", &serde_json::to_vec(&entries).unwrap());
    home
}

/// A share of right answers, strictly.
fn share(report: &Value, name: &str) -> f64 {
    mean(row(report, name), "strict")
}

#[test]
fn musicbench_mini_is_answered_by_hearing() {
    let home = musicbench_mini();
    home.passes("eval questions.json -o own");
    home.passes("eval questions.json -o other --exchange-audio 1");
    let [own, other] = ["own", "other"].map(|name| json_of(&home, &format!("{name}/report.json")));
    assert_eq!(own["questions"], SUBSET);
    for (split, least) in [("split: global", 0.65), ("split: temporal", 0.7)] {
        let (own, other) = (share(&own, split), share(&other, split));
        assert!(own >= least, "{split}: {own}");
        assert!(
            own >= other + 0.2,
            "{split}: {own}, with another song {other}"
        );
    }
}

/// The README's example. In the plan that the clip was made from, drums come in at 10.26 s.
#[test]
fn the_example_is_answered() {
    let home = Home::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/clip.mp3");
    fs::copy(example, home.path("clip.mp3")).unwrap();
    let mut ask = home.command("ask clip.mp3 --prompt");
    let run = Run::of(ask.arg("When do the drums come in?").output().unwrap());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.text(), "The drums come in at 0:10.\n");
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stderr);
    assert!(lines[0].contains("the small bundled one"), "{}", lines[0]);
    for stage in [
        "open",
        "audio 27.5 s",
        "mel",
        "temporal",
        "global",
        "prefill",
        "decode",
    ] {
        assert!(
            lines[1].contains(stage),
            "`{stage}` is not in `{}`",
            lines[1]
        );
    }
}
