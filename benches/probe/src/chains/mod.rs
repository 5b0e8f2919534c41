//! Whether the ways to add a long chain of products give the same bits.

pub(crate) mod source;

use crate::driver::{Argument, Buffer, Device, Launch, Module, Stream};
use crate::error::Result;
use crate::instructions::format::Format;
use crate::instructions::matrices::{Problem, Shape, Style, problem};
use crate::report::Report;
use crate::tensors::Tensors;
use safetensors::Dtype;
use serde_json::{Value, json};
use source::{COLUMNS, TYPES, depth};
use std::path::Path;

const ROWS: usize = 64;
const FEATURES: usize = 256;
const LENGTH: usize = 1280;

/// Leading and stride byte offsets of a matrix descriptor: between core matrices that follow each
/// other along k, and along rows.
type Offsets = (u32, u32);

/// As `source::stage` lays tiles out, and how a device would read it that swaps their meaning.
const OFFSETS: [Offsets; 2] = [(128, 256), (256, 128)];

/// One kernel with its launch.
struct Way {
    name: String,
    kernel: String,
    /// Rows of the left and right operand that a block takes.
    tile: (usize, usize),
    threads: u32,
    /// Whether the left operand is the problem's `b`.
    swapped: bool,
}

/// Inputs on the device.
struct Inputs {
    shape: Shape,
    a: Buffer,
    b: Buffer,
    c: Buffer,
    row_bytes: u32,
}

/// Runs all chains, then records single steps in `out/mma.safetensors`.
pub(crate) fn run(modules: &Path, out: &Path, report: &mut Report) -> Result<()> {
    let device = Device::open()?;
    let module = Module::open(modules, "chains")?;
    let stream = Stream::new()?;
    let offsets = layout(&module, &stream, report)?;
    for kind in TYPES {
        let cases = [
            ("normal", Style::Normal, false),
            ("normal plus c", Style::Normal, true),
            ("spread", Style::Spread, false),
            ("cancel", Style::Cancel, false),
            ("spread plus c", Style::Spread, true),
        ];
        for (name, style, with_sums) in cases {
            let compared = compare(&module, &stream, kind, style, with_sums, offsets);
            report.add(&format!("{kind}, {name}"), compared)?;
        }
    }
    let mut tensors = Tensors::of(&device)?;
    let steps = record_steps(&module, &stream, offsets, &mut tensors);
    report.add("single steps: wgmma against mma", steps)?;
    tensors.write(&out.join("mma.safetensors"))
}

/// Finds which reading of the descriptor multiplies correctly, against an f64 product.
fn layout(module: &Module, stream: &Stream, report: &mut Report) -> Result<Offsets> {
    let shape = shape("bf16", ROWS, FEATURES, LENGTH);
    let problem = problem(Style::Normal, shape, 1);
    let exact = exact(&problem, shape);
    let inputs = Inputs::new(&problem, shape)?;
    let way = wgmma("bf16", 64, "ss", false);
    let mut errors = Vec::new();
    for offsets in OFFSETS {
        let error = run_way(module, stream, &way, &inputs, offsets)
            .map_or(f64::INFINITY, |d| relative_error(&d, &exact));
        errors.push(error);
    }
    let best = if errors[0] <= errors[1] { 0 } else { 1 };
    report.add(
        "wgmma layout",
        Ok(json!({
            "relative error, lbo 128 sbo 256": errors[0],
            "relative error, lbo 256 sbo 128": errors[1],
            "used": [OFFSETS[best].0, OFFSETS[best].1],
            "correct": errors[best] < 1e-4,
        })),
    )?;
    Ok(OFFSETS[best])
}

fn compare(
    module: &Module,
    stream: &Stream,
    kind: &str,
    style: Style,
    with_sums: bool,
    offsets: Offsets,
) -> Result<Value> {
    let shape = shape(kind, ROWS, FEATURES, LENGTH);
    let mut problem = problem(style, shape, 2);
    if !with_sums {
        problem.c.fill(0);
    }
    let exact = exact(&problem, shape);
    let inputs = Inputs::new(&problem, shape)?;
    let mut reference: Option<Vec<f32>> = None;
    let mut results = serde_json::Map::new();
    for way in ways(kind) {
        let value = match run_way(module, stream, &way, &inputs, offsets) {
            Ok(d) => {
                let reference = reference.get_or_insert_with(|| d.clone());
                let mut value = difference(&d, reference);
                value["relative error"] = json!(relative_error(&d, &exact));
                value
            }
            Err(error) => json!({ "error": error.to_string() }),
        };
        results.insert(way.name, value);
    }
    Ok(Value::Object(results))
}

