//! Which module formats of which NVRTC the driver takes.

use crate::driver::{Buffer, Device, Launch, Module, Stream};
use crate::error::{Error, Result};
use crate::report::Report;
use crate::run::versions;
use crate::sources::trivial;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;

pub(crate) fn run(modules: &Path, report: &mut Report) -> Result<()> {
    let _device = Device::open()?;
    let stream = Stream::new()?;
    for folder in versions(modules)? {
        let version = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (target, extension) in trivial::TARGETS {
            let path = folder.join(format!("trivial_{target}.{extension}"));
            let name = format!("NVRTC {version}, {target} {extension}");
            report.add(&name, try_module(&path, &stream))?;
        }
        for name in ["measure", "chains"] {
            for extension in ["cubin", "ptx"] {
                let path = folder.join(format!("{name}.{extension}"));
                report.add(&format!("NVRTC {version}, {name} {extension}"), load(&path))?;
            }
        }
    }
    Ok(())
}

/// Milliseconds to load a module of several kernels, not run.
fn load(path: &Path) -> Result<Value> {
    let image = fs::read(path).map_err(|e| Error::io(path, e))?;
    let start = Instant::now();
    let _module = Module::load(&image)?;
    Ok(json!({ "load ms": start.elapsed().as_secs_f64() * 1e3, "bytes": image.len() }))
}

/// Loads the trivial kernel, runs it and checks what it wrote.
fn try_module(path: &Path, stream: &Stream) -> Result<Value> {
    let image = fs::read(path).map_err(|e| Error::io(path, e))?;
    let start = Instant::now();
    let module = Module::load(&image)?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let out = Buffer::new(4 * 32)?;
    module
        .function("store_index")?
        .launch(Launch::new(1, 32), stream, &[(&out).into()])?;
    stream.synchronize()?;
    let correct = out
        .download::<u32>(32)?
        .iter()
        .zip(0..)
        .all(|(&v, i)| v == i * 3 + 1);
    Ok(json!({ "load ms": milliseconds, "correct": correct }))
}
