//! What cuBLASLt reaches on the shapes that the models have: a ceiling for our own products.

use crate::blas::{Blas, Epilogue, Product};
use crate::driver::{Argument, Buffer, Device, Launch, Module, Stream, median, time};
use crate::error::{Error, Result};
use crate::report::Report;
use serde_json::{Value, json};
use std::path::Path;

/// Weights are rotated through this many bytes, four times an H100's L2.
const ROTATED: usize = 200 << 20;

/// M, K and N of `y [M, N] = x [M, K] w [N, K]^T`.
type Sizes = (usize, usize, usize);

const PREFILL: [(&str, Sizes); 13] = [
    ("experts", (15000, 1280, 3840)),
    ("experts", (15000, 1280, 1280)),
    ("experts", (15000, 1280, 5120)),
    ("experts", (15000, 5120, 1280)),
    ("fusion", (7500, 2560, 1280)),
    ("fusion", (7500, 1280, 5120)),
    ("projector", (7500, 1280, 4096)),
    ("projector", (7500, 4096, 4096)),
    ("decoder", (7600, 4096, 6144)),
    ("decoder", (7600, 4096, 4096)),
    ("decoder", (7600, 4096, 24576)),
    ("decoder", (7600, 12288, 4096)),
    ("square", (8192, 8192, 8192)),
];

/// K and N of the products of one decoding step.
const DECODE: [(usize, usize); 5] = [
    (4096, 6144),
    (4096, 4096),
    (4096, 24576),
    (12288, 4096),
    (4096, 151_936),
];

pub(crate) fn run(modules: &Path, report: &mut Report) -> Result<()> {
    let _device = Device::open()?;
    let blas = Blas::open()?;
    report.add(
        "library",
        Ok(json!(blas.path().map(|p| p.display().to_string()))),
    )?;
    report.add("version", Ok(json!(blas.version())))?;
    let bench = Bench::new(blas, &Module::open(modules, "measure")?)?;
    let decode = [1, 16, 32]
        .into_iter()
        .flat_map(|m| DECODE.map(|(k, n)| ("decode", (m, k, n))));
    for (name, sizes) in PREFILL.into_iter().chain(decode) {
        let (m, k, n) = sizes;
        report.add(&format!("{name} {m} x {k} x {n}"), bench.measure(sizes))?;
    }
    Ok(())
}

/// The library and the memory that all shapes share.
struct Bench {
    blas: Blas,
    stream: Stream,
    x: Buffer,
    w: Buffer,
    y: Buffer,
}

impl Bench {
    fn new(blas: Blas, module: &Module) -> Result<Bench> {
        let bench = Bench {
            blas,
            stream: Stream::new()?,
            x: Buffer::new(256 << 20)?,
            w: Buffer::new(1280 << 20)?,
            y: Buffer::new(512 << 20)?,
        };
        let fill = module.function("fill_normal")?;
        for (buffer, seed, deviation) in [(&bench.x, 1, 1.0), (&bench.w, 2, 0.02)] {
            let arguments = [
                buffer.into(),
                Argument::Wide(buffer.bytes as u64 / 2),
                Argument::Word(seed),
                Argument::Float(deviation),
            ];
            fill.launch(Launch::new(4096, 256), &bench.stream, &arguments)?;
        }
        bench.stream.synchronize()?;
        Ok(bench)
    }

    fn measure(&self, sizes: Sizes) -> Result<Value> {
        let (m, k, n) = sizes;
        let epilogue = Epilogue::Store;
        let plan = self.blas.plan(Product { m, k, n, epilogue })?;
        let weight = 2 * k * n;
        let copies = if m <= 32 {
            (ROTATED / weight).max(1)
        } else {
            1
        };
        let flops = 2.0 * (m * k * n) as f64;
        let bytes = 2.0 * (m * k + k * n + m * n) as f64;
        let expected = (flops / 6e14).max(bytes / 3e12);
        let batch = ((3e-3 / expected) as usize).clamp(1, 50);
        let mut tried = Vec::new();
        for choice in 0..plan.choices() {
            let mut next = 0;
            let mut queue = |_| {
                (0..batch).try_for_each(|_| {
                    next = (next + 1) % copies;
                    // The buffers hold the largest of the shapes, and the rotated weights end
                    // within theirs.
                    let w = self.w.pointer + (next * weight) as u64;
                    let addresses = [self.x.pointer, w, self.y.pointer];
                    let stream = self.stream.0.cast();
                    self.blas.multiply(&plan, choice, addresses, stream)
                })
            };
            // An algorithm may still refuse to run; the others count.
            let measured =
                time(&self.stream, 1, &mut queue).and_then(|_| time(&self.stream, 5, &mut queue));
            if let Ok(times) = measured {
                tried.push(f64::from(median(&times)) * 1e3 / batch as f64);
            }
        }
        let best = tried.iter().copied().fold(f64::INFINITY, f64::min);
        if best.is_infinite() {
            return Err(Error::Text("no algorithm ran".into()));
        }
        Ok(json!({
            "us": best,
            "TFLOP/s": flops / best / 1e6,
            "TB/s": bytes / best / 1e6,
            "first choice us": tried.first(),
            "tried us": tried,
        }))
    }
}
