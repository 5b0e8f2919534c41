//! Floating-point instructions. Rounding is checked by what it means, with exact integers: the
//! result must be the neighbour of the exact value that the mode asks for.

use crate::support::{Random, apply, triples};

const NAN: u64 = 0x7fff_ffff;

fn edges() -> Vec<[u64; 3]> {
    let values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1.5,
        3.0,
        1e-40,
        -1e-40,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::EPSILON,
        16_777_216.0,
        0.1,
        -2.5,
    ];
    let mut rows = triples(&values.map(|x: f32| u64::from(x.to_bits())));
    let mut random = Random(2);
    let mut bits = || u64::from(random.next() as u32);
    rows.extend((0..3000).map(|_| [bits(), bits(), bits()]));
    rows
}

/// Singles between 2^-6 and 2^6, of either sign.
fn moderate() -> Vec<[u64; 3]> {
    let mut random = Random(3);
    let mut one = || {
        let bits = random.next();
        let exponent = 127 - 6 + (bits >> 40) % 12;
        bits & 0x807f_ffff | exponent << 23
    };
    (0..4000).map(|_| [one(), one(), one()]).collect()
}

fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

/// A result's bits, with the one NaN that instructions give.
fn canonical(x: f32) -> u64 {
    if x.is_nan() { NAN } else { x.to_bits().into() }
}

fn check(instruction: &str, expected: impl Fn(f32, f32, f32) -> f32) {
    let rows = edges();
    for (&row, found) in rows.iter().zip(apply(instruction, &rows)) {
        let [a, b, c] = row.map(single);
        let expected = canonical(expected(a, b, c));
        assert_eq!(
            found,
            expected,
            "{instruction} of {a:e}, {b:e}, {c:e}: {:e}",
            single(found)
        );
    }
}

fn flush(x: f32) -> f32 {
    if x.is_subnormal() {
        0.0f32.copysign(x)
    } else {
        x
    }
}

#[test]
fn nearest() {
    check("add.rn.f32 %d, %a, %b;", |a, b, _| a + b);
    check("sub.f32 %d, %a, %b;", |a, b, _| a - b);
    check("mul.f32 %d, %a, %b;", |a, b, _| a * b);
    check("fma.rn.f32 %d, %a, %b, %c;", f32::mul_add);
    check("div.rn.f32 %d, %a, %b;", |a, b, _| a / b);
    check("sqrt.rn.f32 %d, %a;", |a, _, _| a.sqrt());
    check("rcp.rn.f32 %d, %a;", |a, _, _| 1.0 / a);
}

#[test]
fn flushing_and_clamping() {
    check("add.ftz.f32 %d, %a, %b;", |a, b, _| {
        flush(flush(a) + flush(b))
    });
    check("mul.rn.ftz.f32 %d, %a, %b;", |a, b, _| {
        flush(flush(a) * flush(b))
    });
    check("fma.rn.sat.f32 %d, %a, %b, %c;", |a, b, c| {
        let x = a.mul_add(b, c);
        if x.is_nan() {
            0.0
        } else {
            x.clamp(0.0, 1.0).abs()
        }
    });
    check("cvt.sat.f32.f32 %d, %a;", |a, _, _| {
        if a > 0.0 { a.min(1.0) } else { 0.0 }
    });
}

/// A value as an integer multiple of 2^-72.
fn fixed(x: f32) -> i128 {
    let bits = x.to_bits();
    let significand = i128::from(bits & 0x7f_ffff | 0x80_0000);
    let shift = (bits >> 23) as u8 as i32 - 127 - 23 + 72;
    let magnitude = if shift < 0 {
        significand >> -shift
    } else {
        significand << shift
    };
    if x == 0.0 {
        0
    } else if x < 0.0 {
        -magnitude
    } else {
        magnitude
    }
}

/// The same in multiples of 2^-36, which is exact for the inputs and the roots.
fn half_fixed(x: f32) -> i128 {
    fixed(x) >> 36
}

/// Whether `r` is what rounding in `mode` makes of the exact value, which `compare` compares to a
/// single: the order of a candidate relative to the exact value.
fn is_rounded(r: f32, mode: &str, compare: impl Fn(f32) -> std::cmp::Ordering) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match (mode, compare(r)) {
        (_, Equal) => true,
        ("rm", side) => side == Less && compare(r.next_up()) == Greater,
        ("rp", side) => side == Greater && compare(r.next_down()) == Less,
        (_, side) => {
            let inward = if r > 0.0 { Less } else { Greater };
            let outward = if r > 0.0 { r.next_up() } else { r.next_down() };
            side == inward && compare(outward) == inward.reverse()
        }
    }
}

