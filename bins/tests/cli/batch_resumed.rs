//! `gamut batch` in several processes: one after the other, as they are killed, or side by side.

use crate::batch::{about, ask, assert_counts, choices, output};
use crate::support::{Home, tone, wav};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

const BATCH: &str = "batch requests.jsonl -m model -n 24 --ignore-eos --max-num-seqs 2";
const OUTPUT: &str = "requests.out.jsonl";

/// Questions about six songs, several about each.
fn home_with_questions(each: usize) -> Home {
    let home = Home::furnished();
    let mut lines = Vec::new();
    for question in 0..each {
        for song in 0..6 {
            let name = format!("song{song}.wav");
            home.write(&name, &wav(&tone(0.5 + 0.25 * f64::from(song))));
            let id = format!("{song}-{question}");
            lines.push(about(&id, &name, &format!("Question {question}?")));
        }
    }
    ask(&home, &lines);
    home
}

/// Lines that are whole.
fn whole_lines(home: &Home) -> usize {
    let bytes = fs::read(home.path(OUTPUT)).unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Starts the batch, kills it once it has written `lines` more and so long after, and says whether
/// it was still running.
fn kill_after(home: &Home, lines: usize, more: Duration) -> bool {
    let until = whole_lines(home) + lines;
    let mut command = home.command(BATCH);
    command.stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while whole_lines(home) < until && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(120), "no line comes");
        sleep(Duration::from_millis(1));
    }
    sleep(more);
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

#[test]
fn a_batch_that_is_killed_goes_on_where_it_was() {
    let home = home_with_questions(5);
    assert_counts(&home.run(BATCH), 30, 0, 0);
    let expected = choices(&output(&home, OUTPUT));
    fs::remove_file(home.path(OUTPUT)).unwrap();

    let mut killed = 0;
    for (lines, more) in [
        (0, 0),
        (0, 30),
        (1, 0),
        (3, 1),
        (5, 3),
        (1, 10),
        (4, 0),
        (2, 2),
    ] {
        let before = fs::read(home.path(OUTPUT)).unwrap_or_default();
        killed += usize::from(kill_after(&home, lines, Duration::from_millis(more)));
        // Nothing that was written whole is touched.
        let end = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let after = fs::read(home.path(OUTPUT)).unwrap_or_default();
        assert!(after.starts_with(&before[..end]));
    }
    assert!(killed >= 5, "only {killed} of 8 were killed while they ran");
    let there = whole_lines(&home);
    assert!((16..30).contains(&there), "{there} lines");
    assert_counts(&home.run(BATCH), 30 - there, 0, there);
    assert_eq!(choices(&output(&home, OUTPUT)), expected);
    assert_counts(&home.run(BATCH), 0, 0, 30);
}

#[test]
fn a_torn_line_is_cut_off() {
    let home = home_with_questions(1);
    assert_counts(&home.run(BATCH), 6, 0, 0);
    let whole = home.read(OUTPUT);
    let expected = choices(&output(&home, OUTPUT));
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let cut = |len: usize| whole[..len].to_vec();
    for (torn, left) in [
        (cut(last + 1), 5),
        (cut(last + 100), 5),
        (cut(whole.len() - 1), 5),
        (cut(first + 10), 1),
        (cut(first - 1), 0),
        (cut(1), 0),
        ([&whole[..last], b"\0\0\0\0"].concat(), 5),
        ([&whole[..last], b"{\"id\":\"b\n"].concat(), 5),
        ([&whole[..last], b"\n"].concat(), 5),
    ] {
        home.write(OUTPUT, &torn);
        assert_counts(&home.run(BATCH), 6 - left, 0, left);
        let text = String::from_utf8(home.read(OUTPUT)).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(choices(&lines), expected);
    }
}

#[test]
fn shards_have_every_line_once_and_a_song_together() {
    let home = home_with_questions(4);
    assert_counts(&home.run(BATCH), 24, 0, 0);
    let expected = choices(&output(&home, OUTPUT));
    let mut songs: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut lines = Vec::new();
    for shard in 0..3 {
        home.passes(&format!("{BATCH} --shard {shard}/3"));
        for line in output(&home, &format!("requests.{shard}-of-3.out.jsonl")) {
            let (song, _) = line["custom_id"].as_str().unwrap().split_once('-').unwrap();
            songs.entry(song.to_owned()).or_default().insert(shard);
            lines.push(line);
        }
    }
    assert_eq!(choices(&lines), expected);
    assert!(songs.values().all(|shards| shards.len() == 1), "{songs:?}");
    let used: BTreeSet<_> = songs.values().flatten().collect();
    assert!(used.len() > 1, "{songs:?}");
}

#[test]
fn shards_share_what_is_no_question() {
    let home = Home::furnished();
    let twice = about("twice", "clip.wav", "When?").to_string();
    let lines = [
        "1",
        "no JSON",
        "{}",
        "[",
        twice.as_str(),
        twice.as_str(),
        "2",
        "{\"custom_id\": \"a\"}",
    ];
    home.write("requests.jsonl", lines.join("\n").as_bytes());
    let mut names = Vec::new();
    for shard in 0..2 {
        home.run(&format!("{BATCH} --shard {shard}/2"));
        for line in output(&home, &format!("requests.{shard}-of-2.out.jsonl")) {
            names.push(line["custom_id"].to_string() + &line["line"].to_string());
        }
    }
    names.sort();
    let expected = [
        "\"a\"null",
        "\"twice\"null",
        "null1",
        "null2",
        "null3",
        "null4",
        "null6",
        "null7",
    ];
    assert_eq!(names, expected);
}

#[test]
fn shards_that_are_none() {
    let home = Home::new();
    for (shard, parts) in [
        ("2/2", ["shard 2 of 2", "from 0"]),
        ("half", ["INDEX/COUNT", "0/8"]),
    ] {
        let run = home.run(&format!("{BATCH} --shard {shard}"));
        assert_eq!(run.code, Some(2));
        let missing = parts.iter().find(|part| !run.stderr.contains(**part));
        assert_eq!(missing, None, "{}", run.stderr);
    }
}
