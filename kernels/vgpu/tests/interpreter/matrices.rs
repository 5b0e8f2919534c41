//! Matrix instructions: fragments against the manual's layouts, sums against exact integers.

use crate::support::{Random, run_unchecked, run_with};

/// Runs `body` on one warp whose lane's eleven words are in `%r0` to `%r10`, and gives the words
/// that it leaves in `%r20` to `%r23`.
fn on_a_warp(body: &str, inputs: &[[u32; 11]; 32]) -> [[u32; 4]; 32] {
    let words: Vec<String> = inputs
        .as_flattened()
        .iter()
        .map(|word| word.to_string())
        .collect();
    let outer = format!(
        ".global .align 16 .u32 inputs[352] = {{{}}};",
        words.join(", ")
    );
    let loads: String = (0..11)
        .map(|i| format!("ld.global.u32 %r{i}, [%rd0+{}];\n", 4 * i))
        .collect();
    let body = format!(
        "mov.u64 %rd0, inputs;
         mad.wide.u32 %rd0, %i, 44, %rd0;
         {loads}
         mov.b32 %r22, 0;
         mov.b32 %r23, 0;
         {body}
         mad.wide.u32 %rd1, %i, 16, %out;
         st.global.v4.u32 [%rd1], {{%r20, %r21, %r22, %r23}};"
    );
    let run = run_with(&body, &outer, 1, 32, 64, 0);
    run.result.unwrap_or_else(|fault| panic!("{fault}"));
    std::array::from_fn(|lane| {
        let (low, high) = (run.out[2 * lane], run.out[2 * lane + 1]);
        [
            low as u32,
            (low >> 32) as u32,
            high as u32,
            (high >> 32) as u32,
        ]
    })
}

/// Bits of a small integer in each format.
fn bf16(x: i32) -> u32 {
    (x as f32).to_bits() >> 16
}

fn f16(x: i32) -> u32 {
    if x == 0 {
        return 0;
    }
    let magnitude = x.unsigned_abs();
    let top = magnitude.ilog2();
    let sign = if x < 0 { 0x8000 } else { 0 };
    sign | (top + 15) << 10 | (magnitude << 10 >> top) & 0x3ff
}

/// The manual's layouts: lane l has group l / 4 and place l % 4. With `packed` elements a register,
/// register r of `a` holds row group (+ 8 if r is odd) and, from r / 2 * 4 * packed on, the
/// elements packed * place and after.
fn fragments(
    depth: usize,
    packed: usize,
    a: &dyn Fn(usize, usize) -> i32,
    b: &dyn Fn(usize, usize) -> i32,
    bits: &dyn Fn(i32) -> u32,
) -> [[u32; 11]; 32] {
    let width = 32 / packed;
    std::array::from_fn(|lane| {
        let (group, place) = (lane / 4, lane % 4);
        let mut words = [0; 11];
        for (r, word) in words.iter_mut().enumerate().take(depth / (2 * packed)) {
            for part in 0..packed {
                let k = r / 2 * 4 * packed + packed * place + part;
                *word |= bits(a(group + r % 2 * 8, k)) << (width * part);
            }
        }
        for (r, word) in words[4..].iter_mut().enumerate().take(depth / (4 * packed)) {
            for part in 0..packed {
                let k = r * 4 * packed + packed * place + part;
                *word |= bits(b(k, group)) << (width * part);
            }
        }
        words
    })
}

fn integers(seed: u64, limit: i32) -> Vec<i32> {
    let mut random = Random(seed);
    let span = (2 * limit + 1) as u64;
    (0..1024)
        .map(|_| (random.next() % span) as i32 - limit)
        .collect()
}

