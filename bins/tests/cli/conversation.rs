//! `gamut chat`: what is kept from one question to the next, and what may happen to the model's
//! files meanwhile.

use crate::support::{Home, assert_refused};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

const CHAT: &str = "chat clip.wav -m model -n 12 --ignore-eos";

/// The numbers of prompt tokens that each answer had to compute.
fn prefills(stderr: &str) -> Vec<usize> {
    let counts = stderr.split("prefill ").skip(1);
    counts
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn a_second_question_computes_only_its_own_tokens() {
    let home = Home::furnished();
    let run = home.run_with(CHAT, b"When?\nWhy?\n\nnever asked\n");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let prefills = prefills(&run.stderr);
    assert_eq!(prefills.len(), 2, "{}", run.stderr);
    assert!(
        prefills[0] > 50,
        "the audio's tokens and the question: {}",
        prefills[0]
    );
    assert!(
        prefills[1] < 50,
        "the song was computed again: {}",
        prefills[1]
    );
}

#[test]
fn a_chat_answers_as_ask_does() {
    let home = Home::furnished();
    let asked = home.passes("ask clip.wav -m model -n 12 --ignore-eos -p When?");
    assert_eq!(home.run_with(CHAT, b"When?\n").stdout, asked.stdout);
}

#[test]
fn a_piped_question_that_does_not_fit_ends_the_chat() {
    let home = Home::furnished();
    let run = home.run_with(&format!("{CHAT} --max-model-len 64"), b"When?\n");
    assert_refused(&run, &["context holds 64"]);
}

#[test]
fn questions_that_are_no_text() {
    assert_refused(
        &Home::furnished().run_with(CHAT, b"\xff\xfe\n"),
        &["standard input", "UTF-8"],
    );
}

/// Asks two questions, with `meanwhile` between them, and returns the answers.
fn interrupted(home: &Home, flags: &str, meanwhile: impl FnOnce()) -> Vec<u8> {
    let mut command = home.command(&format!("{CHAT} {flags}"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut report = BufReader::new(child.stderr.take().unwrap());
    input.write_all(b"When?\n").unwrap();
    // The stage times end an answer.
    let mut line = String::new();
    report.read_line(&mut line).unwrap();
    assert!(line.contains("decode 12 tokens"), "{line}");
    meanwhile();
    input.write_all(b"Why?\n").unwrap();
    drop(input);
    report.read_to_string(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {line}", output.status);
    output.stdout
}

#[test]
fn model_files_may_be_replaced_and_unlinked() {
    let home = Home::furnished();
    let expected = interrupted(&home, "", || ());
    home.passes("demo-model other --seed 1");
    let (old, new) = (home.path("model"), home.path("other"));
    let replace = || {
        for name in ["model.safetensors", "tokenizer.json", "config.json"] {
            fs::rename(new.join(name), old.join(name)).unwrap();
        }
    };
    assert_eq!(interrupted(&home, "", replace), expected);
    assert_ne!(
        interrupted(&home, "", || ()),
        expected,
        "the new weights answer otherwise"
    );

    let expected = interrupted(&home, "", || ());
    assert_eq!(
        interrupted(&home, "", || fs::remove_dir_all(&old).unwrap()),
        expected
    );
}

#[test]
fn weights_in_memory_survive_truncation() {
    let home = Home::furnished();
    let expected = interrupted(&home, "", || ());
    let truncate = || {
        let weights = home.path("model/model.safetensors");
        File::options()
            .write(true)
            .open(weights)
            .unwrap()
            .set_len(0)
            .unwrap();
    };
    assert_eq!(interrupted(&home, "--no-mmap", truncate), expected);
}
