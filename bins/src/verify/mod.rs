//! `gamut verify`: every operation against its formula, and on the virtual GPU against the work that
//! its contract names.

mod counters;
mod coverage;
mod roofline;

use crate::args::VerifyArgs;
use crate::error::Error;
use crate::output;
use crate::progress::Progress;
use crate::setup;
use gamut_kernels::{Counting, DType, Device, Finding, Host, registry};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Error> {
    let host = Arc::new(Host::new(args.device.threads)?);
    let dtype = args.device.dtype.map(DType::from);
    let device = Device::open(args.device.device.into(), dtype, &host)?;
    let counts = args.counters || args.coverage || args.roofline.is_some();
    let counting = counts.then(|| Counting::start(&device)).transpose()?;
    setup::note_emulation(&device);
    let cases: usize = registry().iter().map(|op| (op.cases)().len()).sum();
    let mut findings: Vec<Finding> = Vec::new();
    let mut progress = Progress::new();
    gamut_kernels::verify(&device, args.seed, counting.as_ref(), |finding| {
        findings.push(finding);
        progress.show("verify", findings.len(), cases);
    })?;
    drop(progress);
    let coverage = match &counting {
        Some(counting) if args.coverage => Some(counting.take_coverage()?),
        _ => None,
    };
    let failed = findings.iter().filter(|f| !f.passed()).count();
    if args.json {
        let cases: Vec<Value> = findings.iter().map(|f| case(f, args.counters)).collect();
        let mut all = json!({
            "device": device.name(), "description": device.describe(),
            "failed": failed, "cases": cases,
        });
        if let Some(coverage) = &coverage {
            all["coverage"] = json!(coverage);
        }
        output::write_json(&all)?;
    } else {
        verdicts(&findings)?;
        let (cases, device) = (findings.len(), device.describe());
        output::write(&format!("{cases} cases on {device}, {failed} failed\n"))?;
        if args.counters {
            counters::write(&findings)?;
        }
        if let Some(coverage) = &coverage {
            coverage::write(coverage)?;
        }
    }
    if let Some(dir) = &args.roofline {
        roofline::write(dir, &findings)?;
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn case(f: &Finding, with_counters: bool) -> Value {
    let mut case = json!({
        "op": f.op, "case": f.case, "max_abs": f.max_abs, "relative": f.relative,
        "tolerance": f.tolerance, "passed": f.passed(), "digest": format!("{:016x}", f.digest),
    });
    if with_counters {
        case["counters"] = counters::json(f);
    }
    case
}

fn verdicts(findings: &[Finding]) -> Result<(), Error> {
    let head = ["op", "case", "max abs", "relative", "tolerance", "verdict"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for f in findings {
        rows.push(vec![
            f.op.to_owned(),
            f.case.clone(),
            format!("{:.1e}", f.max_abs),
            format!("{:.1e}", f.relative),
            format!("{:.0e}", f.tolerance),
            (if f.passed() { "ok" } else { "FAILED" }).to_owned(),
        ]);
    }
    output::write_table(&rows)
}
