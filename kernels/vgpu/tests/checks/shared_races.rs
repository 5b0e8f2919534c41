//! Races in a block's memory.

use crate::support::block;
use gamut_vgpu::FaultKind;

const RACE: FaultKind = FaultKind::SharedRace;

/// Each thread writes its word and reads that of a thread in another warp.
fn exchange(between: &str, behind: &str) -> String {
    format!(
        "mov.u32 %r9, 0;
        LOOP:
         add.u32 %r0, %i, %r9;
         st.shared.u32 [%mine], %r0;  // write
         {between}
         xor.b32 %r1, %i, 32;
         mad.lo.u32 %r2, %r1, 4, %s;
         ld.shared.u32 %r3, [%r2];  // read
         {behind}
         add.u32 %r9, %r9, 1;
         setp.lt.u32 %p0, %r9, 3;
         @%p0 bra LOOP;
         st.global.u32 [%word], %r3;"
    )
}

#[test]
fn a_missing_barrier() {
    let fine = exchange("bar.sync 0;", "bar.sync 0;");
    let out = block(64, &fine).is_clean();
    assert_eq!((out[0], out[63]), (34, 33));
    // The second of the two orders a read before the next round's write.
    let late = exchange("bar.sync 0;", "");
    let fault = block(64, &late).finds(RACE, ["// write", "// read"]);
    let other = fault.other.expect("the other side");
    assert_eq!(other.thread[0] ^ 32, fault.thread[0]);
}

#[test]
fn no_barrier_at_all() {
    let body = "setp.lt.u32 %p0, %i, 32;
         st.shared.u32 [%mine], %i;
         bar.sync 0;
         @%p0 bra READ;
         st.shared.u32 [%s], 7;  // write
         ret;
        READ:
         ld.shared.u32 %r0, [%s];  // read";
    block(33, body).finds(RACE, ["// write", "// read"]);
}

#[test]
fn parts_of_a_word_are_apart() {
    let halves = "mad.lo.u32 %r0, %i, 2, %s; cvt.u16.u32 %h0, %i;
         st.shared.u16 [%r0], %h0;
         ld.shared.u16 %h1, [%r0];
         st.shared.u16 [%r0], %h1;";
    block(64, halves).is_clean();
    // Lane 31 and lane 32 share no word, lane 0 of each warp has the whole of it.
    let whole = "setp.eq.u32 %p0, %i, 32;
         cvt.u16.u32 %h0, %i;
         @!%p0 st.shared.u16 [%s], %h0;  // half
         @%p0 st.shared.u32 [%s], %i;  // whole";
    // One thread of the first warp.
    let body = format!(
        "setp.eq.u32 %p1, %i, 0; setp.eq.u32 %p2, %i, 32; or.pred %p1, %p1, %p2; @!%p1 ret; {whole}"
    );
    block(64, &body).finds(RACE, ["// half", "// whole"]);
}

#[test]
fn lanes_of_a_warp() {
    let exchange = |between: &str| {
        format!(
            "st.shared.u32 [%mine], %i;  // write
             {between}
             xor.b32 %r1, %i, 1;
             mad.lo.u32 %r2, %r1, 4, %s;
             ld.shared.u32 %r3, [%r2];  // read
             st.global.u32 [%word], %r3;"
        )
    };
    let broken = exchange("");
    let fault = block(32, &broken).finds(RACE, ["// write", "// read"]);
    assert_eq!(fault.other.expect("the other side").thread, [1, 0, 0]);
    let fine = exchange("bar.warp.sync -1;");
    assert_eq!(block(32, &fine).is_clean()[4], 5);
    // A shuffle makes lanes meet, and orders nothing.
    let shuffled = exchange("shfl.sync.bfly.b32 %r5, %i, 1, 31, -1;");
    block(32, &shuffled).finds(RACE, ["// write", "// read"]);
}

#[test]
fn matrices_are_read_by_all_lanes() {
    let load = |between: &str, behind: &str| {
        format!(
            "mad.lo.u32 %r0, %i, 16, %s;
             xor.b32 %r1, %i, 1;
             mad.lo.u32 %r2, %r1, 16, %s;
             st.shared.v4.u32 [%r2], {{%i, %i, %i, %i}};  // write
             {between}
             ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r4, %r5, %r6, %r7}}, [%r0];  // read
             {behind}
             st.shared.v4.u32 [%r2], {{%i, %i, %i, %i}};  // again"
        )
    };
    let sync = "bar.warp.sync -1;";
    block(32, &load("", sync)).finds(RACE, ["// write", "// read"]);
    block(32, &load(sync, "")).finds(RACE, ["// read", "// again"]);
    block(32, &load(sync, sync)).is_clean();
}