#[test]
fn directed_sums_and_products() {
    let rows = moderate();
    for mode in ["rz", "rm", "rp"] {
        let sums = apply(&format!("add.{mode}.f32 %d, %a, %b;"), &rows);
        let differences = apply(&format!("sub.{mode}.f32 %d, %a, %b;"), &rows);
        let products = apply(&format!("mul.{mode}.f32 %d, %a, %b;"), &rows);
        for (i, row) in rows.iter().enumerate() {
            let [a, b, _] = row.map(single);
            let exact = |value: i128| move |r: f32| fixed(r).cmp(&value);
            assert!(
                is_rounded(single(sums[i]), mode, exact(fixed(a) + fixed(b))),
                "{a} + {b}"
            );
            let difference = fixed(a) - fixed(b);
            assert!(
                is_rounded(single(differences[i]), mode, exact(difference)),
                "{a} - {b}"
            );
            let product = half_fixed(a) * half_fixed(b);
            assert!(
                is_rounded(single(products[i]), mode, exact(product)),
                "{a} * {b} {mode}"
            );
        }
    }
}

#[test]
fn directed_fma_quotients_and_roots() {
    let rows = moderate();
    for mode in ["rz", "rm", "rp"] {
        let sums = apply(&format!("fma.{mode}.f32 %d, %a, %b, %c;"), &rows);
        let quotients = apply(&format!("div.{mode}.f32 %d, %a, %b;"), &rows);
        let roots = apply(&format!("abs.f32 %d, %a; sqrt.{mode}.f32 %d, %d;"), &rows);
        for (i, row) in rows.iter().enumerate() {
            let [a, b, c] = row.map(single);
            let value = half_fixed(a) * half_fixed(b) + fixed(c);
            let exact = |r: f32| fixed(r).cmp(&value);
            assert!(
                is_rounded(single(sums[i]), mode, exact),
                "{a} * {b} + {c} {mode}"
            );
            // r against a / b: r b against a, turned where b is negative.
            let exact = |r: f32| {
                let order = (fixed(r) * half_fixed(b)).cmp(&(fixed(a) << 36));
                if b < 0.0 { order.reverse() } else { order }
            };
            assert!(
                is_rounded(single(quotients[i]), mode, exact),
                "{a} / {b} {mode}"
            );
            let exact = |r: f32| (half_fixed(r) * half_fixed(r)).cmp(&fixed(a.abs()));
            assert!(is_rounded(single(roots[i]), mode, exact), "sqrt {a} {mode}");
        }
    }
}

#[test]
fn directed_edges() {
    let one = |instruction: &str, a: f32, b: f32| {
        single(apply(instruction, &[[a.to_bits().into(), b.to_bits().into(), 0]])[0])
    };
    assert_eq!(one("add.rz.f32 %d, %a, %b;", f32::MAX, f32::MAX), f32::MAX);
    assert_eq!(one("add.rp.f32 %d, %a, %b;", f32::MAX, 1.0), f32::INFINITY);
    assert_eq!(one("add.rm.f32 %d, %a, %b;", f32::MAX, 1.0), f32::MAX);
    assert_eq!(one("add.rp.f32 %d, %a, %b;", -f32::MAX, -1.0), -f32::MAX);
    // An exact zero is negative only when rounding down.
    assert!(one("add.rm.f32 %d, %a, %b;", 1.0, -1.0).is_sign_negative());
    assert!(one("add.rp.f32 %d, %a, %b;", 1.0, -1.0).is_sign_positive());
    let tiny = f32::from_bits(1);
    assert_eq!(one("mul.rp.f32 %d, %a, %b;", tiny, tiny), tiny);
    assert_eq!(one("mul.rz.f32 %d, %a, %b;", tiny, tiny), 0.0);
    assert_eq!(
        one("add.rz.f32 %d, %a, %b;", 1.0, -1e-30),
        1.0f32.next_down()
    );
}

