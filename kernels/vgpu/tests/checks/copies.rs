//! Asynchronous copies: who may look when.

use crate::support::block;
use gamut_vgpu::FaultKind;

/// Each thread copies its 16 bytes and reads, after `between`, those of thread `%i ^ mask`.
fn copy(between: &str, mask: u32) -> String {
    format!(
        "mad.wide.u32 %rd0, %i, 16, %out;
         mad.lo.u32 %r0, %i, 16, %s;
         cp.async.cg.shared.global [%r0], [%rd0], 16;  // copy
         cp.async.commit_group;
         {between}
         xor.b32 %r1, %i, {mask};
         mad.lo.u32 %r2, %r1, 16, %s;
         ld.shared.u32 %r3, [%r2];  // read"
    )
}

#[test]
fn a_copy_that_was_not_waited_for() {
    let marks = ["// copy", "// read"];
    for (between, mask) in [("", 0), ("bar.sync 0;", 32), ("cp.async.wait_group 1;", 0)] {
        let fault = block(64, &copy(between, mask)).finds(FaultKind::PendingCopy, marks);
        assert_eq!(
            fault.thread[0] ^ mask,
            fault.other.expect("who copies").thread[0]
        );
    }
    block(64, &copy("cp.async.wait_group 0;", 0)).is_clean();
    block(64, &copy("cp.async.wait_all; bar.sync 0;", 32)).is_clean();
    block(64, &copy("cp.async.wait_all; bar.warp.sync -1;", 1)).is_clean();
}

/// A wait is for one's own copies: others see them after a barrier.
#[test]
fn a_copy_is_its_threads_own_until_a_barrier() {
    let body = copy("bar.sync 0; cp.async.wait_all;", 1);
    block(64, &body).finds(FaultKind::SharedRace, ["// copy", "// read"]);
    let body = copy("cp.async.wait_all;", 32);
    let fault = block(64, &body).fault();
    assert!(
        matches!(fault.kind, FaultKind::SharedRace | FaultKind::Uninitialised),
        "{fault}"
    );
}

#[test]
fn nobody_writes_what_a_copy_will_write() {
    let body = copy(
        "st.shared.u32 [%r0+4], 1;  // write\n cp.async.wait_all;",
        0,
    );
    block(32, &body).finds(FaultKind::PendingCopy, ["// copy", "// write"]);
}

#[test]
fn nobody_writes_what_a_copy_reads() {
    let race = |between: &str| {
        format!(
            "mad.wide.u32 %rd0, %i, 16, %out;
             mad.lo.u32 %r0, %i, 16, %s;
             cp.async.cg.shared.global [%r0], [%rd0], 16;  // copy
             {between}
             bar.sync 0;
             setp.ge.u32 %p0, %i, 32;
             @%p0 bra WRITE;
             cp.async.wait_all;
             ret;
            WRITE:
             st.global.u32 [%out], %i;  // write"
        )
    };
    // The barrier orders the threads, yet not the copy, which ends with its wait.
    let fault = block(33, &race("")).fault();
    let lines = [
        fault.ptx_line,
        fault.other.expect("the other side").ptx_line,
    ];
    let text = race("");
    let case = block(33, &text);
    assert_eq!(fault.kind, FaultKind::GlobalRace);
    assert!(lines.contains(&case.line("// write")), "{lines:?}");
    block(33, &race("cp.async.wait_all;")).is_clean();
}

/// A ring of two stages: the barrier before a stage is filled again is what it takes.
#[test]
fn a_pipeline() {
    let ring = |free: &str| {
        format!(
            "mad.wide.u32 %rd0, %i, 16, %out;
             mad.lo.u32 %r0, %i, 16, %s;
             cp.async.cg.shared.global [%r0], [%rd0], 16;
             cp.async.commit_group;
             mov.u32 %r9, 0;
            LOOP:
             and.b32 %r1, %r9, 1;
             xor.b32 %r2, %r1, 1;
             mad.lo.u32 %r3, %r2, 1024, %r0;
             cp.async.cg.shared.global [%r3], [%rd0], 16;  // copy
             cp.async.commit_group;
             cp.async.wait_group 1;
             bar.sync 0;
             xor.b32 %r4, %i, 32;
             mad.lo.u32 %r5, %r4, 16, %s;
             mad.lo.u32 %r5, %r1, 1024, %r5;
             ld.shared.u32 %r6, [%r5];  // read
             {free}
             add.u32 %r9, %r9, 1;
             setp.lt.u32 %p0, %r9, 6;
             @%p0 bra LOOP;
             cp.async.wait_all;"
        )
    };
    block(64, &ring("bar.sync 0;")).is_clean();
    let broken = ring("");
    let fault = block(64, &broken).fault();
    // One warp's copy for the next round and another's read in this one, whichever comes first.
    let both = [FaultKind::SharedRace, FaultKind::PendingCopy];
    assert!(both.contains(&fault.kind), "{fault}");
    let mut lines = [
        fault.ptx_line,
        fault.other.expect("the other side").ptx_line,
    ];
    lines.sort_unstable();
    let case = block(64, &broken);
    assert_eq!(lines, [case.line("// copy"), case.line("// read")]);
}
