//! Audio that cannot be heard: each is refused by name, with what was found and what was expected.

use crate::support::{Home, assert_refused, tone, wav};

const ASK: &str = "-p When? -m model -n 1";

/// Asserts that a file of `bytes` is refused.
#[track_caller]
fn refuses(name: &str, bytes: &[u8], parts: &[&str]) {
    let home = Home::furnished();
    home.write(name, bytes);
    home.refuses(&format!("ask {name} {ASK}"), &[&[name], parts].concat());
}

#[test]
fn no_file() {
    Home::furnished().refuses(
        &format!("ask none.mp3 {ASK}"),
        &["none.mp3", "No such file"],
    );
}

#[test]
fn a_directory() {
    Home::furnished().refuses(&format!("ask model {ASK}"), &["model", "is a directory"]);
}

#[test]
fn an_empty_file() {
    refuses("a.wav", b"", &["0 bytes", "expected an audio file"]);
}

#[test]
fn empty_standard_input() {
    assert_refused(
        &Home::furnished().run(&format!("ask - {ASK}")),
        &["<stdin>", "0 bytes"],
    );
}

#[test]
fn text() {
    refuses(
        "a.mp3",
        &b"This is no song. ".repeat(500),
        &["expected mp3, flac"],
    );
}

#[test]
fn a_picture() {
    refuses(
        "a.flac",
        &[b"\x89PNG\r\n\x1a\n".to_vec(), vec![7; 4096]].concat(),
        &["expected mp3"],
    );
}

#[test]
fn a_truncated_header() {
    refuses("a.wav", &wav(&tone(1.0))[..30], &[]);
}

#[test]
fn a_truncated_mp4() {
    refuses(
        "a.m4a",
        b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom\0\x10\0\0moov\0\0",
        &[],
    );
}

#[test]
fn no_samples() {
    refuses("a.wav", &wav(&[]), &["0 samples", "expected at least 1"]);
}

#[test]
fn samples_that_are_no_numbers() {
    for value in [f32::NAN, f32::INFINITY] {
        let mut samples = tone(0.5);
        samples[1234] = value;
        refuses(
            "a.wav",
            &wav(&samples),
            &["sample 1234", &value.to_string(), "finite"],
        );
    }
}

#[test]
fn longer_than_the_model_takes() {
    let home = Home::furnished();
    home.edit_json("model/config.json", |c| c["max_audio_seconds"] = 1.into());
    home.refuses(
        &format!("ask clip.wav {ASK}"),
        &["clip.wav", "2.000 s", "limit is 1 s"],
    );
}

#[test]
fn ranges_without_audio() {
    let home = Home::furnished();
    for (range, parts) in [
        ("--from 1.5 --to 0.5", &["from 1.5 s", "to 0.5 s"][..]),
        ("--from 1 --to 1", &["from 1 s", "to 1 s"]),
        ("--from=-1", &["from -1 s"]),
        ("--from nan", &["from NaN s"]),
        ("--to inf --from inf", &["inf"]),
        ("--from 7", &["starts at 7 s", "2.000 s"]),
    ] {
        home.refuses(
            &format!("ask clip.wav {range} {ASK}"),
            &[&["clip.wav"], parts].concat(),
        );
    }
}

#[test]
fn chat_and_inspect_refuse_alike() {
    let home = Home::furnished();
    home.refuses("chat none.mp3 -m model", &["none.mp3"]);
    home.refuses("inspect none.mp3 -m model -p When? -o o.st", &["none.mp3"]);
    home.refuses("bench none.mp3 -m model", &["none.mp3"]);
    assert!(!home.path("o.st").exists());
}
