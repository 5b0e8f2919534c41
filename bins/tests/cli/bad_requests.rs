//! Questions, parameters and outputs that cannot be served.

use crate::support::{Home, Run, assert_refused};
use std::process::Stdio;

const ASK: &str = "ask clip.wav -p When? -m model -n 2";

#[test]
fn a_question_that_spells_the_placeholder() {
    let home = Home::furnished();
    home.refuses(
        "ask clip.wav -p <|AUDIO|> -m model",
        &["placeholder", "2 times", "expected 1"],
    );
    home.refuses(
        "inspect clip.wav -p <|AUDIO|> -m model -o o.st",
        &["placeholder", "2 times"],
    );
}

#[test]
fn a_prompt_over_the_context() {
    let home = Home::furnished();
    home.refuses(
        &format!("{ASK} --max-model-len 64"),
        &["50 of them audio", "context holds 64"],
    );
    home.refuses(
        "inspect clip.wav -p When? -m model -o o.st --max-model-len 64",
        &["50 of them audio", "context holds 64"],
    );
}

#[test]
fn more_tokens_than_any_context() {
    let home = Home::furnished();
    let most = usize::MAX;
    home.refuses(
        &format!("inspect clip.wav -p When? -m model -o o.st -n {most}"),
        &[&most.to_string(), "context holds"],
    );
}

#[test]
fn a_context_over_the_model() {
    let home = Home::furnished();
    for asked in ["0", "40961", "18446744073709551615"] {
        let parts = ["max_model_len", asked, "40960"];
        home.refuses(&format!("{ASK} --max-model-len {asked}"), &parts);
        home.refuses(&format!("info model --max-model-len {asked}"), &parts);
    }
}

#[test]
fn parameters_out_of_range() {
    let home = Home::furnished();
    for (flag, name) in [
        ("--temperature=-1", "temperature"),
        ("--temperature=nan", "temperature"),
        ("--top-p=0", "top_p"),
        ("--top-p=1.5", "top_p"),
        ("--min-p=-0.1", "min_p"),
        ("--min-p=1.1", "min_p"),
        ("--repetition-penalty=0", "repetition_penalty"),
        ("--repetition-penalty=1e-38", "repetition_penalty"),
        ("--presence-penalty=inf", "presence_penalty"),
        ("--frequency-penalty=nan", "frequency_penalty"),
        ("--logit-bias=576=1", "logit_bias"),
        ("--stop-token-id=576", "stop_token_ids"),
    ] {
        home.refuses(&format!("{ASK} {flag}"), &[name, "expected"]);
    }
}

#[test]
fn arguments_that_do_not_parse() {
    let home = Home::furnished();
    for flag in [
        "--temperature=warm",
        "--seed=-1",
        "--logit-bias=1",
        "--device=tpu",
        "--nonsense",
    ] {
        let run = home.run(&format!("{ASK} {flag}"));
        assert_eq!(run.code, Some(2), "{run:?}");
        let name = flag.split('=').next().unwrap();
        assert!(
            run.stderr.starts_with("error: ") && run.stderr.contains(name),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn too_many_threads() {
    Home::furnished().refuses(&format!("{ASK} --threads 100000000"), &["100000000"]);
}

/// Runs with a standard output whose reader is gone.
fn run_unread(home: &Home, line: &str) -> Run {
    let mut command = home.command(line);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    Run::of(child.wait_with_output().unwrap())
}

#[test]
fn a_reader_that_is_gone() {
    let home = Home::furnished();
    for line in [
        ASK,
        &format!("{ASK} --json"),
        "info model",
        "info model --json",
        "bench -m model --no-stages -p 1 -n 0 -r 1 -o csv",
    ] {
        assert_refused(
            &run_unread(&home, line),
            &["cannot write to standard output"],
        );
    }
}

#[test]
fn an_output_that_cannot_be_written() {
    let home = Home::furnished();
    let inspect = "inspect clip.wav -p When? -m model -n 1 -o";
    home.refuses(
        &format!("{inspect} none/o.st"),
        &["none/o.st", "No such file"],
    );
    home.refuses(&format!("{inspect} model"), &["model"]);
    home.refuses("demo-model clip.wav", &["clip.wav"]);
    home.refuses("demo-model new --shards 0", &["0 shards", "expected 1 to"]);
    home.refuses("demo-model new --config none.json", &["none.json"]);
    assert!(!home.path("new").exists());
}

#[test]
fn a_cache_that_cannot_be_written() {
    let home = Home::furnished();
    home.write("cache", b"a file in its place");
    let run = home.run("ask clip.wav -p When?");
    let (hint, error) = run.stderr.split_once('\n').unwrap();
    assert!(hint.contains("bundled"), "{hint}");
    assert_refused(
        &Run {
            stderr: error.to_owned(),
            ..run
        },
        &["cannot keep the bundled model in"],
    );
}
