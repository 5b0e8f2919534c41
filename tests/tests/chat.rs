//! Chat templates and token ids against jinja2 and tokenizers from Python
//! (`golden/chat/conversations.json`).

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gamut_loader::{ChatTemplate, Message, TemplateOptions, Tokenizer};
use gamut_tests::golden::FOLDER;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Conversation {
    name: String,
    messages: Vec<Message>,
    add_generation_prompt: bool,
    variables: Map<String, Value>,
    /// By the template's name.
    expected: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Expected {
    Prompt { text: String, ids: Vec<u32> },
    Refused { error: String },
}

fn path(file: &str) -> PathBuf {
    Path::new(FOLDER).join("chat").join(file)
}

fn conversations() -> Vec<Conversation> {
    serde_json::from_str(&fs::read_to_string(path("conversations.json")).unwrap()).unwrap()
}

#[test]
fn templates_render_as_in_python() {
    let mut differences = Vec::new();
    for conversation in conversations() {
        let options = TemplateOptions {
            add_generation_prompt: conversation.add_generation_prompt,
            variables: conversation.variables,
        };
        for (name, expected) in &conversation.expected {
            let path = path(&format!("{name}.jinja"));
            let source = fs::read_to_string(&path).unwrap();
            let template = ChatTemplate::new(&path, source, Map::new()).unwrap();
            let rendered = template.render(&conversation.messages, &options);
            let same = match (&rendered, expected) {
                (Ok(text), Expected::Prompt { text: expected, .. }) => text == expected,
                (Err(found), Expected::Refused { error }) => found.to_string().contains(error),
                _ => false,
            };
            if !same {
                let expected = match expected {
                    Expected::Prompt { text, .. } => text,
                    Expected::Refused { error } => error,
                };
                let name = format!("{} ({name})", conversation.name);
                differences.push(format!("{name}:\n{rendered:?}\nexpected\n{expected:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn texts_become_the_same_tokens_as_in_python() {
    let tokenizer = Tokenizer::open(&path("tokenizer.json")).unwrap();
    for conversation in conversations() {
        for (template, expected) in conversation.expected {
            if let Expected::Prompt { text, ids } = expected {
                let found = tokenizer.encode(&text).unwrap();
                assert_eq!(found, ids, "{} ({template})", conversation.name);
            }
        }
    }
}
