//! `gamut batch`: a file of requests in, a file of answers out.

use crate::support::{Home, Run, assert_refused, tone, wav};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Few and short, for tests that run it often.
const BATCH: &str = "batch requests.jsonl -m model -n 8";

/// A question about some audio.
pub(crate) fn about(id: &str, audio: &str, question: &str) -> Value {
    let content = json!([
        { "type": "audio_url", "audio_url": { "url": audio } },
        { "type": "text", "text": question },
    ]);
    line(
        id,
        json!({ "messages": [{ "role": "user", "content": content }] }),
    )
}

fn line(id: &str, body: Value) -> Value {
    let url = "/v1/chat/completions";
    json!({ "custom_id": id, "method": "POST", "url": url, "body": body })
}

/// Writes the lines of `requests.jsonl`.
pub(crate) fn ask(home: &Home, lines: &[Value]) {
    let lines: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    home.write("requests.jsonl", lines.as_bytes());
}

/// The lines of an output.
pub(crate) fn output(home: &Home, name: &str) -> Vec<Value> {
    let text = String::from_utf8(home.read(name)).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The choices of each request's answer, by its id. No id is there twice.
pub(crate) fn choices(lines: &[Value]) -> BTreeMap<String, Value> {
    let mut choices = BTreeMap::new();
    for line in lines {
        assert_eq!(line["error"], Value::Null, "{line}");
        let body = &line["response"]["body"];
        let id = line["custom_id"].as_str().unwrap().to_owned();
        let before = choices.insert(id, body["choices"].clone());
        assert_eq!(before, None, "{line} is there twice");
    }
    choices
}

/// The code and message of each error, by the id or the number of its line.
fn errors(lines: &[Value]) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let failed = lines.iter().filter(|line| !line["error"].is_null());
    let entries = failed.map(|line| {
        assert_eq!(line["response"], Value::Null, "{line}");
        let name = match &line["custom_id"] {
            Value::String(id) => id.clone(),
            _ => line["line"].to_string(),
        };
        let error = &line["error"];
        (name, (text(&error["code"]), text(&error["message"])))
    });
    entries.collect()
}

/// Asserts how many were done, failed and skipped, by the last line on stderr.
#[track_caller]
pub(crate) fn assert_counts(run: &Run, done: usize, failed: usize, skipped: usize) {
    let last = run.stderr.lines().last().unwrap_or_default();
    let counts = format!("{done} done | {failed} failed | {skipped} skipped as already there | ");
    assert!(last.starts_with(&counts), "{}", run.stderr);
    assert_eq!(run.code, Some(i32::from(failed > 0)), "{}", run.stderr);
}

#[test]
fn answers_come_as_openai_has_them() {
    let home = Home::furnished();
    let mut several = about("several", "clip.wav", "Why?");
    several["body"]["n"] = 2.into();
    several["body"]["max_tokens"] = 3.into();
    several["body"]["temperature"] = 1.5.into();
    several["body"]["ignore_eos"] = true.into();
    let mut likely = about("likely", "./clip.wav", "When?");
    likely["body"]["logprobs"] = true.into();
    likely["body"]["top_logprobs"] = 2.into();
    ask(
        &home,
        &[about("first", "clip.wav", "When?"), several, likely],
    );
    let run = home.run(BATCH);
    assert_counts(&run, 3, 0, 0);
    assert_eq!(run.stdout, b"");
    for part in ["tok/s", "prompt tokens cached", "total"] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    let lines = output(&home, "requests.out.jsonl");
    let line = |id: &str| lines.iter().find(|line| line["custom_id"] == id).unwrap();

    let first = line("first");
    let keys: Vec<_> = first.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "custom_id", "response", "error"]);
    assert_eq!(first["response"]["status_code"], 200);
    assert!(first["response"]["request_id"].is_string());
    let body = &first["response"]["body"];
    assert_eq!(
        (&body["object"], &body["model"]),
        (&"chat.completion".into(), &"model".into())
    );
    let asked = home
        .passes("ask clip.wav -p When? -m model -n 8 --json")
        .json();
    let choice = json!({
        "index": 0,
        "message": { "role": "assistant", "content": asked["answer"] },
        "logprobs": null,
        "finish_reason": asked["finish_reason"],
    });
    assert_eq!(body["choices"], json!([choice]));
    let (asked, usage) = (&asked["usage"], &body["usage"]);
    for count in ["prompt_tokens", "completion_tokens"] {
        assert_eq!(usage[count], asked[count]);
    }
    assert_eq!(usage["prompt_tokens_details"]["audio_tokens"], 50);

    let body = &line("several")["response"]["body"];
    assert_eq!(body["choices"][0]["index"], 0);
    assert_eq!(body["choices"][1]["index"], 1);
    assert_ne!(body["choices"][0]["message"], body["choices"][1]["message"]);
    assert_eq!(body["usage"]["completion_tokens"], 6);
    let total = body["usage"]["prompt_tokens"].as_u64().unwrap() + 6;
    assert_eq!(body["usage"]["total_tokens"], total);

    let body = &line("likely")["response"]["body"];
    let tokens = body["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    assert_eq!(
        tokens.len() as u64,
        body["usage"]["completion_tokens"].as_u64().unwrap()
    );
    for token in tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!((top.len(), &top[0]["bytes"]), (2, &token["bytes"]));
        assert!(token["token"].is_string() && token["logprob"].as_f64().unwrap() <= 0.0);
    }
    // The same prompt as the first: its page was there.
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 64);
}

