//! What PyTorch reaches on the same device.

use crate::error::{Error, Result};
use crate::report::Report;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Prints one JSON object a line, so that what was measured survives a later failure.
const SCRIPT: &str = include_str!("peers.py");

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let failed = |e| Error::io(Path::new("python3"), e);
    let mut python = Command::new("python3")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = python.stdin.take() {
        stdin.write_all(SCRIPT.as_bytes()).map_err(failed)?;
    }
    if let Some(stdout) = python.stdout.take() {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)) {
            let line = line.map_err(failed)?;
            let parsed: Option<Value> = serde_json::from_str(&line).ok();
            for (name, value) in parsed.iter().filter_map(Value::as_object).flatten() {
                report.add(name, Ok(value.clone()))?;
            }
        }
    }
    let status = python.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Text(format!("python3: {status}")))
}
