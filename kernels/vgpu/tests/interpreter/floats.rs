//! Floating-point instructions. Rounding is checked by what it means, with exact integers: the
//! result must be the neighbour of the exact value that the mode asks for.

use crate::support::{Random, apply, triples};

const NAN: u64 = 0x7fff_ffff;

pub(crate) fn edges() -> Vec<[u64; 3]> {
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

pub(crate) fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

/// A result's bits, with the one NaN that instructions give.
pub(crate) fn canonical(x: f32) -> u64 {
    if x.is_nan() { NAN } else { x.to_bits().into() }
}

pub(crate) fn check(instruction: &str, expected: impl Fn(f32, f32, f32) -> f32) {
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
                u64::from(expected(a, b)),
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
        two.powi(-22),
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
    check("sin.approx.f32 %d, %a;", &f64::sin, two.powf(-14.7), 0.0);
    check("cos.approx.f32 %d, %a;", &f64::cos, two.powf(-14.7), 0.0);
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