#[test]
fn doubles() {
    let mut random = Random(4);
    let mut one = || {
        let bits = random.next();
        bits & 0x800f_ffff_ffff_ffff | (1023 - 20 + (bits >> 54) % 40) << 52
    };
    let rows: Vec<[u64; 3]> = (0..2000).map(|_| [one(), one(), one()]).collect();
    let check = |instruction: &str, expected: &dyn Fn(f64, f64, f64) -> f64| {
        for (row, found) in rows.iter().zip(apply(instruction, &rows)) {
            let [a, b, c] = row.map(f64::from_bits);
            assert_eq!(
                found,
                expected(a, b, c).to_bits(),
                "{instruction} of {a} {b} {c}"
            );
        }
    };
    check("add.f64 %wd, %wa, %wb;", &|a, b, _| a + b);
    check("fma.rn.f64 %wd, %wa, %wb, %wc;", &|a, b, c| a.mul_add(b, c));
    check("div.rn.f64 %wd, %wa, %wb;", &|a, b, _| a / b);
    check("neg.f64 %wd, %wa; sqrt.rn.f64 %wd, %wb;", &|_, b, _| {
        let root = b.sqrt();
        if root.is_nan() {
            f64::from_bits(apply("sqrt.rn.f64 %wd, %wa;", &[[b.to_bits(), 0, 0]])[0])
        } else {
            root
        }
    });
    // Down and up enclose the exact value: they differ by one step unless it is exact.
    for operation in ["add", "mul", "div"] {
        let low = apply(&format!("{operation}.rm.f64 %wd, %wa, %wb;"), &rows);
        let high = apply(&format!("{operation}.rp.f64 %wd, %wa, %wb;"), &rows);
        let near = apply(&format!("{operation}.rn.f64 %wd, %wa, %wb;"), &rows);
        for i in 0..rows.len() {
            let [low, high, near] = [low[i], high[i], near[i]].map(f64::from_bits);
            assert!(
                low == high || low.next_up() == high,
                "{operation} {low} {high}"
            );
            assert!(near == low || near == high, "{operation} {near}");
        }
    }
}

#[test]
fn extremes() {
    check("min.f32 %d, %a, %b;", |a, b, _| {
        if a == 0.0 && b == 0.0 && a.is_sign_negative() != b.is_sign_negative() {
            -0.0
        } else {
            a.min(b)
        }
    });
    check("max.NaN.f32 %d, %a, %b;", |a, b, _| {
        if a.is_nan() || b.is_nan() {
            f32::NAN
        } else if a == 0.0 && b == 0.0 && a.is_sign_negative() != b.is_sign_negative() {
            0.0
        } else {
            a.max(b)
        }
    });
}

#[test]
fn comparisons_with_nan() {
    let check = |instruction: &str, expected: &dyn Fn(f32, f32) -> bool| {
        let rows = edges();
        for (row, found) in rows.iter().zip(apply(instruction, &rows)) {
            let [a, b, _] = row.map(single);
            assert_eq!(
                found,
                expected(a, b).into(),
                "{instruction} of {a:e}, {b:e}"
            );
        }
    };
    let unordered = |a: f32, b: f32| a.is_nan() || b.is_nan();
    check("setp.lt.f32 %p, %a, %b;", &|a, b| a < b);
    check("setp.ge.f32 %p, %a, %b;", &|a, b| a >= b);
    check("setp.ne.f32 %p, %a, %b;", &|a, b| {
        !unordered(a, b) && a != b
    });
    check("setp.neu.f32 %p, %a, %b;", &|a, b| a != b);
    check("setp.equ.f32 %p, %a, %b;", &|a, b| {
        unordered(a, b) || a == b
    });
    check("setp.gtu.f32 %p, %a, %b;", &|a, b| unordered(a, b) || a > b);
    check("setp.leu.f32 %p, %a, %b;", &|a, b| {
        unordered(a, b) || a <= b
    });
    check("setp.nan.f32 %p, %a, %b;", &unordered);
    check("setp.num.f32 %p, %a, %b;", &|a, b| !unordered(a, b));
    check("setp.eq.ftz.f32 %p, %a, %b;", &|a, b| flush(a) == flush(b));
}

