//! The lines of kernels that no case ran.

use crate::error::Error;
use crate::output;
use gamut_kernels::{CoveredLine, KernelCoverage, SourceLine};
use std::collections::BTreeMap;

/// How many lines of PTX there are, how many of them did not run, and the first of those.
#[derive(Default)]
struct Missing<'a> {
    lines: usize,
    unrun: Vec<&'a CoveredLine>,
}

impl<'a> Missing<'a> {
    fn add(&mut self, line: &'a CoveredLine) {
        self.lines += 1;
        self.unrun.extend((line.lanes == 0).then_some(line));
    }
}

/// Writes a row for each kernel and CUDA line with instructions that did not run, and one for each
/// kernel that was loaded and not launched. Kernels of one name that were compiled with several sets
/// of macros are taken together, each with its own PTX.
pub(super) fn write(kernels: &[KernelCoverage]) -> Result<(), Error> {
    type Place<'a> = (&'a str, Option<&'a SourceLine>);
    let mut places: BTreeMap<Place<'_>, Missing<'_>> = BTreeMap::new();
    let mut all = Missing::default();
    let mut idle: BTreeMap<&str, usize> = BTreeMap::new();
    for kernel in kernels {
        if kernel.launches == 0 {
            *idle.entry(&kernel.kernel).or_default() += kernel.lines.len();
        }
        for line in &kernel.lines {
            all.add(line);
            if kernel.launches > 0 {
                let place = (kernel.kernel.as_str(), line.source.as_ref());
                places.entry(place).or_default().add(line);
            }
        }
    }
    let (unrun, lines, count) = (all.unrun.len(), all.lines, kernels.len());
    output::write(&format!(
        "\n{unrun} of {lines} lines of PTX in {count} kernels were not run by any case\n"
    ))?;
    places.retain(|_, missing| !missing.unrun.is_empty());
    if places.is_empty() && idle.is_empty() {
        return Ok(());
    }
    let head = ["kernel", "line", "not run", "of", "source"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for ((kernel, source), missing) in places {
        let text = source.and_then(SourceLine::text);
        let ptx = missing.unrun.first().map_or("", |line| line.text.as_str());
        rows.push(vec![
            kernel.to_owned(),
            source.map_or_else(String::new, |s| format!("{}:{}", s.file, s.line)),
            missing.unrun.len().to_string(),
            missing.lines.to_string(),
            text.unwrap_or(ptx).to_owned(),
        ]);
    }
    for (kernel, lines) in idle {
        let [count, never] = [lines.to_string(), "never launched".to_owned()];
        rows.push(vec![
            kernel.to_owned(),
            String::new(),
            count.clone(),
            count,
            never,
        ]);
    }
    output::write("\n")?;
    output::write_columns(&rows, &[0, 1, 4])
}
