//! Pictures of operations under the roofline of an H100.
//!
//! A case's contract stands on the roof above its operations for each byte (Williams, Waterman and
//! Patterson, "Roofline", 2009). What was counted stands at the contract's operations for each byte
//! that moved, as high as bytes moved and matrix products made allow: to the left where bytes move
//! more than once, below the roof where products compute what nobody asked for.

use super::counters::{counted, times};
use crate::error::Error;
use gamut_kernels::{Counted, Finding};
use std::fmt::Write;
use std::path::Path;

/// Bytes a second of a copy in an H100's memory, measured.
const BANDWIDTH: f64 = 3.0e12;
/// Operations a second of its matrix units in bf16, measured.
const PEAK: f64 = 790e12;

/// The picture's size, and the plot's place in it.
const SIZE: (f64, f64) = (980.0, 460.0);
const PLOT: (f64, f64, f64, f64) = (70.0, 54.0, 520.0, 340.0);
/// Powers of ten along the axes: operations a byte, operations a second.
const X: (i32, i32) = (-3, 4);
const Y: (i32, i32) = (9, 15);
/// Rows of the list of cases.
const LISTED: usize = 22;

/// Colours for light and for dark surroundings.
const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.small { font-size: 11px; fill: #59636e; }
.paper { fill: #ffffff; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.roof { stroke: #1f2328; stroke-width: 2; fill: none; }
.way { stroke: #8250df; stroke-width: 1; stroke-dasharray: 3 3; }
.contract { fill: #ffffff; stroke: #0969da; stroke-width: 2; }
.counted { fill: #8250df; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.small { fill: #9198a1; }
.paper { fill: #0d1117; }
.grid { stroke: #3d444d; }
.roof { stroke: #f0f6fc; }
.way { stroke: #ab7df8; }
.contract { fill: #0d1117; stroke: #4493f8; }
.counted { fill: #ab7df8; }
}
";

/// A place on the plot: operations a byte and operations a second.
type Point = (f64, f64);

/// Writes `OP.svg` for every operation to a directory, which is made if need be.
pub(super) fn write(dir: &Path, findings: &[Finding]) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |reason| Error::Write { path, reason }
    };
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    for cases in findings.chunk_by(|a, b| a.op == b.op) {
        let op = cases.first().map_or("", |case| case.op);
        let sums: Vec<_> = cases
            .iter()
            .map(|c| (c.case.as_str(), counted(c)))
            .collect();
        let path = dir.join(format!("{op}.svg"));
        std::fs::write(&path, picture(op, &sums)).map_err(failed(&path))?;
    }
    Ok(())
}

/// The contract's point, and that of what was counted; none where nothing is computed or moved.
fn points(sum: &Counted) -> Option<[Point; 2]> {
    let (operations, bytes) = (sum.work.operations as f64, sum.work.bytes as f64);
    let moved = sum.global.moved() as f64;
    if operations == 0.0 || bytes == 0.0 || moved == 0.0 {
        return None;
    }
    let fastest = (bytes / BANDWIDTH).max(operations / PEAK);
    let made = sum.matrix_operations.max(sum.work.operations) as f64;
    let bound = (moved / BANDWIDTH).max(made / PEAK);
    Some([
        (operations / bytes, operations / fastest),
        (operations / moved, operations / bound),
    ])
}

fn picture(op: &str, cases: &[(&str, Counted)]) -> String {
    let mut svg = String::new();
    let (width, height) = SIZE;
    // Writing to a String does not fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
        width=\"{width}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
        <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    text(&mut svg, "title", (PLOT.0, 28.0), "start", op);
    let under = "H100: 3.0 TB/s, 790 TFLOP/s in bf16. Hollow: contract. Full: counted.";
    text(&mut svg, "small", (PLOT.0, 45.0), "start", under);
    axes(&mut svg);
    let mut labels = Labels::default();
    let places = at_one_place(cases);
    if places.is_empty() {
        let middle = (PLOT.0 + PLOT.2 / 2.0, PLOT.1 + PLOT.3 * 0.8);
        text(&mut svg, "", middle, "middle", "It only moves bytes.");
    }
    for (points, numbers) in places {
        case(&mut svg, &mut labels, &numbers, points);
    }
    list(&mut svg, cases);
    svg + "</svg>\n"
}

/// The points of the cases, and the numbers of the cases that share them.
fn at_one_place(cases: &[(&str, Counted)]) -> Vec<([Point; 2], Vec<usize>)> {
    let mut places: Vec<([Point; 2], Vec<usize>)> = Vec::new();
    for (number, (_, sum)) in (1..).zip(cases) {
        let Some(points) = points(sum) else {
            continue;
        };
        match places.iter_mut().find(|(at, _)| *at == points) {
            Some((_, numbers)) => numbers.push(number),
            None => places.push((points, vec![number])),
        }
    }
    places
}

/// Where there are labels already.
#[derive(Default)]
struct Labels(Vec<(f64, f64)>);

impl Labels {
    /// A place at a point or above it that no other label covers.
    fn free(&mut self, (x, mut y): (f64, f64)) -> (f64, f64) {
        let covered = |y: f64| {
            let mut all = self.0.iter();
            all.any(|other| (other.0 - x).abs() < 28.0 && (other.1 - y).abs() < 11.0)
        };
        while covered(y) {
            y -= 11.0;
        }
        self.0.push((x, y));
        (x, y)
    }
}

fn case(svg: &mut String, labels: &mut Labels, numbers: &[usize], points: [Point; 2]) {
    let [contract, counted] = points.map(place);
    rule(svg, "way", contract, counted);
    dot(svg, "contract", contract, 5.0);
    dot(svg, "counted", counted, 3.0);
    let label = match numbers {
        [first, .., last] if last - first + 1 == numbers.len() => format!("{first}–{last}"),
        _ => numbers
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(","),
    };
    let at = labels.free((counted.0 - 8.0, counted.1 - 4.0));
    text(svg, "small", at, "end", &label);
}

fn axes(svg: &mut String) {
    let (left, top, width, height) = PLOT;
    let (right, bottom) = (left + width, top + height);
    for power in X.0..=X.1 {
        let (x, _) = place((10f64.powi(power), PEAK));
        rule(svg, "grid", (x, top), (x, bottom));
        text(svg, "small", (x, bottom + 16.0), "middle", &plain(power));
    }
    for power in Y.0..=Y.1 {
        let (_, y) = place((1.0, 10f64.powi(power)));
        rule(svg, "grid", (left, y), (right, y));
        let label = match power {
            ..12 => format!("{} G", plain(power - 9)),
            _ => format!("{} T", plain(power - 12)),
        };
        text(svg, "small", (left - 6.0, y + 4.0), "end", &label);
    }
    let middle = left + width / 2.0;
    let below = bottom + 36.0;
    text(
        svg,
        "",
        (middle, below),
        "middle",
        "operations for each byte moved",
    );
    text(svg, "small", (left - 60.0, top - 26.0), "start", "op/s");
    let lowest = 10f64.powi(X.0);
    let corners = [
        (lowest, lowest * BANDWIDTH),
        (PEAK / BANDWIDTH, PEAK),
        (10f64.powi(X.1), PEAK),
    ];
    let corners = corners.map(|corner| {
        let (x, y) = place(corner);
        format!("{x:.1},{y:.1}")
    });
    let _ = writeln!(
        svg,
        "<polyline class=\"roof\" points=\"{}\"/>",
        corners.join(" ")
    );
}

/// The cases by their numbers, with bytes moved and products made for each of the contract's.
fn list(svg: &mut String, cases: &[(&str, Counted)]) {
    let left = PLOT.0 + PLOT.2 + 30.0;
    let mut row = |number: usize, [first, bytes, products, name]: [&str; 4]| {
        let y = PLOT.1 + 16.0 * number as f64 + 4.0;
        let mut cell = |x: f64, anchor, cell| text(svg, "small", (left + x, y), anchor, cell);
        cell(16.0, "end", first);
        cell(70.0, "end", bytes);
        cell(136.0, "end", products);
        cell(150.0, "start", name);
    };
    row(0, ["", "× bytes", "× products", "case"]);
    for (number, (name, sum)) in (1..).zip(cases).take(LISTED) {
        let (bytes, products) = (times(sum.moved()), times(sum.products()));
        row(number, [&number.to_string(), &bytes, &products, name]);
    }
    if cases.len() > LISTED {
        let more = format!("and {} more", cases.len() - LISTED);
        row(LISTED + 1, ["", "", "", &more]);
    }
}

/// Where a point is in the picture; what lies beyond the axes is put at their ends.
fn place((x, y): Point) -> (f64, f64) {
    let along = |value: f64, (low, high): (i32, i32)| {
        ((value.log10() - f64::from(low)) / f64::from(high - low)).clamp(0.0, 1.0)
    };
    let (left, top, width, height) = PLOT;
    (
        left + width * along(x, X),
        top + height * (1.0 - along(y, Y)),
    )
}

/// A power of ten in digits.
fn plain(power: i32) -> String {
    format!("{}", 10f64.powi(power))
}

fn rule(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn dot(svg: &mut String, class: &str, (x, y): (f64, f64), radius: f64) {
    let _ = writeln!(
        svg,
        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"
    );
}

fn text(svg: &mut String, class: &str, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
