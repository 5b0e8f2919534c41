//! `generation_config.json`: how the model's authors want it sampled.

use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::json::{self, Section};

/// The largest `generation_config.json` read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Defaults for sampling. A field is `None` where the file, which is optional, does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Tokens that end an answer (one id or a list in the file).
    pub eos_token_id: Option<Vec<u32>>,
    /// Whether to sample; `false` is greedy decoding.
    pub do_sample: Option<bool>,
    /// Divisor of the logits, 0 or more.
    pub temperature: Option<f64>,
    /// Number of most likely tokens kept; 0 keeps all.
    pub top_k: Option<usize>,
    /// Probability mass kept, above 0 and up to 1.
    pub top_p: Option<f64>,
    /// Smallest probability kept relative to the largest, from 0 to 1.
    pub min_p: Option<f64>,
    /// Divisor of the logits of tokens already there, above 0; 1 changes nothing.
    pub repetition_penalty: Option<f64>,
}

impl GenerationConfig {
    /// Reads and checks the file; where there is none, every field is `None`.
    ///
    /// `vocab_size` bounds the token ids.
    pub fn open(path: &Path, vocab_size: usize) -> Result<GenerationConfig, Error> {
        if !path.try_exists().map_err(Error::io(path, "open"))? {
            return Ok(GenerationConfig::default());
        }
        GenerationConfig::from_json(path, &json::read(path, MAX_FILE)?, vocab_size)
    }

    fn from_json(path: &Path, value: &Value, vocab_size: usize) -> Result<Self, Error> {
        let root = Section::root(path, value)?;
        let unit = |x: f64| (0.0..=1.0).contains(&x);
        Ok(GenerationConfig {
            eos_token_id: eos_token_id(&root, vocab_size)?,
            do_sample: root.optional_bool("do_sample")?,
            temperature: root
                .optional_number("temperature", "a number of at least 0", |x| x >= 0.0)?,
            top_k: root.optional_size("top_k", 0..=u32::MAX as usize)?,
            top_p: root.optional_number("top_p", "a number above 0 and up to 1", |x| {
                unit(x) && x > 0.0
            })?,
            min_p: root.optional_number("min_p", "a number from 0 to 1", unit)?,
            repetition_penalty: root.optional_number(
                "repetition_penalty",
                "a number above 0",
                |x| x > 0.0,
            )?,
        })
    }
}

fn eos_token_id(root: &Section<'_>, vocab_size: usize) -> Result<Option<Vec<u32>>, Error> {
    const KEY: &str = "eos_token_id";
    let Some(value) = root.optional(KEY) else {
        return Ok(None);
    };
    let ids = match value {
        Value::Array(ids) => ids.as_slice(),
        one => std::slice::from_ref(one),
    };
    let id = |value: &Value| {
        value
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .filter(|id| (*id as usize) < vocab_size)
            .ok_or_else(|| {
                let expected = format!("token ids below text_config.vocab_size, {vocab_size}");
                root.invalid(KEY, value, expected)
            })
    };
    ids.iter().map(id).collect::<Result<_, _>>().map(Some)
}
