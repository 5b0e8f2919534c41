//! Spoilt files: whatever they hold, opening them ends in a value that keeps its promises or in an
//! error that names the file, without a panic and without a large allocation.
#![allow(unsafe_code)] // for the allocator
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use gamut_loader::synthetic::{demo_config, tokenizer_json};
use gamut_loader::{
    AudioEncoderConfig, ChatTemplate, Config, Message, TemplateOptions, Tokenizer, Weights,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

/// The system's allocator, which remembers the largest request.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);
/// No file in these tests justifies more, in bytes.
const ALLOWED: usize = 32 << 20;

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `alloc`, that is from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn allocations_stay_small() -> Result<(), TestCaseError> {
    let largest = LARGEST.load(Ordering::Relaxed);
    prop_assert!(largest < ALLOWED, "allocated {largest} bytes at once");
    Ok(())
}

/// One change to a file.
#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let bytes = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..9),
            select(vec![
                "0", "9", "-", "[", "]", "{", "}", ",", "\"", "null", "1e9", "F32", "I64"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ]
    };
    let edit = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, mask)| Edit::Flip(at, mask)),
        any::<Index>().prop_map(Edit::Cut),
        (any::<Index>(), bytes()).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Remove(from, to)),
    ];
    prop::collection::vec(edit, 1..4)
}

fn apply(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let at = |index: &Index| index.index(bytes.len() + 1);
        match edit {
            Edit::Flip(index, mask) => {
                let at = at(index);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= mask;
                }
            }
            Edit::Cut(index) => bytes.truncate(at(index)),
            Edit::Insert(index, new) => {
                let at = at(index);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::Remove(from, to) => {
                let (from, to) = (at(from), at(to));
                bytes.drain(from.min(to)..from.max(to));
            }
        }
    }
    bytes
}

/// Opens the weights both ways; they must agree, and every tensor must be as long as it says.
fn check_weights(dir: &Path, file: &str) -> Result<(), TestCaseError> {
    let mapped = Weights::open(dir, true);
    let read = Weights::open(dir, false);
    match (&mapped, &read) {
        (Ok(mapped), Ok(read)) => {
            prop_assert!(mapped.tensors().eq(read.tensors()));
            for summary in mapped.tensors() {
                let Ok(tensor) = mapped.get(summary.name, summary.shape) else {
                    continue;
                };
                let elements: usize = summary.shape.iter().product();
                prop_assert_eq!(tensor.data.len(), elements * tensor.dtype.size());
                prop_assert_eq!(
                    tensor.data,
                    read.get(summary.name, summary.shape).unwrap().data
                );
            }
        }
        (Err(mapped), Err(read)) => {
            prop_assert_eq!(mapped.to_string(), read.to_string());
            prop_assert!(mapped.to_string().contains(file), "{mapped}");
        }
        _ => prop_assert!(false, "mapping and reading disagree"),
    }
    allocations_stay_small()
}

fn check_tokenizer(json: &[u8]) -> Result<(), TestCaseError> {
    match Tokenizer::from_bytes(Path::new("dir/tokenizer.json"), json) {
        Ok(tokenizer) => drop(tokenizer.encode("When does the chorus start?")),
        Err(error) => {
            prop_assert!(
                error.to_string().starts_with("dir/tokenizer.json: "),
                "{error}"
            );
        }
    }
    allocations_stay_small()
}

/// Replaces the value that a path of child numbers leads to.
fn replace(value: &mut Value, path: &[Index], new: Value) {
    let child = match (path, &mut *value) {
        ([step, ..], Value::Array(items)) if !items.is_empty() => Some(step.get_mut(items)),
        ([step, ..], Value::Object(keys)) if !keys.is_empty() => {
            let number = step.index(keys.len());
            keys.values_mut().nth(number)
        }
        _ => None,
    };
    match child {
        Some(child) => replace(child, &path[1..], new),
        None => *value = new,
    }
}

fn small_file() -> Vec<u8> {
    let header = br#"{"a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "a.bias": {"dtype": "BF16", "shape": [3], "data_offsets": [24, 30]}}"#;
    let data: Vec<u8> = (0..30).collect();
    [&(header.len() as u64).to_le_bytes()[..], header, &data].concat()
}

/// Entries that are often nearly right: dimensions and offsets from a few small and a few huge
/// numbers.
fn entries() -> impl Strategy<Value = Vec<(String, TensorInfo)>> {
    let number = || prop_oneof![8 => 0usize..5, 1 => Just(1 << 33), 1 => Just(usize::MAX)];
    let dtype = select(vec![
        Dtype::U8,
        Dtype::F16,
        Dtype::BF16,
        Dtype::F32,
        Dtype::I64,
        Dtype::F4,
    ]);
    let shape = prop::collection::vec(number(), 0..3);
    let entry = (dtype, shape, number(), any::<bool>());
    prop::collection::btree_map("[a-d]", entry, 0..4).prop_map(|entries| {
        let mut end = 0usize;
        let lay_out =
            |(name, (dtype, shape, noise, right)): (String, (Dtype, Vec<usize>, usize, bool))| {
                let begin = end;
                let bits = shape
                    .iter()
                    .try_fold(dtype.bitsize(), |bits, dim| bits.checked_mul(*dim));
                let length = if right {
                    bits.map_or(noise, |bits| bits / 8)
                } else {
                    noise
                };
                end = begin.saturating_add(length);
                (
                    name,
                    TensorInfo {
                        dtype,
                        shape,
                        data_offsets: (begin, end),
                    },
                )
            };
        entries.into_iter().map(lay_out).collect()
    })
}

