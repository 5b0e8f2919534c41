//! `gamut eval`: a benchmark in, accuracies out. The demo model's answers mean nothing, so what is
//! checked is that they are asked for, kept, and scored as a hand does it.

use crate::support::{Home, Run, assert_refused, tone, wav};
use serde_json::{Value, json};
use std::fs;

pub(crate) const EVAL: &str = "eval bench.json -m model -n 8 -o out";
pub(crate) const LOG: &str = "out/answers.jsonl";

/// Questions of MusicBench's shape about three songs, in turn.
pub(crate) fn questions(count: usize) -> Vec<Value> {
    let question = |i: usize| {
        let (split, category) = match i % 2 {
            0 => ("temporal", "entry"),
            _ => ("Global", "genre"),
        };
        let answer = ["A", "0:12", "C", "D"][i % 4];
        json!({
            "id": format!("t-{i:04}"), "audio": format!("songs/{}.wav", i % 3),
            "question": format!("When is event {i}?"), "options": ["0:04", "0:12", "0:19", "0:25"],
            "answer": answer, "category": category, "split": split,
        })
    };
    (0..count).map(question).collect()
}

/// With a model, three songs, and a benchmark about them in `bench.json`.
pub(crate) fn home(count: usize) -> Home {
    let home = Home::furnished();
    fs::create_dir(home.path("songs")).unwrap();
    for song in 0..3 {
        let seconds = 0.5 + 0.25 * f64::from(song);
        home.write(&format!("songs/{song}.wav"), &wav(&tone(seconds)));
    }
    write_questions(&home, &questions(count));
    home
}

pub(crate) fn write_questions(home: &Home, questions: &[Value]) {
    home.write("bench.json", json!(questions).to_string().as_bytes());
}

pub(crate) fn json_of(home: &Home, name: &str) -> Value {
    serde_json::from_slice(&home.read(name)).unwrap()
}

/// The answers of a log, behind its settings.
pub(crate) fn answers(home: &Home, name: &str) -> Vec<Value> {
    let text = String::from_utf8(home.read(name)).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let settings: Value = lines.next().unwrap();
    assert!(settings["settings"].is_object(), "{settings}");
    let mut answers: Vec<Value> = lines.collect();
    answers.sort_by_key(|answer| answer["question"].as_u64());
    answers
}

/// Asserts what was done, by the last line on stderr.
#[track_caller]
pub(crate) fn assert_counts(run: &Run, asked: usize, failed: usize, skipped: usize) {
    let last = run.stderr.lines().last().unwrap_or_default();
    let counts =
        format!("{asked} asked | {failed} failed | 0 pending | {skipped} skipped as already there");
    assert!(last.starts_with(&counts), "{}", run.stderr);
    assert_eq!(run.code, Some(i32::from(failed > 0)), "{}", run.stderr);
}

/// The numbers of one row of a report.
pub(crate) fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["categories"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name);
    row.unwrap_or_else(|| panic!("{name} is not in {report}"))
}

pub(crate) fn mean(row: &Value, metric: &str) -> f64 {
    row["scores"][metric]["mean"].as_f64().unwrap()
}

