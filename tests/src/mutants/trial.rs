//! A mutant on the cases that reach what it lacks.

use super::site::{Kind, Site, without};
use super::survey::{Survey, bits};
use gamut_kernels::{Cuda, Device, Error, Result};
use std::fmt;

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A case noticed it.
    Noticed {
        /// The operation and the case.
        case: String,
        /// The kind of fault, or that the output had other bits.
        how: String,
    },
    /// Cases ran what it lacks, and noticed nothing.
    Unnoticed,
    /// In no case would what it lacks have had an effect.
    Unreached,
}

impl Verdict {
    /// Whether a case noticed.
    pub fn is_dead(&self) -> bool {
        matches!(self, Verdict::Noticed { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Noticed { case, how } => write!(f, "{how}, in {case}"),
            Verdict::Unnoticed => f.write_str("SURVIVES: no case notices"),
            Verdict::Unreached => f.write_str("SURVIVES: no case reaches it"),
        }
    }
}

/// Warp instructions that a block may run: many times what one of the cases' needs.
const STEPS: u64 = 1 << 24;

/// The orders of blocks and warps in which a mutant is tried.
const SCHEDULES: [&str; 4] = ["forward", "reversed", "random:1", "random:2"];

impl Survey {
    /// Runs the kernels without a site on the cases that reach it, until one notices.
    ///
    /// # Errors
    /// If the mutant could not be run.
    pub fn try_without(&self, site: &Site) -> Result<Verdict> {
        let cases = self.reached_by(site);
        if cases.clone().next().is_none() {
            return Ok(Verdict::Unreached);
        }
        let removed = site.clone();
        let file = self.file;
        let edit = move |of: &'static str, _: &[_], ptx: String| match of == file {
            true => without(&ptx, &removed),
            false => ptx,
        };
        let cuda = Cuda::open_edited(self.dtype, Box::new(edit))?;
        // A guard keeps a thread from what it may not touch at all: no order matters.
        let schedules = match site.kind() {
            Kind::Guard(_) => &SCHEDULES[..1],
            _ => &SCHEDULES,
        };
        for schedule in schedules {
            cuda.set_virtual_options(&format!("schedule={schedule} steps={STEPS}"))?;
            let device = Device::Cuda(cuda.clone());
            for known in cases.clone() {
                let how = match bits(&device, &known.case) {
                    Ok(found) if found == known.bits => continue,
                    Ok(_) => "other bits".to_owned(),
                    Err(error) => fault(&error).ok_or(error)?,
                };
                let case = known.name.clone();
                return Ok(Verdict::Noticed { case, how });
            }
        }
        Ok(Verdict::Unnoticed)
    }
}

/// The kind of the virtual GPU's fault. A mutant that is no valid kernel is a mistake of ours.
fn fault(error: &Error) -> Option<String> {
    let Error::Cuda { reason, .. } = error else {
        return None;
    };
    let (_, report) = reason.split_once('\n')?;
    let (kind, _) = report.split_once(" in kernel `")?;
    let invalid = ["illegal instruction", "invalid launch"].contains(&kind);
    (!invalid).then(|| kind.to_owned())
}
