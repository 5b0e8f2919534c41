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
            eos_token_id: root.optional_tokens("eos_token_id", vocab_size)?,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<GenerationConfig, Error> {
        GenerationConfig::from_json(Path::new("generation_config.json"), &value, 100)
    }

    #[test]
    fn reads_every_key() {
        let config = parse(json!({
            "eos_token_id": [7, 3], "do_sample": true, "temperature": 0.6, "top_k": 20,
            "top_p": 0.95, "min_p": 0, "repetition_penalty": 1.1, "transformers_version": "4.51.0",
        }));
        let expected = GenerationConfig {
            eos_token_id: Some(vec![7, 3]),
            do_sample: Some(true),
            temperature: Some(0.6),
            top_k: Some(20),
            top_p: Some(0.95),
            min_p: Some(0.0),
            repetition_penalty: Some(1.1),
        };
        assert_eq!(config.unwrap(), expected);
        assert_eq!(
            parse(json!({ "eos_token_id": 9 })).unwrap().eos_token_id,
            Some(vec![9])
        );
        assert_eq!(
            parse(json!({ "top_k": null })).unwrap(),
            GenerationConfig::default()
        );
    }

    #[test]
    fn the_file_is_optional() {
        let dir = tempfile::tempdir().unwrap();
        let absent = GenerationConfig::open(&dir.path().join("generation_config.json"), 100);
        assert_eq!(absent.unwrap(), GenerationConfig::default());
    }

    #[test]
    fn refuses_bad_values_with_both_sides() {
        for (value, parts) in [
            (json!([]), ["`.` is []", "an object"]),
            (
                json!({ "eos_token_id": 100 }),
                ["`eos_token_id` is 100", "100"],
            ),
            (
                json!({ "eos_token_id": [1, "2"] }),
                ["`eos_token_id` is \"2\"", "below"],
            ),
            (
                json!({ "do_sample": "no" }),
                ["`do_sample` is \"no\"", "true or false"],
            ),
            (
                json!({ "temperature": -0.1 }),
                ["`temperature` is -0.1", "at least 0"],
            ),
            (json!({ "top_k": -1 }), ["`top_k` is -1", "from 0"]),
            (
                json!({ "top_p": 0 }),
                ["`top_p` is 0", "above 0 and up to 1"],
            ),
            (json!({ "top_p": 1.5 }), ["`top_p` is 1.5", "up to 1"]),
            (json!({ "min_p": 2 }), ["`min_p` is 2", "from 0 to 1"]),
            (
                json!({ "repetition_penalty": 0.0 }),
                ["`repetition_penalty` is 0.0", "above 0"],
            ),
        ] {
            let message = parse(value).unwrap_err().to_string();
            for part in ["generation_config.json", parts[0], parts[1]] {
                assert!(message.contains(part), "`{part}` is not in `{message}`");
            }
        }
    }
}
