//! Reads of bytes that nobody wrote, and of memory that was freed.

use crate::support::block;
use gamut_vgpu::{FaultKind, Gpu, Launch, Module, Options, Properties};

#[test]
fn device_memory() {
    let broken = block(
        64,
        "setp.lt.u32 %p0, %i, 40;
         mad.wide.u32 %rd0, %i, 4, %raw;
         @%p0 st.global.u32 [%rd0], %i;
         ld.global.u32 %r0, [%rd0];  // read",
    );
    let fault = broken.fault();
    assert_eq!(fault.kind, FaultKind::Uninitialised);
    assert_eq!(fault.ptx_line, broken.line("// read"));
    assert_eq!(fault.thread, [40, 0, 0]);
    assert!(fault.detail.contains("160 bytes into"), "{fault}");
    let clean = block(
        64,
        "mad.wide.u32 %rd0, %i, 4, %raw;
         st.global.u32 [%rd0], %i;
         ld.global.u32 %r0, [%rd0];
         st.global.u32 [%word], %r0;",
    );
    assert_eq!(clean.is_clean()[63], 63);
}

#[test]
fn single_bytes() {
    let broken = "st.global.u8 [%raw], %h0; st.global.u8 [%raw+2], %h0;
         st.global.u8 [%raw+3], %h0;
         ld.global.u32 %r0, [%raw];";
    let fault = block(1, broken).fault();
    assert_eq!(fault.kind, FaultKind::Uninitialised);
    assert!(fault.detail.contains("1 bytes into"), "{fault}");
    let whole = format!("st.global.u8 [%raw+1], %h0; {broken}");
    block(1, &whole).is_clean();
    let vector = block(
        1,
        "st.global.v2.u32 [%raw], {%i, %i}; ld.global.v4.u32 {%r0, %r1, %r2, %r3}, [%raw];",
    );
    assert!(vector.fault().detail.contains("8 bytes into"));
}

#[test]
fn atomics_read() {
    let fault = block(1, "red.global.add.u32 [%raw], 1;").fault();
    assert_eq!(fault.kind, FaultKind::Uninitialised);
    block(1, "st.global.u32 [%raw], 0; red.global.add.u32 [%raw], 1;").is_clean();
}

#[test]
fn shared_memory() {
    let broken = block(
        64,
        "setp.ne.u32 %p0, %i, 17;
         @%p0 st.shared.u32 [%mine], %i;
         bar.sync 0;
         ld.shared.u32 %r0, [%mine];  // read",
    );
    let fault = broken.fault();
    assert_eq!(fault.kind, FaultKind::Uninitialised);
    assert_eq!(
        (fault.ptx_line, fault.thread),
        (broken.line("// read"), [17, 0, 0])
    );
    let padding = block(64, "st.shared.u32 [%mine], %i; ld.shared.u32 %r0, [%mine];");
    padding.is_clean();
}

/// What one block left is nothing that the next may read.
#[test]
fn shared_memory_of_another_block() {
    let case = crate::support::Case {
        body: "setp.ne.u32 %p0, %b, 0;
               @!%p0 st.shared.u32 [%mine], 5;
               ld.shared.u32 %r0, [%mine];",
        blocks: 64,
        threads: 1,
    };
    assert_eq!(case.fault().kind, FaultKind::Uninitialised);
}

#[test]
fn a_copy_reads_its_source() {
    let copy = "cp.async.ca.shared.global [%s], [%raw], 8, 4; cp.async.wait_all;";
    let fault = block(1, copy).fault();
    assert_eq!(fault.kind, FaultKind::Uninitialised);
    // Four bytes are read, no more.
    block(1, &format!("st.global.u32 [%raw], 1; {copy}")).is_clean();
}

/// Runs `ld.global.u32` at an address.
fn load(gpu: &Gpu, address: u64) -> Result<(), gamut_vgpu::Fault> {
    let text = ".version 9.0
        .target sm_90a
        .address_size 64
        .visible .entry k(.param .u64 at) {
            .reg .b32 %r; .reg .b64 %rd;
            ld.param.u64 %rd, [at];
            ld.global.u32 %r, [%rd];
            ret;
        }";
    let module = Module::load(text, gpu).expect("loads");
    let launch = Launch {
        grid: [1; 3],
        block: [1; 3],
        dynamic_shared: 0,
        params: &address.to_le_bytes(),
    };
    let kernel = module.kernel("k").expect("there");
    gpu.launch(&kernel, &launch).map(drop)
}

#[test]
fn the_host_writes_and_copies_too() {
    let gpu = Gpu::new(Properties::h100());
    let memory = gpu.memory();
    let [a, b] = [0; 2].map(|_| memory.allocate(64).expect("memory"));
    memory.write(a, &[1; 6]).expect("inside");
    memory.fill(a + 8, &[1, 2], 2).expect("inside");
    memory.copy(b, a, 64).expect("inside");
    for base in [a, b] {
        load(&gpu, base).expect("written");
        load(&gpu, base + 8).expect("filled");
        for offset in [4, 12] {
            let fault = load(&gpu, base + offset).expect_err("not written");
            assert_eq!(fault.kind, FaultKind::Uninitialised);
        }
    }
    // The host may look.
    memory.read(b, &mut [0; 64]).expect("inside");
    let pinned = memory.allocate_host(64).expect("memory");
    load(&gpu, pinned).expect("the host's memory is the host's business");
    memory.copy(b, pinned, 64).expect("inside");
    load(&gpu, b + 12).expect("copied from the host");
}

#[test]
fn freed_memory() {
    let gpu = Gpu::new(Properties::h100());
    let memory = gpu.memory();
    let base = memory.allocate(64).expect("memory");
    memory.fill(base, &[0], 64).expect("inside");
    load(&gpu, base).expect("alive");
    memory.free(base).expect("alive");
    let fault = load(&gpu, base + 4).expect_err("freed");
    assert_eq!(fault.kind, FaultKind::OutOfBounds);
    assert!(fault.detail.contains("which was freed"), "{fault}");
}

/// After a launch that nobody watched, nothing is known of what it may have written.
#[test]
fn an_unchecked_launch_loses_track() {
    let gpu = Gpu::new(Properties::h100());
    let before = gpu.memory().allocate(64).expect("memory");
    gpu.configure("checks=off".parse::<Options>().expect("valid"));
    load(&gpu, before).expect("nobody looks");
    gpu.configure(Options::default());
    load(&gpu, before).expect("nobody knows");
    let after = gpu.memory().allocate(64).expect("memory");
    assert!(load(&gpu, after).is_err());
}