/// All ways, the reference first.
fn ways(kind: &str) -> Vec<Way> {
    let mut ways = Vec::new();
    let mut warp = |name: &str| {
        for swapped in [false, true] {
            ways.push(Way {
                name: label(name, swapped),
                kernel: format!("{name}_{kind}"),
                tile: (16, 8),
                threads: 32,
                swapped,
            });
        }
    };
    warp("mma");
    if kind != "e4m3" {
        warp("mma_k8");
    }
    for columns in COLUMNS {
        for operands in ["ss", "rs"] {
            ways.push(wgmma(kind, columns, operands, false));
            if columns <= ROWS {
                ways.push(wgmma(kind, columns, operands, true));
            }
        }
    }
    ways
}

fn wgmma(kind: &str, columns: usize, operands: &str, swapped: bool) -> Way {
    Way {
        name: label(&format!("wgmma n{columns} {operands}"), swapped),
        kernel: format!("wgmma_{kind}_n{columns}_{operands}"),
        tile: (64, columns),
        threads: 128,
        swapped,
    }
}

fn label(name: &str, swapped: bool) -> String {
    let suffix = if swapped { ", swapped" } else { "" };
    format!("{name}{suffix}")
}

fn shape(kind: &str, m: usize, n: usize, k: usize) -> Shape {
    let format = match kind {
        "bf16" => Format::BF16,
        "f16" => Format::F16,
        _ => Format::E4M3,
    };
    Shape {
        m,
        n,
        k,
        left: format,
        right: format,
        sum: Format::F32,
    }
}

impl Inputs {
    fn new(problem: &Problem, shape: Shape) -> Result<Inputs> {
        let bytes = shape.left.bits() as usize / 8;
        Ok(Inputs {
            shape,
            a: Buffer::from_slice(&packed(&problem.a, bytes))?,
            b: Buffer::from_slice(&packed(&problem.b, bytes))?,
            c: Buffer::from_slice(&problem.c)?,
            row_bytes: (shape.k * bytes) as u32,
        })
    }
}

/// The low `bytes` bytes of each code.
fn packed(codes: &[u32], bytes: usize) -> Vec<u8> {
    codes
        .iter()
        .flat_map(|code| code.to_le_bytes().into_iter().take(bytes))
        .collect()
}

fn run_way(
    module: &Module,
    stream: &Stream,
    way: &Way,
    inputs: &Inputs,
    offsets: Offsets,
) -> Result<Vec<f32>> {
    let Shape { m, n, .. } = inputs.shape;
    let d = Buffer::new(4 * m * n)?;
    // NaN, should a tile stay unwritten.
    d.fill(0xff, stream)?;
    let (left, right, rows, columns, strides) = if way.swapped {
        (&inputs.b, &inputs.a, n, m, (1, n as u32))
    } else {
        (&inputs.a, &inputs.b, m, n, (n as u32, 1))
    };
    let launch = Launch {
        grid: ((rows / way.tile.0) as u32, (columns / way.tile.1) as u32),
        block: way.threads,
        shared: 0,
    };
    let arguments = [
        left.into(),
        right.into(),
        (&inputs.c).into(),
        (&d).into(),
        Argument::Word(inputs.row_bytes),
        Argument::Word(strides.0),
        Argument::Word(strides.1),
        Argument::Word(offsets.0),
        Argument::Word(offsets.1),
    ];
    module
        .function(&way.kernel)?
        .launch(launch, stream, &arguments)?;
    stream.synchronize()?;
    d.download(m * n)
}

/// For each element, the f64 value and the sum of the terms' magnitudes.
fn exact(problem: &Problem, shape: Shape) -> Vec<(f64, f64)> {
    let decode = |codes: &[u32], format: Format| -> Vec<f64> {
        codes
            .iter()
            .map(|&code| format.decode(u64::from(code)))
            .collect()
    };
    let a = decode(&problem.a, shape.left);
    let b = decode(&problem.b, shape.right);
    let c = decode(&problem.c, shape.sum);
    let mut sums = Vec::with_capacity(c.len());
    for (i, row) in a.chunks_exact(shape.k).enumerate() {
        for (j, column) in b.chunks_exact(shape.k).enumerate() {
            let start = c[i * shape.n + j];
            let terms = row.iter().zip(column).map(|(x, y)| x * y);
            sums.push(terms.fold((start, start.abs()), |(sum, size), term| {
                (sum + term, size + term.abs())
            }));
        }
    }
    sums
}

