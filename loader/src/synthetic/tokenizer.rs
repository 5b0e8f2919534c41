//! A small but real byte-level BPE tokenizer, trained on the spot from a page about music.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::tokenizer::ByteAlphabet;

/// The text that the merges are learnt from.
const CORPUS: &str = include_str!("corpus.txt");
/// Number of merges learnt.
const MERGES: usize = 256;
/// The placeholder for the audio.
pub(super) const AUDIO_TOKEN: &str = "<|AUDIO|>";
/// Begins the audio.
pub(super) const AUDIO_BEGIN: &str = "<|audio_bos|>";
/// Ends it.
pub(super) const AUDIO_END: &str = "<|audio_eos|>";
/// Ends a turn.
pub(super) const END_OF_TURN: &str = "<|im_end|>";
/// Ends a text.
pub(super) const END_OF_TEXT: &str = "<|endoftext|>";
/// Tokens added after the merges, and whether each counts as special. As in Qwen3, the marks
/// around reasoning do not: they stay in the text when special tokens are skipped.
const ADDED: [(&str, bool); 8] = [
    (END_OF_TEXT, true),
    ("<|im_start|>", true),
    (END_OF_TURN, true),
    ("<think>", false),
    ("</think>", false),
    (AUDIO_BEGIN, true),
    (AUDIO_TOKEN, true),
    (AUDIO_END, true),
];
/// Where Qwen's tokenizers cut a text before merging: contractions, words with the space before
/// them, single digits, runs of punctuation, line ends, other spaces.
const WORD_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    r"|[^\r\n\p{L}\p{N}]?\p{L}+",
    r"|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+",
    r"|\s+(?!\S)",
    r"|\s+",
);

/// The vocabulary of synthetic checkpoints, the same for all of them.
pub(super) struct Vocabulary {
    /// Byte-level tokens: 256 bytes, then one for each merge. The id is the position.
    tokens: Vec<String>,
    /// Pairs of tokens that become one, most frequent first.
    merges: Vec<(String, String)>,
}

impl Vocabulary {
    pub(super) fn new() -> Vocabulary {
        let alphabet = ByteAlphabet::new();
        let mut tokens: Vec<String> = alphabet.chars().iter().map(char::to_string).collect();
        let merges = learn_merges(words(&alphabet));
        for (left, right) in &merges {
            let token = format!("{left}{right}");
            // Two merges may lead to the same token.
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        Vocabulary { tokens, merges }
    }

    /// Number of tokens, the added ones included.
    pub(super) fn len(&self) -> usize {
        self.tokens.len() + ADDED.len()
    }

    /// The added tokens with their ids.
    fn added(&self) -> impl Iterator<Item = (usize, &'static str, bool)> {
        (self.tokens.len()..)
            .zip(ADDED)
            .map(|(id, (token, special))| (id, token, special))
    }

    /// The id of an added token.
    pub(super) fn added_id(&self, token: &str) -> Option<usize> {
        self.added()
            .find(|(_, added, _)| *added == token)
            .map(|(id, ..)| id)
    }

    /// The content of `tokenizer.json`.
    pub(super) fn to_json(&self) -> Value {
        let vocab: Map<String, Value> = self
            .tokens
            .iter()
            .enumerate()
            .map(|(id, token)| (token.clone(), id.into()))
            .collect();
        let merges: Vec<String> = self
            .merges
            .iter()
            .map(|(left, right)| format!("{left} {right}"))
            .collect();
        let added: Vec<Value> = self
            .added()
            .map(|(id, content, special)| {
                json!({
                    "id": id, "content": content, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": special,
                })
            })
            .collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": { "type": "NFC" },
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {
                        "type": "Split", "pattern": { "Regex": WORD_PATTERN },
                        "behavior": "Isolated", "invert": false,
                    },
                    byte_level(),
                ],
            },
            "post_processor": null,
            "decoder": byte_level(),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false,
                "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": merges,
            },
        })
    }
}

fn byte_level() -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false,
    })
}

/// The corpus as words with the space before each, split into byte tokens, and how often each
/// occurs.
fn words(alphabet: &ByteAlphabet) -> BTreeMap<Vec<String>, usize> {
    let mut words = BTreeMap::new();
    for word in CORPUS.split_whitespace() {
        let letters = word.trim_matches(|c: char| !c.is_alphabetic());
        let bytes = format!(" {letters}").into_bytes();
        let tokens = bytes
            .iter()
            .map(|byte| alphabet.chars()[usize::from(*byte)].to_string());
        *words.entry(tokens.collect()).or_default() += 1;
    }
    words
}

/// Byte-pair encoding: again and again the most frequent pair of neighbours becomes one token; of
/// equals, the first in alphabetical order.
fn learn_merges(mut words: BTreeMap<Vec<String>, usize>) -> Vec<(String, String)> {
    let mut merges = Vec::with_capacity(MERGES);
    while merges.len() < MERGES {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (word, count) in &words {
            for pair in word.windows(2) {
                *counts.entry((&pair[0], &pair[1])).or_default() += count;
            }
        }
        let best = counts.into_iter().rev().max_by_key(|(_, count)| *count);
        let Some(((left, right), _)) = best else {
            break;
        };
        let (left, right) = (left.to_owned(), right.to_owned());
        words = words
            .into_iter()
            .map(|(word, n)| (merge(&word, &left, &right), n))
            .collect();
        merges.push((left, right));
    }
    merges
}

/// A word with every `left`, `right` made one token.
fn merge(word: &[String], left: &str, right: &str) -> Vec<String> {
    let mut merged: Vec<String> = Vec::with_capacity(word.len());
    let mut tokens = word.iter().peekable();
    while let Some(token) = tokens.next() {
        match tokens.next_if(|next| token == left && *next == right) {
            Some(next) => merged.push(format!("{token}{next}")),
            None => merged.push(token.clone()),
        }
    }
    merged
}