#[test]
fn audio_is_found_from_the_folder_of_the_requests_or_given() {
    let home = Home::furnished();
    fs::create_dir(home.path("songs")).unwrap();
    fs::rename(home.path("clip.wav"), home.path("songs/clip.wav")).unwrap();
    let file = format!("file://{}", home.path("songs/clip.wav").display());
    let base64 = base64(&home.read("songs/clip.wav"));
    let mut given = about("given", "", "When?");
    given["body"]["messages"][0]["content"][0] =
        json!({ "type": "input_audio", "input_audio": { "data": base64, "format": "wav" } });
    let lines = [
        about("relative", "clip.wav", "When?"),
        about(
            "absolute",
            home.path("songs/clip.wav").to_str().unwrap(),
            "When?",
        ),
        about("file", &file, "When?"),
        about("data", &format!("data:audio/wav;base64,{base64}"), "When?"),
        given,
    ];
    ask(&home, &lines);
    fs::rename(home.path("requests.jsonl"), home.path("songs/requests")).unwrap();
    let run = home.run("batch songs/requests -m model -n 8");
    assert_counts(&run, 5, 0, 0);
    let answers = choices(&output(&home, "songs/requests.out.jsonl"));
    assert_eq!(answers.len(), 5);
    assert!(
        answers
            .values()
            .all(|answer| *answer == answers["relative"])
    );
}

/// Standard base64 without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let bytes = [chunk, &[0; 2]].concat();
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        let digit = move |i: usize| char::from(DIGITS[(bits >> (18 - 6 * i) & 63) as usize]);
        (0..=chunk.len()).map(digit)
    });
    digits.collect()
}

#[test]
fn a_bad_line_stops_no_other() {
    let home = Home::furnished();
    home.write("noise.mp3", &b"This is no song. ".repeat(500));
    let with = |id: &str, key: &str, value: Value| {
        let mut line = about(id, "clip.wav", "When?");
        line["body"][key] = value;
        line.to_string()
    };
    let lines = [
        about("good", "clip.wav", "When?").to_string(),
        "{\"custom_id\": \"torn".to_owned(),
        String::new(),
        json!({ "body": {} }).to_string(),
        about("good", "clip.wav", "Why?").to_string(),
        with("unknown", "temprature", 1.into()),
        with("hot", "temperature", json!(-1)),
        with("many", "n", json!(1000)),
        with("bias", "logit_bias", json!({ "576": 1 })),
        with(
            "long",
            "messages",
            json!([{ "role": "user", "content": "la ".repeat(20_000) }]),
        ),
        with(
            "role",
            "messages",
            json!([{ "role": "singer", "content": "La." }]),
        ),
        about("missing", "none.mp3", "When?").to_string(),
        about("noise", "noise.mp3", "When?").to_string(),
        about("folder", "model", "When?").to_string(),
        about("spelled", "clip.wav", "<|AUDIO|>").to_string(),
        about("last", "clip.wav", "Why?").to_string(),
    ];
    home.write("requests.jsonl", lines.join("\r\n").as_bytes());
    let run = home.run(BATCH);
    assert_counts(&run, 2, 13, 0);
    let lines = output(&home, "requests.out.jsonl");
    assert_eq!(lines.len(), 15);
    let errors = errors(&lines);
    for (name, code, parts) in [
        ("2", "invalid_line", &["line 2", "no JSON at column 19"][..]),
        ("4", "invalid_line", &["line 4", "custom_id is missing"]),
        (
            "5",
            "invalid_line",
            &["line 5", "custom_id \"good\" is that of line 1"],
        ),
        (
            "unknown",
            "invalid_request",
            &["line 6", "body.temprature is not known here"],
        ),
        (
            "hot",
            "invalid_request",
            &["line 7", "temperature is -1, expected 0 or more"],
        ),
        (
            "many",
            "invalid_request",
            &["line 8", "n is 1000, expected 1 to 64"],
        ),
        (
            "bias",
            "invalid_request",
            &["line 9", "logit_bias is 576, expected"],
        ),
        (
            "long",
            "invalid_request",
            &["line 10", "the context holds 11596"],
        ),
        (
            "role",
            "invalid_request",
            &["line 11", "unknown role singer"],
        ),
        (
            "missing",
            "invalid_audio",
            &["line 12", "none.mp3", "No such file"],
        ),
        (
            "noise",
            "invalid_audio",
            &["line 13", "noise.mp3", "expected mp3, flac"],
        ),
        (
            "folder",
            "invalid_audio",
            &["line 14", "model", "is a directory"],
        ),
        (
            "spelled",
            "invalid_request",
            &["line 15", "2 times, expected 1"],
        ),
    ] {
        let (found, message) = &errors[name];
        assert_eq!(found, code, "{message}");
        let missing = parts.iter().find(|part| !message.contains(**part));
        assert_eq!(missing, None, "{message}");
    }
    // They have been answered, and the exit code goes on to tell of them.
    let before = home.read("requests.out.jsonl");
    let again = home.run(BATCH);
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.starts_with("0 done | 0 failed | 15 skipped"),
        "{}",
        again.stderr
    );
    assert_eq!(home.read("requests.out.jsonl"), before);
    // Without its line a request is asked again.
    home.write("none.mp3", &wav(&tone(1.0)));
    let text = String::from_utf8(before).unwrap();
    let kept = text.lines().filter(|line| line.contains("\"error\":null"));
    let kept: String = kept.map(|line| line.to_owned() + "\n").collect();
    home.write("requests.out.jsonl", kept.as_bytes());
    assert_counts(&home.run(BATCH), 1, 12, 2);
}

