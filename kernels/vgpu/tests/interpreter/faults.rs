//! Broken rules: each is found, and the report says who broke it and where.

use crate::support::{fault, module, run_with, words};
use gamut_vgpu::{FaultKind, Gpu, Launch, Module, Properties};

#[test]
fn out_of_bounds() {
    let report = fault(
        "mul.wide.u32 %rd0, %i, 16;
         add.u64 %rd0, %rd0, %out;
         st.global.u32 [%rd0], 1;",
        64,
    );
    // 64 words are 512 bytes: thread 32 is the first outside.
    assert_eq!(
        (report.kind, report.thread),
        (FaultKind::OutOfBounds, [32, 0, 0])
    );
    let text = report.to_string();
    assert!(
        text.contains("kernel `k`") && text.contains("512 bytes"),
        "{text}"
    );
    let null = fault("mov.u64 %rd0, 0; ld.u32 %r0, [%rd0+4];", 1);
    assert_eq!(null.kind, FaultKind::OutOfBounds);
}

#[test]
fn own_memory_is_bounded() {
    let shared = ".shared .align 4 .b8 s[64]; mov.u32 %r0, s;";
    assert_eq!(
        words(&format!("{shared} st.shared.u32 [%r0+60], 1;"), 1, 1, 1),
        [0]
    );
    let beyond = fault(&format!("{shared} st.shared.u32 [%r0+64], 1;"), 1);
    assert_eq!(beyond.kind, FaultKind::OutOfBounds);
    let null = fault(
        &format!("{shared} mov.u32 %r0, 0; ld.shared.u32 %r1, [%r0];"),
        1,
    );
    assert_eq!(null.kind, FaultKind::OutOfBounds);
    let local = ".local .align 16 .b8 l[32]; mov.u64 %rd0, l; cvta.local.u64 %rd1, %rd0;";
    let fine = format!(
        "{local} st.local.u64 [%rd0+24], 5; ld.u64 %rd2, [%rd1+24]; st.global.u64 [%mine], %rd2;"
    );
    assert_eq!(words(&fine, 1, 2, 2), [5, 5]);
    let beyond = fault(&format!("{local} ld.u64 %rd2, [%rd1+32];"), 1);
    assert_eq!(beyond.kind, FaultKind::OutOfBounds);
    let dynamic = "mov.u32 %r0, d; st.shared.u8 [%r0+99], 1;";
    let outer = ".extern .shared .align 16 .b8 d[];";
    assert!(run_with(dynamic, outer, 1, 1, 1, 100).result.is_ok());
    assert!(run_with(dynamic, outer, 1, 1, 1, 99).result.is_err());
}

#[test]
fn misaligned() {
    let scalar = fault("st.global.u32 [%out+2], 1;", 1);
    assert_eq!(scalar.kind, FaultKind::Misaligned);
    let vector = fault("ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%out+8];", 1);
    assert_eq!(vector.kind, FaultKind::Misaligned);
    let atomic = fault("atom.global.add.u64 %rd0, [%out+4], 1;", 1);
    assert_eq!(atomic.kind, FaultKind::Misaligned);
}

#[test]
fn the_line_and_the_source_are_named() {
    let text = module(
        ".visible .entry k() {
            .reg .b32 %r<2>; .reg .b64 %rd<2>;
            .loc 1 17 3
            mov.u64 %rd0, 64;
            .loc 1 18 5
            ld.global.u32 %r0, [%rd0];
            ret;
        }
        .file 1 \"kernels/thing.cu\"",
    );
    let gpu = Gpu::new(Properties::h100());
    let module = Module::load(&text, &gpu).expect("loads");
    let kernel = module.kernel("k").expect("there");
    let launch = Launch {
        grid: [2, 1, 1],
        block: [1; 3],
        dynamic_shared: 0,
        params: &[],
    };
    let fault = gpu.launch(&kernel, &launch).expect_err("a fault");
    assert_eq!(fault.ptx_line, 9);
    assert_eq!(fault.cuda_source, Some(("kernels/thing.cu".to_owned(), 18)));
}

#[test]
fn waiting_in_vain() {
    let deadlock = fault(
        "setp.lt.u32 %p0, %i, 32; @%p0 bra END; bar.sync 1, 64; END: ret;",
        64,
    );
    assert_eq!(deadlock.kind, FaultKind::Deadlock);
    assert!(
        deadlock.detail.contains("barrier 1 has 32 of 64"),
        "{}",
        deadlock.detail
    );
    let divergent = fault(
        "setp.lt.u32 %p0, %i, 16; @%p0 bra OTHER; bar.sync 0; bra END; OTHER: bar.sync 1; END: ret;",
        32,
    );
    assert_eq!(divergent.kind, FaultKind::Divergence);
    let apart = fault(
        "setp.lt.u32 %p0, %i, 16; @%p0 bra OTHER;
         shfl.sync.bfly.b32 %r0, %i, 1, 31, -1; bra END;
         OTHER: shfl.sync.bfly.b32 %r0, %i, 2, 31, -1; END: ret;",
        32,
    );
    assert_eq!(apart.kind, FaultKind::Divergence);
    let not_member = fault("shfl.sync.bfly.b32 %r0, %i, 1, 31, 0xFFFE;", 16);
    assert_eq!(not_member.kind, FaultKind::Divergence);
    let from_exited = fault(
        "setp.ge.u32 %p0, %i, 16; @%p0 ret; shfl.sync.idx.b32 %r0, %i, 20, 31, -1;",
        32,
    );
    assert_eq!(from_exited.kind, FaultKind::Divergence);
    let partial = fault("movmatrix.sync.aligned.m8n8.trans.b16 %r0, %i;", 31);
    assert_eq!(partial.kind, FaultKind::Divergence);
}

