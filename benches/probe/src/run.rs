//! Runs the sections, each in its own process: a fault or a hang in one leaves the others alone.

use crate::driver::Device;
use crate::error::{Error, Result};
use crate::process::{this_program, wait};
use crate::report::{self, Report};
use crate::tensors::Tensors;
use crate::{
    bandwidth, chains, cublaslt, device, faults, golden, instructions, loading, overheads, peers,
    sources, summary,
};
use serde_json::{Map, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, process};

/// Sections besides the groups of instructions, in order, with the seconds that each may take.
const SECTIONS: [(&str, u64); 8] = [
    ("chains", 40),
    ("bandwidth", 40),
    ("overheads", 25),
    ("device", 15),
    ("loading", 20),
    ("cublaslt", 50),
    ("errors", 60),
    ("peers", 75),
];

/// Seconds for one group of instructions.
const GROUP_SECONDS: u64 = 25;

/// Runs all sections (or those in `only`) with the modules below `modules`; writes
/// `out/probe.json`, `out/instructions.safetensors` and `out/mma.safetensors`.
///
/// # Errors
///
/// No driver, or files that cannot be written; a failing section is only recorded.
pub fn run(modules: &Path, out: &Path, only: &[String]) -> Result<()> {
    let start = Instant::now();
    fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    eprintln!("{}", Device::find()?.name()?);
    let groups = instructions::groups();
    let names: Vec<String> = groups
        .iter()
        .map(|g| sources::instructions(g.name))
        .collect();
    let sections: Vec<(&str, u64)> = names
        .iter()
        .map(|name| (name.as_str(), GROUP_SECONDS))
        .chain(SECTIONS)
        .filter(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name))
        .collect();
    let listed: Vec<&str> = sections.iter().map(|&(name, _)| name).collect();
    // Sections write here, so that `out` only ever holds the three files.
    let scratch = env::temp_dir().join(format!("gamut-probe-{}", process::id()));
    let mut outcomes = Map::new();
    for &(name, seconds) in &sections {
        eprintln!("[{:5.1} s] {name}", start.elapsed().as_secs_f64());
        let outcome = spawn(name, modules, &scratch, Duration::from_secs(seconds));
        let outcome = outcome.unwrap_or_else(|error| error.to_string());
        if outcome != "ok" {
            eprintln!("  {name}: {outcome}");
        }
        outcomes.insert(name.to_owned(), json!(outcome));
        report::merge(&scratch, out, &listed, outcomes.clone())?;
        collect(&names, &scratch, out)?;
    }
    outcomes.insert("seconds".into(), json!(start.elapsed().as_secs_f64()));
    let merged = report::merge(&scratch, out, &listed, outcomes)?;
    fs::remove_dir_all(&scratch).map_err(|e| Error::io(&scratch, e))?;
    println!("{}", summary::table(&merged));
    Ok(())
}

/// Runs one section in this process.
///
/// # Errors
///
/// Whatever stopped it; single measurements that fail are only recorded.
pub fn section(name: &str, modules: &Path, out: &Path) -> Result<()> {
    let root = modules;
    let modules = &oldest(modules)?;
    let mut report = Report::new(out, name)?;
    report.add("modules", Ok(json!(modules.display().to_string())))?;
    let group = instructions::groups()
        .into_iter()
        .find(|group| sources::instructions(group.name) == name);
    let outcome = match (name, group) {
        (_, Some(group)) => golden::run(&group, modules, out, &mut report),
        ("chains", _) => chains::run(modules, out, &mut report),
        ("bandwidth", _) => bandwidth::run(modules, &mut report),
        ("overheads", _) => overheads::run(modules, &mut report),
        ("device", _) => device::run(modules, &mut report),
        ("loading", _) => loading::run(root, &mut report),
        ("cublaslt", _) => cublaslt::run(modules, &mut report),
        ("errors", _) => faults::run(root, &mut report),
        ("peers", _) => peers::run(&mut report),
        _ => Err(Error::Text(format!("there is no section {name}"))),
    };
    let ended = outcome.as_ref().map(|()| json!("ok"));
    report.add(
        "section",
        ended.map_err(|error| Error::Text(error.to_string())),
    )?;
    outcome
}

/// Of the folders by NVRTC version, the lowest: the one that most drivers take.
pub(crate) fn oldest(modules: &Path) -> Result<PathBuf> {
    versions(modules)?
        .into_iter()
        .next()
        .ok_or_else(|| Error::Text(format!("{}: no compiled modules", modules.display())))
}

/// Folders that hold compiled modules, by name.
pub(crate) fn versions(modules: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(modules).map_err(|e| Error::io(modules, e))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("chains.cubin").is_file())
        .collect();
    folders.sort();
    Ok(folders)
}

fn spawn(name: &str, modules: &Path, out: &Path, limit: Duration) -> Result<String> {
    let mut command = this_program()?;
    command
        .args(["section", name])
        .arg(modules)
        .arg("--out")
        .arg(out);
    let child = command.spawn().map_err(|e| Error::io(out, e))?;
    wait(child, limit)
}

/// Joins the groups' recordings in one file, and takes over the chains'.
fn collect(names: &[String], scratch: &Path, out: &Path) -> Result<()> {
    let mut all = Tensors::default();
    for name in names {
        let path = scratch.join(format!("{name}.safetensors"));
        if path.is_file() {
            all.read(&path)?;
        }
    }
    all.write(&out.join("instructions.safetensors"))?;
    let chains = scratch.join("mma.safetensors");
    if chains.is_file() {
        fs::copy(&chains, out.join("mma.safetensors")).map_err(|e| Error::io(&chains, e))?;
    }
    Ok(())
}
