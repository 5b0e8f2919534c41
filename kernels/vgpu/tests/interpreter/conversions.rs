//! Conversions between floats of all widths, and to and from integers.

use crate::floats::{canonical, check, edges, single};
use crate::support::{Random, apply};

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
    // NaN becomes 0 in 32 bits and less.
    integer("cvt.rmi.s64.f32 %wd, %a;", &|a| {
        if a.is_nan() {
            1 << 63
        } else {
            a.floor() as i64 as u64
        }
    });
    integer("cvt.rzi.u8.f32 %hd, %a;", &|a| (a as u8).into());
    integer("cvt.rpi.u32.f32 %d, %a;", &|a| (a.ceil() as u32).into());
    // A NaN keeps its sign and payload, but for its quiet bit.
    integer("cvt.f64.f32 %wd, %a;", &|a| {
        let bits = u64::from(a.to_bits());
        if a.is_nan() {
            (bits >> 31) << 63 | 0x7ff8 << 48 | (bits & 0x3f_ffff) << 29
        } else {
            f64::from(a).to_bits()
        }
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

/// The value of a code of 8 bits with `fraction` bits of fraction, by its fields.
fn small(code: u64, fraction: u32, bias: i32) -> f64 {
    let exponent = (code as i32 & 0x7f) >> fraction;
    let bits = f64::from(code as u32 & ((1 << fraction) - 1)) / f64::from(1 << fraction);
    let size = match exponent {
        0 => bits * 2f64.powi(1 - bias),
        _ => (1.0 + bits) * 2f64.powi(exponent - bias),
    };
    if code & 0x80 != 0 { -size } else { size }
}

/// Every 8-bit float widens to the value that its fields say, and narrows to itself.
#[test]
fn eight_bits() {
    let rows: Vec<[u64; 3]> = (0..256).map(|code| [code, 0, 0]).collect();
    for (ty, fraction, bias, infinite) in [("e4m3x2", 3, 7, 0x7f), ("e5m2x2", 2, 15, 0x7c)] {
        let wide = "mov.b32 {%hb, %hc}, %d; cvt.f32.f16 %d, %hb;";
        let wide = apply(&format!("cvt.rn.f16x2.{ty} %d, %ha; {wide}"), &rows);
        let back = format!("cvt.rn.f16x2.{ty} %d, %ha; cvt.rn.satfinite.{ty}.f16x2 %hd, %d;");
        let back = apply(&back, &rows);
        for (code, (wide, back)) in (0..256).zip(wide.into_iter().zip(back)) {
            let back = back & 0xff;
            match code & 0x7f {
                size if size < infinite => {
                    assert_eq!(
                        f64::from(single(wide)),
                        small(code, fraction, bias),
                        "{code:#x}"
                    );
                    assert_eq!(back, code);
                }
                // Of e5m2 alone; narrowing gives the largest number.
                0x7c => {
                    assert!(single(wide).is_infinite(), "{code:#x}");
                    assert_eq!(back, code - 1);
                }
                _ => {
                    assert!(single(wide).is_nan(), "{code:#x}");
                    assert_eq!(back, 0x7f);
                }
            }
        }
    }
    // Between two codes the nearer one is taken, of two as near the even one.
    let narrow = |x: f32, ty: &str| {
        let rows = [[x.to_bits().into(), 1f32.to_bits().into(), 0]];
        apply(&format!("cvt.rn.satfinite.{ty}.f32 %hd, %a, %b;"), &rows)[0]
    };
    assert_eq!(narrow(1.0625, "e4m3x2"), 0x3838);
    assert_eq!(narrow(1.0626, "e4m3x2"), 0x3938);
    assert_eq!(narrow(-1e9, "e4m3x2"), 0xfe38);
    assert_eq!(narrow(2f32.powi(-10), "e4m3x2"), 0x0038);
    assert_eq!(narrow(1.5 * 2f32.powi(-10), "e4m3x2"), 0x0138);
    assert_eq!(narrow(1e9, "e5m2x2"), 0x7b3c);
    assert_eq!(narrow(1.125, "e5m2x2"), 0x3c3c);
}
