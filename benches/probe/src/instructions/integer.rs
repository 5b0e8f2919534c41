//! Integer arithmetic, bit operations and shifts (PTX ISA 9.7.1, 9.7.2, 9.7.8).

use super::Instruction;
use super::generator::Kind;
use Kind::{B16, B32, B64};

pub(super) fn rows() -> Vec<Instruction> {
    let mut rows = Vec::new();
    let mut add = |instruction: &str, output: u32, inputs: &[Kind]| {
        let names = ["%1", "%2", "%3", "%4"];
        let ptx = format!("{instruction} %0, {};", names[..inputs.len()].join(", "));
        rows.push(Instruction::asm(instruction, &ptx, &[output], inputs));
    };
    for (kind, bits) in [(B16, 16), (B32, 32), (B64, 64)] {
        for sign in ["s", "u"] {
            for operation in ["add", "sub", "mul.lo", "mul.hi", "div", "rem", "min", "max"] {
                add(&format!("{operation}.{sign}{bits}"), bits, &[kind, kind]);
            }
            add(&format!("mad.lo.{sign}{bits}"), bits, &[kind, kind, kind]);
            add(&format!("sad.{sign}{bits}"), bits, &[kind, kind, kind]);
            add(&format!("shr.{sign}{bits}"), bits, &[kind, B32]);
        }
        for operation in ["abs", "neg"] {
            add(&format!("{operation}.s{bits}"), bits, &[kind]);
        }
        for operation in ["and", "or", "xor"] {
            add(&format!("{operation}.b{bits}"), bits, &[kind, kind]);
        }
        for operation in ["not", "cnot"] {
            add(&format!("{operation}.b{bits}"), bits, &[kind]);
        }
        add(&format!("shl.b{bits}"), bits, &[kind, B32]);
    }
    for (kind, wide, bits) in [(B16, B32, 16), (B32, B64, 32)] {
        for sign in ["s", "u"] {
            add(&format!("mul.wide.{sign}{bits}"), 2 * bits, &[kind, kind]);
            add(
                &format!("mad.wide.{sign}{bits}"),
                2 * bits,
                &[kind, kind, wide],
            );
        }
    }
    for sign in ["s", "u"] {
        for half in ["lo", "hi"] {
            add(&format!("mul24.{half}.{sign}32"), 32, &[B32, B32]);
            add(&format!("mad24.{half}.{sign}32"), 32, &[B32, B32, B32]);
        }
        add(&format!("mad.hi.{sign}32"), 32, &[B32, B32, B32]);
        for (kind, bits) in [(B32, 32), (B64, 64)] {
            let small = Kind::Below(80);
            add(&format!("bfe.{sign}{bits}"), bits, &[kind, small, small]);
            add(&format!("bfind.{sign}{bits}"), 32, &[kind]);
            add(&format!("bfind.shiftamt.{sign}{bits}"), 32, &[kind]);
        }
        for mode in ["clamp", "wrap"] {
            add(
                &format!("szext.{mode}.{sign}32"),
                32,
                &[B32, Kind::Below(80)],
            );
        }
        for other in ["s", "u"] {
            add(&format!("dp4a.{sign}32.{other}32"), 32, &[B32, B32, B32]);
            for half in ["lo", "hi"] {
                add(
                    &format!("dp2a.{half}.{sign}32.{other}32"),
                    32,
                    &[B32, B32, B32],
                );
            }
        }
    }
    for saturating in ["add.sat.s32", "sub.sat.s32"] {
        add(saturating, 32, &[B32, B32]);
    }
    add("mad.hi.sat.s32", 32, &[B32, B32, B32]);
    for relu in ["min.relu.s32", "max.relu.s32"] {
        add(relu, 32, &[B32, B32]);
    }
    for sixteens in [
        "add.u16x2",
        "add.s16x2",
        "min.s16x2",
        "min.u16x2",
        "max.s16x2",
        "max.u16x2",
    ] {
        add(sixteens, 32, &[B32, B32]);
    }
    for (kind, bits) in [(B32, 32), (B64, 64)] {
        let small = Kind::Below(80);
        add(&format!("bfi.b{bits}"), bits, &[kind, kind, small, small]);
        add(&format!("brev.b{bits}"), bits, &[kind]);
        add(&format!("clz.b{bits}"), 32, &[kind]);
        add(&format!("popc.b{bits}"), 32, &[kind]);
    }
    for mode in ["clamp", "wrap"] {
        add(
            &format!("bmsk.{mode}.b32"),
            32,
            &[Kind::Below(80), Kind::Below(80)],
        );
        for direction in ["l", "r"] {
            add(
                &format!("shf.{direction}.{mode}.b32"),
                32,
                &[B32, B32, Kind::Below(80)],
            );
        }
    }
    add("prmt.b32", 32, &[B32, B32, B32]);
    for mode in ["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"] {
        add(&format!("prmt.b32.{mode}"), 32, &[B32, B32, Kind::Below(8)]);
    }
    rows.push(Instruction::asm(
        "fns.b32",
        FNS,
        &[32],
        &[B32, Kind::Below(32), Kind::Below(64)],
    ));
    for table in [0x00, 0x80, 0x96, 0xca, 0xe8, 0x1b, 0xfe, 0x5a] {
        let ptx = format!("lop3.b32 %0, %1, %2, %3, {table:#x};");
        rows.push(Instruction::asm(
            &format!("lop3_{table:02x}"),
            &ptx,
            &[32],
            &[B32; 3],
        ));
    }
    for (name, ptx) in CARRIES {
        rows.push(Instruction::asm(name, ptx, &[32, 32, 32], &[B32; 4]));
    }
    rows.push(Instruction::asm("madc_hi_u32", MADC, &[32, 32], &[B32; 4]));
    rows
}

/// The n-th set bit from a base; the offset runs from -32 to 31.
const FNS: &str = "{ .reg .s32 n; sub.s32 n, %3, 32; fns.b32 %0, %1, %2, n; }";

/// 64-bit sums and differences in two steps, then the carry itself.
const CARRIES: [(&str, &str); 2] = [
    (
        "addc_chain",
        "add.cc.u32 %0, %3, %5; addc.cc.u32 %1, %4, %6; addc.u32 %2, 0, 0;",
    ),
    (
        "subc_chain",
        "sub.cc.u32 %0, %3, %5; subc.cc.u32 %1, %4, %6; subc.u32 %2, 0, 0;",
    ),
];

/// A 64-bit multiply-add in two steps.
const MADC: &str = "mad.lo.cc.u32 %0, %2, %3, %4; madc.hi.u32 %1, %2, %3, %5;";
