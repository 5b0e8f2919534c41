//! Floating-point arithmetic (PTX ISA 9.7.3 to 9.7.5).

use super::Instruction;
use super::generator::Kind;
use super::kinds::{BF16, BF16X2, F16, F16X2, F32, F64};

pub(super) fn rows() -> Vec<Instruction> {
    let mut rows = Vec::new();
    let mut add = |instruction: &str, operands: usize, kind: Kind| {
        let names = ["%1", "%2", "%3"];
        let ptx = format!("{instruction} %0, {};", names[..operands].join(", "));
        rows.push(Instruction::asm(
            instruction,
            &ptx,
            &[kind.bits()],
            &vec![kind; operands],
        ));
    };
    for (operation, operands) in [("add", 2), ("sub", 2), ("mul", 2), ("fma", 3)] {
        for rounding in ["rn", "rz", "rm", "rp"] {
            for modifiers in ["", ".ftz", ".sat", ".ftz.sat"] {
                add(
                    &format!("{operation}.{rounding}{modifiers}.f32"),
                    operands,
                    F32,
                );
            }
            add(&format!("{operation}.{rounding}.f64"), operands, F64);
        }
        for (name, kind) in [("f16", F16), ("f16x2", F16X2)] {
            for modifiers in ["", ".ftz", ".sat", ".ftz.sat"] {
                add(&format!("{operation}.rn{modifiers}.{name}"), operands, kind);
            }
        }
        for (name, kind) in [("bf16", BF16), ("bf16x2", BF16X2)] {
            add(&format!("{operation}.rn.{name}"), operands, kind);
        }
    }
    for (name, kind) in [("f16", F16), ("f16x2", F16X2)] {
        for modifiers in [".relu", ".ftz.relu"] {
            add(&format!("fma.rn{modifiers}.{name}"), 3, kind);
        }
    }
    for (name, kind) in [("bf16", BF16), ("bf16x2", BF16X2)] {
        add(&format!("fma.rn.relu.{name}"), 3, kind);
        for modifiers in ["", ".NaN"] {
            for operation in ["min", "max"] {
                add(&format!("{operation}{modifiers}.{name}"), 2, kind);
                add(
                    &format!("{operation}{modifiers}.xorsign.abs.{name}"),
                    2,
                    kind,
                );
            }
        }
        for operation in ["neg", "abs"] {
            add(&format!("{operation}.{name}"), 1, kind);
        }
    }
    for (name, kind) in [("f16", F16), ("f16x2", F16X2), ("f32", F32)] {
        for operation in ["min", "max"] {
            for modifiers in [
                "",
                ".ftz",
                ".NaN",
                ".ftz.NaN",
                ".xorsign.abs",
                ".NaN.xorsign.abs",
            ] {
                add(&format!("{operation}{modifiers}.{name}"), 2, kind);
            }
        }
        for operation in ["neg", "abs"] {
            for modifiers in ["", ".ftz"] {
                add(&format!("{operation}{modifiers}.{name}"), 1, kind);
            }
        }
    }
    for operation in ["min", "max"] {
        add(&format!("{operation}.f64"), 2, F64);
    }
    for operation in ["neg", "abs"] {
        add(&format!("{operation}.f64"), 1, F64);
    }
    for rounding in ["rn", "rz", "rm", "rp"] {
        add(&format!("div.{rounding}.f64"), 2, F64);
        add(&format!("div.{rounding}.f32"), 2, F32);
        for operation in ["rcp", "sqrt"] {
            add(&format!("{operation}.{rounding}.f64"), 1, F64);
            for modifiers in ["", ".ftz"] {
                add(&format!("{operation}.{rounding}{modifiers}.f32"), 1, F32);
            }
        }
    }
    add("div.rn.ftz.f32", 2, F32);
    for form in ["full", "approx"] {
        for modifiers in ["", ".ftz"] {
            add(&format!("div.{form}{modifiers}.f32"), 2, F32);
        }
    }
    for operation in ["rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos"] {
        for modifiers in ["", ".ftz"] {
            add(&format!("{operation}.approx{modifiers}.f32"), 1, F32);
        }
    }
    add("tanh.approx.f32", 1, F32);
    add("rcp.approx.ftz.f64", 1, F64);
    add("rsqrt.approx.f64", 1, F64);
    add("rsqrt.approx.ftz.f64", 1, F64);
    for (name, kind) in [("f16", F16), ("f16x2", F16X2)] {
        add(&format!("ex2.approx.{name}"), 1, kind);
        add(&format!("tanh.approx.{name}"), 1, kind);
    }
    for (name, kind) in [("bf16", BF16), ("bf16x2", BF16X2)] {
        add(&format!("ex2.approx.ftz.{name}"), 1, kind);
        add(&format!("tanh.approx.{name}"), 1, kind);
    }
    add("copysign.f32", 2, F32);
    add("copysign.f64", 2, F64);
    rows
}
