//! Comparisons and selections (PTX ISA 9.7.6, 9.7.7).

use super::Instruction;
use super::generator::Kind;
use super::kinds::{BF16, BF16X2, F16, F16X2, F32, F64};
use Kind::{B16, B32, B64};

const ORDERED: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];
const UNORDERED: [&str; 8] = ["equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];

pub(super) fn rows() -> Vec<Instruction> {
    let mut rows = Vec::new();
    // All comparisons of a type make one row: bit c of the output is comparison c.
    let mut masks = |name: &str, suffix: &str, comparisons: &[&str], kind: Kind| {
        rows.push(Instruction::asm(
            name,
            &comparison_mask(comparisons, suffix),
            &[32],
            &[kind, kind],
        ));
    };
    let floats: Vec<&str> = ORDERED.into_iter().chain(UNORDERED).collect();
    for (name, kind) in [("f32", F32), ("f64", F64), ("f16", F16), ("bf16", BF16)] {
        masks(&format!("setp.{name}"), name, &floats, kind);
    }
    masks("setp.ftz.f32", "ftz.f32", &floats, F32);
    masks("setp.ftz.f16", "ftz.f16", &floats, F16);
    for (kind, bits) in [(B16, 16), (B32, 32), (B64, 64)] {
        masks(
            &format!("setp.s{bits}"),
            &format!("s{bits}"),
            &ORDERED,
            kind,
        );
        let unsigned = ["eq", "ne", "lo", "ls", "hi", "hs"];
        masks(
            &format!("setp.u{bits}"),
            &format!("u{bits}"),
            &unsigned,
            kind,
        );
        masks(
            &format!("setp.b{bits}"),
            &format!("b{bits}"),
            &ORDERED[..2],
            kind,
        );
    }
    let mut add = |instruction: &str, output: u32, inputs: &[Kind]| {
        let names = ["%1", "%2", "%3"];
        let ptx = format!("{instruction} %0, {};", names[..inputs.len()].join(", "));
        rows.push(Instruction::asm(instruction, &ptx, &[output], inputs));
    };
    for comparison in ["lt", "gtu", "nan"] {
        add(&format!("set.{comparison}.u32.f32"), 32, &[F32, F32]);
        add(&format!("set.{comparison}.f32.f32"), 32, &[F32, F32]);
        add(&format!("set.{comparison}.ftz.f32.f32"), 32, &[F32, F32]);
        add(
            &format!("set.{comparison}.f16x2.f16x2"),
            32,
            &[F16X2, F16X2],
        );
        add(
            &format!("set.{comparison}.bf16x2.bf16x2"),
            32,
            &[BF16X2, BF16X2],
        );
        add(&format!("set.{comparison}.f16.f16"), 16, &[F16, F16]);
    }
    add("set.le.s32.s32", 32, &[B32, B32]);
    add("slct.f32.s32", 32, &[F32, F32, B32]);
    add("slct.f32.f32", 32, &[F32, F32, F32]);
    add("slct.ftz.f32.f32", 32, &[F32, F32, F32]);
    add("slct.u64.s32", 64, &[B64, B64, B32]);
    let classes = [
        "finite",
        "infinite",
        "number",
        "notanumber",
        "normal",
        "subnormal",
    ];
    for (name, kind) in [("f32", F32), ("f64", F64)] {
        let tests: String = classes
            .iter()
            .enumerate()
            .map(|(bit, class)| {
                format!(
                    "testp.{class}.{name} p, %1; selp.u32 s, {}, 0, p; or.b32 m, m, s; ",
                    1 << bit
                )
            })
            .collect();
        let ptx =
            format!("{{ .reg .pred p; .reg .b32 m, s; mov.b32 m, 0; {tests} mov.b32 %0, m; }}");
        rows.push(Instruction::asm(
            &format!("testp.{name}"),
            &ptx,
            &[32],
            &[kind],
        ));
    }
    for (name, combine) in [("and", "and"), ("or", "or"), ("xor", "xor")] {
        let ptx = format!(
            "{{ .reg .pred p, q, r; setp.lt.s32 r, %4, 0; setp.lt.{combine}.f32 p|q, %2, %3, r; \
             selp.u32 %0, 1, 0, p; selp.u32 %1, 1, 0, q; }}"
        );
        let row = format!("setp.lt.{name}.f32");
        rows.push(Instruction::asm(&row, &ptx, &[32, 32], &[F32, F32, B32]));
    }
    for (name, kind) in [("f16x2", F16X2), ("bf16x2", BF16X2)] {
        let ptx = format!(
            "{{ .reg .pred p, q; setp.gt.{name} p|q, %2, %3; selp.u32 %0, 1, 0, p; \
             selp.u32 %1, 1, 0, q; }}"
        );
        rows.push(Instruction::asm(
            &format!("setp.gt.{name}"),
            &ptx,
            &[32, 32],
            &[kind, kind],
        ));
    }
    rows
}

fn comparison_mask(comparisons: &[&str], suffix: &str) -> String {
    let tests: String = comparisons
        .iter()
        .enumerate()
        .map(|(bit, comparison)| {
            format!(
                "setp.{comparison}.{suffix} p, %1, %2; selp.u32 s, {}, 0, p; or.b32 m, m, s; ",
                1 << bit
            )
        })
        .collect();
    format!("{{ .reg .pred p; .reg .b32 m, s; mov.b32 m, 0; {tests} mov.b32 %0, m; }}")
}
