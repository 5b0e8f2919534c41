//! Every case of every operation against its formula, on fresh inputs.

use crate::error::{Error, Result};
use crate::options::Options;
use gamut_kernels::{DType, Finding, verify};
use gamut_probe::report::Report;
use serde_json::{Value, json};

pub(crate) fn run(options: &Options, dtype: DType, report: &mut Report) -> Result<()> {
    let device = options.open_in(dtype)?;
    let seed = options.seed.unwrap_or_default();
    let mut findings: Vec<Finding> = Vec::new();
    let outcome = verify(&device, seed, None, |finding| findings.push(finding));
    let failed: Vec<Value> = findings
        .iter()
        .filter(|f| !f.passed())
        .map(json_of)
        .collect();
    let (failures, cases) = (failed.len(), findings.len());
    report.add("seed", Ok(json!(seed)))?;
    report.add("cases", Ok(json!(cases)))?;
    report.add("failed", Ok(json!(failed)))?;
    report.add("worst", Ok(worst(&findings)))?;
    outcome?;
    match failures {
        0 => Ok(()),
        failed => Err(Error::Verify { failed, cases }),
    }
}

fn json_of(finding: &Finding) -> Value {
    json!({
        "op": finding.op, "case": finding.case, "max_abs": finding.max_abs,
        "relative": finding.relative, "tolerance": finding.tolerance,
    })
}

/// The case that came nearest to its tolerance.
fn worst(findings: &[Finding]) -> Value {
    let share = |finding: &&Finding| match finding.tolerance {
        0.0 => finding.relative,
        tolerance => finding.relative / tolerance,
    };
    let worst = findings.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
    worst.map_or(Value::Null, json_of)
}
