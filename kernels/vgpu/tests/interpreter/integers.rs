//! Integer instructions against Rust's own arithmetic and u128.

use crate::support::{Random, apply, triples};

/// Values at the edges of 16, 32 and 64 bits, and some in between.
fn edges() -> Vec<[u64; 3]> {
    let values = [
        0,
        1,
        2,
        31,
        32,
        33,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        0xffff_ffff,
        0x1_0000_0000,
        i64::MAX as u64,
        i64::MIN as u64,
        u64::MAX,
    ];
    let mut rows = triples(&values);
    let mut random = Random(1);
    rows.extend((0..2000).map(|_| [random.next(), random.next(), random.next()]));
    rows
}

fn check(instruction: &str, expected: impl Fn(u64, u64, u64) -> u64) {
    let rows = edges();
    let found = apply(instruction, &rows);
    for (&[a, b, c], found) in rows.iter().zip(found) {
        let expected = expected(a, b, c);
        assert_eq!(
            found, expected,
            "{instruction} of {a:#x}, {b:#x}, {c:#x}: {found:#x}"
        );
    }
}

/// 32-bit instructions.
fn check32(instruction: &str, expected: impl Fn(u32, u32, u32) -> u32) {
    check(instruction, |a, b, c| {
        expected(a as u32, b as u32, c as u32).into()
    });
}

/// 16-bit instructions.
fn check16(instruction: &str, expected: impl Fn(u16, u16, u16) -> u16) {
    check(instruction, |a, b, c| {
        expected(a as u16, b as u16, c as u16).into()
    });
}

#[test]
fn sums() {
    check32("add.s32 %d, %a, %b;", |a, b, _| a.wrapping_add(b));
    check("sub.u64 %wd, %wa, %wb;", |a, b, _| a.wrapping_sub(b));
    check16("add.u16 %hd, %ha, %hb;", |a, b, _| a.wrapping_add(b));
    check32("add.sat.s32 %d, %a, %b;", |a, b, _| {
        (a as i32).saturating_add(b as i32) as u32
    });
    check32("sub.sat.s32 %d, %a, %b;", |a, b, _| {
        (a as i32).saturating_sub(b as i32) as u32
    });
}

