//! Every operation on a device against its formula.

use crate::case::{Case, Trial};
use crate::error::Result;
use crate::{Context, Counters, Counting, Device, Work, registry};

/// What one case showed.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The operation.
    pub op: &'static str,
    /// The case.
    pub case: String,
    /// The greatest difference of an element; infinite where one is not finite.
    pub max_abs: f64,
    /// L2 norm of the difference over that of the reference.
    pub relative: f64,
    /// The greatest relative error that passes.
    pub tolerance: f64,
    /// FNV-1a of the output's bits: two devices that agree in it agree in every bit.
    pub digest: u64,
    /// What the contract says of the work.
    pub work: Work,
    /// What the virtual GPU counted, if it did.
    pub launches: Vec<Counters>,
}

impl Finding {
    /// Whether the case is within its tolerance.
    pub fn passed(&self) -> bool {
        self.relative <= self.tolerance && self.max_abs.is_finite()
    }
}

/// Runs every case of every registered operation on a device, in a workspace of just the planned
/// size that is filled with NaN, and calls `report` with each finding. Another `seed` draws other
/// inputs; those of 0 are the ones whose digests are on record. With `counting`, which must be on the
/// same device, findings hold the counters of their launches.
///
/// # Errors
/// If an operation refuses a case, or the device fails.
pub fn verify(
    device: &Device,
    seed: u64,
    counting: Option<&Counting>,
    mut report: impl FnMut(Finding),
) -> Result<()> {
    for op in registry() {
        for case in (op.cases)() {
            report(verify_case(device, seed, counting, op.name, &case)?);
        }
    }
    Ok(())
}

/// The output of a case on a device: on a GPU with every tensor in memory of its own, which nobody
/// has written yet, so that a virtual one notices all that strays.
///
/// # Errors
/// If the operation refuses the case, or the device fails.
pub fn output(device: &Device, case: &Case) -> Result<Vec<f32>> {
    let (workspace, _) = case.measure(device.target())?;
    let cx = Context::apart(device, workspace)?;
    run(device, &cx, case).map(|(found, _)| found)
}

fn run(device: &Device, cx: &Context, case: &Case) -> Result<(Vec<f32>, Trial)> {
    let mut trial = case.prepare(cx)?;
    trial.load(device)?;
    let found = trial.run(cx)?;
    Ok((found, trial))
}

fn verify_case(
    device: &Device,
    seed: u64,
    counting: Option<&Counting>,
    op: &'static str,
    case: &Case,
) -> Result<Finding> {
    let (workspace, work) = case.measure(device.target())?;
    let cx = Context::new(device, workspace)?.poisoned().salted(seed);
    let (found, trial) = run(device, &cx, case)?;
    let launches = counting.map(Counting::take).transpose()?;
    let expected = trial.reference();
    let (mut max_abs, mut error, mut norm) = (0f64, 0f64, 0f64);
    for (found, expected) in found.iter().zip(&expected) {
        let difference = f64::from(*found) - expected;
        max_abs = max_abs.max(if difference.is_finite() {
            difference.abs()
        } else {
            f64::INFINITY
        });
        error += difference * difference;
        norm += expected * expected;
    }
    if found.len() != expected.len() {
        max_abs = f64::INFINITY;
    }
    let relative = if error == 0.0 {
        0.0
    } else {
        (error / norm).sqrt()
    };
    Ok(Finding {
        op,
        case: case.name.clone(),
        max_abs,
        relative,
        tolerance: case.tolerance(device.target()),
        digest: digest(&found),
        work,
        launches: launches.unwrap_or_default(),
    })
}

fn digest(values: &[f32]) -> u64 {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Host, Isa};
    use std::sync::Arc;

    #[test]
    fn every_operation_follows_its_formula_on_every_instruction_set() {
        for isa in Isa::available() {
            let host = Device::Host(Arc::new(Host::with_isa(2, isa).unwrap()));
            let mut cases = 0;
            verify(&host, 0, None, |finding| {
                assert!(finding.passed(), "{isa:?}: {finding:?}");
                cases += 1;
            })
            .unwrap();
            assert!(cases >= registry().len());
        }
    }
}
