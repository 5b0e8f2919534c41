//! Runs snippets of PTX on lists of inputs.

use gamut_vgpu::{Fault, Gpu, Launch, Module, Options, Properties, Report};

/// A device that gives up early.
pub(crate) fn gpu() -> Gpu {
    Gpu::new(Properties {
        memory_bytes: 1 << 30,
        step_limit: 1 << 20,
        ..Properties::h100()
    })
}

/// A module's text around `functions`.
pub(crate) fn module(functions: &str) -> String {
    format!(".version 9.0\n.target sm_90a\n.address_size 64\n{functions}")
}

/// Copies words to the device.
pub(crate) fn upload(gpu: &Gpu, words: &[u64]) -> u64 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let address = gpu.memory().allocate(bytes.len().max(8)).expect("memory");
    gpu.memory().write(address, &bytes).expect("written");
    address
}

/// Copies words from the device.
pub(crate) fn download(gpu: &Gpu, address: u64, count: usize) -> Vec<u64> {
    let mut bytes = vec![0; 8 * count];
    gpu.memory().read(address, &mut bytes).expect("read");
    bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("8")))
        .collect()
}

/// What a kernel `k(out)` with this body does, for a grid of one-dimensional blocks: `out` has
/// `words` words, zero at first, and its address is in `%out`; `%i` is the thread's number in its
/// block.
pub(crate) struct Run {
    pub(crate) out: Vec<u64>,
    pub(crate) result: Result<Report, Fault>,
}

/// Runs a kernel's body.
pub(crate) fn run(body: &str, blocks: u32, threads: u32, words: usize) -> Run {
    run_with(body, "", blocks, threads, words, 0)
}

/// The same with declarations at module scope and dynamic shared memory.
pub(crate) fn run_with(
    body: &str,
    outer: &str,
    blocks: u32,
    threads: u32,
    words: usize,
    dynamic_shared: u32,
) -> Run {
    run_on(&gpu(), body, outer, blocks, threads, words, dynamic_shared)
}

/// One thread's run without the checks that look for races and the like.
pub(crate) fn run_unchecked(body: &str, outer: &str) -> Run {
    run_on(&unchecked(), body, outer, 1, 1, 1, 0)
}

/// A device without those checks.
pub(crate) fn unchecked() -> Gpu {
    let gpu = gpu();
    gpu.configure(Options {
        checks: false,
        ..Options::default()
    });
    gpu
}

fn run_on(
    gpu: &Gpu,
    body: &str,
    outer: &str,
    blocks: u32,
    threads: u32,
    words: usize,
    dynamic_shared: u32,
) -> Run {
    let module = load(gpu, body, outer);
    let kernel = module.kernel("k").expect("the kernel");
    let out = upload(gpu, &vec![0; words]);
    let params = out.to_le_bytes();
    let launch = Launch {
        grid: [blocks, 1, 1],
        block: [threads, 1, 1],
        dynamic_shared,
        params: &params,
    };
    let result = gpu.launch(&kernel, &launch);
    Run {
        out: download(gpu, out, words),
        result,
    }
}

/// A module of the kernel `k(out)` with this body.
pub(crate) fn load(gpu: &Gpu, body: &str, outer: &str) -> Module {
    let text = module(&format!(
        "{outer}
        .visible .entry k(.param .u64 out)
        {{
            .reg .pred %p<16>;
            .reg .b16 %h<16>;
            .reg .b32 %r<32>, %i;
            .reg .f32 %f<32>;
            .reg .b64 %rd<32>, %out, %mine;
            .reg .f64 %fd<16>;
            ld.param.u64 %out, [out];
            mov.u32 %i, %tid.x;
            mad.wide.u32 %mine, %i, 8, %out;
            {body}
        }}"
    ));
    Module::load(&text, gpu).unwrap_or_else(|why| panic!("{why}"))
}