#[test]
fn conversions() {
    check("cvt.rni.f32.f32 %d, %a;", |a, _, _| a.round_ties_even());
    check("cvt.rzi.f32.f32 %d, %a;", |a, _, _| a.trunc());
    let rows = edges();
    let integer = |instruction: &str, expected: &dyn Fn(f32) -> u64| {
        for (row, found) in rows.iter().zip(apply(instruction, &rows)) {
            let a = single(row[0]);
            assert_eq!(found, expected(a), "{instruction} of {a:e}");
        }
    };
    integer("cvt.rni.s32.f32 %d, %a;", &|a| {
        (a.round_ties_even() as i32 as u32).into()
    });
    integer("cvt.rmi.s64.f32 %wd, %a;", &|a| a.floor() as i64 as u64);
    integer("cvt.rzi.u8.f32 %hd, %a;", &|a| (a as u8).into());
    integer("cvt.rpi.u32.f32 %d, %a;", &|a| (a.ceil() as u32).into());
    integer("cvt.f64.f32 %wd, %a;", &|a| {
        if a.is_nan() {
            0
        } else {
            f64::from(a).to_bits()
        }
        .max(if a.is_nan() {
            apply("cvt.f64.f32 %wd, %a;", &[[a.to_bits().into(), 0, 0]])[0]
        } else {
            0
        })
    });
    let from = |instruction: &str, expected: &dyn Fn(u64) -> f32| {
        let mut random = Random(5);
        let rows: Vec<[u64; 3]> = (0..500)
            .map(|i| [random.next() >> (i % 64), 0, 0])
            .collect();
        for (row, found) in rows.iter().zip(apply(instruction, &rows)) {
            assert_eq!(
                found,
                canonical(expected(row[0])),
                "{instruction} of {:#x}",
                row[0]
            );
        }
    };
    from("cvt.rn.f32.s32 %d, %a;", &|x| x as u32 as i32 as f32);
    from("cvt.rn.f32.u64 %d, %wa;", &|x| x as f32);
    from("cvt.rz.f32.u64 %d, %wa;", &|x| {
        let cut = 64 - x.leading_zeros();
        if cut > 24 {
            (x >> (cut - 24) << (cut - 24)) as f32
        } else {
            x as f32
        }
    });
}

/// Every f16 widens and narrows to itself, and to the value that its fields say.
#[test]
fn all_halves() {
    let rows: Vec<[u64; 3]> = (0..0x1_0000).map(|x| [x, 0, 0]).collect();
    let wide = apply("cvt.f32.f16 %d, %ha;", &rows);
    let back = apply("cvt.f32.f16 %d, %ha; cvt.rn.f16.f32 %hd, %d;", &rows);
    let brain = apply("cvt.f32.bf16 %d, %ha; cvt.rn.bf16.f32 %hd, %d;", &rows);
    for x in 0..0x1_0000u64 {
        let (exponent, fraction) = (x >> 10 & 31, (x & 0x3ff) as f64);
        let magnitude = match exponent {
            0 => fraction * 2f64.powi(-24),
            31 if x & 0x3ff == 0 => f64::INFINITY,
            31 => f64::NAN,
            e => (1024.0 + fraction) * 2f64.powi(e as i32 - 25),
        };
        let value = if x & 0x8000 != 0 {
            -magnitude
        } else {
            magnitude
        };
        assert_eq!(wide[x as usize], canonical(value as f32), "{x:#x}");
        assert_eq!(
            back[x as usize],
            if value.is_nan() { 0x7fff } else { x },
            "{x:#x}"
        );
        let nan = x & 0x7f80 == 0x7f80 && x & 0x7f != 0;
        assert_eq!(brain[x as usize], if nan { 0x7fff } else { x }, "{x:#x}");
    }
}

