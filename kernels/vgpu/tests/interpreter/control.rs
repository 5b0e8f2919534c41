//! Divergence, barriers and the exchange of values between lanes.

use crate::support::{fault, run_with, words};
use gamut_vgpu::FaultKind;

/// Loops with a trip count of each lane's own, nested branches, and a join after them.
#[test]
fn lanes_run_their_own_paths() {
    let out = words(
        "mov.u32 %r0, 0;            // sum
         mov.u32 %r1, 0;            // counter
        LOOP:
         setp.gt.u32 %p0, %r1, %i;
         @%p0 bra DONE;
         and.b32 %r2, %r1, 1;
         setp.eq.u32 %p1, %r2, 0;
         @%p1 bra EVEN;
         setp.gt.u32 %p2, %r1, 40;
         @%p2 bra DONE;             // break
         add.u32 %r0, %r0, 100;
         bra NEXT;
        EVEN:
         setp.eq.u32 %p3, %r1, 10;
         @%p3 bra NEXT;             // continue
         add.u32 %r0, %r0, %r1;
        NEXT:
         add.u32 %r1, %r1, 1;
         bra LOOP;
        DONE:
         activemask.b32 %r3;
         cvt.u64.u32 %rd0, %r0;
         cvt.u64.u32 %rd1, %r3;
         shl.b64 %rd1, %rd1, 32;
         or.b64 %rd0, %rd0, %rd1;
         st.global.u64 [%mine], %rd0;",
        1,
        64,
        64,
    );
    for (i, word) in out.into_iter().enumerate() {
        let mut sum = 0;
        for n in 0..=i as u64 {
            if n % 2 == 1 {
                if n > 40 {
                    break;
                }
                sum += 100;
            } else if n != 10 {
                sum += n;
            }
        }
        assert_eq!(word & 0xffff_ffff, sum, "thread {i}");
        assert_eq!(word >> 32, 0xffff_ffff, "all lanes meet at the end");
    }
}

#[test]
fn branch_tables() {
    let out = words(
        "and.b32 %r0, %i, 3;
         brx.idx %r0, TABLE;
        TABLE: .branchtargets A, B, C, B;
        A: mov.u64 %rd0, 10; bra END;
        B: mov.u64 %rd0, 20; bra END;
        C: mov.u64 %rd0, 30;
        END: st.global.u64 [%mine], %rd0;",
        1,
        8,
        8,
    );
    assert_eq!(out, [10, 20, 30, 20, 10, 20, 30, 20]);
    let fault = fault(
        "brx.idx %i, TABLE;
        TABLE: .branchtargets A, A;
        A: ret;",
        4,
    );
    assert_eq!(
        (fault.kind, fault.thread),
        (FaultKind::IllegalInstruction, [2, 0, 0])
    );
}

/// A lane that spins until a later lane, further on in the code, lets it go.
#[test]
fn a_spinning_lane_does_not_starve_the_others() {
    let out = words(
        "setp.eq.u32 %p0, %i, 1;
         @%p0 bra SET;
        SPIN:
         ld.volatile.global.u64 %rd0, [%out];
         setp.eq.u64 %p1, %rd0, 0;
         @%p1 bra SPIN;
         st.global.u64 [%out+8], 5;
         ret;
        SET:
         st.volatile.global.u64 [%out], 7;",
        1,
        2,
        2,
    );
    assert_eq!(out, [7, 5]);
}

/// Lanes that wait for others meet them wherever those come from: lane 1 arrives on its own, while
/// lane 0 spins until both of the groups that wait have gone on.
#[test]
fn lanes_that_arrive_alone_are_seen() {
    let out = words(
        "setp.ne.u32 %p0, %i, 0;
         @%p0 bra OTHERS;
        SPIN:
         ld.volatile.global.u64 %rd0, [%out];
         setp.eq.u64 %p1, %rd0, 0;
         @%p1 bra SPIN;
         ret;
        OTHERS:
         setp.eq.u32 %p2, %i, 1;
         @%p2 bra LATE;
         bra MEET;
        LATE:
         add.u32 %r1, %i, 1;
        MEET:
         bar.warp.sync 0xfffffffe;
         st.volatile.global.u64 [%out], 9;",
        1,
        32,
        1,
    );
    assert_eq!(out, [9]);
}

