//! What the assembler makes of the kernels.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_kernels::{Assembly, assemble};
use gamut_tests::nvrtc::NEWEST;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

/// Targets that the kernels are written for, with the instruction of their tensor cores.
const TARGETS: [&str; 2] = ["sm_80", "sm_90a"];
/// Kernels of products, by the beginnings of their names.
const PRODUCTS: [&str; 4] = [
    "gemm_",
    "attention",
    "attention_paged_prefill",
    "attention_paged_decode",
];
/// Beside them, but without products.
const NO_PRODUCTS: [&str; 2] = ["gemm_cast", "attention_paged_combine"];

#[test]
fn kernels_assemble_without_spills_and_use_tensor_cores() {
    NEWEST.nvrtc();
    for target in TARGETS {
        let mut kernels = 0;
        assemble(target, |assembly| kernels += look_at(target, &assembly)).unwrap();
        assert!(kernels > 80, "{target}: {kernels} kernels");
    }
}

/// Returns how many kernels there are.
fn look_at(target: &str, assembly: &Assembly) -> usize {
    let what = format!("{target}, {}, {}", assembly.file, assembly.variant);
    let compiled = assembly.report.matches("Compiling entry function").count();
    let clean = assembly
        .report
        .matches("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads");
    assert!(compiled > 0, "{what}: no report");
    assert_eq!(clean.count(), compiled, "{what}:\n{}", assembly.report);
    let instructions = matrix_instructions(&assembly.cubin);
    assert_eq!(instructions.len(), compiled, "{what}: {instructions:?}");
    for (kernel, count) in instructions {
        let products = PRODUCTS.iter().any(|name| kernel.starts_with(name));
        let products = products && !NO_PRODUCTS.contains(&kernel.as_str());
        assert_eq!(
            count > 0,
            products,
            "{what}: {kernel} has {count} matrix instructions"
        );
    }
    compiled
}

/// Matrix instructions of every kernel.
fn matrix_instructions(cubin: &[u8]) -> BTreeMap<String, usize> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(cubin).unwrap();
    let output = Command::new(NEWEST.nvdisasm())
        .arg(file.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut kernels = BTreeMap::new();
    let mut kernel = None;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        if let Some(name) = line
            .strip_prefix(".text.")
            .and_then(|line| line.strip_suffix(':'))
        {
            kernel = Some(name.to_owned());
            kernels.insert(name.to_owned(), 0);
        } else if line.contains(" HMMA.") {
            let kernel = kernel.as_ref().expect("code outside of a kernel");
            *kernels.get_mut(kernel).expect("a kernel that was seen") += 1;
        }
    }
    kernels
}