#[test]
fn an_evaluation_says_what_it_depends_on() {
    let home = home(6);
    let run = home.run(EVAL);
    assert_counts(&run, 6, 0, 0);
    let report = json_of(&home, "out/report.json");
    let settings = &report["settings"];
    for (key, value) in [
        ("format", json!("musicbench")),
        ("by", json!("generation")),
        ("audio", json!("own")),
        ("seed", json!(0)),
        ("questions", json!(6)),
    ] {
        assert_eq!(settings[key], value, "{settings}");
    }
    let decode = &settings["decode"];
    assert_eq!(
        (&decode["max_tokens"], &decode["temperature"]),
        (&json!(8), &json!(0.0))
    );
    for key in ["benchmark_hash", "prompt_hash", "checkpoint_hash"] {
        assert_eq!(settings[key].as_str().unwrap().len(), 64, "{settings}");
    }
    let of = "BLAKE3 of config.json, tokenizer.json and all of 1 weight file";
    assert_eq!(settings["checkpoint_hash_of"], of);
    // 3 questions of each split, and 6 in all.
    assert_eq!(
        (&report["all"]["n"], &report["questions"]),
        (&json!(6), &json!(6))
    );
    for name in [
        "split: global",
        "split: temporal",
        "category: entry",
        "category: genre",
    ] {
        assert_eq!(row(&report, name)["n"], 3);
    }
    let text = run.text();
    let markdown = String::from_utf8(home.read("out/report.md")).unwrap();
    for part in [
        "checkpoint hash",
        "prompt hash",
        "seed",
        "max tokens 8",
        "missing audio",
        "unanswered",
        "format errors",
        "extracted % [95 %]",
        "strict % [95 %]",
        "split: temporal",
        settings["prompt_hash"].as_str().unwrap(),
    ] {
        assert!(
            text.contains(part) && markdown.contains(part),
            "{part}: {text}\n{markdown}"
        );
    }
    // The prompt is the question and its options, to the letter, of its own song.
    let prompt = "When is event 1?\n(A) 0:04\n(B) 0:12\n(C) 0:19\n(D) 0:25";
    let mut ask = home.command("ask songs/1.wav -m model -n 8 --json --temperature 0 -p");
    let asked = Run::of(ask.arg(prompt).output().unwrap()).json();
    assert_eq!(answers(&home, LOG)[1]["output"], asked["answer"]);
    // Without -n an answer has 32 tokens at most.
    home.passes("eval bench.json -m model --ignore-eos --limit 2 -o other");
    let other = answers(&home, "other/answers.jsonl");
    assert_eq!(other.len(), 2);
    assert!(
        other
            .iter()
            .all(|answer| answer["tokens"] == 32 && answer["finish"] == "length")
    );
}

/// Scores by hand: outputs are put into the log in the model's place.
#[test]
fn answers_are_scored_by_both_rules() {
    let home = home(4);
    assert_counts(&home.run(EVAL), 4, 0, 0);
    let text = String::from_utf8(home.read(LOG)).unwrap();
    let mut log: String = text.lines().next().unwrap().to_owned() + "\n";
    // Right are A, B, C, D: right by both, right by one, nothing found, wrong by both.
    for (i, output) in ["0:04 (A)", "It is 0:12.", "Who knows", "0:04 (A)"]
        .iter()
        .enumerate()
    {
        let line = json!({
            "question": i, "id": format!("t-{i:04}"), "output": output, "finish": "stop", "tokens": 4,
        });
        log += &(line.to_string() + "\n");
    }
    home.write(LOG, log.as_bytes());
    assert_counts(&home.run(EVAL), 0, 0, 4);
    let report = json_of(&home, "out/report.json");
    let all = &report["all"];
    assert_eq!(
        (&all["unanswered"], &all["format_errors"]),
        (&json!(1), &json!(2))
    );
    assert_eq!((mean(all, "extracted"), mean(all, "strict")), (0.5, 0.25));
    // Wilson's interval of 2 of 4, by statsmodels.
    let interval = &all["scores"]["extracted"];
    for (key, bound) in [("low", 0.1500), ("high", 0.8500)] {
        assert!(
            (interval[key].as_f64().unwrap() - bound).abs() < 1e-4,
            "{interval}"
        );
    }
    let temporal = row(&report, "split: temporal");
    assert_eq!(
        (mean(temporal, "extracted"), &temporal["unanswered"]),
        (0.5, &json!(1))
    );
    // The benchmark comes back with outputs in it, and those are scored alike without a model.
    let filled = json_of(&home, "out/bench.json");
    assert_eq!(filled[1]["model_output"], "It is 0:12.");
    assert_eq!(filled[1]["question"], "When is event 1?");
    home.passes("eval out/bench.json --rescore -o again");
    let again = json_of(&home, "again/report.json");
    for key in ["all", "categories", "questions"] {
        assert_eq!(again[key], report[key]);
    }
    assert!(!home.path("again/answers.jsonl").exists());
}

#[test]
fn a_part_of_the_questions() {
    let home = home(6);
    home.passes(&format!("{EVAL} --split temporal --limit 2"));
    let numbers: Vec<Value> = answers(&home, LOG)
        .iter()
        .map(|a| a["question"].clone())
        .collect();
    assert_eq!(numbers, [0, 2]);
    assert_eq!(
        json_of(&home, "out/bench.json").as_array().unwrap().len(),
        2
    );
    let mut without = questions(2);
    without.iter_mut().for_each(|q| {
        q.as_object_mut().unwrap().remove("split");
    });
    write_questions(&home, &without);
    home.refuses(
        &format!("{EVAL} --split global"),
        &["no question is of this split"],
    );
}