/// Products of small integers have exact sums, whatever the order.
fn check_mma(shape: &str, types: &str, depth: usize, packed: usize, bits: &dyn Fn(i32) -> u32) {
    let (left, right) = (integers(1, 7), integers(2, 7));
    let a = |row: usize, k: usize| left[row * depth + k];
    let b = |k: usize, n: usize| right[n * depth + k];
    let half = types.starts_with("f16");
    let inputs = fragments(depth, packed, &a, &b, bits);
    let list = |first: usize, count: usize| {
        (first..first + count)
            .map(|r| format!("%r{r}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (d, c) = if half {
        ("%r20, %r21", "%r30, %r30")
    } else {
        ("%r20, %r21, %r22, %r23", "%r30, %r30, %r30, %r30")
    };
    let integer = types.starts_with("s32");
    let start = if half {
        0x4400_4400
    } else if integer {
        4
    } else {
        4f32.to_bits()
    };
    let body = format!(
        "mov.b32 %r30, {start};
         mma.sync.aligned.m16n8{shape}.row.col.{types} {{{d}}}, {{{}}}, {{{}}}, {{{c}}};",
        list(0, depth / (2 * packed)),
        list(4, depth / (4 * packed)),
    );
    let out = on_a_warp(&body, &inputs);
    for (lane, words) in out.iter().enumerate() {
        for element in 0..4 {
            let (row, n) = (lane / 4 + element / 2 * 8, lane % 4 * 2 + element % 2);
            let exact = 4 + (0..depth).map(|k| a(row, k) * b(k, n)).sum::<i32>();
            let expected = if half {
                f16(exact)
            } else if integer {
                exact as u32
            } else {
                (exact as f32).to_bits()
            };
            let found = if half {
                words[element / 2] >> (16 * (element % 2)) & 0xffff
            } else {
                words[element]
            };
            assert_eq!(
                found, expected,
                "{shape} {types} row {row} column {n}: {exact}"
            );
        }
    }
}

#[test]
fn products_of_small_integers() {
    check_mma("k16", "f32.bf16.bf16.f32", 16, 2, &bf16);
    check_mma("k8", "f32.bf16.bf16.f32", 8, 2, &bf16);
    check_mma("k16", "f32.f16.f16.f32", 16, 2, &f16);
    check_mma("k8", "f32.f16.f16.f32", 8, 2, &f16);
    check_mma("k16", "f16.f16.f16.f16", 16, 2, &f16);
    check_mma("k8", "f32.tf32.tf32.f32", 8, 1, &|x| (x as f32).to_bits());
    check_mma("k4", "f32.tf32.tf32.f32", 4, 1, &|x| (x as f32).to_bits());
    check_mma("k32", "s32.s8.s8.s32", 32, 4, &|x| u32::from(x as i8 as u8));
    check_mma("k16", "s32.s8.s8.s32", 16, 4, &|x| u32::from(x as i8 as u8));
}

/// The sum for one row and column of bf16, as bits, and a start.
fn one_sum(a: &[u32; 16], b: &[u32; 16], c: u32) -> u32 {
    sum_beside(0, a, b, c)
}

/// The same with `other` in the next row.
fn sum_beside(other: u32, a: &[u32; 16], b: &[u32; 16], c: u32) -> u32 {
    let pick = |values: &[u32; 16], r: usize, place: usize| {
        values[8 * r + 2 * place] | values[8 * r + 2 * place + 1] << 16
    };
    let inputs: [[u32; 11]; 32] = std::array::from_fn(|lane| {
        let mut words = [0; 11];
        if lane < 4 {
            words[0] = pick(a, 0, lane);
            words[2] = pick(a, 1, lane);
            words[4] = pick(b, 0, lane);
            words[5] = pick(b, 1, lane);
            words[6] = c;
        }
        if lane == 4 {
            words[0] = other;
        }
        words
    });
    let body = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r20, %r21, %r22, %r23},
        {%r0, %r1, %r2, %r3}, {%r4, %r5}, {%r6, %r7, %r8, %r9};";
    on_a_warp(body, &inputs)[0][0]
}

fn bits(x: f32) -> u32 {
    assert_eq!(x.to_bits() & 0xffff, 0, "{x} is not a bf16");
    x.to_bits() >> 16
}

/// Terms are cut 25 bits below the largest exponent, and the sum is cut to a single.
#[test]
fn sums_are_cut_not_rounded() {
    let one = bits(1.0);
    let mut a = [0; 16];
    let mut b = [one; 16];
    a[0] = one;
    // 2^-24 is half of the last bit below one, 2^-23 a whole one.
    for (small, expected) in [
        (2f32.powi(-24), 1.0),
        (2f32.powi(-23), 1.0 + 2f32.powi(-23)),
        (-(2f32.powi(-24)), 1.0 - 2f32.powi(-24)),
        (-(2f32.powi(-25)), 1.0 - 2f32.powi(-24)),
        // Below the 25 bits it is lost.
        (-(2f32.powi(-26)), 1.0),
    ] {
        a[7] = bits(small);
        assert_eq!(f32::from_bits(one_sum(&a, &b, 0)), expected, "{small:e}");
    }
    // Four quarters of a bit are a bit, but four eighths are lost one by one.
    a[1..8].fill(0);
    a[1..5].fill(bits(2f32.powi(-25)));
    assert_eq!(f32::from_bits(one_sum(&a, &b, 0)), 1.0 + 2f32.powi(-23));
    a[1..5].fill(bits(2f32.powi(-26)));
    assert_eq!(f32::from_bits(one_sum(&a, &b, 0)), 1.0);
    // Large terms that cancel leave what was not lost beside them.
    a[1..].fill(0);
    b[1] = bits(-1.0);
    a[0] = bits(2f32.powi(20));
    a[1] = a[0];
    assert_eq!(f32::from_bits(one_sum(&a, &b, 1.0f32.to_bits())), 1.0);
    a[0] = bits(2f32.powi(40));
    a[1] = a[0];
    assert_eq!(f32::from_bits(one_sum(&a, &b, 1.0f32.to_bits())), 0.0);
}

/// An infinity in one row makes the whole product take the slow way; other rows must not show it.
#[test]
fn both_ways_of_summing_agree() {
    let mut random = Random(9);
    for round in 0..40 {
        let mut number = |spread: u64| {
            let bits = random.next();
            (bits & 0x807f) as u32 | ((127 - spread / 2 + (bits >> 32) % spread) << 7) as u32
        };
        let a: [u32; 16] = std::array::from_fn(|_| number(14));
        let b: [u32; 16] = std::array::from_fn(|_| number(14));
        let c = number(20) << 16;
        let slow = sum_beside(bits(f32::INFINITY), &a, &b, c);
        assert_eq!(one_sum(&a, &b, c), slow, "round {round}");
    }
}

#[test]
fn infinities_and_nan() {
    let one = bits(1.0);
    let (mut a, mut b) = ([one; 16], [one; 16]);
    a[3] = bits(f32::INFINITY);
    assert_eq!(f32::from_bits(one_sum(&a, &b, 0)), f32::INFINITY);
    a[4] = bits(f32::NEG_INFINITY);
    assert_eq!(one_sum(&a, &b, 0), 0x7fff_ffff);
    a[4] = one;
    b[3] = 0;
    assert_eq!(one_sum(&a, &b, 0), 0x7fff_ffff);
    b[3] = one;
    assert_eq!(one_sum(&a, &b, f32::NEG_INFINITY.to_bits()), 0x7fff_ffff);
    a[3] = one;
    assert_eq!(one_sum(&a, &b, f32::NAN.to_bits()), 0x7fff_ffff);
}

#[test]
fn matrices_move_through_shared_memory() {
    // Matrix m, row i, column j holds 1000 m + 10 i + j; rows lie 48 bytes apart.
    let element = |m: usize, i: usize, j: usize| (1000 * m + 10 * i + j) as u32;
    let mut inputs = [[0; 11]; 32];
    for (lane, words) in inputs.iter_mut().enumerate() {
        for (pair, word) in words.iter_mut().enumerate().take(4) {
            let at = |j| element(lane / 8, lane % 8, j);
            *word = at(2 * pair) | at(2 * pair + 1) << 16;
        }
    }
    let load = |operation: &str| {
        let body = format!(
            ".shared .align 16 .b8 s[1536];
             mov.u32 %r11, s;
             mad.lo.u32 %r12, %i, 48, %r11;
             st.shared.v4.u32 [%r12], {{%r0, %r1, %r2, %r3}};
             bar.warp.sync -1;
             {operation}"
        );
        on_a_warp(&body, &inputs)
    };
    let plain = load("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r20, %r21, %r22, %r23}, [%r12];");
    let turned =
        load("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r20, %r21, %r22, %r23}, [%r12];");
    let twice = load(
        "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r4, %r5}, [%r12];
         movmatrix.sync.aligned.m8n8.trans.b16 %r20, %r4;
         mad.lo.u32 %r13, %i, -32, %r12;
         bar.warp.sync -1;
         stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r13], {%r5, %r4};
         bar.warp.sync -1;
         setp.lt.u32 %p0, %i, 16;
         @%p0 ld.shared.u32 %r21, [%r13];",
    );
    for lane in 0..32 {
        let (i, j) = (lane / 4, lane % 4 * 2);
        for m in 0..4 {
            assert_eq!(
                plain[lane][m],
                element(m, i, j) | element(m, i, j + 1) << 16
            );
            assert_eq!(
                turned[lane][m],
                element(m, j, i) | element(m, j + 1, i) << 16
            );
        }
        assert_eq!(
            twice[lane][0],
            element(0, j, i) | element(0, j + 1, i) << 16
        );
    }
    for i in 0..8 {
        assert_eq!(
            twice[i][1],
            element(1, i, 0) | element(1, i, 1) << 16,
            "row {i}"
        );
        assert_eq!(
            twice[8 + i][1],
            element(0, i, 0) | element(0, i, 1) << 16,
            "row {i}"
        );
    }
}