#[test]
fn products() {
    check32("mul.lo.u32 %d, %a, %b;", |a, b, _| a.wrapping_mul(b));
    check32("mul.hi.u32 %d, %a, %b;", |a, b, _| {
        ((u64::from(a) * u64::from(b)) >> 32) as u32
    });
    check32("mul.hi.s32 %d, %a, %b;", |a, b, _| {
        ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32
    });
    check("mul.hi.u64 %wd, %wa, %wb;", |a, b, _| {
        ((u128::from(a) * u128::from(b)) >> 64) as u64
    });
    check("mul.hi.s64 %wd, %wa, %wb;", |a, b, _| {
        ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64
    });
    check("mul.wide.s32 %wd, %a, %b;", |a, b, _| {
        (i64::from(a as i32) * i64::from(b as i32)) as u64
    });
    check("mad.wide.u32 %wd, %a, %b, %wc;", |a, b, c| {
        (u64::from(a as u32) * u64::from(b as u32)).wrapping_add(c)
    });
    check("mul.wide.s16 %d, %ha, %hb;", |a, b, _| {
        (i32::from(a as i16) * i32::from(b as i16)) as u32 as u64
    });
    check32("mad.lo.s32 %d, %a, %b, %c;", |a, b, c| {
        a.wrapping_mul(b).wrapping_add(c)
    });
    check32("mad.hi.u32 %d, %a, %b, %c;", |a, b, c| {
        (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
    });
}

#[test]
fn quotients() {
    check32("div.s32 %d, %a, %b;", |a, b, _| match b {
        0 => u32::MAX,
        b => (a as i32).wrapping_div(b as i32) as u32,
    });
    check("div.u64 %wd, %wa, %wb;", |a, b, _| {
        a.checked_div(b).unwrap_or(u64::MAX)
    });
    check32("rem.u32 %d, %a, %b;", |a, b, _| {
        a.checked_rem(b).unwrap_or(u32::MAX)
    });
    check("rem.s64 %wd, %wa, %wb;", |a, b, _| match b {
        0 => u64::MAX,
        b => (a as i64).wrapping_rem(b as i64) as u64,
    });
}

#[test]
fn signs_and_extremes() {
    check32("abs.s32 %d, %a;", |a, _, _| {
        (a as i32).wrapping_abs() as u32
    });
    check("neg.s64 %wd, %wa;", |a, _, _| a.wrapping_neg());
    check32("min.s32 %d, %a, %b;", |a, b, _| {
        (a as i32).min(b as i32) as u32
    });
    check32("max.u32 %d, %a, %b;", |a, b, _| a.max(b));
    check16("min.s16 %hd, %ha, %hb;", |a, b, _| {
        (a as i16).min(b as i16) as u16
    });
    check32("sad.u32 %d, %a, %b, %c;", |a, b, c| {
        a.abs_diff(b).wrapping_add(c)
    });
}

#[test]
fn logic_and_shifts() {
    check("xor.b64 %wd, %wa, %wb;", |a, b, _| a ^ b);
    check16("not.b16 %hd, %ha;", |a, _, _| !a);
    check32("cnot.b32 %d, %a;", |a, _, _| u32::from(a == 0));
    check32("shl.b32 %d, %a, %b;", |a, b, _| {
        a.checked_shl(b).unwrap_or(0)
    });
    check("shr.u64 %wd, %wa, %b;", |a, b, _| {
        a.checked_shr(b as u32).unwrap_or(0)
    });
    check32("shr.s32 %d, %a, %b;", |a, b, _| {
        ((a as i32) >> b.min(31)) as u32
    });
    check("shr.s16 %hd, %ha, %b;", |a, b, _| {
        u64::from(((a as i16) >> (b as u32).min(15)) as u16)
    });
    check("and.b32 %d, %a, 0xF0F0F0F0;", |a, _, _| {
        u64::from(a as u32 & 0xf0f0_f0f0)
    });
    for table in [0x80u32, 0xfe, 0x96, 0xe8, 0xca, 0x1b] {
        check32(
            &format!("lop3.b32 %d, %a, %b, %c, {table:#x};"),
            |a, b, c| {
                let bit =
                    |i: u32| table >> ((a >> i & 1) << 2 | (b >> i & 1) << 1 | c >> i & 1) & 1;
                (0..32).map(|i| bit(i) << i).sum()
            },
        );
    }
    check32("shf.l.wrap.b32 %d, %a, %b, %c;", |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) << (c & 31) >> 32) as u32
    });
    check32("shf.r.clamp.b32 %d, %a, %b, %c;", |a, b, c| {
        ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32
    });
}

#[test]
fn bits() {
    check32("popc.b32 %d, %a;", |a, _, _| a.count_ones());
    check("clz.b64 %d, %wa;", |a, _, _| a.leading_zeros().into());
    check32("brev.b32 %d, %a;", |a, _, _| a.reverse_bits());
    check32("bfind.u32 %d, %a;", |a, _, _| {
        a.checked_ilog2().unwrap_or(u32::MAX)
    });
    check32("bfind.s32 %d, %a;", |a, _, _| {
        let a = if (a as i32) < 0 { !a } else { a };
        a.checked_ilog2().unwrap_or(u32::MAX)
    });
    check32("bfind.shiftamt.u32 %d, %a;", |a, _, _| {
        if a == 0 { u32::MAX } else { a.leading_zeros() }
    });
    check("bfind.u64 %d, %wa;", |a, _, _| {
        a.checked_ilog2().unwrap_or(u32::MAX).into()
    });
}

