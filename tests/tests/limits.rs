//! What is known of the kernels without a GPU: the virtual one counts.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::bench::Shape;
use gamut_engine::predict::{self, Calls};
use gamut_engine::{Model, Target};
use gamut_kernels::ops::{
    LayerNorm, QkNorm, Qkv, RmsNorm, Rope, Source, attention, attention_paged, avg_pool,
    copy_pages, embed, gather, gemm, gemm_add, gemm_f32, gemm_gelu, gemm_swiglu, layer_norm,
    rms_norm, rope_kv,
};
use gamut_kernels::{
    Context, Counted, Counters, Counting, DType, Device, KernelCoverage, KvCache, Linear, PAGE,
    Result, Sequence, Tensor, Work, verify,
};
use gamut_loader::synthetic;
use gamut_tests::layer::weight;
use gamut_tests::virtual_gpu;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

const DTYPES: [DType; 2] = [DType::BF16, DType::F32];

/// Held while something is counted, since that counts all launches of the process.
fn alone() -> MutexGuard<'static, ()> {
    static COUNTING: Mutex<()> = Mutex::new(());
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every case passes, and its launches make the operations of tensor cores that their geometry says. Together the
/// cases launch every kernel and run all that its lines were compiled to, but for further copies of a
/// line that runs in the same kernel: those of unrolled loops for sizes that no case has, and of
/// conditions that the compiler tests in several orders.
#[test]
fn cases_make_the_products_of_their_launches_and_run_every_line() {
    let _alone = alone();
    for dtype in DTYPES {
        let gpu = virtual_gpu(dtype);
        let counting = Counting::start(&gpu).unwrap();
        let mut made = 0;
        verify(&gpu, 0, Some(&counting), |finding| {
            let what = format!("{} {} in {dtype}", finding.op, finding.case);
            let (error, tolerance) = (finding.relative, finding.tolerance);
            assert!(finding.passed(), "{what}: {error:e} of {tolerance:e}");
            let counted = Counted::new(&finding.launches, finding.work);
            assert_eq!(counted.matrix_operations, finding.work.products, "{what}");
            made += counted.matrix_operations;
        })
        .unwrap();
        assert!(made > 0);
        every_line_runs(&counting.take_coverage().unwrap());
    }
}

fn every_line_runs(kernels: &[KernelCoverage]) {
    for kernel in kernels {
        assert!(kernel.launches > 0, "{} is not launched", kernel.kernel);
        let mut lanes = BTreeMap::new();
        for line in &kernel.lines {
            *lanes.entry(&line.source).or_insert(0) += line.lanes;
        }
        for (line, lanes) in lanes {
            assert!(lanes > 0, "{line:?} does not run in {}", kernel.kernel);
        }
    }
}

/// By the launches' geometry, over all that a song of 300 s and a prompt of 7,600 tokens take.
#[test]
fn few_products_go_into_padding_at_the_sizes_of_gamma_8b() {
    let config = synthetic::Shape::Gamma8b.config();
    let model = Model::random(&config.to_string(), 0).unwrap();
    let target = Target::Cuda { dtype: DType::BF16 };
    let mut calls = predict::stages(&model, 300 * 16_000, target).unwrap();
    calls.push(predict::prompt(&model, Shape::new(7600, 0, 1), target).unwrap());
    let calls = calls.iter().flat_map(|Calls { calls, .. }| calls);
    let with_products = calls.filter(|(_, work)| work.products > 0);
    let all = with_products.fold(Work::default(), |sum, (_, work)| sum + *work);
    let ratio = all.products as f64 / all.operations as f64;
    println!("{ratio:.4} of {:.1} TFLOP", all.operations as f64 / 1e12);
    assert!((1.0..=1.03).contains(&ratio), "{ratio}");
}

/// A call of an operation at a size of the models, with what was counted and what the contract says.
struct Measured {
    op: &'static str,
    launches: Vec<Counters>,
    work: Work,
}

impl Measured {
    fn counted(&self) -> Counted {
        Counted::new(&self.launches, self.work)
    }
}

/// Runs operations on the virtual GPU.
struct Bench {
    gpu: Device,
    cx: Context,
    counting: Counting,
}