#[test]
fn copies_arrive_when_they_are_waited_for() {
    let outer = ".global .align 16 .u32 source[4] = {1, 2, 3, 4};";
    let body = "
        .shared .align 16 .b8 s[64];
        mov.u32 %r0, s;
        mov.u64 %rd0, source;
        st.shared.u32 [%r0], 9;
        st.shared.u32 [%r0+28], 9;
        cp.async.cg.shared.global [%r0], [%rd0], 16;
        cp.async.commit_group;
        cp.async.ca.shared.global [%r0+24], [%rd0], 8, 4;
        cp.async.commit_group;
        ld.shared.u32 %r1, [%r0];        // 9: nothing was waited for
        cp.async.wait_group 1;
        ld.shared.u32 %r2, [%r0];        // 1
        ld.shared.u32 %r3, [%r0+28];     // 9
        cp.async.wait_all;
        ld.shared.u32 %r4, [%r0+24];     // 1
        ld.shared.u32 %r5, [%r0+28];     // 0: only four bytes were read
        mad.lo.u32 %r1, %r1, 10, %r2;
        mad.lo.u32 %r1, %r1, 10, %r3;
        mad.lo.u32 %r1, %r1, 10, %r4;
        mad.lo.u32 %r1, %r1, 10, %r5;
        cvt.u64.u32 %rd1, %r1;
        st.global.u64 [%mine], %rd1;";
    // Checks would find that it looks too early.
    let run = run_unchecked(body, outer);
    run.result.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(run.out, [91_910]);
}

