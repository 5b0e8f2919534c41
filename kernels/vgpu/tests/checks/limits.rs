//! Launches and instructions beyond what the device has.

use gamut_vgpu::{FaultKind, Gpu, Launch, LoadError, Module, Properties};

fn module(target: &str, body: &str) -> String {
    format!(
        ".version 9.0\n.target {target}\n.address_size 64\n.visible .entry k() {{\n\
         .reg .b32 %r<16>;\n.reg .b64 %rd<4>;\n.reg .f32 %f<16>;\n{body}\nret;\n}}"
    )
}

/// Loads a module for a target, and launches its kernel with some threads.
fn launch(text: &str, threads: u32) -> Result<(), FaultKind> {
    let gpu = Gpu::new(Properties::h100());
    let module = Module::load(text, &gpu).unwrap_or_else(|why| panic!("{why}"));
    let launch = Launch {
        grid: [1; 3],
        block: [threads, 1, 1],
        dynamic_shared: 0,
        params: &[],
    };
    let kernel = module.kernel("k").expect("there");
    gpu.launch(&kernel, &launch)
        .map(drop)
        .map_err(|fault| fault.kind)
}

/// Registers are given by 256 a warp, of 65,536.
#[test]
fn registers() {
    let text = |registers: u32| {
        module(
            "sm_90",
            &format!(".pragma \"gamut registers {registers}\";"),
        )
    };
    assert_eq!(launch(&text(64), 1024), Ok(()));
    let refused = Err(FaultKind::OutOfResources);
    assert_eq!(launch(&text(65), 1024), refused);
    // 65 a thread are 2,080 a warp, given as 2,304: 28 warps fit.
    assert_eq!(launch(&text(65), 28 * 32), Ok(()));
    assert_eq!(launch(&text(65), 28 * 32 + 1), refused);
    assert_eq!(launch(&text(255), 256), Ok(()));
    assert_eq!(launch(&text(255), 257), refused);
    let gpu = Gpu::new(Properties::h100());
    let module = Module::load(&text(77), &gpu).expect("loads");
    assert_eq!(module.kernel("k").expect("there").registers(), 77);
}

/// The line that a target's lack is reported at.
fn refused_at(target: &str, body: &str) -> Option<u32> {
    let gpu = Gpu::new(Properties::h100());
    match Module::load(&module(target, body), &gpu) {
        Ok(_) => None,
        Err(LoadError::Ptx(why)) => {
            assert!(why.reason.contains(target), "{why}");
            Some(why.line)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn instructions_that_a_target_lacks() {
    let copy = "cp.async.ca.shared.global [%r0], [%rd0], 4;";
    assert_eq!(refused_at("sm_75", copy), Some(8));
    assert_eq!(refused_at("sm_80", copy), None);
    let product = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3},
        {%r0, %r1, %r2, %r3}, {%r4, %r5}, {%f0, %f1, %f2, %f3};";
    assert_eq!(refused_at("sm_75", product), Some(8));
    assert_eq!(refused_at("sm_80", product), None);
    let warpgroup = "wgmma.fence.sync.aligned;";
    assert_eq!(refused_at("sm_90", warpgroup), Some(8));
    assert_eq!(refused_at("sm_80", warpgroup), Some(8));
    let registers = "setmaxnreg.inc.sync.aligned.u32 96;";
    assert_eq!(refused_at("sm_90", registers), Some(8));
    assert_eq!(refused_at("sm_90a", registers), None);
    let matrix = "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r0], {%r1};";
    assert_eq!(refused_at("sm_80", matrix), Some(8));
    assert_eq!(refused_at("sm_90", matrix), None);
}

#[test]
fn targets_that_the_device_is_not() {
    let gpu = Gpu::new(Properties::h100());
    for target in ["sm_100", "sm_100a", "sm_103f", "sm_80a", "sm_120"] {
        let error = Module::load(&module(target, ""), &gpu).expect_err("refused");
        assert!(matches!(error, LoadError::Target { .. }), "{error}");
    }
    for target in ["sm_52", "sm_80", "sm_90", "sm_90a", "sm_90a, debug"] {
        Module::load(&module(target, ""), &gpu).expect("runs");
    }
}