/// Bit fields bit by bit, as the manual's pseudocode does them.
#[test]
fn fields() {
    let bit = |x: u64, i: u32, width: u32| if i < width { x >> i & 1 } else { 0 };
    check("bfe.u32 %d, %a, %b, %c;", |a, b, c| {
        let (at, n) = (b as u32 & 255, c as u32 & 255);
        (0..n.min(32))
            .map(|i| bit(a & 0xffff_ffff, at + i, 32) << i)
            .sum()
    });
    check("bfe.s64 %wd, %wa, %b, %c;", |a, b, c| {
        let (at, n) = (b as u32 & 255, c as u32 & 255);
        let sign = if n == 0 {
            0
        } else {
            a >> (at + n - 1).min(63) & 1
        };
        let get = |i: u32| {
            if i < n && at + i <= 63 {
                a >> (at + i) & 1
            } else {
                sign
            }
        };
        (0..64).fold(0, |out, i| out | get(i) << i)
    });
    check("bfe.s32 %d, %a, %b, %c;", |a, b, c| {
        let (at, n) = (b as u32 & 255, c as u32 & 255);
        let sign = if n == 0 {
            0
        } else {
            a >> (at + n - 1).min(31) & 1
        };
        let get = |i: u32| {
            if i < n && at + i <= 31 {
                a >> (at + i) & 1
            } else {
                sign
            }
        };
        (0..32).fold(0, |out, i| out | get(i) << i)
    });
    check("bfi.b32 %d, %a, %b, 8, 12;", |a, b, _| {
        u64::from(b as u32 & !0xf_ff00 | (a as u32 & 0xfff) << 8)
    });
    check("bfi.b64 %wd, %wa, %wb, 60, 8;", |a, b, _| {
        b & !(0xf << 60) | a << 60
    });
}

#[test]
fn bytes() {
    check32("prmt.b32 %d, %a, %b, 0x7531;", |a, b, _| {
        let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
        u32::from_le_bytes([bytes[1], bytes[3], bytes[5], bytes[7]])
    });
    check32("prmt.b32 %d, %a, %b, 0xC480;", |a, b, _| {
        let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
        let sign = |byte: u8| if byte & 0x80 != 0 { 0xff } else { 0 };
        u32::from_le_bytes([bytes[0], sign(bytes[0]), bytes[4], sign(bytes[4])])
    });
    check32("dp4a.s32.s32 %d, %a, %b, %c;", |a, b, c| {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        let product = |i: usize| i32::from(a[i] as i8) * i32::from(b[i] as i8);
        (0..4).map(product).sum::<i32>().wrapping_add(c as i32) as u32
    });
}

#[test]
fn parts_of_registers() {
    check32("mul24.hi.s32 %d, %a, %b;", |a, b, _| {
        let signed = |x: u32| i64::from((x << 8) as i32 >> 8);
        ((signed(a) * signed(b)) >> 16) as u32
    });
    check32("mad24.lo.u32 %d, %a, %b, %c;", |a, b, c| {
        ((u64::from(a) % (1 << 24)) * (u64::from(b) % (1 << 24)) + u64::from(c)) as u32
    });
    check32("dp2a.hi.s32.u32 %d, %a, %b, %c;", |a, b, c| {
        let low = i32::from(a as i16) * i32::from((b >> 16) as u8);
        let high = i32::from((a >> 16) as i16) * i32::from((b >> 24) as u8);
        low.wrapping_add(high).wrapping_add(c as i32) as u32
    });
    check32("max.relu.s16x2 %d, %a, %b;", |a, b, _| {
        let most = |a: u32, b: u32| (a as i16).max(b as i16).max(0) as u32;
        most(a >> 16, b >> 16) << 16 | most(a, b)
    });
    check32("min.relu.s32 %d, %a, %b;", |a, b, _| {
        (a as i32).min(b as i32).max(0) as u32
    });
    check32("szext.clamp.s32 %d, %a, %b;", |a, n, _| match n {
        0 => 0,
        1..32 => (((a << (32 - n)) as i32) >> (32 - n)) as u32,
        _ => a,
    });
    check32("bmsk.clamp.b32 %d, %a, %b;", |at, n, _| {
        (0..32)
            .filter(|&bit| bit >= at && bit - at < n)
            .map(|bit| 1 << bit)
            .sum()
    });
    check32(
        "and.b32 %b, %b, 31; fns.b32 %d, %a, %b, 2;",
        |a, base, _| {
            let mut set = (base & 31..32).filter(|bit| a >> bit & 1 == 1);
            set.nth(1).unwrap_or(u32::MAX)
        },
    );
    check32("cvt.pack.sat.s8.s32.b32 %d, %a, %b, %c;", |a, b, c| {
        let byte = |x: u32| (x as i32).clamp(-128, 127) as u8;
        c << 16 | u32::from(byte(a)) << 8 | u32::from(byte(b))
    });
    check32("cvt.pack.sat.u16.s32 %d, %a, %b;", |a, b, _| {
        let half = |x: u32| (x as i32).clamp(0, 65535) as u32;
        half(a) << 16 | half(b)
    });
}

