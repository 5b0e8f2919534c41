//! The orders in which blocks and warps run.

use crate::support::{Case, block, schedules, with};
use gamut_vgpu::{FaultKind, Schedule};

/// Each warp of each block takes a ticket and leaves it at its number.
const TICKETS: Case<'static> = Case {
    body: "and.b32 %r0, %i, 31;
           setp.ne.u32 %p0, %r0, 0;
           @%p0 ret;
           mad.lo.u32 %r1, %b, 128, %i;
           shr.u32 %r1, %r1, 5;
           mad.wide.u32 %rd0, %r1, 4, %out;
           atom.global.add.u32 %r2, [%out+8188], 1;
           st.global.u32 [%rd0], %r2;",
    blocks: 6,
    threads: 128,
};

fn order(schedule: Schedule) -> Vec<u32> {
    let out = TICKETS.run(with(schedule)).expect("clean");
    out[..24].to_vec()
}

#[test]
fn warps_run_forward_or_reversed() {
    let one = Case {
        blocks: 1,
        ..TICKETS
    };
    let order = |schedule| one.run(with(schedule)).expect("clean")[..4].to_vec();
    assert_eq!(order(Schedule::Forward), [0, 1, 2, 3]);
    assert_eq!(order(Schedule::Reversed), [3, 2, 1, 0]);
}

#[test]
fn a_seed_gives_one_order() {
    let runs: Vec<_> = (0..6).map(|seed| order(Schedule::Random(seed))).collect();
    for (seed, run) in (0..).zip(&runs) {
        assert_eq!(&order(Schedule::Random(seed)), run);
        let mut tickets = run.clone();
        tickets.sort_unstable();
        assert!(tickets.into_iter().eq(0..24), "each ticket once");
    }
    assert!(runs.iter().any(|run| run != &runs[0]), "seeds differ");
}

/// A lost update that needs a change of warps between two instructions.
#[test]
fn a_seed_brings_out_what_order_hides() {
    let body = "and.b32 %r0, %i, 31;
         setp.ne.u32 %p0, %r0, 0;
         @%p0 ret;
         ld.relaxed.gpu.global.u32 %r1, [%out];
         add.u32 %r1, %r1, 1;
         st.relaxed.gpu.global.u32 [%out], %r1;";
    let counts = schedules().map(|schedule| {
        let count = || block(128, body).run(with(schedule)).expect("no race")[0];
        assert_eq!(count(), count(), "{schedule:?}");
        (schedule, count())
    });
    let counts: Vec<_> = counts.collect();
    assert_eq!(counts[0].1, 4);
    assert!(counts.iter().any(|&(_, count)| count < 4), "{counts:?}");
}

#[test]
fn a_seed_gives_one_report() {
    let body = "st.global.u32 [%out], %b;";
    let case = Case {
        body,
        blocks: 8,
        threads: 64,
    };
    let report = |seed| case.run(with(Schedule::Random(seed))).expect_err("a race");
    for seed in 0..4 {
        let (mut first, mut second) = (report(seed), report(seed));
        // Addresses differ from device to device.
        first.detail.clear();
        second.detail.clear();
        assert_eq!(first, second);
    }
}

/// Blocks that wait for each other: all are taken up in time.
#[test]
fn random_schedules_take_up_blocks_that_others_wait_for() {
    let body = "atom.global.add.u32 %r0, [%out], 1;
        SPIN:
         ld.acquire.gpu.global.u32 %r1, [%out];
         setp.lt.u32 %p0, %r1, 5;
         @%p0 bra SPIN;";
    let case = Case {
        body,
        blocks: 5,
        threads: 1,
    };
    let out = case.run(with(Schedule::Random(3))).expect("all run");
    assert_eq!(out[0], 5);
}

#[test]
fn a_deadlock_says_who_waits_where() {
    let body = "setp.lt.u32 %p0, %i, 32;
         @%p0 bra LOW;
         bar.sync 1;  // high
         ret;
        LOW:
         bar.sync 2;  // low";
    let case = block(64, body);
    for schedule in schedules() {
        let fault = case.run(with(schedule)).expect_err("a deadlock");
        assert_eq!(fault.kind, FaultKind::Deadlock);
        for (warp, mark) in [(0, "// low"), (1, "// high")] {
            let text = format!("warp {warp} waits at PTX line {}", case.line(mark));
            assert!(fault.detail.contains(&text), "{fault}");
        }
    }
}

#[test]
fn a_barrier_that_counts_an_exited_warp_waits_for_ever() {
    let body = "setp.lt.u32 %p0, %i, 32; @%p0 ret; bar.sync 1, 64;";
    let fault = block(64, body).fault();
    assert_eq!(fault.kind, FaultKind::Deadlock);
    assert!(fault.detail.contains("barrier 1 has 32 of 64"), "{fault}");
    block(64, "setp.lt.u32 %p0, %i, 32; @%p0 ret; bar.sync 1;").is_clean();
}

#[test]
fn barriers_with_different_counts() {
    let body = "setp.lt.u32 %p0, %i, 32;
         @%p0 bar.sync 1, 64;
         @!%p0 bar.sync 1, 96;";
    for schedule in schedules() {
        let fault = block(64, body).run(with(schedule)).expect_err("refused");
        assert_eq!(fault.kind, FaultKind::IllegalInstruction);
        assert!(fault.detail.contains("barrier 1 is waiting for"), "{fault}");
    }
}