/// The words that a body leaves that must not fail.
pub(crate) fn words(body: &str, blocks: u32, threads: u32, words: usize) -> Vec<u64> {
    let Run { out, result } = run(body, blocks, threads, words);
    result.unwrap_or_else(|fault| panic!("{fault}"));
    out
}

/// The fault of a body that must fail.
pub(crate) fn fault(body: &str, threads: u32) -> Fault {
    run(body, 1, threads, 64).result.expect_err("a fault")
}

/// Applies an instruction to each row of inputs. It finds them in `%wa`, `%wb`, `%wc` (64 bits),
/// `%a`, `%b`, `%c` (32) and `%ha`, `%hb`, `%hc` (16) and leaves its result in `%wd`, `%d`, `%hd`
/// or `%p`.
pub(crate) fn apply(instruction: &str, rows: &[[u64; 3]]) -> Vec<u64> {
    let widen = if instruction.contains("%wd") {
        ""
    } else if instruction.contains("%hd") {
        "cvt.u64.u16 %wd, %hd;"
    } else if instruction.contains("%d") {
        "cvt.u64.u32 %wd, %d;"
    } else {
        "selp.u64 %wd, 1, 0, %p;"
    };
    let text = module(&format!(
        ".visible .entry k(.param .u64 rows, .param .u64 out, .param .u32 count)
        {{
            .reg .pred %p, %q, %done;
            .reg .b16 %ha, %hb, %hc, %hd;
            .reg .b32 %a, %b, %c, %d, %i, %n, %t;
            .reg .b64 %wa, %wb, %wc, %wd, %rows, %out;
            ld.param.u64 %rows, [rows];
            ld.param.u64 %out, [out];
            ld.param.u32 %n, [count];
            mov.u32 %i, %ctaid.x;
            mov.u32 %t, %ntid.x;
            mul.lo.u32 %i, %i, %t;
            mov.u32 %t, %tid.x;
            add.u32 %i, %i, %t;
            setp.ge.u32 %done, %i, %n;
            @%done bra END;
            mad.wide.u32 %rows, %i, 24, %rows;
            mad.wide.u32 %out, %i, 8, %out;
            ld.global.u64 %wa, [%rows];
            ld.global.u64 %wb, [%rows+8];
            ld.global.u64 %wc, [%rows+16];
            cvt.u32.u64 %a, %wa;
            cvt.u32.u64 %b, %wb;
            cvt.u32.u64 %c, %wc;
            cvt.u16.u64 %ha, %wa;
            cvt.u16.u64 %hb, %wb;
            cvt.u16.u64 %hc, %wc;
            {instruction}
            {widen}
            st.global.u64 [%out], %wd;
        END:
            ret;
        }}"
    ));
    let gpu = gpu();
    let module = Module::load(&text, &gpu).unwrap_or_else(|why| panic!("{why}"));
    let kernel = module.kernel("k").expect("the kernel");
    let out = upload(&gpu, &vec![0; rows.len()]);
    let inputs = upload(&gpu, rows.as_flattened());
    let mut params = Vec::new();
    params.extend_from_slice(&inputs.to_le_bytes());
    params.extend_from_slice(&out.to_le_bytes());
    params.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    let blocks = rows.len().div_ceil(64) as u32;
    let launch = Launch {
        grid: [blocks, 1, 1],
        block: [64, 1, 1],
        dynamic_shared: 0,
        params: &params,
    };
    let result = gpu.launch(&kernel, &launch);
    result.unwrap_or_else(|fault| panic!("{instruction}: {fault}"));
    download(&gpu, out, rows.len())
}

/// All rows of three values from a list.
pub(crate) fn triples(values: &[u64]) -> Vec<[u64; 3]> {
    let mut rows = Vec::new();
    for &a in values {
        for &b in values {
            for &c in values {
                rows.push([a, b, c]);
            }
        }
    }
    rows
}

/// Numbers without order (SplitMix64), the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
