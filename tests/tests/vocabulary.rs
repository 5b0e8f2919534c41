//! Qwen's real vocabulary of 151,643 tokens: ids and texts as tiktoken has them, and answers with it.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{
    Constraint, DeviceChoice, Engine, EngineOptions, Input, Model, OpenOptions, Request, Sampling,
    SamplingParams,
};
use gamut_loader::Tokenizer;
use gamut_loader::synthetic::{self, SyntheticOptions};
use gamut_tests::chance::Random;
use gamut_tests::pypi::QWEN;
use gamut_tests::tiktoken::{SPECIAL, qwen_tokens, tokenizer_of};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Rows of the tables of Qwen's checkpoints.
const ROWS: usize = 151_936;

#[derive(Serialize)]
struct Questions {
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
}

/// What tiktoken says.
#[derive(Deserialize)]
struct Answers {
    encoded: Vec<Vec<u32>>,
    decoded: Vec<String>,
}

fn tiktoken(questions: &Questions) -> Answers {
    let packages = QWEN.root();
    let mut python = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/vocabulary.py"))
        .arg(packages.join("dashscope/resources/qwen.tiktoken"))
        .env("PYTHONPATH", &packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(python.stdin.take().unwrap(), questions).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn ids_and_texts_are_tiktokens() {
    let tokens = qwen_tokens();
    assert_eq!(tokens.len(), 151_643);
    let json = tokenizer_of(&tokens);
    let bytes = serde_json::to_vec(&json).unwrap();
    let tokenizer = Tokenizer::from_bytes(Path::new("tokenizer.json"), &bytes).unwrap();
    assert_eq!(tokenizer.vocab_size(), tokens.len() + SPECIAL.len());
    for (id, token) in (0..).zip(&tokens) {
        assert_eq!(&tokenizer.token_bytes(id).unwrap(), token, "token {id}");
    }

    let mut random = Random(6);
    let questions = Questions {
        texts: texts(&tokens, &mut random),
        ids: (0..2000)
            .map(|_| {
                let length = 1 + random.below(12);
                (0..length)
                    .map(|_| random.below(tokens.len() + SPECIAL.len()) as u32)
                    .collect()
            })
            .collect(),
    };
    let answers = tiktoken(&questions);
    assert_eq!(answers.encoded.len(), questions.texts.len());
    for (text, expected) in questions.texts.iter().zip(&answers.encoded) {
        assert_eq!(&tokenizer.encode(text).unwrap(), expected, "{text:?}");
    }
    assert_eq!(answers.decoded.len(), questions.ids.len());
    for (ids, expected) in questions.ids.iter().zip(&answers.decoded) {
        assert_eq!(&tokenizer.decode(ids, false).unwrap(), expected, "{ids:?}");
    }
    let pieces: usize = answers.encoded.iter().map(Vec::len).sum();
    println!("{} texts, {pieces} tokens", questions.texts.len());
}

/// Texts of every kind that prompts may hold.
fn texts(tokens: &[Vec<u8>], random: &mut Random) -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\n",
        "I'll, I'LL, don't, D'S and '\u{17F}",
        "e\u{301}",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend(code());
    // Any token that is text, in any order: words of all the languages in it, and halves of words.
    let whole: Vec<&str> = tokens
        .iter()
        .filter_map(|token| str::from_utf8(token).ok())
        .collect();
    texts.extend((0..3000).map(|_| {
        let length = 1 + random.below(8);
        (0..length)
            .map(|_| whole[random.below(whole.len())])
            .collect()
    }));
    for alphabet in ALPHABETS {
        let letters: Vec<char> = alphabet.chars().collect();
        texts.extend((0..150).map(|_| {
            let length = 1 + random.below(40);
            (0..length)
                .map(|_| letters[random.below(letters.len())])
                .collect()
        }));
    }
    texts.extend((0..1000).map(|_| {
        let length = 1 + random.below(20);
        (0..length)
            .filter_map(|_| char::from_u32(random.below(0x11_0000) as u32))
            .collect()
    }));
    // Names of files that are not UTF-8, as they are printed.
    texts.extend((0..500).map(|_| {
        let name: Vec<u8> = (0..12).map(|_| random.below(256) as u8).collect();
        format!("/music/{}.mp3", String::from_utf8_lossy(&name))
    }));
    texts.extend((0..200).map(|_| {
        let part = |random: &mut Random| whole[random.below(whole.len())].to_owned();
        [
            part(random),
            SPECIAL[random.below(SPECIAL.len())].to_owned(),
            "a".to_owned(),
            part(random),
        ]
        .concat()
    }));
    // Long runs of one kind, which are one word to the tokenizer.
    texts.extend(["a", "长", "=", " ", "\r\n", "7", "🎵"].map(|part| part.repeat(700)));
    texts
}

/// What is not words: each text draws from one line.
const ALPHABETS: [&str; 9] = [
    "0123456789.,-+eE%",
    "٠١٢٣४५६Ⅷⅻ½²³①９０ 1",
    " \t\n\r\u{A0}\u{3000}\u{200B}\u{2028}\u{85}x",
    "🎵🎸🥁👩\u{1F3FD}\u{200D}🎤🏳\u{FE0F}🌈🇯🇵🇧🇷1\u{20E3}#❤",
    "音乐什么时候开始副歌サビはいつ始まるか후렴은 언제。，？「」",
    "متى يبدأ المقطعशुरू होता है เพลงเริ่ม",
    "aàa\u{300}e\u{301}o\u{308}\u{327}ñn\u{303}ﬁſıİßẞ'sTLdVE",
    "{}[]()<>;:=+-*/\\|&^%$#@!~`'\"_ \n\tifn0",
    "<|im_start|>endof \n",
];

/// The lines of this repository's sources, with what indents them.
fn code() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files = [
        "kernels/src/ops/attention.cu",
        "kernels/src/cuda/attention.cuh",
        "kernels/src/ops/attention.rs",
        "tests/golden/oracle.py",
        "README.md",
        "Cargo.toml",
        ".ci/run",
    ];
    let mut texts = Vec::new();
    for file in files {
        let text =
            std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        texts.extend(text.split_inclusive('\n').map(str::to_owned));
        texts.push(text);
    }
    assert!(texts.len() > 1000, "{}", texts.len());
    texts
}