/// The largest error in units of the sum of the terms' magnitudes; infinite if one is not finite.
fn relative_error(d: &[f32], exact: &[(f64, f64)]) -> f64 {
    d.iter()
        .zip(exact)
        .map(|(&d, &(sum, size))| {
            let error = (f64::from(d) - sum).abs() / size.max(f64::MIN_POSITIVE);
            if error.is_nan() { f64::INFINITY } else { error }
        })
        .fold(0.0, f64::max)
}

/// How many elements differ in their bits, and by how many units in the last place at most.
fn difference(d: &[f32], reference: &[f32]) -> Value {
    let ordered = |value: f32| {
        let bits = i64::from(value.to_bits() as i32);
        if bits < 0 {
            i64::from(i32::MIN) - bits
        } else {
            bits
        }
    };
    let pairs = || {
        d.iter()
            .zip(reference)
            .filter(|(x, y)| x.to_bits() != y.to_bits())
    };
    let largest = pairs()
        .map(|(&x, &y)| (ordered(x) - ordered(y)).abs())
        .max();
    json!({
        "equal": largest.is_none(),
        "differing": pairs().count(),
        "of": d.len(),
        "largest ulp": largest.unwrap_or(0),
    })
}

/// One k-step of every style with `wgmma` (both forms) and `mma`: 64 x 8 sums.
fn record_steps(
    module: &Module,
    stream: &Stream,
    offsets: Offsets,
    tensors: &mut Tensors,
) -> Result<Value> {
    let mut results = serde_json::Map::new();
    for kind in TYPES {
        let shape = shape(kind, ROWS, 8, depth(kind));
        for style in Style::ALL {
            let (mut registers, mut warps) = (Vec::new(), Vec::new());
            for seed in 0..4u64 {
                // The bits that styles look at are 3 and 4.
                let problem = problem(style, shape, seed * 8);
                let inputs = Inputs::new(&problem, shape)?;
                let name = format!("{kind}.{style:?}.{seed}").to_lowercase();
                let bytes = shape.left.bits() as usize / 8;
                let dtype = if bytes == 2 { Dtype::U16 } else { Dtype::U8 };
                let (a, b) = (packed(&problem.a, bytes), packed(&problem.b, bytes));
                tensors.add(&format!("{name}.a"), dtype, &[ROWS, shape.k], &a);
                tensors.add(&format!("{name}.b"), dtype, &[8, shape.k], &b);
                tensors.add(&format!("{name}.c"), Dtype::F32, &[ROWS, 8], &problem.c);
                let mut run = |label: &str, way: Way| -> Result<Vec<f32>> {
                    let d = run_way(module, stream, &way, &inputs, offsets)?;
                    tensors.add(&format!("{name}.d.{label}"), Dtype::F32, &[ROWS, 8], &d);
                    Ok(d)
                };
                let shared = run("wgmma_ss", wgmma(kind, 8, "ss", false))?;
                let fragments = run("wgmma_rs", wgmma(kind, 8, "rs", false))?;
                let mma = ways(kind).swap_remove(0);
                let warp = run("mma", mma)?;
                registers.push(difference(&fragments, &shared));
                warps.push(difference(&warp, &shared));
            }
            let name = format!("{kind}, {style:?}").to_lowercase();
            results.insert(name, json!({ "rs": registers, "mma": warps }));
        }
    }
    Ok(Value::Object(results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_floats_are_one_ulp_apart() {
        let value = difference(&[1.0, -0.0], &[1.0 + f32::EPSILON, 0.0]);
        assert_eq!(value["differing"], 2);
        assert_eq!(value["largest ulp"], 1);
        assert_eq!(difference(&[-1.0], &[-1.0])["equal"], true);
    }

    #[test]
    fn a_wrong_product_has_a_large_error() {
        let shape = shape("bf16", 64, 8, 16);
        let problem = problem(Style::Normal, shape, 3);
        let exact = exact(&problem, shape);
        let right: Vec<f32> = exact.iter().map(|&(sum, _)| sum as f32).collect();
        assert!(relative_error(&right, &exact) < 1e-6);
        let mut wrong = right;
        wrong.rotate_left(1);
        assert!(relative_error(&wrong, &exact) > 0.1);
    }
}
