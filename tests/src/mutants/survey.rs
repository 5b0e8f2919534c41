//! Which cases reach which sites, and what they give unchanged.

use super::site::{Site, Witness, witnessed};
use gamut_kernels::{Case, Counting, Cuda, DType, Device, Result, output, registry};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A case, as the kernels run it unchanged.
pub(super) struct Known {
    /// The operation's and the case's name.
    pub(super) name: String,
    pub(super) case: Case,
    pub(super) bits: Vec<u32>,
    cost: Duration,
}

/// A file's kernels in a type, with the cases that run them.
pub struct Survey {
    /// The type that they are compiled for.
    pub dtype: DType,
    /// The file.
    pub file: &'static str,
    /// Cheapest first.
    pub(super) cases: Vec<Known>,
    /// The sites, with the cases in which they have an effect.
    sites: BTreeMap<Site, Vec<usize>>,
}

impl Survey {
    /// Runs all cases of a file's kernels.
    ///
    /// # Errors
    /// If one of them fails.
    pub fn new(dtype: DType, file: &'static str) -> Result<Survey> {
        let mut runs = Vec::new();
        for op in registry() {
            for case in (op.cases)() {
                if case.cuda_files(dtype)?.contains(file) {
                    let start = Instant::now();
                    let (bits, sites) = run(dtype, file, &case)?;
                    let known = Known {
                        name: format!("{} {}", op.name, case.name),
                        case,
                        bits,
                        cost: start.elapsed(),
                    };
                    runs.push((known, sites));
                }
            }
        }
        runs.sort_by_key(|(known, _)| known.cost);
        let (mut cases, mut sites) = (Vec::new(), BTreeMap::<Site, Vec<usize>>::new());
        for (number, (known, reached)) in runs.into_iter().enumerate() {
            cases.push(known);
            for (site, reached) in reached {
                let by = sites.entry(site).or_default();
                by.extend(reached.then_some(number));
            }
        }
        Ok(Survey {
            dtype,
            file,
            cases,
            sites,
        })
    }

    /// All sites of the kernels that the cases load.
    pub fn sites(&self) -> Vec<&Site> {
        self.sites.keys().collect()
    }

    /// The cases in which a site has an effect, cheapest first.
    pub(super) fn reached_by(&self, site: &Site) -> impl Iterator<Item = &Known> + Clone {
        let numbers = self.sites.get(site).into_iter().flatten();
        numbers.filter_map(|&number| self.cases.get(number))
    }
}

/// A case's output, and for every site of the file's kernels whether it had an effect.
fn run(dtype: DType, file: &'static str, case: &Case) -> Result<(Vec<u32>, BTreeMap<Site, bool>)> {
    let witnesses: Arc<Mutex<Vec<Witness>>> = Arc::default();
    let noted = Arc::clone(&witnesses);
    let note = move |of: &'static str, _: &[_], ptx: String| {
        if of != file {
            return ptx;
        }
        let (ptx, witnesses) = witnessed(&ptx);
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.extend(witnesses);
        ptx
    };
    let device = Device::Cuda(Cuda::open_edited(dtype, Box::new(note))?);
    let counting = Counting::start(&device)?;
    let bits = bits(&device, case)?;
    let coverage = counting.take_coverage()?;
    let ran = |witness: &Witness| {
        let kernels = coverage.iter().filter(|k| k.kernel == witness.kernel);
        let mut lines = kernels.flat_map(|kernel| &kernel.lines);
        lines.any(|line| line.ptx_line == witness.line && line.lanes > 0)
    };
    let mut sites = BTreeMap::new();
    let witnesses = witnesses.lock().unwrap_or_else(PoisonError::into_inner);
    for witness in witnesses.iter() {
        *sites.entry(witness.site.clone()).or_default() |= ran(witness);
    }
    Ok((bits, sites))
}

pub(super) fn bits(device: &Device, case: &Case) -> Result<Vec<u32>> {
    let values = output(device, case)?;
    Ok(values.into_iter().map(f32::to_bits).collect())
}