#[test]
fn flags_are_for_what_a_body_leaves_out() {
    let home = Home::furnished();
    let mut short = about("short", "clip.wav", "When?");
    short["body"]["max_tokens"] = 2.into();
    ask(&home, &[about("long", "clip.wav", "When?"), short]);
    home.passes("batch requests.jsonl -m model -n 9 --ignore-eos --logprobs 1 -o out");
    for line in output(&home, "out") {
        let body = &line["response"]["body"];
        let expected = if line["custom_id"] == "long" { 9 } else { 2 };
        assert_eq!(body["usage"]["completion_tokens"], expected);
        let tokens = body["choices"][0]["logprobs"]["content"]
            .as_array()
            .unwrap();
        assert_eq!(tokens.len(), expected);
        assert_eq!(tokens[0]["top_logprobs"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn nothing_to_ask_needs_no_model() {
    let home = Home::new();
    for text in ["", "\n \n\r\n"] {
        home.write("requests.jsonl", text.as_bytes());
        let run = home.run("batch requests.jsonl -m none");
        assert_counts(&run, 0, 0, 0);
        assert_eq!(home.read("requests.out.jsonl"), b"");
    }
}

#[test]
fn files_that_do_not_serve() {
    let home = Home::furnished();
    home.refuses(
        "batch none.jsonl -m model",
        &["cannot read none.jsonl", "No such file"],
    );
    home.refuses("batch model", &["cannot read model", "directory"]);
    assert!(!home.path("none.out.jsonl").exists() && !home.path("model.out.jsonl").exists());
    ask(&home, &[about("a", "clip.wav", "When?")]);
    let refuses = |output: &str, parts: &[&str]| {
        home.refuses(
            &format!("{BATCH} -o {output}"),
            &[&[output], parts].concat(),
        );
    };
    refuses("none/out.jsonl", &["cannot write", "No such file"]);
    refuses("model", &["cannot write", "directory"]);
    refuses("./requests.jsonl", &["holds the requests"]);
    if cfg!(unix) {
        refuses("/dev/null", &["cannot write", "not a regular file"]);
    }
    let before = home.read("requests.jsonl");
    for text in [
        "These are\nthe lyrics.\n",
        "no newline",
        "7\n",
        "{\"custom_id\": \"a\", \"body\": {}}\n",
        "{\"custom_id\": \"a\", \"body\": {}}",
        "{\"custom_id\": \"a\", \"error\": {}}\n{\"cus\n{\"custom_id\": \"b\", \"error\": {}}\n",
    ] {
        home.write("other", text.as_bytes());
        refuses("other", &["is no answer", "line"]);
        assert_eq!(home.read("other"), text.as_bytes());
    }
    assert_eq!(home.read("requests.jsonl"), before);
    // Nothing was answered, so nothing is in the way of a run with a model.
    home.refuses("batch requests.jsonl -m none", &["none"]);
    assert_counts(&home.run(BATCH), 1, 0, 0);
}

#[test]
fn an_output_belongs_to_one_process() {
    let home = Home::furnished();
    ask(&home, &[about("a", "clip.wav", "When?")]);
    let held = fs::File::create(home.path("requests.out.jsonl")).unwrap();
    held.lock().unwrap();
    let run = home.run(BATCH);
    assert_refused(&run, &["requests.out.jsonl", "in use by another process"]);
    drop(held);
    assert_counts(&home.run(BATCH), 1, 0, 0);
}