/// Narrowing to f16 and bf16: the neighbour that the mode asks for, found by search.
#[test]
fn narrowing() {
    let half = |bits: u16| -> f64 {
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
        let magnitude = match exponent {
            0 => fraction * 2f64.powi(-24),
            e => (1024.0 + fraction) * 2f64.powi(e - 25),
        };
        if bits & 0x8000 != 0 {
            -magnitude
        } else {
            magnitude
        }
    };
    let brain = |bits: u16| f64::from(f32::from_bits(u32::from(bits) << 16));
    let mut random = Random(6);
    let mut near_half = || {
        u64::from((half((random.next() & 0xfbff) as u16) as f32).to_bits())
            .wrapping_add(random.next() % 0x4000)
            .wrapping_sub(0x2000)
            & 0xffff_ffff
    };
    let mut rows: Vec<[u64; 3]> = (0..6000).map(|_| [near_half(), 0, 0]).collect();
    for x in [
        65504.0f32,
        65519.9,
        65520.0,
        65536.0,
        1e9,
        2f32.powi(-25),
        2f32.powi(-26),
        1e-10,
        6e-8,
    ] {
        rows.push([x.to_bits().into(), 0, 0]);
        rows.push([(-x).to_bits().into(), 0, 0]);
    }
    rows.retain(|row| single(row[0]).is_finite());
    // Toward zero is enough of the directed modes to find the two neighbours.
    let check = |ty: &str, value: &dyn Fn(u16) -> f64, largest: u16| {
        let near = apply(&format!("cvt.rn.{ty}.f32 %hd, %a;"), &rows);
        let zero = apply(&format!("cvt.rz.{ty}.f32 %hd, %a;"), &rows);
        for (i, row) in rows.iter().enumerate() {
            let x = f64::from(single(row[0]));
            let (near, zero) = (near[i] as u16, zero[i] as u16);
            assert_eq!(zero & 0x8000 != 0, x.is_sign_negative());
            assert!(value(zero).abs() <= x.abs(), "{ty} {x:e} {zero:#x}");
            let outward = zero + 1;
            let beyond = zero & 0x7fff == largest;
            assert!(
                beyond || value(outward).abs() > x.abs(),
                "{ty} {x:e} {zero:#x}"
            );
            let (below, above) = (
                value(zero).abs(),
                if beyond {
                    2.0 * value(zero).abs() - value(zero - 1).abs()
                } else {
                    value(outward).abs()
                },
            );
            let (down, up) = (x.abs() - below, above - x.abs());
            let expected = if down < up || (down == up && zero & 1 == 0) {
                zero
            } else {
                outward
            };
            assert_eq!(
                near, expected,
                "{ty} {x:e}: between {below:e} and {above:e}"
            );
        }
    };
    check("f16", &half, 0x7bff);
    check("bf16", &brain, 0x7f7f);
}

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

/// Approximations stay within the errors that the manual gives, against doubles.
#[test]
fn approximations() {
    let rows: Vec<[u64; 3]> = moderate();
    let check = |instruction: &str, expected: &dyn Fn(f64) -> f64, absolute: f64, relative: f64| {
        for (row, found) in rows.iter().zip(apply(instruction, &rows)) {
            let (a, found) = (f64::from(single(row[0])), f64::from(single(found)));
            let expected = expected(a);
            if expected.is_nan() {
                assert!(found.is_nan(), "{instruction} of {a}");
            } else if expected.abs() < f64::from(f32::MAX) && expected.abs() > 1e-37 {
                let error = (found - expected).abs();
                let limit = absolute.max(relative * expected.abs());
                assert!(error <= limit, "{instruction} of {a}: {found} {expected}");
            }
        }
    };
    let two = 2f64;
    check(
        "ex2.approx.ftz.f32 %d, %a;",
        &|a| a.exp2(),
        0.0,
        two.powi(-22),
    );
    check(
        "lg2.approx.f32 %d, %a;",
        &|a| if a < 0.0 { f64::NAN } else { a.log2() },
        two.powi(-22),
        0.0_f64.max(two.powi(-23)),
    );
    check(
        "rsqrt.approx.f32 %d, %a;",
        &|a| 1.0 / a.sqrt(),
        0.0,
        two.powi(-22),
    );
    check("sqrt.approx.f32 %d, %a;", &f64::sqrt, 0.0, two.powi(-22));
    check(
        "rcp.approx.ftz.f32 %d, %a;",
        &|a| 1.0 / a,
        0.0,
        two.powi(-22),
    );
    check("tanh.approx.f32 %d, %a;", &f64::tanh, 0.0, two.powi(-10));
    check("sin.approx.f32 %d, %a;", &f64::sin, two.powi(-20), 0.0);
    check("cos.approx.f32 %d, %a;", &f64::cos, two.powi(-20), 0.0);
    let special = [0f32, -0.0, f32::INFINITY, f32::NEG_INFINITY, 200.0, -200.0];
    let rows = special.map(|x| [u64::from(x.to_bits()), 0, 0]);
    let found: Vec<f32> = apply("ex2.approx.f32 %d, %a;", &rows)
        .into_iter()
        .map(single)
        .collect();
    assert_eq!(found, [1.0, 1.0, f32::INFINITY, 0.0, f32::INFINITY, 0.0]);
    let found: Vec<f32> = apply("lg2.approx.f32 %d, %a;", &rows[..3])
        .into_iter()
        .map(single)
        .collect();
    assert_eq!(found, [f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY]);
}