#[test]
fn endless_loops_end() {
    let report = fault("LOOP: bra LOOP;", 32);
    assert_eq!(report.kind, FaultKind::StepLimit);
    let barrier = fault("LOOP: bar.sync 0; bra LOOP;", 64);
    assert_eq!(barrier.kind, FaultKind::StepLimit);
}

#[test]
fn traps_and_assertions() {
    assert_eq!(
        fault("setp.eq.u32 %p0, %i, 5; @%p0 trap;", 32).thread,
        [5, 0, 0]
    );
    let outer = "
        .extern .func __assertfail (.param .b64 m, .param .b64 f, .param .b32 l, .param .b64 n, .param .b64 s);
        .global .align 1 .b8 message[6] = {120, 32, 62, 32, 48, 0};
        .global .align 1 .b8 file[5] = {97, 46, 99, 117, 0};";
    let body = "
        { .param .b64 m; .param .b64 f; .param .b32 l; .param .b64 n; .param .b64 s;
          mov.u64 %rd0, message; cvta.global.u64 %rd0, %rd0; st.param.b64 [m], %rd0;
          mov.u64 %rd1, file; cvta.global.u64 %rd1, %rd1; st.param.b64 [f], %rd1;
          st.param.b32 [l], 12; st.param.b64 [n], %rd1; st.param.b64 [s], 1;
          call.uni __assertfail, (m, f, l, n, s); }";
    let fault = run_with(body, outer, 1, 1, 1, 0).result.expect_err("fails");
    assert_eq!(
        (fault.kind, fault.detail.as_str()),
        (FaultKind::Assert, "`x > 0` at a.cu:12")
    );
}

#[test]
fn what_is_not_supported_names_itself() {
    let unknown = fault("frobnicate.u32 %r0, %r1;", 1);
    assert_eq!(unknown.kind, FaultKind::IllegalInstruction);
    assert!(
        unknown
            .to_string()
            .contains("`frobnicate.u32` is not supported"),
        "{unknown}"
    );
    let modifier = fault("add.wrong.u32 %r0, %r1, %r2;", 1);
    assert!(
        modifier.to_string().contains("`.wrong` of `add.wrong.u32`"),
        "{modifier}"
    );
    let width = fault("add.u64 %rd0, %rd1, %r0;", 1);
    assert!(width.to_string().contains("%r0"), "{width}");
}

#[test]
fn text_that_is_not_ptx() {
    let gpu = crate::support::gpu();
    let load = |text: &str| Module::load(text, &gpu).map(drop);
    let message = |text: &str| load(text).expect_err("refused").to_string();
    assert!(message("hello").contains("line 1"));
    assert!(message(&module(".visible .entry k() { mov.u32 %r0 %r1; }")).contains("expected `,`"));
    assert!(message(&module(".visible .entry k() {")).contains("does not end"));
    assert!(message(&module(".global .b32 x[99999999999999];")).contains("too large"));
    assert!(message(&module(".global .align 3 .b32 x;")).contains("power of two"));
    assert!(message(&module(".global .u64 x = missing;")).contains("missing"));
    let deep = format!("{}{}", "{".repeat(1000), "}".repeat(1000));
    assert!(message(&module(&format!(".entry k() {{ {deep} }}"))).contains("too deep"));
}

#[test]
fn launches_beyond_the_limits() {
    let gpu = crate::support::gpu();
    let text = module(".visible .entry k(.param .u64 p) .maxntid 64, 1, 1 { ret; }");
    let module = Module::load(&text, &gpu).expect("loads");
    let kernel = module.kernel("k").expect("there");
    let launch = |grid, block, dynamic_shared, params| {
        let launch = Launch {
            grid,
            block,
            dynamic_shared,
            params,
        };
        gpu.launch(&kernel, &launch)
            .map(drop)
            .map_err(|fault| fault.kind)
    };
    let params = &[0; 8][..];
    assert_eq!(launch([1; 3], [64, 1, 1], 0, params), Ok(()));
    let refused = Err(FaultKind::InvalidLaunch);
    assert_eq!(launch([1; 3], [65, 1, 1], 0, params), refused);
    assert_eq!(launch([0, 1, 1], [64, 1, 1], 0, params), refused);
    assert_eq!(launch([1, 65_536, 1], [64, 1, 1], 0, params), refused);
    assert_eq!(launch([1; 3], [1, 1, 65], 0, params), refused);
    assert_eq!(launch([1; 3], [64, 1, 1], 228 * 1024, params), refused);
    assert_eq!(launch([1; 3], [64, 1, 1], 0, &params[..4]), refused);
}