impl Bench {
    fn new(dtype: DType) -> Bench {
        let gpu = virtual_gpu(dtype);
        Bench {
            cx: Context::new(&gpu, 256 << 20).unwrap(),
            counting: Counting::start(&gpu).unwrap(),
            gpu,
        }
    }

    /// The calls that `run` makes, on an empty workspace.
    fn run(&self, run: impl Fn(&Context) -> Result<()>) -> Vec<Measured> {
        let plan = Context::plan(self.gpu.target());
        run(&plan).unwrap();
        self.gpu.load(&[&plan]).unwrap();
        self.counting.take().unwrap();
        run(&self.cx).unwrap();
        let mut launches = self.counting.take().unwrap().into_iter();
        let calls = plan.work().into_iter();
        let measured = calls.map(|(op, work)| Measured {
            op,
            launches: launches.by_ref().take(work.launches as usize).collect(),
            work,
        });
        let measured = measured.collect();
        assert_eq!(launches.count(), 0);
        measured
    }

    /// Activations in about (-1, 1).
    fn x(&self, rows: usize, cols: usize) -> Tensor {
        let values: Vec<f32> = (0..rows * cols)
            .map(|i| (i as u32).wrapping_mul(2_654_435_769) as f32 / 2f32.powi(31) - 1.0)
            .collect();
        self.cx.upload(&values, cols).unwrap()
    }

    /// A residual stream of the same.
    fn stream(&self, rows: usize, cols: usize) -> Tensor {
        let values = self.x(rows, cols).to_vec().unwrap();
        self.cx.upload_f32(&values, cols).unwrap()
    }
}

fn linear(outputs: usize, inputs: usize) -> Linear {
    Linear::new(weight(outputs, inputs, 3), None).unwrap()
}

#[test]
fn streams_move_few_bytes_in_whole_sectors() {
    let _alone = alone();
    for dtype in DTYPES {
        let bench = Bench::new(dtype);
        let (d, width) = (4096, 1280);
        let (x, narrow) = (bench.stream(64, d), bench.stream(64, width));
        let rms = RmsNorm {
            weight: weight(1, d, 5),
            eps: 1e-6,
        };
        let norm = LayerNorm {
            weight: weight(1, width, 5),
            bias: weight(1, width, 7),
            eps: 1e-5,
        };
        let table = weight(100, d, 9);
        let mut measured = bench.run(|cx| {
            rms_norm(cx, &x, &rms)?;
            layer_norm(cx, &narrow, &norm)?;
            avg_pool(cx, &narrow, &mut cx.tensor_f32(32, width)?)?;
            let tokens = (0..32).map(|i| Source::Token(3 * i).index());
            let audio = (0..32).map(|i| Source::Audio(i).index());
            let sources = cx.table(tokens.chain(audio))?;
            embed(cx, &table, Some(x.view()), sources.indices())?;
            let rows = cx.table((0..32).map(|i| 63 - 2 * i))?;
            gather(cx, &x, rows.indices())?;
            let mut kv = KvCache::new(cx, 2, 4, 8, 128)?;
            kv.clear()?;
            copy_pages(cx, &mut kv, &[(0, 2), (3, 1)])
        });
        let (row, layer) = (bench.x(1, d), linear(1024, d));
        measured.extend(bench.run(|cx| {
            gemm(cx, &row, &layer)?;
            gemm_f32(cx, &row, &layer)?;
            gemm_gelu(cx, &row, &layer)?;
            gemm_swiglu(cx, &row, &layer)?;
            gemm_add(cx, &row, &layer, &mut cx.tensor_f32(1, 1024)?)
        }));
        measured.extend(decoder(&bench, 511, 1, true));
        for call in &measured {
            let what = format!("{} in {dtype}", call.op);
            let counted = call.counted();
            let (touched, moved) = (counted.touched().unwrap(), counted.moved().unwrap());
            println!("{what}: touched {touched:.3}, moved {moved:.3} times the contract's bytes");
            assert!(touched <= 1.1, "{what}: {counted:?}");
            // Weights and rotations that every row needs are read again, from the cache.
            if !["rms_norm", "layer_norm", "rope_kv"].contains(&call.op) {
                assert!(moved <= 1.1, "{what}: {counted:?}");
            }
            let found = counted.global;
            assert_eq!(found.sectors, found.min_sectors, "{what}: {found:?}");
        }
    }
}

