//! Which files of a model make a checkpoint: those that `gamut-loader` reads.

use crate::Error;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
/// The weights in one file.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// The table that says which shard holds which tensor.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// All files but the weights.
pub(crate) const SMALL: [&str; 8] = [
    CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "processor_config.json",
    "preprocessor_config.json",
    "generation_config.json",
];

/// The largest index read, in bytes.
const MAX_INDEX: u64 = 100_000_000;

/// The shards that an index names, each a plain file name.
pub(crate) fn shards(index: &Path) -> Result<BTreeSet<String>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }

    let bad = |problem: String| Error::Index {
        path: index.to_owned(),
        problem,
    };
    let mut bytes = Vec::new();
    let file = File::open(index).map_err(Error::io(index, "open"))?;
    file.take(MAX_INDEX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(index, "read"))?;
    if bytes.len() as u64 > MAX_INDEX {
        return Err(bad(format!("more than {MAX_INDEX} bytes")));
    }
    let Index { weight_map } = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    let shards: BTreeSet<String> = weight_map.into_values().collect();
    match shards.iter().find(|shard| !is_plain(shard)) {
        Some(shard) => Err(bad(format!(
            "it names {shard:?}, expected a plain file name such as \
             model-00001-of-00002.safetensors"
        ))),
        None if shards.is_empty() => Err(bad("it names no shard".to_owned())),
        None => Ok(shards),
    }
}

/// Whether a name is a file beside the index, and needs no escape in an address.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.ends_with(".safetensors")
        && name.len() <= 255
        && !name.starts_with('.')
        && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(INDEX);
        fs::write(&path, text).unwrap();
        let shards = shards(&path).map_err(|e| e.to_string())?;
        Ok(shards.into_iter().collect())
    }

    #[test]
    fn shards_are_named_once_and_in_order() {
        let text = r#"{"metadata": {}, "weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}"#;
        assert_eq!(read(text).unwrap(), ["1.safetensors", "2.safetensors"]);
    }

    #[test]
    fn what_is_no_index_is_said() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"weight_map": {"a": 1}}"#,
            r#"{"weight_map": {}}"#,
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains("bad index") && error.contains(INDEX),
                "{error}"
            );
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "../x.safetensors",
            "/x.safetensors",
            "a/x.safetensors",
            "a\\\\x.safetensors",
            ".x.safetensors",
            "..",
            "",
            "x.bin",
            "x y.safetensors",
            "x?.safetensors",
        ] {
            let error = read(&format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#)).unwrap_err();
            assert!(error.contains("expected a plain file name"), "{error}");
        }
    }
}
