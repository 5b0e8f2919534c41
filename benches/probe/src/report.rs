//! The JSON report, written to disk after every section.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Results of one section: an object that grows, flushed to `OUT/NAME.json`.
#[derive(Debug)]
pub struct Report {
    path: PathBuf,
    values: Map<String, Value>,
    start: Instant,
}

impl Report {
    /// An empty report of a section.
    ///
    /// # Errors
    /// If `out` cannot be made.
    pub fn new(out: &Path, section: &str) -> Result<Report> {
        fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
        Ok(Report {
            path: out.join(format!("{section}.json")),
            values: Map::new(),
            start: Instant::now(),
        })
    }

    /// Records what one measurement gave, or its error, and goes on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn add(&mut self, name: &str, measured: Result<Value>) -> Result<()> {
        let value = measured.unwrap_or_else(|error| {
            eprintln!("  {name}: {error}");
            json!({ "error": error.to_string() })
        });
        self.values.insert(name.to_owned(), value);
        self.flush()
    }

    /// Writes what there is, with the seconds so far.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.values
            .insert("seconds".into(), json!(self.start.elapsed().as_secs_f64()));
        let text = serde_json::to_string_pretty(&self.values).map_err(|source| Error::Json {
            what: self.path.display().to_string(),
            source,
        })?;
        fs::write(&self.path, text).map_err(|e| Error::io(&self.path, e))
    }
}

/// All sections' reports in `scratch` as one object, also written to `out/probe.json`.
pub(crate) fn merge(
    scratch: &Path,
    out: &Path,
    sections: &[&str],
    outcomes: Map<String, Value>,
) -> Result<Value> {
    let mut merged = Map::new();
    merged.insert("outcomes".into(), Value::Object(outcomes));
    for section in sections {
        let path = scratch.join(format!("{section}.json"));
        let value = fs::read_to_string(&path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or(Value::Null);
        merged.insert((*section).to_owned(), value);
    }
    let merged = Value::Object(merged);
    let path = out.join("probe.json");
    let text = serde_json::to_string_pretty(&merged).map_err(|source| Error::Json {
        what: "the report".into(),
        source,
    })?;
    fs::write(&path, text).map_err(|e| Error::io(&path, e))?;
    Ok(merged)
}
