//! Races in the device's memory, within a block and between blocks.

use crate::support::{Case, block, with};
use gamut_vgpu::{FaultKind, Options, Schedule};

const RACE: FaultKind = FaultKind::GlobalRace;

fn blocks(count: u32, threads: u32, body: &str) -> Case<'_> {
    Case {
        body,
        blocks: count,
        threads,
    }
}

#[test]
fn warps_of_a_block() {
    let exchange = |between: &str| {
        format!(
            "st.global.u32 [%word], %i;  // write
             {between}
             xor.b32 %r1, %i, 32;
             mad.wide.u32 %rd0, %r1, 4, %out;
             ld.global.u32 %r2, [%rd0];  // read"
        )
    };
    block(64, &exchange("")).finds(RACE, ["// write", "// read"]);
    block(64, &exchange("bar.sync 0;")).is_clean();
}

#[test]
fn blocks_that_write_what_others_read() {
    let body = "mad.wide.u32 %rd0, %b, 4, %out;
         ld.global.u32 %r0, [%rd0+4];  // read
         st.global.u32 [%rd0], %r0;  // write";
    let case = blocks(8, 1, body);
    let fault = case.finds(RACE, ["// write", "// read"]);
    let other = fault.other.expect("the other side");
    assert_eq!(fault.block[0].abs_diff(other.block[0]), 1);
    let apart = "mad.wide.u32 %rd0, %b, 4, %out;
         ld.global.u32 %r0, [%rd0+4096];
         st.global.u32 [%rd0], %r0;";
    blocks(8, 1, apart).is_clean();
}

#[test]
fn blocks_that_write_the_same_word() {
    blocks(4, 1, "st.global.u32 [%out], %b;  // write").finds(RACE, ["// write"; 2]);
    blocks(4, 1, "red.global.add.u32 [%out], 1;").is_clean();
    let mixed = "setp.eq.u32 %p0, %b, 0;
         @%p0 st.global.u32 [%out], 1;  // write
         @!%p0 red.global.add.u32 [%out], 1;  // add";
    blocks(2, 1, mixed).finds(RACE, ["// write", "// add"]);
    // Atomics of a block alone are no match for another block.
    let narrow = "red.relaxed.cta.global.add.u32 [%out], 1;  // add";
    blocks(4, 1, narrow).finds(RACE, ["// add"; 2]);
    block(64, narrow).is_clean();
}

/// Blocks that meet at a word in the same moment find each other as well.
#[test]
fn blocks_in_the_same_moment() {
    let one_writes = |other: &str| {
        format!(
            "setp.eq.u32 %p0, %b, 0;
             @%p0 st.global.u32 [%out], 1;
             @!%p0 {other}"
        )
    };
    let both_write = "st.global.u32 [%out], %b;".to_string();
    let one_adds = one_writes("red.global.add.u32 [%out], 1;");
    let one_reads = one_writes("ld.global.u32 %r0, [%out];");
    for body in [both_write, one_adds, one_reads] {
        let case = blocks(2, 1, &body);
        let found = (0..1000).filter(|_| {
            let fault = case.run(with(Schedule::Forward)).err();
            fault.is_some_and(|fault| fault.kind == RACE)
        });
        assert_eq!(found.count(), 1000, "{body}");
    }
}

/// A launch comes after the one before.
#[test]
fn launches_follow_each_other() {
    let case = blocks(
        2,
        32,
        "mad.lo.u32 %r0, %b, 128, 0; cvt.u64.u32 %rd0, %r0; add.u64 %word, %word, %rd0; ld.global.u32 %r1, [%word]; st.global.u32 [%word], %b;",
    );
    case.is_clean();
}

