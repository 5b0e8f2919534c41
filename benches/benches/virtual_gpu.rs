//! How fast the virtual GPU interprets, on one core: `cargo bench -p gamut-benches --bench virtual_gpu`.
//!
//! Elements are lane instructions in `alu`, arithmetic operations in `gemm` and `attention`. What a
//! quick interpreter of this kind reached on a core of the machine that the design was made on, with
//! accesses always checked: 1 to 3.7 G lane instructions a second, 23 GFLOP/s in a bf16 GEMM that
//! added plainly, 20 in attention. Here sums are the hardware's, bit by bit. Products are measured with
//! the checks of races and of uninitialised data, as tests run them, and without, as that interpreter
//! did; simple checks slowed it down 3.5 times.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gamut_kernels::ops::{Qkv, attention, gemm};
use gamut_kernels::{Context, Cuda, DType, Device, Driver, Linear, Weight};
use gamut_tests::nvrtc::NEWEST;
use gamut_vgpu::{Gpu, Launch, Module, Properties};
use std::fmt::Write;

/// Instructions of a loop's body: as many as a kernel's inner loop has.
const BODY: usize = 96;
const TURNS: usize = 2_000;

fn alu(criterion: &mut Criterion) {
    let gpu = Gpu::new(Properties::h100());
    let mut group = criterion.benchmark_group("alu");
    let kinds = [
        (
            "fma.f32",
            "f32",
            "f",
            "fma.rn.f32 %f{a}, %f{a}, %f{b}, %f{c};",
        ),
        ("add.u32", "b32", "r", "add.u32 %r{a}, %r{b}, %r{c};"),
        ("xor.b32", "b32", "r", "xor.b32 %r{a}, %r{b}, %r{c};"),
        (
            "mad.wide",
            "b64",
            "rd",
            "mad.wide.u32 %rd{a}, %n, 3, %rd{b};",
        ),
    ];
    for (name, ty, register, instruction) in kinds {
        let module = Module::load(&ptx(ty, register, instruction), &gpu).expect("valid PTX");
        let kernel = module.kernel("loop").expect("the kernel");
        let launch = Launch {
            grid: [1, 1, 1],
            block: [256, 1, 1],
            dynamic_shared: 0,
            params: &[],
        };
        let report = gpu
            .launch(&kernel, &launch)
            .expect("a kernel without accesses");
        group.throughput(Throughput::Elements(report.instructions));
        group.bench_function(name, |bencher| {
            bencher.iter(|| gpu.launch(&kernel, &launch))
        });
    }
    group.finish();
}

/// A loop over one instruction on eight registers in turn.
fn ptx(ty: &str, register: &str, instruction: &str) -> String {
    let mut body = String::new();
    for i in 0..BODY {
        let index = |n: usize| (n % 8).to_string();
        let line = instruction
            .replace("{a}", &index(i))
            .replace("{b}", &index(i + 3))
            .replace("{c}", &index(i + 5));
        // Writing to a String cannot fail.
        let _ = writeln!(body, "{line}");
    }
    format!(
        ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry loop()\n{{\n\
         .reg .{ty} %{register}<8>;\n.reg .b32 %n;\n.reg .pred %p;\nmov.u32 %n, 0;\n\
         AGAIN:\n{body}add.u32 %n, %n, 1;\nsetp.lt.u32 %p, %n, {TURNS};\n@%p bra AGAIN;\nret;\n}}\n"
    )
}

/// What is added to a name, and the options of the virtual GPU.
const CHECKS: [(&str, &str); 2] = [("", "checks=on"), (", unchecked", "checks=off")];

/// One block of products, and one of attention: a core's work.
fn products(criterion: &mut Criterion) {
    NEWEST.nvrtc();
    let cuda = Cuda::open(Driver::Virtual, DType::BF16).expect("the virtual GPU");
    let device = Device::Cuda(cuda.clone());
    let cx = Context::new(&device, 64 << 20).expect("a workspace");
    let dry = Context::plan(device.target());

    let (rows, depth) = (128, 2048);
    let values: Vec<f32> = (0..rows * depth)
        .map(|i| (i % 251) as f32 / 251.0 - 0.5)
        .collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let weight = Weight::new(DType::F32, rows, depth, bytes.into()).expect("a matrix");
    let linear = Linear::new(weight, None).expect("a linear layer");
    let x = cx.upload(&values, depth).expect("room for x");
    gemm(&dry, &x, &linear).expect("a valid product");
    device.load(&[&dry]).expect("room for the weight");
    let mut group = criterion.benchmark_group("gemm");
    group.throughput(Throughput::Elements((2 * rows * rows * depth) as u64));
    for (checks, options) in CHECKS {
        cuda.set_virtual_options(options)
            .expect("options that are known");
        group.bench_function(format!("128x128x2048 bf16{checks}"), |bencher| {
            bencher.iter(|| gemm(&cx, &x, &linear)?.to_vec());
        });
    }
    group.finish();

    let (queries, keys, head_dim) = (64, 1024, 64);
    let q = cx
        .upload(&values[..queries * head_dim], head_dim)
        .expect("room for q");
    let k = cx
        .upload(&values[..keys * head_dim], head_dim)
        .expect("room for k");
    let problem = Qkv {
        q: q.view(),
        k: k.view(),
        v: k.view(),
    };
    let mut group = criterion.benchmark_group("attention");
    group.throughput(Throughput::Elements((4 * queries * keys * head_dim) as u64));
    for (checks, options) in CHECKS {
        cuda.set_virtual_options(options)
            .expect("options that are known");
        group.bench_function(format!("64 over 1024 of 64, bf16{checks}"), |bencher| {
            bencher.iter(|| attention(&cx, 1, &[problem])?.to_vec());
        });
    }
    group.finish();
}

criterion_group!(benches, alu, products);
criterion_main!(benches);
