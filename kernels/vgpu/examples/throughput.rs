//! How fast the interpreter is: lane instructions a second and a core for simple arithmetic, for
//! special functions and for memory, and arithmetic operations a second and a core for matrices. Run it with `--release`.

use gamut_vgpu::{Gpu, Launch, LoadError, Module, Properties};
use std::time::Instant;

const REPEATS: u32 = 20_000;

/// A kernel of one loop.
fn kernel(name: &str, body: &str) -> String {
    format!(
        ".visible .entry {name}(.param .u64 out) {{
            .reg .pred %p<2>;
            .reg .b32 %r<32>;
            .reg .f32 %f<32>;
            .reg .b64 %rd<4>;
            .shared .align 16 .b8 s[4096];
            ld.param.u64 %rd0, [out];
            mov.u32 %r0, %tid.x;
            mad.wide.u32 %rd1, %r0, 4, %rd0;
            and.b32 %r2, %r0, 31;
            shl.b32 %r3, %r2, 4;
            mov.u32 %r4, s;
            add.u32 %r3, %r3, %r4;
            mov.u32 %r1, 0;
        LOOP:
            {body}
            add.u32 %r1, %r1, 1;
            setp.lt.u32 %p0, %r1, {REPEATS};
            @%p0 bra LOOP;
            st.global.u32 [%rd1], %r5;
            st.global.f32 [%rd1], %f1;
            ret;
        }}\n"
    )
}

fn main() -> Result<(), LoadError> {
    let integers = "mad.lo.u32 %r5, %r5, %r0, %r1; xor.b32 %r6, %r5, %r2;
        shl.b32 %r7, %r6, 3; add.u32 %r5, %r5, %r7;"
        .repeat(8);
    let floats = "fma.rn.f32 %f1, %f1, %f2, %f3; mul.f32 %f2, %f1, %f3;
        add.f32 %f3, %f2, %f1; max.f32 %f1, %f1, %f3;"
        .repeat(8);
    let specials = "ex2.approx.ftz.f32 %f1, %f1; mul.ftz.f32 %f1, %f1, %f2;
        lg2.approx.f32 %f3, %f1; rcp.approx.ftz.f32 %f1, %f1;"
        .repeat(8);
    let exponentials = "ex2.approx.ftz.f32 %f1, %f1;".repeat(32);
    let memory = "ld.global.f32 %f4, [%rd1]; st.shared.f32 [%r3], %f4;
        ld.shared.f32 %f5, [%r3]; add.f32 %f1, %f1, %f5;"
        .repeat(8);
    let matrices = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r8, %r9, %r10, %r11}, [%r3];
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f8, %f9, %f10, %f11},
            {%r8, %r9, %r10, %r11}, {%r8, %r10}, {%f8, %f9, %f10, %f11};";
    let kernels = [
        ("integers", integers.as_str()),
        ("floats", &floats),
        ("specials", &specials),
        ("exponentials", &exponentials),
        ("memory", &memory),
        ("matrices", matrices),
    ];
    let mut text = ".version 9.0\n.target sm_90a\n.address_size 64\n".to_owned();
    for (name, body) in kernels {
        text += &kernel(name, body);
    }
    let gpu = Gpu::new(Properties::h100());
    let module = Module::load(&text, &gpu)?;
    let memory = gpu.memory();
    let out = memory.allocate(4 * 128).expect("half a KiB of memory");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for (name, _) in kernels {
        let kernel = module.kernel(name).expect("a kernel of the module");
        let params = out.to_le_bytes();
        let grid = [cores as u32, 1, 1];
        let launch = Launch {
            grid,
            block: [128, 1, 1],
            dynamic_shared: 0,
            params: &params,
        };
        let start = Instant::now();
        let report = gpu
            .launch(&kernel, &launch)
            .unwrap_or_else(|fault| panic!("{fault}"));
        let seconds = start.elapsed().as_secs_f64() * cores as f64;
        let rate = report.instructions as f64 / seconds / 1e9;
        print!("{name}: {rate:.2} G lane instructions/s a core");
        if name == "matrices" {
            // 16 by 8 by 16 products and sums in each of four warps.
            let operations = 4096.0 * 4.0 * f64::from(REPEATS) * cores as f64;
            print!(", {:.1} GFLOP/s a core", operations / seconds / 1e9);
        }
        println!();
    }
    Ok(())
}
