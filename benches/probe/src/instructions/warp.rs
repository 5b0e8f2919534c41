//! Exchanges within a warp (PTX ISA 9.7.9.6 `shfl.sync`, 9.7.13 votes, matches and reductions).

use super::Instruction;
use super::generator::Kind;
use Kind::{B32, Below};

/// A predicate that is true on all, none, some or one of a block's lanes, by the block's number.
const PREDICATE: &str = "blockIdx.x % 4 == 0 ? 1 : blockIdx.x % 4 == 1 ? 0 : \
    blockIdx.x % 4 == 2 ? (int)(i0 & 1) : lane == blockIdx.x";

pub(super) fn rows() -> Vec<Instruction> {
    let mut rows = Vec::new();
    for mode in ["up", "down", "bfly", "idx"] {
        let ptx = format!(
            "{{ .reg .pred p; shfl.sync.{mode}.b32 %0|p, %2, %3, %4, 0xffffffff; \
             selp.u32 %1, 1, 0, p; }}"
        );
        for (name, clamp) in [("any", Below(1 << 13)), ("whole", Below(32))] {
            let row = format!("shfl_{mode}_{name}");
            rows.push(Instruction::asm(
                &row,
                &ptx,
                &[32, 32],
                &[B32, Below(40), clamp],
            ));
        }
        // A reader's source must be an active lane, so the odd lanes move by two.
        let body = format!(
            "  o0 = 0;\n  if (lane & 1) asm volatile(\"shfl.sync.{mode}.b32 %0, %1, %2, %3, \
             0xaaaaaaaa;\" : \"=r\"(o0) : \"r\"(i0), \"r\"({}), \"r\"({}));\n",
            if mode == "idx" {
                "(lane + 2) % 32"
            } else {
                "2"
            },
            if mode == "up" { 0 } else { 31 },
        );
        rows.push(Instruction::cuda(
            &format!("shfl_{mode}_odd"),
            &body,
            1,
            &[B32],
        ));
    }
    for mode in ["all", "any", "uni"] {
        let body = format!(
            "  unsigned p = {PREDICATE};\n  asm volatile(\"{{ .reg .pred p, q; setp.ne.u32 p, \
             %1, 0; vote.sync.{mode}.pred q, p, 0xffffffff; selp.u32 %0, 1, 0, q; }}\" : \
             \"=r\"(o0) : \"r\"(p));\n"
        );
        rows.push(Instruction::cuda(&format!("vote_{mode}"), &body, 1, &[B32]));
    }
    let ballot = "{ .reg .pred p; setp.ne.u32 p, %1, 0; vote.sync.ballot.b32 %0, p, MASK; }";
    let whole = ballot.replace("MASK", "0xffffffff");
    rows.push(Instruction::asm("vote_ballot", &whole, &[32], &[Below(2)]));
    let upper = ballot.replace("MASK", "0xffffff00");
    let body = format!(
        "  o0 = 0;\n  if (lane >= 8) asm volatile(\"{upper}\" : \"=r\"(o0) : \"r\"(i0 & 1));\n"
    );
    rows.push(Instruction::cuda("vote_ballot_upper", &body, 1, &[B32]));
    rows.push(Instruction::asm(
        "match_any_b32",
        "match.any.sync.b32 %0, %1, 0xffffffff;",
        &[32],
        &[Below(5)],
    ));
    rows.push(Instruction::cuda(
        "match_any_b64",
        "  unsigned long long v = (unsigned long long)i0 << 32 | i1;\n  asm volatile(\
         \"match.any.sync.b64 %0, %1, 0xffffffff;\" : \"=r\"(o0) : \"l\"(v));\n",
        1,
        &[Below(3), Below(3)],
    ));
    rows.push(Instruction::cuda(
        "match_all_b32",
        "  unsigned v = blockIdx.x & 1 ? i0 : blockIdx.x;\n  asm volatile(\"{ .reg .pred p; \
         match.all.sync.b32 %0|p, %2, 0xffffffff; selp.u32 %1, 1, 0, p; }\" : \"=r\"(o0), \
         \"=r\"(o1) : \"r\"(v));\n",
        2,
        &[Below(5)],
    ));
    let reductions = [
        "add.u32", "add.s32", "min.u32", "max.u32", "min.s32", "max.s32",
    ];
    for reduction in reductions
        .into_iter()
        .chain(["and.b32", "or.b32", "xor.b32"])
    {
        let ptx = format!("redux.sync.{reduction} %0, %1, 0xffffffff;");
        rows.push(Instruction::asm(
            &format!("redux.{reduction}"),
            &ptx,
            &[32],
            &[B32],
        ));
        let body = format!(
            "  o0 = 0;\n  if (lane % 4 == 1) asm volatile(\"redux.sync.{reduction} %0, %1, \
             0x22222222;\" : \"=r\"(o0) : \"r\"(i0));\n"
        );
        rows.push(Instruction::cuda(
            &format!("redux.{reduction}.quarter"),
            &body,
            1,
            &[B32],
        ));
    }
    rows.push(Instruction::cuda(
        "activemask",
        "  o0 = 0;\n  if (i0 & 1) asm volatile(\"activemask.b32 %0;\" : \"=r\"(o0));\n",
        1,
        &[B32],
    ));
    rows.push(Instruction::cuda(
        "elect",
        "  asm volatile(\"{ .reg .pred p; elect.sync %0|p, 0xffffffff; selp.u32 %1, 1, 0, p; }\" \
         : \"=r\"(o0), \"=r\"(o1));\n  o1 += i0;\n",
        2,
        &[Below(1)],
    ));
    rows
}