/// One lane's 64-bit values stay while the other lane, on its own path, computes with 32 bits.
#[test]
fn lanes_keep_their_registers_apart() {
    let words_of = |first: u32| -> String {
        (first..first + 16)
            .map(|n| format!("add.u32 %r{n}, %r0, {n};\n"))
            .collect()
    };
    let sums: String = (1..16)
        .map(|n| format!("add.u32 %r1, %r1, %r{};\n", n + 1))
        .collect();
    let body = format!(
        "setp.eq.u32 %p0, %i, 1;
         @%p0 bra NARROW;
         ld.volatile.global.u64 %rd1, [%out+8];
         add.u64 %rd2, %rd1, 0x1234567800000001;
         add.u64 %rd3, %rd1, 0x1111111100000001;
        SPIN:
         ld.volatile.global.u64 %rd0, [%out];
         setp.eq.u64 %p1, %rd0, 0;
         @%p1 bra SPIN;
         st.volatile.global.u64 [%out+8], %rd2;
         st.global.u64 [%out+16], %rd3;
         ret;
        NARROW:
         ld.volatile.global.u32 %r0, [%out+24];
         {} {sums}
         cvt.u64.u32 %rd4, %r1;
         st.volatile.global.u64 [%out], %rd4;",
        words_of(1)
    );
    let out = words(&body, 1, 2, 4);
    assert_eq!(out, [136, 0x1234_5678_0000_0001, 0x1111_1111_0000_0001, 0]);
}

/// Warps pass values through shared memory, round after round.
#[test]
fn barriers_order_warps() {
    let body = "
         .shared .align 4 .b8 s[512];
         mov.u32 %r0, s;
         shl.b32 %r1, %i, 2;
         add.u32 %r1, %r0, %r1;      // &s[i]
         add.u32 %r2, %i, 33;
         and.b32 %r2, %r2, 127;
         shl.b32 %r2, %r2, 2;
         add.u32 %r2, %r0, %r2;      // &s[(i + 33) % 128]
         st.shared.u32 [%r1], %i;
         mov.u32 %r3, 0;
        LOOP:
         bar.sync 0;
         ld.shared.u32 %r4, [%r2];
         bar.sync 0;
         add.u32 %r4, %r4, 1;
         st.shared.u32 [%r1], %r4;
         add.u32 %r3, %r3, 1;
         setp.lt.u32 %p0, %r3, 20;
         @%p0 bra LOOP;
         cvt.u64.u32 %rd0, %r4;
         st.global.u64 [%mine], %rd0;";
    let out = words(body, 1, 128, 128);
    for (i, word) in out.into_iter().enumerate() {
        assert_eq!(word, ((i + 33 * 20) % 128 + 20) as u64, "thread {i}");
    }
}

#[test]
fn warps_that_left_do_not_block_a_barrier() {
    let out = words(
        "setp.ge.u32 %p0, %i, 40;
         @%p0 ret;
         bar.sync 0;
         st.global.u64 [%mine], 1;",
        1,
        128,
        128,
    );
    assert_eq!(out.iter().sum::<u64>(), 40);
}

#[test]
fn named_barriers_and_arrivals() {
    // Warp 0 waits for 64 threads: itself and warp 1, which only arrives; warp 2 takes no part.
    let out = words(
        ".shared .align 8 .b8 s[8];
         mov.u32 %r0, s;
         setp.ge.u32 %p0, %i, 64;
         @%p0 bra END;
         setp.ge.u32 %p1, %i, 32;
         @%p1 bra SECOND;
         bar.sync 3, 64;
         ld.shared.u64 %rd0, [%r0];
         st.global.u64 [%mine], %rd0;
         bra END;
        SECOND:
         st.shared.u64 [%r0], 9;
         bar.arrive 3, 64;
        END: ret;",
        1,
        96,
        96,
    );
    assert_eq!(&out[..33], [&[9; 32][..], &[0]].concat());
}

#[test]
fn barrier_reductions() {
    let out = words(
        "setp.lt.u32 %p0, %i, 50;
         bar.red.popc.u32 %r0, 0, %p0;
         bar.red.and.pred %p1, 0, %p0;
         bar.red.or.pred %p2, 0, !%p0;
         selp.u32 %r1, 1000, 0, %p1;
         selp.u32 %r2, 2000, 0, %p2;
         add.u32 %r0, %r0, %r1;
         add.u32 %r0, %r0, %r2;
         cvt.u64.u32 %rd0, %r0;
         st.global.u64 [%mine], %rd0;",
        1,
        96,
        96,
    );
    assert_eq!(out, [2050; 96]);
}

#[test]
fn shuffles() {
    let shuffle = |mode: &str, step: u32, limit: u32| -> Vec<u64> {
        words(
            &format!(
                "mul.lo.u32 %r0, %i, 10;
                 shfl.sync.{mode}.b32 %r1|%p0, %r0, {step}, {limit}, -1;
                 selp.u32 %r2, 1000, 0, %p0;
                 add.u32 %r1, %r1, %r2;
                 cvt.u64.u32 %rd0, %r1;
                 st.global.u64 [%mine], %rd0;"
            ),
            1,
            32,
            32,
        )
    };
    let expect = |of: &dyn Fn(u64) -> (u64, bool)| -> Vec<u64> {
        (0..32)
            .map(of)
            .map(|(lane, valid)| lane * 10 + u64::from(valid) * 1000)
            .collect()
    };
    let bfly = expect(&|i| (i ^ 5, true));
    assert_eq!(shuffle("bfly", 5, 31), bfly);
    let down = expect(&|i| {
        if i + 3 < 32 {
            (i + 3, true)
        } else {
            (i, false)
        }
    });
    assert_eq!(shuffle("down", 3, 31), down);
    let up = expect(&|i| if i >= 3 { (i - 3, true) } else { (i, false) });
    assert_eq!(shuffle("up", 3, 0), up);
    // Segments of eight lanes: the limits hold 32 - 8 in their second byte.
    let idx = expect(&|i| (i / 8 * 8 + 2, true));
    assert_eq!(shuffle("idx", 2, 0x181f), idx);
    let down = expect(&|i| {
        if i % 8 + 3 < 8 {
            (i + 3, true)
        } else {
            (i, false)
        }
    });
    assert_eq!(shuffle("down", 3, 0x181f), down);
}

