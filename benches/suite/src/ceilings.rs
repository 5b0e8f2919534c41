//! What the device reaches at best, measured in the same run, and what it is.

use crate::error::{Error, Result};
use crate::measure::Times;
use crate::options::{Options, gpu, recorded};
use crate::peers::blas::BlasBench;
use crate::row::{BlasPeer, Then};
use crate::rows::{done, normal};
use gamut_kernels::{Context, Device, Timer};
use gamut_probe::report::Report;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Products that libraries are good at: M, K and N.
const PRODUCTS: [(usize, usize, usize); 3] =
    [(8192, 8192, 8192), (7600, 4096, 6144), (7600, 4096, 24_576)];
/// Elements of the matrix that is copied, on hardware and elsewhere.
const COPIED: [(usize, usize); 2] = [(1 << 15, 1 << 15), (64, 64)];

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let device = options.open()?;
    let cuda = gpu(&device)?;
    report.add("device", Ok(json!(device.describe())))?;
    report.add("driver", recorded(driver()))?;
    let timer = Timer::new(cuda)?;
    let copied = COPIED[usize::from(!options.is_hardware())];
    report.add("copy", recorded(copy(&device, &timer, copied)))?;
    if !options.is_hardware() {
        return Ok(());
    }
    let products = || -> Result<Value> {
        let blas = BlasBench::open(&device, cuda)?;
        let mut best = 0f64;
        let mut tried = serde_json::Map::new();
        for (m, k, n) in PRODUCTS {
            let peer = BlasPeer {
                m,
                k,
                n,
                bias: false,
                then: Then::Store,
            };
            let seconds = blas.measure(&timer, peer)?.median().as_secs_f64();
            let rate = 2.0 * (m * k * n) as f64 / seconds;
            best = best.max(rate);
            tried.insert(format!("{m}x{k}x{n}"), json!(rate / 1e12));
        }
        Ok(json!({ "operations_per_second": best, "TFLOP/s": tried }))
    };
    report.add("products", recorded(products()))?;
    let upload = gamut_probe::pinned_upload();
    report.add(
        "pinned upload",
        upload.map(|rate| json!({ "bytes_per_second": rate })),
    )?;
    Ok(())
}

/// A copy on the device; bytes read and bytes written both count.
fn copy(device: &Device, timer: &Timer, (rows, cols): (usize, usize)) -> Result<Value> {
    let bytes = 2 * rows * cols;
    let cx = Context::new(device, 2 * bytes + 4096)?;
    let x = normal(&cx, rows, cols)?;
    let times = Times::measure(timer, &mut || done(cx.copy(x.view())))?;
    let mut value = times.json();
    value["bytes_per_second"] = json!(2.0 * bytes as f64 / times.median().as_secs_f64());
    Ok(value)
}

/// What the system's tool says of the GPU.
fn driver() -> Result<Value> {
    let query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit";
    let output = Command::new("nvidia-smi")
        .args([query, "--format=csv,noheader"])
        .output();
    let output = output.map_err(Error::io(Path::new("nvidia-smi")))?;
    Ok(json!(String::from_utf8_lossy(&output.stdout).trim()))
}
