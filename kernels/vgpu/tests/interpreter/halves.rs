//! Half-precision arithmetic and comparisons.

use crate::support::{Random, apply};

#[test]
fn half_arithmetic() {
    let mut random = Random(7);
    let rows: Vec<[u64; 3]> = (0..4000)
        .map(|_| {
            let mut half = || random.next() & 0x8fff | 0x3000;
            [half(), half(), half()]
        })
        .collect();
    // Values near one: sums and products are exact in a single, and one rounding follows.
    let wide = |x: u64| -> f64 {
        let magnitude = (1024.0 + (x & 0x3ff) as f64) * 2f64.powi((x >> 10 & 31) as i32 - 25);
        if x & 0x8000 != 0 {
            -magnitude
        } else {
            magnitude
        }
    };
    let narrow = |x: f64| {
        let single = x as f32;
        assert_eq!(f64::from(single), x);
        apply(
            "cvt.rn.f16.f32 %hd, %a;",
            &[[single.to_bits().into(), 0, 0]],
        )[0]
    };
    let sums = apply("add.f16 %hd, %ha, %hb;", &rows);
    let products = apply("mul.rn.f16 %hd, %ha, %hb;", &rows);
    for (i, row) in rows.iter().enumerate().step_by(97) {
        let [a, b, _] = row.map(wide);
        assert_eq!(products[i], narrow(a * b), "{a} * {b}");
        if a + b != 0.0 {
            assert_eq!(sums[i], narrow(a + b), "{a} + {b}");
        }
    }
    // Pairs do the same to both halves.
    let pair = "mov.b32 %a, {%ha, %hb}; mov.b32 %b, {%hb, %hc}; fma.rn.f16x2 %d, %a, %b, %a;";
    let apart = "fma.rn.f16 %hd, %hb, %hc, %hb;";
    for (pair, high) in apply(pair, &rows).iter().zip(apply(apart, &rows)) {
        assert_eq!(pair >> 16, high);
    }
    // Packing puts the first operand on top.
    let rows = [[1f32.to_bits().into(), 2f32.to_bits().into(), 0]];
    assert_eq!(
        apply("cvt.rn.bf16x2.f32 %d, %a, %b;", &rows)[0],
        0x3f80_4000
    );
    assert_eq!(apply("cvt.rn.f16x2.f32 %d, %a, %b;", &rows)[0], 0x3c00_4000);
    let rows = [
        [0x3f80_1fff, 0, 0],
        [0x3f80_1000, 0, 0],
        [0x3f80_0fff, 0, 0],
    ];
    assert_eq!(
        apply("cvt.rna.tf32.f32 %d, %a;", &rows),
        [0x3f80_2000, 0x3f80_2000, 0x3f80_0000]
    );
}

/// Flushing asks how a result would be rounded if its exponent had no end.
#[test]
fn subnormal_results() {
    let one = |instruction: &str, [a, b, c]: [u64; 3]| apply(instruction, &[[a, b, c]])[0];
    // (1 - 2^-11) 2^-14 has 11 bits and stays below the normal numbers.
    assert_eq!(
        one("mul.rn.f16 %hd, %ha, %hb;", [0x3bff, 0x0400, 0]),
        0x0400
    );
    assert_eq!(one("mul.rn.ftz.f16 %hd, %ha, %hb;", [0x3bff, 0x0400, 0]), 0);
    // 2^-14 - 2^-28 becomes 2^-14.
    let near = [0x0400, 0x8400, 0x0400];
    assert_eq!(one("fma.rn.ftz.f16 %hd, %ha, %hb, %hc;", near), 0x0400);
    assert_eq!(
        one("mul.rn.ftz.f32 %d, %a, %b;", [0x3f7f_ffff, 0x0080_0000, 0]),
        0
    );
    let near = [0x0080_0000, 0x8080_0000, 0x0080_0000];
    assert_eq!(one("fma.rn.ftz.f32 %d, %a, %b, %c;", near), 0x0080_0000);
    assert_eq!(one("fma.rp.ftz.f32 %d, %a, %b, %c;", near), 0x0080_0000);
    assert_eq!(one("fma.rz.ftz.f32 %d, %a, %b, %c;", near), 0);
}

/// Halves of pairs are compared apart.
#[test]
fn comparisons_of_pairs() {
    let (one, two, nan) = (0x3c00, 0x4000, 0x7e00);
    let pair = |low: u64, high: u64| high << 16 | low;
    let rows = [
        [pair(one, two), pair(two, one), 0],
        [pair(two, one), pair(one, two), 0],
        [pair(nan, one), pair(one, one), 0],
    ];
    let less = "setp.lt.f16x2 %p|%q, %a, %b; selp.u32 %c, 1, 0, %p; selp.u32 %d, 2, 0, %q;
        or.b32 %d, %d, %c;";
    assert_eq!(apply(less, &rows), [1, 2, 0]);
    // The joined predicate is read before either result is written.
    let joined = "setp.ne.u32 %p, %a, 0; setp.geu.and.f16x2 %p|%q, %a, %b, %p;
        selp.u32 %c, 1, 0, %p; selp.u32 %d, 2, 0, %q; or.b32 %d, %d, %c;";
    assert_eq!(apply(joined, &rows), [2, 1, 3]);
    let set = "set.le.f16x2.f16x2 %d, %a, %b;";
    assert_eq!(
        apply(set, &rows),
        [pair(one, 0), pair(0, one), pair(0, one)]
    );
    assert_eq!(
        apply("set.num.u16.f16 %hd, %ha, %hb;", &rows),
        [0xffff, 0xffff, 0]
    );
    let brains = [[0x3f80_3f80, 0x3f80_4000, 0]];
    assert_eq!(
        apply("set.eq.bf16x2.bf16x2 %d, %a, %b;", &brains),
        [0x3f80_0000]
    );
}