proptest! {
    #[test]
    fn spoilt_weights(edits in edits()) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("model.safetensors"), apply(small_file(), &edits)).unwrap();
        check_weights(dir.path(), "model.safetensors")?;
    }

    #[test]
    fn any_header_length(length: u64, rest in prop::collection::vec(any::<u8>(), 0..64)) {
        let dir = tempfile::tempdir().unwrap();
        let bytes = [&length.to_le_bytes()[..], &rest].concat();
        fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        check_weights(dir.path(), "model.safetensors")?;
    }

    /// On headers without duplicate names and unknown dtypes the safetensors crate must agree.
    #[test]
    fn verdicts_equal_the_safetensors_crates(entries in entries(), extra in 0usize..2) {
        let header: BTreeMap<_, _> = entries.iter().map(|(name, info)| (name, info)).collect();
        let header = serde_json::to_vec(&header).unwrap();
        let end = entries.last().map_or(0, |(_, info)| info.data_offsets.1);
        let data = vec![0; if end < 1 << 20 { end + extra } else { extra }];
        let bytes = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("model.safetensors"), &bytes).unwrap();
        check_weights(dir.path(), "model.safetensors")?;
        let theirs = SafeTensors::deserialize(&bytes).is_ok();
        prop_assert_eq!(Weights::open(dir.path(), true).is_ok(), theirs);
    }

    #[test]
    fn spoilt_indexes(edits in edits()) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one.safetensors"), small_file()).unwrap();
        let map = json!({ "a.weight": "one.safetensors", "a.bias": "one.safetensors" });
        let index = json!({ "metadata": { "total_size": 30 }, "weight_map": map }).to_string();
        let path = dir.path().join("model.safetensors.index.json");
        fs::write(path, apply(index.into_bytes(), &edits)).unwrap();
        check_weights(dir.path(), dir.path().to_str().unwrap())?;
    }

    #[test]
    fn spoilt_configs(path in prop::collection::vec(any::<Index>(), 1..3), value in json_value()) {
        let mut config = demo_config();
        replace(&mut config, &path, value);
        match Config::from_json(Path::new("dir/config.json"), &config) {
            Ok(config) => {
                let text = &config.text;
                prop_assert_eq!(text.num_attention_heads % text.num_key_value_heads, 0);
                prop_assert_eq!(text.head_dim % 2, 0);
                let audio = config.audio.as_ref();
                prop_assert!(audio.is_none_or(|audio| (audio.token as usize) < text.vocab_size));
                if let Some(AudioEncoderConfig::Gamma(gamma)) = audio.map(|audio| &audio.encoder) {
                    for expert in [&gamma.temporal, &gamma.global] {
                        prop_assert_eq!(expert.d_model % expert.encoder_attention_heads, 0);
                        prop_assert_eq!(expert.d_model % gamma.fusion.num_attention_heads, 0);
                    }
                }
            }
            Err(error) => prop_assert!(error.to_string().starts_with("dir/config.json: "), "{error}"),
        }
        allocations_stay_small()?;
    }

    #[test]
    fn spoilt_templates(edits in edits()) {
        let source = include_str!("data/agent.jinja").as_bytes().to_vec();
        let source = String::from_utf8_lossy(&apply(source, &edits)).into_owned();
        let rendered = ChatTemplate::new(Path::new("dir/t.jinja"), source, Map::new())
            .and_then(|t| t.render(&[Message::text("user", "Hi")], &TemplateOptions::default()));
        if let Err(error) = rendered {
            prop_assert!(error.to_string().starts_with("dir/t.jinja: "), "{error}");
        }
        allocations_stay_small()?;
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0u64..5000).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({ "rope_type": "default", "rope_theta": 1e6 })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn spoilt_tokenizer_bytes(edits in edits()) {
        check_tokenizer(&apply(tokenizer_json().to_string().into_bytes(), &edits))?;
    }

    #[test]
    fn spoilt_tokenizer_values(
        path in prop::collection::vec(any::<Index>(), 1..6),
        value in json_value(),
    ) {
        let mut json = tokenizer_json();
        replace(&mut json, &path, value);
        check_tokenizer(json.to_string().as_bytes())?;
    }

    #[test]
    fn token_bytes_add_up_to_the_text(ids in prop::collection::vec(0u32..520, 0..32)) {
        let json = tokenizer_json().to_string();
        let tokenizer = Tokenizer::from_bytes(Path::new("t"), json.as_bytes()).unwrap();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id).unwrap()).collect();
        prop_assert_eq!(tokenizer.decode(&ids, false).unwrap(), String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn ascii_survives_the_tokenizer(text in "[ -~\t\r\n]{0,60}") {
        let json = tokenizer_json().to_string();
        let tokenizer = Tokenizer::from_bytes(Path::new("t"), json.as_bytes()).unwrap();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
}
