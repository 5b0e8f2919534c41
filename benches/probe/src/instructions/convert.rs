//! Conversions (PTX ISA 9.7.9, `cvt`).

use super::Instruction;
use super::format::Format;
use super::generator::Kind;
use super::kinds::{BF16, F16X2};

const INTEGERS: [(&str, u32); 8] = [
    ("s8", 8),
    ("u8", 8),
    ("s16", 16),
    ("u16", 16),
    ("s32", 32),
    ("u32", 32),
    ("s64", 64),
    ("u64", 64),
];

pub(super) fn rows() -> Vec<Instruction> {
    let mut rows = Vec::new();
    let mut add = |instruction: &str, output: u32, inputs: &[Kind]| {
        let names = ["%1", "%2"];
        let ptx = format!("{instruction} %0, {};", names[..inputs.len()].join(", "));
        rows.push(Instruction::asm(instruction, &ptx, &[output], inputs));
    };
    let floats = [
        ("f16", Kind::Float(Format::F16)),
        ("f32", Kind::Convert(Format::F32)),
        ("f64", Kind::Convert(Format::F64)),
    ];
    for (float, kind) in floats {
        for (integer, bits) in INTEGERS {
            let register = bits.max(16);
            for rounding in ["rni", "rzi", "rmi", "rpi"] {
                add(
                    &format!("cvt.{rounding}.{integer}.{float}"),
                    register,
                    &[kind],
                );
            }
            let source = integer_kind(bits);
            for rounding in ["rn", "rz"] {
                let name = format!("cvt.{rounding}.{float}.{integer}");
                // An 8-bit source sits in a 16-bit register whose upper half is ignored.
                add(&name, kind.bits(), &[source]);
            }
        }
        for rounding in ["rni", "rzi", "rmi", "rpi"] {
            add(
                &format!("cvt.{rounding}.{float}.{float}"),
                kind.bits(),
                &[kind],
            );
        }
    }
    for rounding in ["rni", "rzi"] {
        add(&format!("cvt.{rounding}.ftz.s32.f32"), 32, &[floats[1].1]);
        add(&format!("cvt.{rounding}.sat.f32.f32"), 32, &[floats[1].1]);
    }
    for (integer, bits) in INTEGERS {
        if bits > 8 {
            add(&format!("cvt.rzi.{integer}.bf16"), bits, &[BF16]);
            add(&format!("cvt.rn.bf16.{integer}"), 16, &[integer_kind(bits)]);
        }
        for (target, width) in INTEGERS {
            if target == integer {
                continue;
            }
            add(
                &format!("cvt.{target}.{integer}"),
                width.max(16),
                &[integer_kind(bits)],
            );
            // PTX has no `.sat` where every value fits.
            let fits = width > bits && (target.starts_with('s') || integer.starts_with('u'));
            if !fits {
                add(
                    &format!("cvt.sat.{target}.{integer}"),
                    width.max(16),
                    &[integer_kind(bits)],
                );
            }
        }
    }
    let (f32, f64) = (floats[1].1, floats[2].1);
    for (wide, narrow) in [
        ("f32", Kind::Float(Format::F16)),
        ("f64", Kind::Float(Format::F16)),
    ] {
        let bits = if wide == "f32" { 32 } else { 64 };
        add(&format!("cvt.{wide}.f16"), bits, &[narrow]);
    }
    add("cvt.ftz.f32.f16", 32, &[Kind::Float(Format::F16)]);
    add("cvt.f32.bf16", 32, &[BF16]);
    add("cvt.f64.bf16", 64, &[BF16]);
    add("cvt.f64.f32", 64, &[f32]);
    add("cvt.ftz.f64.f32", 64, &[f32]);
    add("cvt.sat.f32.f32", 32, &[f32]);
    add("cvt.ftz.f32.f32", 32, &[f32]);
    for rounding in ["rn", "rz", "rm", "rp"] {
        add(&format!("cvt.{rounding}.f32.f64"), 32, &[f64]);
        add(&format!("cvt.{rounding}.f16.f64"), 16, &[f64]);
        add(&format!("cvt.{rounding}.f16.f32"), 16, &[f32]);
    }
    add("cvt.rn.sat.f16.f32", 16, &[f32]);
    add("cvt.rn.ftz.f16.f32", 16, &[f32]);
    add("cvt.rn.relu.f16.f32", 16, &[f32]);
    add("cvt.rn.bf16.f64", 16, &[f64]);
    add("cvt.rn.bf16.f16", 16, &[Kind::Float(Format::F16)]);
    add("cvt.rn.f16.bf16", 16, &[BF16]);
    for rounding in ["rn", "rz"] {
        for relu in ["", ".relu"] {
            add(&format!("cvt.{rounding}{relu}.bf16.f32"), 16, &[f32]);
            for pair in ["bf16x2", "f16x2"] {
                add(&format!("cvt.{rounding}{relu}.{pair}.f32"), 32, &[f32, f32]);
            }
            add(&format!("cvt.{rounding}{relu}.tf32.f32"), 32, &[f32]);
        }
    }
    add("cvt.rna.tf32.f32", 32, &[f32]);
    for (name, format) in [("e4m3x2", Format::E4M3), ("e5m2x2", Format::E5M2)] {
        for relu in ["", ".relu"] {
            add(
                &format!("cvt.rn.satfinite{relu}.{name}.f32"),
                16,
                &[f32, f32],
            );
            add(
                &format!("cvt.rn.satfinite{relu}.{name}.f16x2"),
                16,
                &[F16X2],
            );
            add(
                &format!("cvt.rn{relu}.f16x2.{name}"),
                32,
                &[Kind::Pair(format)],
            );
        }
    }
    rows
}

fn integer_kind(bits: u32) -> Kind {
    match bits {
        64 => Kind::B64,
        32 => Kind::B32,
        _ => Kind::B16,
    }
}
