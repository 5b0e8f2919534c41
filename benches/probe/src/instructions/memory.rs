//! Atomics with a lane for each address (PTX ISA 9.7.13), and matrices in shared memory
//! (9.7.14, `ldmatrix`, `stmatrix`, `movmatrix`).

use super::generator::Kind;
use super::kinds::{BF16, BF16X2, F16, F16X2, F32, F64};
use super::{Instruction, halves};
use Kind::{B32, B64};

pub(super) fn rows() -> Vec<Instruction> {
    let mut rows = Vec::new();
    for space in ["global", "shared"] {
        for (suffix, kind) in [
            ("add.f32", F32),
            ("add.f64", F64),
            ("add.noftz.f16", F16),
            ("add.noftz.bf16", BF16),
            ("add.noftz.f16x2", F16X2),
            ("add.noftz.bf16x2", BF16X2),
            ("inc.u32", B32),
            ("dec.u32", B32),
            ("min.s32", B32),
            ("max.s32", B32),
            ("min.s64", B64),
            ("max.s64", B64),
        ] {
            rows.push(atomic(space, suffix, kind));
        }
        for (kind, bits) in [(B32, 32), (B64, 64)] {
            for operation in ["add", "min", "max"] {
                rows.push(atomic(space, &format!("{operation}.u{bits}"), kind));
            }
            for operation in ["and", "or", "xor", "exch", "cas"] {
                rows.push(atomic(space, &format!("{operation}.b{bits}"), kind));
            }
        }
        rows.push(reduction(space));
    }
    for count in [1usize, 2, 4] {
        for transpose in ["", ".trans"] {
            rows.push(load_matrix(count, transpose));
            rows.push(store_matrix(count, transpose));
        }
    }
    rows.push(Instruction::asm(
        "movmatrix",
        "movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;",
        &[32],
        &[B32],
    ));
    rows
}

/// Statements that give `cell` the address of this lane's own 8 bytes.
fn cell(space: &str, c_type: &str) -> String {
    if space == "global" {
        format!(
            "  {c_type}* cell = ({c_type}*)(scratch + 2 * t);\n  \
             unsigned long long address = (unsigned long long)__cvta_generic_to_global(cell);\n"
        )
    } else {
        format!(
            "  __shared__ unsigned long long cells[32];\n  {c_type}* cell = ({c_type}*)(cells + \
             lane);\n  unsigned long long address = __cvta_generic_to_shared(cell);\n"
        )
    }
}

/// The first operand is in memory, the second is added to it; `cas` compares with the third, or
/// with memory's own value on lanes divisible by three. Outputs: the old value, then memory's.
fn atomic(space: &str, suffix: &str, kind: Kind) -> Instruction {
    let (c_type, constraint) = match kind.bits() {
        16 => ("unsigned short", 'h'),
        32 => ("unsigned", 'r'),
        _ => ("unsigned long long", 'l'),
    };
    let value = |operand: usize| match kind.words() {
        1 => format!("({c_type})i{operand}"),
        _ => format!(
            "(i{} | (unsigned long long)i{} << 32)",
            2 * operand,
            2 * operand + 1
        ),
    };
    let compares = suffix.starts_with("cas");
    let mut body = cell(space, c_type);
    body += &format!("  *cell = {};\n  {c_type} old;\n", value(0));
    let (operands, inputs) = if compares {
        let comparand = format!("(t % 3 ? {} : {})", value(2), value(0));
        (
            "%2, %3",
            format!(
                "\"{constraint}\"({comparand}), \"{constraint}\"({})",
                value(1)
            ),
        )
    } else {
        ("%2", format!("\"{constraint}\"({})", value(1)))
    };
    body += &format!(
        "  asm volatile(\"atom.{space}.{suffix} %0, [%1], {operands};\" : \"={constraint}\"(old) \
         : \"l\"(address), {inputs} : \"memory\");\n"
    );
    let wide = kind.words() == 2;
    body += &if wide {
        halves(0, "old") + &halves(2, "*cell")
    } else {
        "  o0 = (unsigned)old;\n  o1 = *cell;\n".to_owned()
    };
    let operands = vec![kind; if compares { 3 } else { 2 }];
    Instruction::cuda(
        &format!("atom.{space}.{suffix}"),
        &body,
        if wide { 4 } else { 2 },
        &operands,
    )
}

/// `red` may treat subnormals otherwise than `atom`.
fn reduction(space: &str) -> Instruction {
    let mut body = cell(space, "unsigned");
    body += &format!(
        "  *cell = i0;\n  asm volatile(\"red.{space}.add.f32 [%0], %1;\" :: \"l\"(address), \
         \"r\"(i1) : \"memory\");\n  __threadfence();\n  o0 = *(volatile unsigned*)cell;\n"
    );
    Instruction::cuda(&format!("red.{space}.add.f32"), &body, 1, &[F32, F32])
}

const TILE: &str = "  __shared__ __align__(16) unsigned tile[32][4];\n";

/// Lanes write a 16-byte row each, then give the numbers of the rows to load.
fn load_matrix(count: usize, transpose: &str) -> Instruction {
    let outputs: Vec<String> = (0..count).map(|i| format!("\"=r\"(o{i})")).collect();
    let registers: Vec<String> = (0..count).map(|i| format!("%{i}")).collect();
    let body = format!(
        "{TILE}  tile[lane][0] = i0; tile[lane][1] = i1; tile[lane][2] = i2; tile[lane][3] = i3;\n  \
         __syncwarp();\n  unsigned row = (unsigned)__cvta_generic_to_shared(tile[i4]);\n  \
         asm volatile(\"ldmatrix.sync.aligned.m8n8.x{count}{transpose}.shared.b16 {{{}}}, \
         [%{count}];\" : {} : \"r\"(row) : \"memory\");\n",
        registers.join(", "),
        outputs.join(", "),
    );
    Instruction::cuda(
        &format!("ldmatrix_x{count}{transpose}"),
        &body,
        count,
        &[B32, B32, B32, B32, Kind::Below(32)],
    )
}

/// Lanes store fragments to distinct rows, then read a 16-byte row each.
fn store_matrix(count: usize, transpose: &str) -> Instruction {
    let inputs: Vec<String> = (0..count).map(|i| format!("\"r\"(i{i})")).collect();
    let registers: Vec<String> = (1..=count).map(|i| format!("%{i}")).collect();
    let body = format!(
        "{TILE}  for (unsigned w = 0; w < 4; w++) tile[lane][w] = 0xa5a50000u + lane;\n  \
         __syncwarp();\n  unsigned row = (unsigned)__cvta_generic_to_shared(\
         tile[(lane * 5 + blockIdx.x) % 32]);\n  \
         asm volatile(\"stmatrix.sync.aligned.m8n8.x{count}{transpose}.shared.b16 [%0], {{{}}};\" \
         :: \"r\"(row), {} : \"memory\");\n  __syncwarp();\n  \
         o0 = tile[lane][0]; o1 = tile[lane][1]; o2 = tile[lane][2]; o3 = tile[lane][3];\n",
        registers.join(", "),
        inputs.join(", "),
    );
    Instruction::cuda(
        &format!("stmatrix_x{count}{transpose}"),
        &body,
        4,
        &vec![B32; count],
    )
}