/// 128-bit sums and differences from halves.
#[test]
fn carries() {
    let rows = edges();
    let sum = "add.cc.u64 %wd, %wa, %wb; addc.u64 %wd, %wb, %wc;";
    for (&[a, b, c], found) in rows.iter().zip(apply(sum, &rows)) {
        let (low, high) = (
            (u128::from(b) << 64) + u128::from(a),
            (u128::from(c) << 64) + u128::from(b),
        );
        assert_eq!(
            found,
            (low.wrapping_add(high) >> 64) as u64,
            "{a:#x} {b:#x} {c:#x}"
        );
    }
    let difference = "sub.cc.u32 %d, %a, %b; subc.u32 %d, %b, %c;";
    for (&[a, b, c], found) in rows.iter().zip(apply(difference, &rows)) {
        let [a, b, c] = [a, b, c].map(|x| u64::from(x as u32));
        let whole = (b << 32 | a).wrapping_sub(c << 32 | b);
        assert_eq!(found, whole >> 32, "{a:#x} {b:#x} {c:#x}");
    }
}

#[test]
fn comparisons() {
    check("setp.lt.s32 %p, %a, %b;", |a, b, _| {
        u64::from((a as i32) < b as i32)
    });
    check("setp.gt.u64 %p, %wa, %wb;", |a, b, _| u64::from(a > b));
    check("setp.ne.b16 %p, %ha, %hb;", |a, b, _| {
        u64::from(a as u16 != b as u16)
    });
    check("setp.hs.u32 %p, %a, %b;", |a, b, _| {
        u64::from(a as u32 >= b as u32)
    });
    check(
        "setp.eq.u32 %q, %b, %c; setp.le.and.s32 %p, %a, %b, !%q;",
        |a, b, c| u64::from(a as i32 <= b as i32 && b as u32 != c as u32),
    );
    check(
        "setp.lt.u32 %p|%q, %a, %b; xor.pred %p, %p, %q;",
        |_, _, _| 1,
    );
    check32("set.gt.u32.s32 %d, %a, %b;", |a, b, _| {
        if a as i32 > b as i32 { u32::MAX } else { 0 }
    });
    check32("slct.u32.s32 %d, %a, %b, %c;", |a, b, c| {
        if c as i32 >= 0 { a } else { b }
    });
}

#[test]
fn conversions_between_integers() {
    check("cvt.s64.s8 %wd, %a;", |a, _, _| a as i8 as i64 as u64);
    check32("cvt.u32.s16 %d, %ha;", |a, _, _| a as i16 as i32 as u32);
    check("cvt.u64.u32 %wd, %a;", |a, _, _| u64::from(a as u32));
    check32("cvt.sat.u8.s32 %d, %a;", |a, _, _| {
        (a as i32).clamp(0, 255) as u32
    });
    check("cvt.sat.s16.s64 %hd, %wa;", |a, _, _| {
        u64::from((a as i64).clamp(-0x8000, 0x7fff) as i16 as u16)
    });
    check("cvt.sat.u32.u64 %d, %wa;", |a, _, _| a.min(0xffff_ffff));
}
