//! The kernels of which every mutant was tried, as committed.

use crate::golden::fnv1a;
use gamut_kernels::{DType, registry};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Where the record lies.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mutants.json");

/// By file and type, what the last full run found.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Record(BTreeMap<String, Entry>);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Entry {
    /// The digest of all that the kernels are compiled from.
    source: String,
    mutants: usize,
    /// Those that no case noticed.
    survivors: Vec<String>,
}

fn key(dtype: DType, file: &str) -> String {
    format!("{file} {dtype}")
}

impl Record {
    /// The committed one; empty if there is none.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn read() -> Record {
        if !Path::new(PATH).exists() {
            return Record::default();
        }
        let text = std::fs::read_to_string(PATH).unwrap_or_else(|e| panic!("{PATH}: {e}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{PATH}: {e}"))
    }

    /// Whether a file's kernels are as they were when all their mutants were tried.
    pub fn is_current(&self, dtype: DType, file: &str) -> bool {
        let entry = self.0.get(&key(dtype, file));
        entry.is_some_and(|entry| entry.source == digest(file))
    }

    /// The mutants of a file's kernels that no case noticed.
    pub fn survivors(&self, dtype: DType, file: &str) -> &[String] {
        let entry = self.0.get(&key(dtype, file));
        entry.map_or(&[], |entry| &entry.survivors)
    }

    /// Notes that of all `mutants` of a file's kernels these were not noticed.
    pub fn note(&mut self, dtype: DType, file: &str, mutants: usize, survivors: Vec<String>) {
        let source = digest(file);
        let entry = Entry {
            source,
            mutants,
            survivors,
        };
        self.0.insert(key(dtype, file), entry);
    }

    /// Writes the record.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(PATH, text + "\n")
    }
}

/// The digest of all that a file's kernels are compiled from.
pub fn digest(file: &str) -> String {
    let ops = registry();
    let op = ops.iter().find(|op| op.cuda_file() == file);
    let text = op.map_or_else(String::new, |op| op.cuda_text());
    format!("{:016x}", fnv1a(text.bytes()))
}
