//! Every field of a line, and what is said of those that are wrong.

use super::*;
use gamut_engine::{Constraint, Sampling, SamplingParams};
use serde_json::json;

/// What the checkpoint and the flags say.
fn defaults() -> Defaults {
    Defaults {
        params: SamplingParams {
            sampling: Sampling {
                temperature: 0.5,
                top_k: 7,
                ..Sampling::default()
            },
            max_tokens: 99,
            stop: vec!["END".to_owned()],
            ..SamplingParams::default()
        },
        logprobs: false,
    }
}

fn parse(line: &Value) -> Result<BatchRequest, String> {
    let line = RequestLine::new(3, line.to_string().as_bytes())?;
    line.parse(Path::new("folder"), &defaults())
}

/// A line whose body has these fields beside a question.
fn line(fields: Value) -> Value {
    let mut body = json!({ "messages": [{ "role": "user", "content": "Why?" }] });
    for (key, value) in fields.as_object().unwrap() {
        body[key] = value.clone();
    }
    json!({ "custom_id": "a", "body": body })
}

/// A line with this list of parts.
fn with_parts(parts: Value) -> Value {
    line(json!({ "messages": [{ "role": "user", "content": parts }] }))
}

fn conversation(request: &BatchRequest) -> (&[Message], &Variables) {
    match &request.inner.input {
        Input::Messages(messages, variables) => (messages, variables),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_of_sampling() {
    let request = parse(&line(json!({
        "temperature": 0.25, "top_p": 0.5, "top_k": 3, "min_p": 0.125, "repetition_penalty": 1.5,
        "presence_penalty": -0.5, "frequency_penalty": 2, "seed": u64::MAX,
        "logit_bias": { "5": -100, "2": 1.5 }, "max_tokens": 12, "n": 4, "stop": ["a", "b"],
        "stop_token_ids": [9, 8], "ignore_eos": true, "logprobs": true, "top_logprobs": 6,
    })));
    let request = request.unwrap();
    let expected = SamplingParams {
        sampling: Sampling {
            temperature: 0.25,
            top_p: 0.5,
            top_k: 3,
            min_p: 0.125,
            repetition_penalty: 1.5,
            presence_penalty: -0.5,
            frequency_penalty: 2.0,
            logit_bias: vec![(2, 1.5), (5, -100.0)],
            seed: u64::MAX,
        },
        max_tokens: 12,
        stop: vec!["a".to_owned(), "b".to_owned()],
        stop_token_ids: vec![9, 8],
        ignore_eos: true,
        logprobs: 6,
        prompt_logprobs: None,
        constraint: None,
        n: 4,
    };
    assert_eq!(request.inner.params, expected);
    assert!(request.logprobs);
    assert_eq!((request.id.as_str(), request.number), ("a", 3));
}

#[test]
fn what_answers_are_held_to() {
    let held = |fields| parse(&line(fields)).map(|request| request.inner.params.constraint);
    let schema = json!({ "type": "integer" });
    let format = json!({ "type": "json_schema", "json_schema": {
        "name": "bpm", "strict": true, "schema": schema,
    } });
    let of_schema = |text: &str| Some(Constraint::JsonSchema(text.to_owned()));
    let held_to_schema = held(json!({ "response_format": format })).unwrap();
    assert_eq!(held_to_schema, of_schema(r#"{"type":"integer"}"#));
    let object = held(json!({ "response_format": { "type": "json_object" } })).unwrap();
    assert_eq!(object, of_schema(r#"{"type": "object"}"#));
    let text = json!({ "response_format": { "type": "text" }, "guided_regex": "a+" });
    assert_eq!(
        held(text).unwrap(),
        Some(Constraint::Regex("a+".to_owned()))
    );
    let refused = |fields| held(fields).unwrap_err().to_string();
    let both = refused(json!({ "response_format": format, "guided_regex": "a+" }));
    assert!(both.contains("expected one of them"), "{both}");
    let kind = refused(json!({ "response_format": { "type": "xml" } }));
    assert!(
        kind.contains("body.response_format.type is \"xml\", expected"),
        "{kind}"
    );
    let none = refused(json!({ "response_format": { "type": "json_schema" } }));
    assert!(
        none.contains("response_format.json_schema is missing"),
        "{none}"
    );
}

#[test]
fn what_is_left_out_is_the_default() {
    for fields in [
        json!({}),
        json!({ "temperature": null, "max_tokens": null, "stop": null, "top_logprobs": null }),
        json!({ "model": "m", "user": "u", "stream": false, "metadata": { "any": [1] } }),
    ] {
        let request = parse(&line(fields)).unwrap();
        assert_eq!(request.inner.params, defaults().params);
        assert!(!request.logprobs && request.inner.audio.is_empty());
    }
    let request = parse(&line(json!({ "max_completion_tokens": 5, "stop": "." }))).unwrap();
    assert_eq!(request.inner.params.max_tokens, 5);
    assert_eq!(request.inner.params.stop, ["."]);
}

#[test]
fn log_probabilities_by_default_and_not() {
    let mut defaults = defaults();
    (defaults.logprobs, defaults.params.logprobs) = (true, 5);
    for (fields, expected) in [
        (json!({}), (true, 5)),
        (json!({ "top_logprobs": 2 }), (true, 2)),
        (json!({ "logprobs": false }), (false, 0)),
    ] {
        let line = RequestLine::new(1, line(fields).to_string().as_bytes()).unwrap();
        let request = line.parse(Path::new(""), &defaults).unwrap();
        assert_eq!((request.logprobs, request.inner.params.logprobs), expected);
    }
}

#[test]
fn messages_have_text_and_audio() {
    let mut line = line(
        json!({ "chat_template_kwargs": { "enable_thinking": false }, "messages": [
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [
            { "type": "audio_url", "audio_url": { "url": "a.mp3" } },
            { "type": "text", "text": "Why?" },
            { "type": "input_audio", "input_audio": { "data": "aGk=", "format": "mp3" } },
        ] },
        { "role": "assistant", "content": "So.", "reasoning_content": "Hm." },
    ] }),
    );
    line["method"] = "POST".into();
    line["url"] = "/v1/chat/completions".into();
    let request = parse(&line).unwrap();
    let (messages, variables) = conversation(&request);
    let mut third = Message::text("assistant", "So.");
    third.set("reasoning_content", "\"Hm.\"").unwrap();
    let parts = [
        Part::Audio,
        Part::Text {
            text: "Why?".to_owned(),
        },
        Part::Audio,
    ];
    let expected = [
        Message::text("system", "Be brief."),
        Message::new("user", Content::Parts(parts.to_vec())),
        third,
    ];
    assert_eq!(messages, expected);
    let mut expected = Variables::default();
    expected.set("enable_thinking", "false").unwrap();
    assert_eq!(*variables, expected);
    match &request.inner.audio[..] {
        [AudioInput::Path(path, _), AudioInput::Bytes { data, .. }] => {
            assert_eq!(
                (path.as_path(), &**data),
                (Path::new("folder/a.mp3"), &b"hi"[..])
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(request.held, 2);
}

#[test]
fn the_first_audio_as_it_is_written_is_the_song() {
    let song = |line: &Value| {
        RequestLine::new(1, line.to_string().as_bytes())
            .unwrap()
            .song
    };
    let url = |url: &str| json!({ "type": "audio_url", "audio_url": { "url": url } });
    let data = json!({ "type": "input_audio", "input_audio": { "data": "aGk=" } });
    let text = json!({ "type": "text", "text": "Why?" });
    assert_eq!(song(&line(json!({}))), digest(b"a"));
    assert_eq!(
        song(&with_parts(json!([text, url("a.mp3"), data]))),
        digest(b"a.mp3")
    );
    assert_eq!(
        song(&with_parts(json!([data, url("a.mp3")]))),
        digest(b"aGk=")
    );
    // Whatever else is wrong with the line.
    let mut line = with_parts(json!([{ "audio_url": { "url": "a.mp3", "x": 1 } }]));
    line["body"]["temperature"] = "hot".into();
    assert_eq!(song(&line), digest(b"a.mp3"));
}

#[test]
fn what_is_wrong_is_named_with_its_value() {
    let cases = [
        (
            json!({ "body": {} }),
            "custom_id is missing, expected a string",
        ),
        (
            json!({ "custom_id": 7 }),
            "custom_id is 7, expected a string",
        ),
        (json!([1]), "the line is [1], expected an object"),
        (
            json!({ "custom_id": "a" }),
            "body is missing, expected an object",
        ),
        (
            json!({ "custom_id": "a", "body": "b" }),
            "body is \"b\", expected an object",
        ),
        (
            json!({ "custom_id": "a", "body": {}, "bdoy": 1 }),
            "bdoy is not known here",
        ),
        (
            json!({ "custom_id": "a", "method": "GET", "body": {} }),
            "method is \"GET\", expected \"POST\"",
        ),
        (
            json!({ "custom_id": "a", "url": "/v1/embeddings", "body": {} }),
            "url is \"/v1/embeddings\", expected \"/v1/chat/completions\"",
        ),
        (
            json!({ "custom_id": "a", "body": {} }),
            "body.messages is missing, expected a list of messages",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(parse(&line).unwrap_err(), expected);
    }
    let long = "x".repeat(200);
    let whole = "expected a whole number of 0 or more";
    let cases = [
        (
            json!({ "messages": [] }),
            "body.messages is [], expected a list of messages".to_owned(),
        ),
        (
            json!({ "tmperature": 1 }),
            "body.tmperature is not known here".to_owned(),
        ),
        (
            json!({ "temperature": "hot" }),
            "body.temperature is \"hot\", expected a number".into(),
        ),
        (
            json!({ "max_tokens": -1 }),
            format!("body.max_tokens is -1, {whole}"),
        ),
        (
            json!({ "max_tokens": 1.5 }),
            format!("body.max_tokens is 1.5, {whole}"),
        ),
        (json!({ "seed": -1 }), format!("body.seed is -1, {whole}")),
        (json!({ "n": [] }), format!("body.n is [], {whole}")),
        (
            json!({ "max_tokens": 1, "max_completion_tokens": 2 }),
            "body.max_tokens is 1 and body.max_completion_tokens is 2, expected one of them".into(),
        ),
        (
            json!({ "stop": 1 }),
            "body.stop is 1, expected a string or a list of strings".into(),
        ),
        (
            json!({ "logit_bias": { "x": 1 } }),
            "body.logit_bias is {\"x\":1}, expected numbers by token ids".into(),
        ),
        (
            json!({ "logit_bias": { "7": 101 } }),
            "body.logit_bias of token 7 is 101, expected -100 to 100".into(),
        ),
        (
            json!({ "top_logprobs": 3 }),
            "body.top_logprobs is 3, which needs body.logprobs to be true".into(),
        ),
        (
            json!({ "stream": true }),
            "body.stream is true, expected false, as answers are written whole".into(),
        ),
        (
            json!({ "ignore_eos": long }),
            format!(
                "body.ignore_eos is \"{}..., expected true or false",
                &long[..79]
            ),
        ),
        (
            json!({ "messages": [{ "role": "user" }] }),
            "body.messages[0].content is missing, expected a string or a list of parts".into(),
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "Why?", "audio": "a.mp3" }] }),
            "body.messages[0].audio is not known here".into(),
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(parse(&line(fields)).unwrap_err(), expected);
    }
    let kinds = "\"text\", \"audio_url\" or \"input_audio\"";
    let cases = [
        (json!({ "type": "image_url" }), format!(".type is \"image_url\", expected {kinds}")),
        (json!({ "text": "Why?" }), format!(".type is missing, expected {kinds}")),
        (json!({ "type": "text" }), ".text is missing, expected a string".to_owned()),
        (
            json!({ "type": "audio_url", "audio_url": "a.mp3" }),
            ".audio_url is \"a.mp3\", expected an object".to_owned(),
        ),
        (
            json!({ "type": "audio_url", "audio_url": { "url": "http://host/a.mp3" } }),
            ".audio_url.url: \"http://host/a.mp3\" is not a file's path, a file:// URL or a data: URL \
             in base64"
                .to_owned(),
        ),
        (
            json!({ "type": "input_audio", "input_audio": { "data": "?", "format": "wav" } }),
            ".input_audio.data: the input_audio is no base64: ".to_owned(),
        ),
        (
            json!({ "type": "input_audio", "input_audio": { "format": "wav" } }),
            ".input_audio.data is missing, expected a file in base64".to_owned(),
        ),
    ];
    for (part, expected) in cases {
        let error = parse(&with_parts(json!([part]))).unwrap_err();
        let expected = format!("body.messages[0].content[0]{expected}");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn lines_that_are_no_json_are_named_by_their_column() {
    for (text, expected) in [
        (
            &b"{\"custom_id\": a}"[..],
            "no JSON at column 15: expected value",
        ),
        (b"not JSON", "no JSON at column 2: expected ident"),
        (b"{} {}", "no JSON at column 4: trailing characters"),
        (
            b"{\"custom_id\": \"\xff\"}",
            "no JSON at column 16: invalid unicode code point",
        ),
    ] {
        assert_eq!(RequestLine::new(1, text).unwrap_err(), expected);
    }
    let deep = "[".repeat(100_000);
    assert!(
        RequestLine::new(1, deep.as_bytes())
            .unwrap_err()
            .contains("recursion limit")
    );
}
