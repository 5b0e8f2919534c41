//! PyTorch's operations, timed by a script in the same way.

use crate::error::{Error, Result};
use crate::options::Options;
use crate::row::Peer;
use crate::rows::rows;
use gamut_probe::report::Report;
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Reads rows as one JSON object; prints one a line, so that what was measured survives a later
/// failure.
const SCRIPT: &str = include_str!("torch.py");

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    if !options.is_hardware() {
        return Err(Error::NeedsGpu("virtual"));
    }
    let mut wanted = Map::new();
    for row in rows(&options.config()?, &options.sizes())? {
        if let Peer::Torch(specification) | Peer::Fft(_, specification) = row.peer {
            wanted.insert(row.id, specification);
        }
    }
    let failed = || Error::io(Path::new("python3"));
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed())?;
    if let Some(mut stdin) = python.stdin.take() {
        let text = Value::Object(wanted).to_string();
        stdin.write_all(text.as_bytes()).map_err(failed())?;
    }
    if let Some(stdout) = python.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(failed())?;
            let parsed: Option<Value> = serde_json::from_str(&line).ok();
            for (name, value) in parsed.iter().filter_map(Value::as_object).flatten() {
                report.add(name, Ok(value.clone()))?;
            }
        }
    }
    let status = python.wait().map_err(failed())?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Process {
            program: "python3",
            status,
        }),
    }
}