#[test]
fn missing_audio_is_counted_and_may_come() {
    let home = home(6);
    fs::rename(home.path("songs/1.wav"), home.path("late.wav")).unwrap();
    home.write("songs/2.wav", b"This is no song.");
    let run = home.run(EVAL);
    // Two questions each: answered, missing, failed.
    assert_counts(&run, 4, 2, 0);
    let report = json_of(&home, "out/report.json");
    assert_eq!(
        (&report["missing_audio"], &report["failed"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(report["missing_songs"], json!(["songs/1.wav"]));
    // Failures count as wrong, and what is missing does not count.
    let all = &report["all"];
    assert_eq!(all["n"], 4);
    assert!(all["unanswered"].as_u64().unwrap() >= 2);
    assert!(
        run.text().contains("2 questions, 1 songs"),
        "{}",
        run.text()
    );
    let log = answers(&home, LOG);
    assert!(
        log[1]["error"].as_str().unwrap().contains("songs/2.wav"),
        "{log:?}"
    );
    fs::rename(home.path("late.wav"), home.path("songs/1.wav")).unwrap();
    let run = home.run(EVAL);
    assert!(
        run.stderr
            .lines()
            .last()
            .unwrap()
            .starts_with("2 asked | 2 failed")
    );
    assert_eq!(json_of(&home, "out/report.json")["missing_audio"], 0);
    // Elsewhere, there is none of it.
    let run = home.run("eval bench.json -m model -o none --audio model");
    assert_counts(&run, 0, 0, 0);
    let report = json_of(&home, "none/report.json");
    assert_eq!(
        (&report["missing_audio"], &report["all"]["n"]),
        (&json!(6), &json!(0))
    );
    assert_eq!(report["all"]["scores"]["strict"], Value::Null);
}

#[test]
fn ablations_of_the_audio() {
    let home = home(6);
    home.passes(EVAL);
    let own = answers(&home, LOG);
    home.passes("eval bench.json -m model -n 8 -o none --no-audio");
    let mut ask = home.command("ask -m model -n 8 --json --temperature 0 -p");
    let prompt = "When is event 0?\n(A) 0:04\n(B) 0:12\n(C) 0:19\n(D) 0:25";
    let asked = Run::of(ask.arg(prompt).output().unwrap()).json();
    assert_eq!(
        answers(&home, "none/answers.jsonl")[0]["output"],
        asked["answer"]
    );
    // With three songs an exchange is one of two turns, by the same song for all of its questions.
    home.passes("eval bench.json -m model -n 8 -o other --exchange-audio 1");
    let exchanged = answers(&home, "other/answers.jsonl");
    let about = |song: usize| {
        let mut ask = home.command(&format!(
            "ask songs/{song}.wav -m model -n 8 --json --temperature 0 -p"
        ));
        Run::of(ask.arg(prompt).output().unwrap()).json()["answer"].clone()
    };
    let others = [about(1), about(2)];
    assert!(
        others.contains(&exchanged[0]["output"]),
        "{others:?} {exchanged:?}"
    );
    assert_eq!(own[0]["output"], about(0));
    let report = json_of(&home, "other/report.json");
    assert_eq!(report["settings"]["audio"], "exchanged by seed 1");
    write_questions(&home, &questions(1));
    home.refuses(
        "eval bench.json -m model -o one --exchange-audio 1",
        &["1 song, expected 2 or more to exchange"],
    );
}

#[test]
fn options_by_their_likelihood() {
    let home = home(3);
    home.passes(&format!("{EVAL} --by likelihood"));
    let sums = answers(&home, LOG);
    let report = json_of(&home, "out/report.json");
    let mut right = 0;
    for (i, answer) in sums.iter().enumerate() {
        let numbers = |key: &str| -> Vec<f64> {
            let values = answer[key].as_array().unwrap().iter();
            values.map(|value| value.as_f64().unwrap()).collect()
        };
        let (logprobs, tokens) = (numbers("logprobs"), numbers("tokens"));
        assert_eq!((logprobs.len(), tokens.len()), (4, 4));
        assert!(logprobs.iter().all(|logprob| *logprob < 0.0));
        // `0:04 (A)` has several tokens.
        assert!(tokens.iter().all(|tokens| *tokens >= 3.0));
        let best = (0..4)
            .max_by(|a, b| logprobs[*a].total_cmp(&logprobs[*b]))
            .unwrap();
        right += usize::from(best == i);
        let filled = &json_of(&home, "out/bench.json")[i]["model_output"];
        let expected = ["0:04 (A)", "0:12 (B)", "0:19 (C)", "0:25 (D)"][best];
        assert_eq!(filled, expected);
    }
    assert_eq!(mean(&report["all"], "likelihood"), right as f64 / 3.0);
    assert!(report["likelihood"].as_str().unwrap().contains("sum"));
    // Another way to compare what is there already.
    let run = home.run(&format!("{EVAL} --by likelihood --normalize"));
    assert_counts(&run, 0, 0, 3);
    let report = json_of(&home, "out/report.json");
    assert!(
        report["likelihood"]
            .as_str()
            .unwrap()
            .contains("divided by the number")
    );
    home.refuses(&format!("{EVAL} --normalize"), &["needs --by likelihood"]);
}

#[test]
fn two_evaluations_in_pairs() {
    let home = home(4);
    for (folder, seed) in [("out", ""), ("there", " --seed 1")] {
        home.passes(&format!("eval bench.json -m model -n 8 -o {folder}{seed}"));
    }
    let put = |folder: &str, outputs: [&str; 4]| {
        let name = format!("{folder}/answers.jsonl");
        let text = String::from_utf8(home.read(&name)).unwrap();
        let mut log: String = text.lines().next().unwrap().to_owned() + "\n";
        for (i, output) in outputs.iter().enumerate() {
            let line = json!({
                "question": i, "id": format!("t-{i:04}"), "output": output, "finish": "stop",
                "tokens": 4,
            });
            log += &(line.to_string() + "\n");
        }
        home.write(&name, log.as_bytes());
    };
    // Right are A, B, C, D.
    put("out", ["(A)", "(B)", "(C)", "(A)"]);
    put("there", ["(A)", "(A)", "(B)", "(D)"]);
    let run = home.run(&format!("{EVAL} --against there"));
    assert_counts(&run, 0, 0, 4);
    let against = &json_of(&home, "out/report.json")["against"];
    let difference = &against["differences"][0];
    assert_eq!(
        (&against["n"], &difference["metric"]),
        (&json!(4), &json!("extracted"))
    );
    let right = json!({ "both": 1, "only_here": 2, "only_there": 1, "neither": 0 });
    assert_eq!(difference["right"], right);
    // By hand: differences of 0, 1, 1, -1 have a mean of 0.25 and a standard deviation of 0.957427.
    let interval = &difference["difference"];
    for (key, expected) in [("mean", 0.25), ("low", -0.688_262), ("high", 1.188_262)] {
        assert!(
            (interval[key].as_f64().unwrap() - expected).abs() < 1e-5,
            "{interval}"
        );
    }
    for text in [
        run.text(),
        String::from_utf8(home.read("out/report.md")).unwrap(),
    ] {
        assert!(text.contains("25.0 [-68.8, 118.8]"), "{text}");
    }
    home.refuses(
        &format!("{EVAL} --against none"),
        &["cannot read none/answers.jsonl"],
    );
    write_questions(&home, &questions(3));
    home.refuses(
        "eval bench.json -m model -n 8 -o third --against there",
        &["there/answers.jsonl: benchmark_hash is", "expected"],
    );
}

#[test]
fn the_benchmark_is_not_written_over() {
    let home = home(2);
    let before = home.read("bench.json");
    home.refuses(
        "eval bench.json -m model -o .",
        &["bench.json holds the requests"],
    );
    assert_eq!(home.read("bench.json"), before);
    home.refuses(
        "eval bench.json --rescore",
        &["bench.json: no outputs, expected model_output"],
    );
    // JSON lines come back as lines.
    let lines: String = questions(2).iter().map(|q| q.to_string() + "\n").collect();
    home.write("bench.jsonl", lines.as_bytes());
    assert_counts(&home.run("eval bench.jsonl -m model -n 4"), 2, 0, 0);
    let filled = String::from_utf8(home.read("bench.eval/bench.jsonl")).unwrap();
    assert_eq!(filled.lines().count(), 2);
    let held = fs::File::open(home.path("bench.eval/answers.jsonl")).unwrap();
    held.lock().unwrap();
    let run = home.run("eval bench.jsonl -m model -n 4");
    assert_refused(&run, &["answers.jsonl", "in use by another process"]);
}
