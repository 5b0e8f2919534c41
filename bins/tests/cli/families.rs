//! Models of other families than GaMMA: with several songs, with one, with none.

use crate::support::Home;
use gamut_tests::golden::cases;

/// A home with the checkpoint of a golden case in `model`, and clips of one and of 31 seconds.
fn home(case: &str) -> Home {
    let home = Home::new();
    let cases = cases();
    let case = cases.iter().find(|known| known.name == case).unwrap();
    case.write_checkpoint(&home.path("model")).unwrap();
    for (name, seconds) in [("short.wav", 1.0), ("long.wav", 31.0)] {
        home.write(name, &crate::support::wav(&crate::support::tone(seconds)));
    }
    home
}

#[test]
fn songs_in_one_question() {
    let home = home("qwen2_audio");
    let usage = |line: &str| {
        let report = home.passes(&format!("ask -m model -n 2 --json -p Which? {line}"));
        report.json()["usage"]["audio_tokens"].as_u64().unwrap()
    };
    assert_eq!(usage("short.wav short.wav"), 50);
    assert_eq!(usage("long.wav short.wav --truncate"), 775);
    assert_eq!(usage(""), 0);
    let long = "ask long.wav -m model -p Which?";
    home.refuses(long, &["long.wav", "31", "30"]);
}

#[test]
fn the_flamingos_hear_one_song() {
    for case in ["audio_flamingo_3", "music_flamingo"] {
        let home = home(case);
        home.passes("ask long.wav -m model -n 2 -p When?");
        let two = "ask short.wav long.wav -m model -p When?";
        home.refuses(two, &["2 clips", "at most 1"]);
        assert!(home.passes("info model").text().contains("audio tower"));
    }
}

#[test]
fn a_clip_that_becomes_no_token() {
    let home = home("qwen2_audio");
    home.write("tiny.wav", &crate::support::wav(&[0.1; 320]));
    for line in ["ask", "inspect -o stages"] {
        let line = format!("{line} tiny.wav -m model -p What?");
        home.refuses(&line, &["320 samples", "no fewer than 321"]);
    }
}

#[test]
fn a_decoder_alone() {
    for case in ["qwen2", "qwen3"] {
        let home = home(case);
        home.passes("ask -m model -n 2 -p What?");
        let asked = "ask short.wav -m model -p What?";
        home.refuses(asked, &["reads text alone"]);
        let bench = home.passes("bench -m model -p 8 -n 2 -r 1 -o json").json();
        assert_eq!(bench.as_array().unwrap().len(), 2);
        home.passes("bench -m model -p 8 -n 2 --predict h100");
        assert!(home.passes("info model").text().contains("text alone"));
    }
}

#[test]
fn families_that_are_not_known() {
    let home = home("qwen2");
    home.edit_json("model/config.json", |config| {
        config["architectures"][0] = "LlamaForCausalLM".into();
    });
    let known = [
        "LlamaForCausalLM",
        "Qwen2ForCausalLM",
        "GammaForConditional",
    ];
    home.refuses("info model", &known);
}
