//! What the virtual GPU counted, against the contracts.

use crate::error::Error;
use crate::output;
use gamut_kernels::{Counted, Finding, Line, Requests, SourceLine, Wavefronts};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Counters of a case.
pub(super) fn counted(finding: &Finding) -> Counted {
    Counted::new(&finding.launches, finding.work)
}

/// Warp instructions of the classes of a group.
fn of_group(counted: &Counted, group: &str) -> u64 {
    let classes = counted.instructions.iter();
    let own = classes.filter(|(class, _)| self::group(class) == group);
    own.map(|(_, executed)| executed.warps).sum()
}

/// The groups of the table's columns.
const GROUPS: [&str; 5] = ["integer", "float", "memory", "matrix", "other"];

/// The group that a class of instructions is shown in.
fn group(class: &str) -> &'static str {
    match class {
        "integer" | "conversion" | "move" => "integer",
        "float" | "double" | "half" | "special" => "float",
        "parameter" | "constant" | "global_load" | "global_store" | "shared_load"
        | "shared_store" | "local" | "generic" | "atomic" | "async_copy" | "matrix_move" => {
            "memory"
        }
        "matrix" => "matrix",
        _ => "other",
    }
}

/// A case's counters, of every launch and in sum.
pub(super) fn json(finding: &Finding) -> Value {
    let sum = counted(finding);
    json!({
        "contract": { "operations": sum.work.operations, "bytes": sum.work.bytes },
        "instructions": sum.instructions,
        "matrix_operations": sum.matrix_operations,
        "barriers": sum.barriers,
        "global": sum.global,
        "moved_bytes": sum.global.moved(),
        "touched_bytes": sum.footprint.moved(),
        "shared": sum.shared,
        "ratios": {
            "moved": sum.moved(), "touched": sum.touched(), "sectors": sum.sectors(),
            "wavefronts": sum.wavefronts(), "matrix_operations": sum.products(),
        },
        "launches": finding.launches,
    })
}

/// Writes the table of operations with their cases, and that of the lines to look at.
pub(super) fn write(findings: &[Finding]) -> Result<(), Error> {
    output::write(
        "\nWarp instructions by kind. Bytes moved between multiprocessors and cache, those of the \
        contract, and their\nratio; bytes touched, each once a launch, against the contract; \
        sectors and wavefronts against the fewest;\noperations of matrix products against the \
        contract's.\n\n",
    )?;
    let mut rows = vec![head(&["op"], &["moved", "contract", "ratio", "touched"])];
    for cases in findings.chunk_by(|a, b| a.op == b.op) {
        let sums: Vec<Counted> = cases.iter().map(counted).collect();
        let mut total = Counted::default();
        sums.iter().for_each(|sum| total += sum);
        let op = cases.first().map_or("", |case| case.op);
        rows.push(row(op.to_owned(), &total));
        let cases = cases.iter().zip(&sums);
        rows.extend(cases.map(|(case, sum)| row(format!("  {}", case.case), sum)));
    }
    output::write_table(&rows)?;
    write_lines(findings)
}

fn head(first: &[&str], bytes: &[&str]) -> Vec<String> {
    let last = ["sectors", "wavefronts", "products", "barriers"];
    let columns = [first, &["launches"], &GROUPS, bytes, &last].concat();
    columns.into_iter().map(str::to_owned).collect()
}

fn row(name: String, sum: &Counted) -> Vec<String> {
    let mut row = vec![name, sum.launches.to_string()];
    row.extend(GROUPS.map(|group| short(of_group(sum, group))));
    row.extend([
        output::bytes(sum.global.moved()),
        output::bytes(sum.work.bytes),
        times(sum.moved()),
        times(sum.touched()),
        times(sum.sectors()),
        times(sum.wavefronts()),
        times(sum.products()),
        short(sum.barriers),
    ]);
    row
}

/// `1.25`, or nothing to compare with.
pub(super) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// A count of at most five characters or so.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{:.0}k", count as f64 / 1e3),
        _ => format!("{:.0}M", count as f64 / 1e6),
    }
}

/// Lines whose accesses take more sectors or wavefronts than they must, by operation and kernel.
fn write_lines(findings: &[Finding]) -> Result<(), Error> {
    type Place<'a> = (&'a str, &'a str, Option<&'a SourceLine>);
    let mut lines: BTreeMap<Place<'_>, (Requests, Wavefronts)> = BTreeMap::new();
    let wasteful = |line: &&Line| {
        line.global.sectors > line.global.min_sectors
            || line.shared.wavefronts > line.shared.min_wavefronts
    };
    for finding in findings {
        for launch in &finding.launches {
            for line in launch.lines.iter().filter(wasteful) {
                let place = (finding.op, launch.kernel.as_str(), line.source.as_ref());
                let (global, shared) = lines.entry(place).or_default();
                *global += line.global;
                *shared += line.shared;
            }
        }
    }
    if lines.is_empty() {
        return output::write("\nNo line takes more sectors or wavefronts than it must.\n");
    }
    output::write("\nLines that take more sectors or wavefronts than they must:\n\n")?;
    let head = ["op", "kernel", "line", "sectors", "wavefronts", "source"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for ((op, kernel, source), (global, shared)) in lines {
        rows.push(vec![
            op.to_owned(),
            kernel.to_owned(),
            source.map_or_else(String::new, |s| format!("{}:{}", s.file, s.line)),
            times(global.ratio()),
            times(shared.ratio()),
            source
                .and_then(SourceLine::text)
                .unwrap_or_default()
                .to_owned(),
        ]);
    }
    output::write_columns(&rows, &[0, 1, 2, 5])
}