/// Rotation and paged attention of `rows` rows after `start` others, at the sizes of Qwen3-8B.
fn decoder(bench: &Bench, start: usize, rows: usize, generated: bool) -> Vec<Measured> {
    const HEADS: usize = 32;
    const KV_HEADS: usize = 8;
    const HEAD_DIM: usize = 128;
    let pages: Vec<u32> = (0..(start + rows).div_ceil(PAGE) as u32).collect();
    let own = Context::new(&bench.gpu, 64 << 20).unwrap();
    let rope = Rope::new(&own, 1e6, HEAD_DIM, pages.len() * PAGE).unwrap();
    let norm = || RmsNorm {
        weight: weight(1, HEAD_DIM, 5),
        eps: 1e-6,
    };
    let norm = QkNorm {
        q: norm(),
        k: norm(),
    };
    let qkv = bench.stream(start + rows, (HEADS + 2 * KV_HEADS) * HEAD_DIM);
    let sequence = |start, rows, generated| Sequence {
        generated,
        start,
        rows,
        pages: &pages,
    };
    bench.run(|cx| {
        let mut kv = KvCache::new(cx, 1, pages.len(), KV_HEADS, HEAD_DIM)?;
        let all = [sequence(0, start + rows, false)];
        let q = rope_kv(cx, &qkv, &cx.batch(&all)?, Some(&norm), &rope, &mut kv, 0)?;
        let last = [sequence(start, rows, generated)];
        attention_paged(cx, q.rows_from(start, rows), &cx.batch(&last)?, &kv, 0).map(drop)
    })
}

/// Every access of the loops that feed tensor cores takes as few wavefronts as it can.
fn no_bank_twice(call: &Measured, what: &str) {
    let lines = call.launches.iter().flat_map(|launch| &launch.lines);
    let of_products = lines.filter(|line| {
        let source = line.source.as_ref();
        source.is_some_and(|source| source.file.ends_with("mma.cuh"))
    });
    let mut seen = 0;
    for line in of_products {
        let found = line.shared;
        assert_eq!(
            found.wavefronts, found.min_wavefronts,
            "{what}: {:?}",
            line.source
        );
        seen += found.wavefronts;
    }
    assert!(seen > 0, "{what}");
}

#[test]
fn tiles_move_what_their_shapes_say() {
    let _alone = alone();
    for dtype in DTYPES {
        let size = dtype.size() as u64;
        let bench = Bench::new(dtype);
        // Two tiles of rows and two of columns: each operand is read twice, the result written once.
        let x = bench.x(256, 512);
        let layer = linear(256, 512);
        let products = bench.run(|cx| {
            gemm(cx, &x, &layer)?;
            gemm_swiglu(cx, &x, &layer).map(drop)
        });
        let operands = 2 * (256 * 512 + 256 * 512);
        for (call, result) in products.iter().zip([256 * 256, 256 * 128]) {
            let what = format!("{} in {dtype}", call.op);
            let found = call.counted().global;
            assert_eq!(found.distinct_bytes, size * (operands + result), "{what}");
            assert_eq!(found.sectors, found.min_sectors, "{what}");
            no_bank_twice(call, &what);
        }
        // Three tiles of queries of two heads, each of which reads all keys and values.
        let (rows, width) = (192, 128);
        let qkv = bench.x(rows, 3 * width);
        let call = bench.run(|cx| {
            let [q, k, v] = [0, 1, 2].map(|i| qkv.columns(i * width, width));
            attention(cx, 2, &[Qkv { q, k, v }]).map(drop)
        });
        let elements = (rows * width * (2 + 3 * 2)) as u64;
        let what = format!("attention in {dtype}");
        assert_eq!(
            call[0].counted().global.distinct_bytes,
            size * elements,
            "{what}"
        );
        no_bank_twice(&call[0], &what);
        // Two tiles of prompted rows that see two and three pages.
        let calls = decoder(&bench, 64, 128, false);
        let elements = (32 * 128 * (2 * 128 + 2 * 64 * (2 + 3))) as u64;
        let what = format!("attention_paged in {dtype}");
        let found = calls[1].counted().global.distinct_bytes as f64 / (size * elements) as f64;
        // The rest is numbers of rows and pages.
        assert!((1.0..1.01).contains(&found), "{what}: {found}");
        no_bank_twice(&calls[1], &what);
    }
}