#[test]
fn one_store_to_one_place() {
    let fault = block(32, "st.shared.u32 [%s], %i;  // write").finds(RACE, ["// write"; 2]);
    assert_eq!(fault.thread, [1, 0, 0]);
    block(
        32,
        "st.shared.u32 [%s], 5; st.shared.v2.u32 [%s+8], {5, 6};",
    )
    .is_clean();
}

#[test]
fn atomics_do_not_race_with_each_other() {
    let count = |between: &str| {
        format!(
            "setp.eq.u32 %p0, %i, 0;
             @%p0 st.shared.u32 [%s], 0;  // clear
             {between}
             atom.shared.add.u32 %r0, [%s], 1;  // add
             bar.sync 0;
             ld.shared.u32 %r1, [%s];
             st.global.u32 [%word], %r1;"
        )
    };
    let fine = count("bar.sync 0;");
    assert_eq!(block(96, &fine).is_clean()[95], 96);
    // Where the atomic comes first it reads what nobody wrote, so start with the lone thread.
    let fault = block(96, &count("bar.warp.sync -1;")).fault();
    assert_eq!(fault.kind, RACE, "{fault}");
    assert_eq!(fault.ptx_line, block(96, &count("")).line("// add"));
}

/// One warp fills, three empty: full and empty are barriers of their own.
fn handover(early: &str, late: &str) -> String {
    format!(
        "mov.u32 %r9, 0;
         setp.ge.u32 %p0, %i, 32;
         @%p0 bra CONSUME;
        PRODUCE:
         setp.eq.u32 %p1, %r9, 0;
         @%p1 bra FILL;
         bar.sync 2, 128;
        FILL:
         st.shared.u32 [%mine], %r9;  // write
         bar.arrive 1, 128;
         add.u32 %r9, %r9, 1;
         setp.lt.u32 %p2, %r9, 4;
         @%p2 bra PRODUCE;
         ret;
        CONSUME:
         and.b32 %r0, %i, 31;
         mad.lo.u32 %r1, %r0, 4, %s;
        AGAIN:
         bar.sync 1, 128;
         setp.lt.u32 %p3, %r9, 3;
         {early}
         ld.shared.u32 %r2, [%r1];  // read
         {late}
         add.u32 %r9, %r9, 1;
         @%p3 bra AGAIN;
         st.global.u32 [%word], %r2;"
    )
}

#[test]
fn named_barriers_hand_over() {
    let empty = "@%p3 bar.arrive 2, 128;";
    assert_eq!(block(128, &handover("", empty)).is_clean()[127], 3);
    // What is announced as empty is read only then.
    block(128, &handover(empty, "")).finds(RACE, ["// write", "// read"]);
}

#[test]
fn flags_in_shared_memory() {
    let flag = |release: &str, acquire: &str| {
        format!(
            "setp.eq.u32 %p3, %i, 0;
             @%p3 st.shared.u32 [%s], 0;
             bar.sync 0;
             setp.ne.u32 %p1, %i, 0;
             setp.ne.u32 %p2, %i, 32;
             and.pred %p1, %p1, %p2;
             @%p1 ret;
             setp.eq.u32 %p0, %i, 0;
             @!%p0 bra WAIT;
             st.shared.u32 [%s+4], 9;  // write
             {release}
             ret;
            WAIT:
             {acquire}
             setp.eq.u32 %p1, %r0, 0;
             @%p1 bra WAIT;
             ld.shared.u32 %r1, [%s+4];  // read
             st.global.u32 [%out], %r1;"
        )
    };
    let release = "st.release.cta.shared.u32 [%s], 1;";
    let acquire = "ld.acquire.cta.shared.u32 %r0, [%s];";
    assert_eq!(block(64, &flag(release, acquire)).is_clean()[0], 9);
    let relaxed = "ld.relaxed.cta.shared.u32 %r0, [%s];";
    block(64, &flag(release, relaxed)).finds(RACE, ["// write", "// read"]);
    let fenced = "ld.volatile.shared.u32 %r0, [%s]; fence.acq_rel.cta;";
    assert_eq!(block(64, &flag(release, fenced)).is_clean()[0], 9);
    let bare = "st.volatile.shared.u32 [%s], 1;";
    block(64, &flag(bare, acquire)).finds(RACE, ["// write", "// read"]);
}
