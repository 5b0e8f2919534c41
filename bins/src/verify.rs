//! `gamut verify`: every operation against its formula.

use crate::args::VerifyArgs;
use crate::error::Error;
use crate::output;
use crate::progress::Progress;
use crate::setup;
use gamut_kernels::{DType, Device, Finding, Host, registry};
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Error> {
    let host = Arc::new(Host::new(args.device.threads)?);
    let dtype = args.device.dtype.map(DType::from);
    let device = Device::open(args.device.device.into(), dtype, &host)?;
    setup::note_emulation(&device);
    let cases: usize = registry().iter().map(|op| (op.cases)().len()).sum();
    let mut findings: Vec<Finding> = Vec::new();
    let mut progress = Progress::new();
    gamut_kernels::verify(&device, args.seed, |finding| {
        findings.push(finding);
        progress.show("verify", findings.len(), cases);
    })?;
    drop(progress);
    let failed = findings.iter().filter(|f| !f.passed()).count();
    if args.json {
        let cases = findings.iter().map(|f| {
            json!({
                "op": f.op, "case": f.case, "max_abs": f.max_abs, "relative": f.relative,
                "tolerance": f.tolerance, "passed": f.passed(), "digest": format!("{:016x}", f.digest),
            })
        });
        let cases: Vec<_> = cases.collect();
        output::write_json(&json!({
            "device": device.name(), "description": device.describe(),
            "failed": failed, "cases": cases,
        }))?;
    } else {
        let head = ["op", "case", "max abs", "relative", "tolerance", "verdict"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for f in &findings {
            rows.push(vec![
                f.op.to_owned(),
                f.case.clone(),
                format!("{:.1e}", f.max_abs),
                format!("{:.1e}", f.relative),
                format!("{:.0e}", f.tolerance),
                (if f.passed() { "ok" } else { "FAILED" }).to_owned(),
            ]);
        }
        output::write_table(&rows)?;
        let (cases, device) = (findings.len(), device.describe());
        output::write(&format!("{cases} cases on {device}, {failed} failed\n"))?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
