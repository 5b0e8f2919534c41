//! Answers that are held to a schema or an expression.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{
    Answer, Constraint, DeviceChoice, Engine, EngineOptions, Error, Finish, Generation, Input,
    Model, OpenOptions, Request, Sampling, SamplingParams,
};
use gamut_loader::synthetic::{self, SyntheticOptions};
use gamut_tests::nvrtc::NEWEST;
use serde_json::Value;
use std::sync::Arc;

fn engine(device: DeviceChoice) -> Engine {
    let dir = tempfile::tempdir().unwrap();
    synthetic::write(dir.path(), &SyntheticOptions::default()).unwrap();
    // The mapped files stay when their names are gone.
    let model = Model::open(dir.path(), &OpenOptions::default()).unwrap();
    let options = EngineOptions {
        device,
        max_model_len: Some(512),
        max_num_seqs: 6,
        ..EngineOptions::default()
    };
    Engine::new(Arc::new(model), &options).unwrap()
}

/// What a model of random weights says is arbitrary, the more so at this temperature.
fn request(text: &str, seed: u64, constraint: Option<Constraint>) -> Request {
    let params = SamplingParams {
        sampling: Sampling {
            temperature: 1.5,
            seed,
            ..Sampling::default()
        },
        max_tokens: 300,
        constraint,
        ..SamplingParams::default()
    };
    Request::new(Input::Text(text.to_owned())).params(params)
}

fn ask(engine: &Engine, request: Request) -> Answer {
    let completion = engine.submit(request).unwrap().wait().unwrap();
    completion.answers.into_iter().next().unwrap()
}

fn section() -> Constraint {
    let schema = r#"{
        "type": "object",
        "properties": {
            "name": { "enum": ["verse", "chorus"] },
            "start": { "type": "integer", "minimum": 0, "maximum": 300 },
            "loud": { "type": "boolean" }
        },
        "required": ["name", "start", "loud"],
        "additionalProperties": false
    }"#;
    Constraint::JsonSchema(schema.to_owned())
}

fn timestamp() -> Constraint {
    Constraint::Regex("[0-9]:[0-5][0-9]( and [0-9]:[0-5][0-9])?".to_owned())
}

fn is_section(text: &str) -> bool {
    let section: Value = serde_json::from_str(text).unwrap();
    let name = section["name"].as_str().unwrap();
    let start = section["start"].as_i64().unwrap();
    let known = ["verse", "chorus"].contains(&name) && (0..=300).contains(&start);
    known && section["loud"].is_boolean() && section.as_object().unwrap().len() == 3
}

fn is_timestamp(text: &str) -> bool {
    let one = |text: &str| {
        let bytes = text.as_bytes();
        bytes.len() == 4
            && bytes[1] == b':'
            && [0, 2, 3].iter().all(|i| bytes[*i].is_ascii_digit())
            && bytes[2] <= b'5'
    };
    text.split(" and ").count() <= 2 && text.split(" and ").all(one)
}

fn check(device: DeviceChoice, seeds: std::ops::Range<u64>) {
    let engine = engine(device);
    let free = ask(&engine, request("When?", 0, None));
    assert!(
        serde_json::from_str::<Value>(&free.text).is_err(),
        "{free:?}"
    );
    for seed in seeds {
        // All at a time, and each is what it is alone.
        let asked = [Some(section()), Some(timestamp()), None];
        let asked = asked.map(|constraint| request("When?", seed, constraint));
        let together = asked.clone().map(|request| engine.submit(request).unwrap());
        let together = together.map(|generation| generation.wait().unwrap().answers.remove(0));
        for (request, answer) in asked.into_iter().zip(&together) {
            assert_eq!(ask(&engine, request).tokens, answer.tokens);
        }
        let [section, timestamp, _] = &together;
        assert!(is_section(&section.text), "seed {seed}: {}", section.text);
        assert!(
            is_timestamp(&timestamp.text),
            "seed {seed}: {}",
            timestamp.text
        );
        assert_eq!([section.finish, timestamp.finish], [Some(Finish::Stop); 2]);
    }
}

