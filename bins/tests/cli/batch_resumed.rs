//! `gamut batch` in several processes: one after the other, as they are killed, or side by side.

use crate::batch::{about, ask, assert_counts, choices, output};
use crate::support::{Home, tone, wav};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
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
fn kill_after(home: &Home, batch: &str, lines: usize, more: Duration) -> bool {
    let until = whole_lines(home) + lines;
    let mut command = home.command(batch);
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
    // Long answers, so that no run is at its end when its time has come.
    let batch = BATCH.replace("-n 24", "-n 200");
    assert_counts(&home.run(&batch), 30, 0, 0);
    let expected = choices(&output(&home, OUTPUT));
    fs::remove_file(home.path(OUTPUT)).unwrap();

    let mut killed = 0;
    for (lines, more) in [
        (0, 0),
        (0, 30),
        (1, 0),
        (3, 1),
        (4, 3),
        (1, 10),
        (2, 0),
        (1, 2),
    ] {
        let before = fs::read(home.path(OUTPUT)).unwrap_or_default();
        let more = Duration::from_millis(more);
        killed += usize::from(kill_after(&home, &batch, lines, more));
        // Nothing that was written whole is touched.
        let end = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let after = fs::read(home.path(OUTPUT)).unwrap_or_default();
        assert!(after.starts_with(&before[..end]));
    }
    assert!(killed >= 4, "only {killed} of 8 were killed while they ran");
    let there = whole_lines(&home);
    assert!(there >= 12, "{there} lines");
    assert_counts(&home.run(&batch), 30 - there, 0, there);
    assert_eq!(choices(&output(&home, OUTPUT)), expected);
    assert_counts(&home.run(&batch), 0, 0, 30);
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

/// `examples/batch`, as Slurm runs it.
#[test]
fn the_example_of_an_array_job() {
    let home = Home::furnished();
    fs::create_dir(home.path("songs")).unwrap();
    for (seconds, name) in [
        (0.5, "a.wav"),
        (1.0, "b.wav"),
        (1.5, "c.wav"),
        (2.0, "d.WAV"),
    ] {
        home.write(&format!("songs/{name}"), &wav(&tone(seconds)));
    }
    home.write("songs/cover.jpg", b"no song");
    let gamut = Path::new(env!("CARGO_BIN_EXE_gamut")).parent().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/batch");
    // What a script of the example writes to standard output, and its exit code.
    let run = |program: &str, script: &str, args: &[&str], task: &str| {
        let path = format!("{}:{}", gamut.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command
            .arg(examples.join(script))
            .args(args)
            .current_dir(home.path("."));
        command.env("PATH", path).env("SLURM_ARRAY_TASK_ID", task);
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), output.stdout, errors)
    };
    let questions = ["songs", "When does it start?", "Which key is it in?"];
    let (code, requests, errors) = run("python3", "make_requests.py", &questions, "");
    assert_eq!(code, Some(0), "{errors}");
    home.write("requests.jsonl", &requests);
    let part = ["requests.jsonl", "model", "2", "-n", "8"];
    let (code, _, errors) = run("python3", "merge.py", &["requests.jsonl"], "");
    assert_eq!(code, Some(1));
    assert!(errors.contains("0 answers to 8 requests"), "{errors}");
    for task in ["1", "0"] {
        let (code, _, errors) = run("bash", "batch.slurm", &part, task);
        assert_eq!(code, Some(0), "{errors}");
    }
    let (code, answers, errors) = run("python3", "merge.py", &["requests.jsonl"], "");
    assert_eq!(code, Some(0), "{errors}");
    home.write("answers.jsonl", &answers);
    let ids: Vec<String> = choices(&output(&home, "answers.jsonl"))
        .into_keys()
        .collect();
    let songs = ["a.wav", "b.wav", "c.wav", "d.WAV"];
    let expected: Vec<String> = songs
        .iter()
        .flat_map(|song| [0, 1].map(|number| format!("{song}#{number}")))
        .collect();
    assert_eq!(ids, expected);
}