/// Every block adds its part, and the last to finish sums up.
fn last_block(release: &str, acquire: &str) -> String {
    format!(
        "mad.lo.u32 %r0, %b, 64, %i;
         mad.wide.u32 %rd0, %r0, 4, %raw;
         st.global.u32 [%rd0], %r0;  // write
         {release}
         bar.sync 0;
         setp.ne.u32 %p0, %i, 0;
         @%p0 bra JOIN;
         atom.global.add.u32 %r1, [%out], 1;
         {acquire}
         st.shared.u32 [%s], %r1;
        JOIN:
         bar.sync 0;
         ld.shared.u32 %r2, [%s];
         mov.u32 %r3, %nctaid.x;
         sub.u32 %r3, %r3, 1;
         setp.ne.u32 %p1, %r2, %r3;
         @%p1 ret;
         mov.u32 %r4, 0;
         mov.u32 %r5, 0;
        SUM:
         mad.lo.u32 %r6, %r4, 64, %i;
         mad.wide.u32 %rd1, %r6, 4, %raw;
         ld.global.u32 %r7, [%rd1];  // read
         add.u32 %r5, %r5, %r7;
         add.u32 %r4, %r4, 1;
         setp.le.u32 %p2, %r4, %r3;
         @%p2 bra SUM;
         st.global.u32 [%word+4], %r5;"
    )
}

#[test]
fn the_last_block_sums_up() {
    let fence = "fence.acq_rel.gpu;";
    let fine = last_block(fence, fence);
    let out = blocks(7, 64, &fine).is_clean();
    assert_eq!(out[1], (0..7).map(|b| 64 * b).sum::<u32>());
    let membar = last_block("membar.gl;", "membar.gl;");
    blocks(7, 64, &membar).is_clean();
    let marks = ["// write", "// read"];
    for (release, acquire) in [("", fence), (fence, ""), ("fence.acq_rel.cta;", fence)] {
        let broken = last_block(release, acquire);
        blocks(7, 64, &broken).finds(RACE, marks);
    }
}

/// Block 0 waits for what block 1 says, or the other way round: both must be running.
#[test]
fn flags_between_blocks() {
    let flag = |release: &str, acquire: &str| {
        format!(
            "setp.eq.u32 %p0, %b, 0;
             @!%p0 bra WAIT;
             st.global.u32 [%out+64], 9;  // write
             {release}
             ret;
            WAIT:
             {acquire}
             setp.eq.u32 %p1, %r0, 0;
             @%p1 bra WAIT;
             ld.global.u32 %r1, [%out+64];  // read
             st.global.u32 [%out+128], %r1;"
        )
    };
    let releases = [
        "st.release.gpu.global.u32 [%out], 1;",
        "fence.acq_rel.gpu; st.volatile.global.u32 [%out], 1;",
        "fence.sc.sys; red.global.add.u32 [%out], 1;",
        "red.release.gpu.global.add.u32 [%out], 1;",
    ];
    let acquires = [
        "ld.acquire.gpu.global.u32 %r0, [%out];",
        "ld.volatile.global.u32 %r0, [%out]; fence.acq_rel.gpu;",
        "atom.acquire.gpu.global.or.b32 %r0, [%out], 0;",
    ];
    // Block 0 comes first, so that one thread of the host is enough.
    let run = |body: &str| blocks(2, 1, body).run(Options::default());
    let random = |body: &str, seed| {
        let schedule = gamut_vgpu::Schedule::Random(seed);
        blocks(2, 1, body).run(crate::support::with(schedule))
    };
    for release in releases {
        for acquire in acquires {
            let body = flag(release, acquire);
            assert_eq!(run(&body).expect("clean")[32], 9, "{body}");
            for seed in 0..10 {
                assert_eq!(random(&body, seed).expect("clean")[32], 9, "{body}");
            }
        }
    }
    let broken = [
        ("st.volatile.global.u32 [%out], 1;", acquires[0]),
        (releases[0], "ld.volatile.global.u32 %r0, [%out];"),
        (
            "fence.acq_rel.cta; st.volatile.global.u32 [%out], 1;",
            acquires[0],
        ),
    ];
    for (release, acquire) in broken {
        let body = flag(release, acquire);
        assert_eq!(run(&body).expect_err("a race").kind, RACE, "{body}");
        for seed in 0..10 {
            assert_eq!(
                random(&body, seed).expect_err("a race").kind,
                RACE,
                "{body}"
            );
        }
    }
}

#[test]
fn one_store_to_one_place() {
    block(32, "st.global.u32 [%out], %i;  // write").finds(RACE, ["// write"; 2]);
    block(32, "st.global.u32 [%out], 5;").is_clean();
}
