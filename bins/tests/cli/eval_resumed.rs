//! `gamut eval` after it was killed, and beside the logs of other evaluations.

use crate::eval::{EVAL, LOG, answers, assert_counts, home, json_of, questions, write_questions};
use crate::support::Home;
use serde_json::json;
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Kills the command once its log has so many lines; whether it was still running.
fn kill_after(home: &Home, eval: &str, lines: usize) -> bool {
    let count = || {
        let bytes = fs::read(home.path(LOG)).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == b'\n').count()
    };
    let until = count() + lines;
    let mut command = home.command(eval);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while count() < until && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(120), "no line comes");
        sleep(Duration::from_millis(1));
    }
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

#[test]
fn an_evaluation_that_is_killed_goes_on_where_it_was() {
    let home = home(24);
    let eval = format!("{EVAL} --max-num-seqs 2").replace("-n 8", "-n 150 --ignore-eos");
    home.passes(&eval);
    let (expected, report) = (answers(&home, LOG), json_of(&home, "out/report.json"));
    assert_eq!(expected.len(), 24);
    fs::remove_dir_all(home.path("out")).unwrap();
    let killed = [2, 3, 4].map(|lines| usize::from(kill_after(&home, &eval, lines)));
    assert!(killed.iter().sum::<usize>() >= 2, "{killed:?}");
    // A process that dies leaves the head of a line at most.
    let mut log = home.read(LOG);
    log.extend(b"{\"question\":23,\"id\":\"t-00");
    home.write(LOG, &log);
    let there = log.iter().filter(|byte| **byte == b'\n').count() - 1;
    let run = home.run(&eval);
    assert_counts(&run, 24 - there, 0, there);
    assert_eq!(answers(&home, LOG), expected);
    assert_eq!(json_of(&home, "out/report.json"), report);
    // All is there: no model is opened.
    let again = home.run(&eval);
    assert_counts(&again, 0, 0, 24);
    assert_eq!(json_of(&home, "out/report.json"), report);
}

#[test]
fn a_log_of_something_else_is_refused() {
    let home = home(3);
    home.passes(EVAL);
    let log = home.read(LOG);
    home.passes("demo-model other --seed 5");
    let refuses = |eval: &str, parts: &[&str]| {
        home.refuses(
            eval,
            &[&["out/answers.jsonl has answers with"], parts].concat(),
        );
        assert_eq!(home.read(LOG), log);
    };
    refuses(
        &EVAL.replace("-n 8", "-n 9"),
        &["decode.max_tokens 8, expected 9"],
    );
    refuses(
        &format!("{EVAL} --temperature 0.7"),
        &["decode.temperature 0.0, expected 0.7"],
    );
    refuses(&format!("{EVAL} --seed 3"), &["seed 0, expected 3"]);
    refuses(
        &format!("{EVAL} --no-audio"),
        &["audio \"own\", expected \"none\""],
    );
    refuses(
        &format!("{EVAL} --by likelihood"),
        &["by \"generation\", expected \"likelihood\""],
    );
    refuses(&format!("{EVAL} --limit 2"), &["limit null, expected 2"]);
    refuses(
        &format!("{EVAL} --system Hm"),
        &["template.system null, expected \"Hm\""],
    );
    refuses(
        &EVAL.replace("-m model", "-m other"),
        &["checkpoint_hash \"", "expected \""],
    );
    write_questions(&home, &questions(4));
    home.refuses(EVAL, &["has answers with benchmark_hash \"", "expected \""]);
    write_questions(&home, &questions(3));
    // And what is no log at all.
    for text in ["lyrics\n", "{\"custom_id\": \"a\", \"error\": {}}\n", "7"] {
        home.write(LOG, text.as_bytes());
        home.refuses(
            EVAL,
            &["line 1 of out/answers.jsonl is no answer", "gamut eval"],
        );
        assert_eq!(home.read(LOG), text.as_bytes());
    }
    // Answers without settings, or to another question.
    let lines = String::from_utf8(log).unwrap();
    let first = lines.lines().next().unwrap();
    let answer = |question: usize, id: &str| json!({ "question": question, "id": id, "output": "A", "finish": null, "tokens": 1 });
    for (text, line) in [
        (format!("{}\n", answer(0, "t-0000")), "line 1"),
        (format!("{first}\n{}\n", answer(3, "t-0003")), "line 2"),
        (format!("{first}\n{}\n", answer(0, "t-0001")), "line 2"),
    ] {
        home.write(LOG, text.as_bytes());
        home.refuses(EVAL, &[line, "is no answer"]);
    }
}