#[test]
fn answers_are_what_they_are_held_to() {
    check(DeviceChoice::Host, 0..20);
}

#[test]
fn answers_are_what_they_are_held_to_on_the_virtual_gpu() {
    NEWEST.nvrtc();
    check(DeviceChoice::Virtual, 0..1);
}

#[test]
fn each_of_many_answers_is_held_to_it() {
    let engine = engine(DeviceChoice::Host);
    let mut request = request("When?", 3, Some(timestamp()));
    request.params.n = 5;
    // Nothing may follow some answers, and the model's own end is not what ends them.
    request.params.ignore_eos = true;
    let answers = engine.submit(request).unwrap().wait().unwrap().answers;
    assert_eq!(answers.len(), 5);
    for answer in &answers {
        assert!(is_timestamp(&answer.text), "{}", answer.text);
    }
    assert!(answers.iter().any(|answer| answer.text != answers[0].text));
}

#[test]
fn thoughts_are_free() {
    let engine = engine(DeviceChoice::Host);
    let model = engine.model();
    let end = model
        .checkpoint()
        .tokenizer()
        .token_to_id("</think>")
        .unwrap();
    // A thought is open, and will end at once.
    let text = "<|im_start|>assistant\n<think>\n";
    let mut request = request(text, 1, Some(timestamp()));
    request.params.sampling.logit_bias = vec![(end, 1e4)];
    let answer = ask(&engine, request);
    assert_eq!(answer.tokens[0].id, end);
    assert!(is_timestamp(&answer.text), "{answer:?}");
}

#[test]
fn what_is_no_constraint_is_refused() {
    let engine = engine(DeviceChoice::Host);
    let refusal = |constraint| {
        let request = request("When?", 0, Some(constraint));
        engine.submit(request).unwrap_err().to_string()
    };
    let schema = |text: &str| refusal(Constraint::JsonSchema(text.to_owned()));
    let regex = |text: &str| refusal(Constraint::Regex(text.to_owned()));
    assert!(
        schema("{").starts_with("JSON schema: EOF while parsing"),
        "{}",
        schema("{")
    );
    assert!(
        schema(r#"{"type": "song"}"#).contains("song"),
        "{}",
        schema(r#"{"type": "song"}"#)
    );
    assert!(schema(r#"{"enum": []}"#).starts_with("JSON schema: "));
    assert!(
        regex("(").starts_with("regular expression: "),
        "{}",
        regex("(")
    );
    assert!(regex(r"a(?=b)").starts_with("regular expression: "));
}

#[test]
fn an_absurd_constraint_harms_only_its_own_request() {
    let engine = engine(DeviceChoice::Host);
    for pattern in [
        "a{1000000000}",
        "((((a{1000}){1000}){1000}b?){1000}){1000}",
        "(a|aa|aaa){1,2000}b|[ab]*a[ab]{400}c",
        "[ab]*a[ab]{2000}",
    ] {
        let absurd = Constraint::Regex(pattern.to_owned());
        let answer = engine.submit(request("When?", 0, Some(absurd)));
        let beside = engine.submit(request("When?", 0, Some(timestamp())));
        match answer.map_err(Error::from).and_then(Generation::wait) {
            Ok(completion) => {
                let text = &completion.answers[0].text;
                assert!(text.bytes().all(|b| b"abc".contains(&b)), "{text}");
            }
            Err(error) => {
                let text = error.to_string();
                let (refused, failed) = ("regular expression: ", "constraint: ");
                assert!(
                    text.starts_with(refused) || text.starts_with(failed),
                    "{text}"
                );
            }
        }
        let beside = beside.unwrap().wait().unwrap();
        assert!(is_timestamp(&beside.answers[0].text));
    }
}
