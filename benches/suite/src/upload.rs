//! How fast weights come from a file that the system keeps in memory.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::options::Options;
use bytes::Bytes;
use gamut_kernels::ops::{Random, gemm};
use gamut_kernels::{Context, DType, Device, Linear, Weight};
use gamut_probe::report::Report;
use serde_json::json;
use std::env;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// Columns of every matrix.
const COLUMNS: usize = 4096;
/// Matrices, and rows of each, on hardware and elsewhere.
const MATRICES: [(usize, usize); 2] = [(64, 8192), (2, 16)];

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let (count, rows) = MATRICES[usize::from(!options.is_hardware())];
    let each = rows * COLUMNS * DType::BF16.size();
    let device = options.open()?;
    // Compiles the kernel, and makes the driver's first allocations.
    let warm = Weight::random(16, COLUMNS, Random::normal(0, 1.0));
    load(&device, vec![warm])?;

    let directory = env::temp_dir();
    let failed = || Error::io(&directory);
    let mut file = tempfile::tempfile_in(&directory).map_err(failed())?;
    let piece: Vec<u8> = (0..each as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    for _ in 0..count {
        file.write_all(&piece).map_err(failed())?;
    }
    // SAFETY: the file has no name, so nobody else can truncate or change it.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed())?;
    let (data, file) = (Bytes::from_owner(map), Arc::new(file));
    let weights = (0..count).map(|i| {
        let weight = Weight::new(
            DType::BF16,
            rows,
            COLUMNS,
            data.slice(i * each..(i + 1) * each),
        )?;
        Ok(weight.in_file(file.clone(), (i * each) as u64))
    });
    let weights = weights.collect::<Result<Vec<Weight>>>()?;
    let start = Instant::now();
    load(&device, weights)?;
    let rate = (count * each) as f64 / start.elapsed().as_secs_f64();
    report.add(
        "page cache to device",
        Ok(json!({ "bytes_per_second": rate, "bytes": count * each })),
    )?;
    Ok(())
}

/// Loads weights by a dry run of what reads them.
fn load(device: &Device, weights: Vec<Weight>) -> Result<()> {
    let plan = Context::plan(device.target());
    let x = plan.tensor(1, COLUMNS)?;
    for weight in weights {
        gemm(&plan, &x, &Linear::new(weight, None)?)?;
    }
    device.load(&[&plan])?;
    Ok(device.synchronize()?)
}
