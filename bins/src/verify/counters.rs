//! What the virtual GPU counted, against the contracts.

use crate::error::Error;
use crate::output;
use gamut_kernels::{
    Counters, Executed, Finding, Footprint, Line, Requests, SourceLine, Wavefronts, Work,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Counters of several launches, and the work that the contract names for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    launches: usize,
    instructions: BTreeMap<String, Executed>,
    pub(super) matrix_operations: u64,
    barriers: u64,
    pub(super) global: Requests,
    footprint: Footprint,
    shared: Wavefronts,
    pub(super) work: Work,
}

impl Sum {
    /// That of a case.
    pub(super) fn of(finding: &Finding) -> Sum {
        let mut sum = Sum {
            work: finding.work,
            ..Sum::default()
        };
        finding
            .launches
            .iter()
            .for_each(|launch| sum.launch(launch));
        sum
    }

    fn launch(&mut self, launch: &Counters) {
        self.launches += 1;
        self.instructions(&launch.instructions);
        self.matrix_operations += launch.matrix_operations.values().sum::<u64>();
        self.barriers += launch.barriers;
        self.global += launch.global();
        self.footprint += launch.footprint;
        self.shared += launch.shared;
    }

    fn instructions(&mut self, instructions: &BTreeMap<String, Executed>) {
        for (class, executed) in instructions {
            *self.instructions.entry(class.clone()).or_default() += *executed;
        }
    }

    fn add(&mut self, other: &Sum) {
        self.launches += other.launches;
        self.instructions(&other.instructions);
        self.matrix_operations += other.matrix_operations;
        self.barriers += other.barriers;
        self.global += other.global;
        self.footprint += other.footprint;
        self.shared += other.shared;
        self.work = self.work + other.work;
    }

    /// Bytes moved for each byte of the contract.
    pub(super) fn moved(&self) -> Option<f64> {
        ratio(self.global.moved(), self.work.bytes)
    }

    /// Bytes touched, each once a launch, for each byte of the contract.
    fn touched(&self) -> Option<f64> {
        ratio(self.footprint.moved(), self.work.bytes)
    }

    fn sectors(&self) -> Option<f64> {
        ratio(self.global.sectors, self.global.min_sectors)
    }

    fn wavefronts(&self) -> Option<f64> {
        ratio(self.shared.wavefronts, self.shared.min_wavefronts)
    }

    /// Operations of matrix products for each operation of the contract.
    pub(super) fn products(&self) -> Option<f64> {
        let made = self.matrix_operations > 0;
        ratio(self.matrix_operations, self.work.operations).filter(|_| made)
    }

    /// Warp instructions of some of the classes.
    fn of_group(&self, group: &str) -> u64 {
        let classes = self.instructions.iter();
        let own = classes.filter(|(class, _)| self::group(class) == group);
        own.map(|(_, executed)| executed.warps).sum()
    }
}

fn ratio(found: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| found as f64 / of as f64)
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
    let sum = Sum::of(finding);
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
        let sums: Vec<Sum> = cases.iter().map(Sum::of).collect();
        let mut total = Sum::default();
        sums.iter().for_each(|sum| total.add(sum));
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

fn row(name: String, sum: &Sum) -> Vec<String> {
    let mut row = vec![name, sum.launches.to_string()];
    row.extend(GROUPS.map(|group| short(sum.of_group(group))));
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
            times(ratio(global.sectors, global.min_sectors)),
            times(ratio(shared.wavefronts, shared.min_wavefronts)),
            source
                .and_then(SourceLine::text)
                .unwrap_or_default()
                .to_owned(),
        ]);
    }
    output::write_columns(&rows, &[0, 1, 2, 5])
}