#[test]
fn atomics() {
    let outer = ".global .align 8 .u64 cells[8];";
    let body = "
        .shared .align 4 .b8 s[4];
        mov.u32 %r0, s;
        mov.u64 %rd0, cells;
        setp.eq.u32 %p1, %i, 0;
        @%p1 st.shared.u32 [%r0], 0;
        bar.sync 0;
        atom.global.add.u32 %r1, [%rd0], 1;
        red.global.add.f32 [%rd0+8], 0f3F800000;
        red.global.max.s32 [%rd0+16], %i;
        atom.shared.inc.u32 %r2, [%r0], 9;
        mov.u32 %r3, 0x3F803F80;
        red.global.add.noftz.bf16x2 [%rd0+24], %r3;
        atom.global.cas.b64 %rd2, [%rd0+32], 0, 5;
        red.relaxed.gpu.global.or.b32 [%rd0+40], 3;
        atom.add.f64 %fd0, [%rd0+48], 0d3FF0000000000000;
        bar.sync 0;
        setp.ne.u32 %p0, %i, 0;
        @%p0 ret;
        ld.shared.u32 %r4, [%r0];
        st.global.u32 [%out], %r4;
        ld.volatile.global.u64 %rd1, [%rd0]; st.global.u64 [%out+8], %rd1;
        ld.volatile.global.u64 %rd1, [%rd0+8]; st.global.u64 [%out+16], %rd1;
        ld.volatile.global.u64 %rd1, [%rd0+16]; st.global.u64 [%out+24], %rd1;
        ld.volatile.global.u64 %rd1, [%rd0+24]; st.global.u64 [%out+32], %rd1;
        ld.volatile.global.u64 %rd1, [%rd0+32]; st.global.u64 [%out+40], %rd1;
        ld.volatile.global.u64 %rd1, [%rd0+40]; st.global.u64 [%out+48], %rd1;
        ld.volatile.global.u64 %rd1, [%rd0+48]; st.global.u64 [%out+56], %rd1;";
    let run = run_with(body, outer, 1, 64, 8, 0);
    run.result.unwrap_or_else(|fault| panic!("{fault}"));
    // `inc` wraps after 9: 64 steps leave 4.
    let expected = [
        4,
        64,
        64f32.to_bits().into(),
        63,
        0x4280_4280,
        5,
        3,
        64f64.to_bits(),
    ];
    assert_eq!(run.out, expected);
    // Blocks in parallel lose nothing.
    let body = "mov.u64 %rd0, cells; atom.global.add.f32 %f0, [%rd0], 0f3F800000;
        ld.volatile.global.u32 %r0, [%rd0]; atom.global.max.u32 %r1, [%out], %r0;";
    let run = run_with(body, outer, 200, 64, 1, 0);
    run.result.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(run.out[0], u64::from(12_800f32.to_bits()));
}