/// A decoder with the vocabulary's full tables, whose answers are held to a sentence in Chinese.
#[test]
fn answers_in_the_real_vocabulary() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = synthetic::demo_config()["text_config"].take();
    config["architectures"] = ["Qwen3ForCausalLM"].into();
    config["vocab_size"] = ROWS.into();
    config["hidden_size"] = 64.into();
    let options = SyntheticOptions {
        config,
        ..SyntheticOptions::default()
    };
    synthetic::write(dir.path(), &options).unwrap();
    let tokens = qwen_tokens();
    let end = tokens.len() + 2;
    let files = [
        ("tokenizer.json", tokenizer_of(&tokens)),
        (
            "generation_config.json",
            serde_json::json!({ "eos_token_id": end }),
        ),
    ];
    for (name, json) in files {
        std::fs::write(dir.path().join(name), json.to_string()).unwrap();
    }
    let model = Model::open(dir.path(), &OpenOptions::default()).unwrap();
    let options = EngineOptions {
        device: DeviceChoice::Host,
        max_model_len: Some(512),
        ..EngineOptions::default()
    };
    let engine = Engine::new(Arc::new(model), &options).unwrap();
    let pattern = r"第[1-9][0-9]{0,2}秒：\p{Han}{2,8}。";
    for seed in 0..4 {
        let params = SamplingParams {
            sampling: Sampling {
                temperature: 1.0,
                seed,
                ..Sampling::default()
            },
            max_tokens: 200,
            constraint: Some(Constraint::Regex(pattern.to_owned())),
            ..SamplingParams::default()
        };
        let request = Request::new(Input::Text("副歌是什么时候？".to_owned())).params(params);
        let completion = engine.submit(request).unwrap().wait().unwrap();
        let text = &completion.answers[0].text;
        let second = text
            .strip_prefix("第")
            .and_then(|rest| rest.split_once("秒："));
        let (second, words) = second.unwrap_or_else(|| panic!("{text:?}"));
        assert!(
            (1..1000).contains(&second.parse::<u32>().unwrap()),
            "{text:?}"
        );
        assert!(
            (3..=9).contains(&words.chars().count()) && words.ends_with('。'),
            "{text:?}"
        );
    }
}