/// Both halves of a warp, apart, exchange values under their own masks.
#[test]
fn shuffles_of_parts_of_a_warp() {
    let out = words(
        "setp.lt.u32 %p0, %i, 16;
         mov.u32 %r1, 0xFFFF0000;
         @%p0 mov.u32 %r1, 0x0000FFFF;
         @%p0 bra LOW;
         add.u32 %r0, %i, 100;
         bra JOIN;
        LOW: mov.u32 %r0, %i;
        JOIN:
         shfl.sync.bfly.b32 %r2, %r0, 1, 31, %r1;
         vote.sync.ballot.b32 %r3, %p0, %r1;
         add.u32 %r2, %r2, %r3;
         cvt.u64.u32 %rd0, %r2;
         st.global.u64 [%mine], %rd0;",
        1,
        32,
        32,
    );
    for (i, word) in out.into_iter().enumerate() {
        let i = i as u64;
        let expected = if i < 16 {
            (i ^ 1) + 0xffff
        } else {
            (i ^ 1) + 100
        };
        assert_eq!(word, expected, "lane {i}");
    }
}

#[test]
fn votes_matches_and_reductions() {
    let out = words(
        "shr.u32 %r0, %i, 3;                    // 0..4
         setp.eq.u32 %p0, %r0, 1;
         vote.sync.any.pred %p1, %p0, -1;
         vote.sync.all.pred %p2, %p0, -1;
         vote.sync.ballot.b32 %r1, !%p0, -1;
         match.any.sync.b32 %r2, %r0, -1;
         match.all.sync.b32 %r3|%p3, %r0, -1;
         redux.sync.add.u32 %r4, %i, -1;
         redux.sync.max.s32 %r5, %i, -1;
         elect.sync %r6|%p4, -1;
         selp.u32 %r7, 1, 0, %p1;
         @%p2 add.u32 %r7, %r7, 2;
         @%p3 add.u32 %r7, %r7, 4;
         @%p4 add.u32 %r7, %r7, 8;
         shl.b32 %r7, %r7, 16;
         add.u32 %r7, %r7, %r4;
         shl.b32 %r5, %r5, 24;
         add.u32 %r7, %r7, %r5;
         xor.b32 %r1, %r1, %r2;
         mov.b64 %rd0, {%r7, %r1};
         st.global.u64 [%mine], %rd0;",
        1,
        32,
        32,
    );
    for (i, word) in out.into_iter().enumerate() {
        let elected = if i == 0 { 8 } else { 0 };
        assert_eq!(
            word & 0xffff_ffff,
            31 << 24 | (1 + elected) << 16 | 496,
            "lane {i}"
        );
        assert_eq!(word >> 32, 0xffff_00ff ^ 0xff << (i / 8 * 8), "lane {i}");
    }
}

#[test]
fn functions_are_called() {
    let functions = "
        .func (.param .b32 result) twice(.param .b32 x) {
            .reg .b32 %r<4>; .reg .pred %p<2>;
            ld.param.u32 %r0, [x];
            setp.gt.u32 %p0, %r0, 10;
            @%p0 bra BIG;
            add.u32 %r0, %r0, %r0;
            st.param.b32 [result], %r0;
            ret;
        BIG:
            st.param.b32 [result], 0;
            ret;
        }";
    let body = "
        mov.u64 %rd0, 77;
        setp.ne.u32 %p1, %i, 3;
        { .param .b32 a; .param .b32 r;
          st.param.b32 [a], %i;
          @%p1 call.uni (r), twice, (a);
          ld.param.b32 %r1, [r]; }
        cvt.u64.u32 %rd0, %r1;
        st.global.u64 [%mine], %rd0;";
    let run = run_with(body, functions, 1, 32, 32, 0);
    run.result.unwrap_or_else(|fault| panic!("{fault}"));
    for (i, word) in run.out.into_iter().enumerate() {
        let i = i as u64;
        assert_eq!(word, if i > 10 || i == 3 { 0 } else { 2 * i }, "thread {i}");
    }
}
