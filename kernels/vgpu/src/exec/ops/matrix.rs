//! Matrices of 8 by 8 halves between shared memory and a warp's registers (PTX ISA 9.7.14.5).
//!
//! Lane `4 i + j` holds elements `2 j` and `2 j + 1` of row `i`, so that a fragment's lanes in order
//! are the matrix by rows.

use super::address::{Reach, locate, locate_writable, shared_row};
use super::memory::{read_row, write_row};
use crate::code::Inst;
use crate::exec::access::Action;
use crate::exec::column::{FULL, LANES};
use crate::exec::{Cx, Operation, Outcome, Trouble};

/// Set in `Inst::flags` where the matrices are transposed; the low bits hold their number.
pub(crate) const TRANSPOSE: u32 = 1 << 8;
/// Set where addresses are generic, and have 64 bits.
pub(crate) const GENERIC: u32 = 1 << 9;

/// The matrix whose rows are the columns of `fragment`.
fn transposed(fragment: &[u32; LANES]) -> [u32; LANES] {
    let half =
        |row: usize, column: usize| fragment[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
    std::array::from_fn(|lane| {
        let (row, column) = (lane / 4, lane % 4 * 2);
        half(column + 1, row) << 16 | half(column, row)
    })
}

/// The address that `lane` gives for its row.
fn address(cx: &Cx<'_>, inst: &Inst, slot: u16, lane: usize) -> u64 {
    if inst.flags() & GENERIC != 0 {
        cx.read::<u64>(slot)[lane].wrapping_add(inst.offset() as u64)
    } else {
        u64::from(cx.read::<u32>(slot)[lane].wrapping_add(inst.imm as u32))
    }
}

fn reach(inst: &Inst) -> Reach {
    if inst.flags() & GENERIC != 0 {
        Reach::Generic
    } else {
        Reach::Shared
    }
}

/// The row whose address `lane` gives.
#[inline(always)]
fn load_row(
    cx: &mut Cx<'_>,
    inst: &Inst,
    slot: u16,
    lane: usize,
) -> Result<[u32; 4], Box<Trouble>> {
    if reach(inst) == Reach::Shared {
        let address = cx.read::<u32>(slot)[lane].wrapping_add(inst.imm as u32);
        if let Some(row) = shared_row(cx, address) {
            return Ok(row);
        }
    }
    locate(cx, reach(inst), lane, address(cx, inst, slot, lane), 16).map(read_row)
}

/// Shows the rows of `count` matrices, whose addresses are in `slot`, to those who watch.
fn watch(cx: &mut Cx<'_>, inst: &Inst, action: Action, slot: u16, count: usize) -> Outcome {
    let addresses = std::array::from_fn(|lane| address(cx, inst, slot, lane));
    let lanes = 8 * count.clamp(1, 4);
    for (lane, &at) in addresses.iter().enumerate().take(lanes) {
        if action == Action::Read {
            locate(cx, reach(inst), lane, at, 16)?;
        } else {
            locate_writable(cx, reach(inst), lane, at, 16)?;
        }
    }
    cx.watch(
        inst,
        action,
        reach(inst),
        &addresses,
        FULL >> (LANES - lanes),
        16,
    )
}

/// `ldmatrix`: the list holds a result for each matrix and the address; lane `8 m + i` has that of
/// row `i` of matrix `m`.
pub(crate) struct LoadMatrix;

impl Operation for LoadMatrix {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, _: u32) -> Outcome {
        let count = (inst.flags() & 255) as usize;
        let from = cx.listed(inst, count);
        if cx.grid.watched {
            watch(cx, inst, Action::Read, from, count)?;
        }
        let mut out = [[0; LANES]; 4];
        for (m, out) in out.iter_mut().enumerate().take(count) {
            for (i, row) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *row = load_row(cx, inst, from, 8 * m + i)?;
            }
            if inst.flags() & TRANSPOSE != 0 {
                *out = transposed(out);
            }
        }
        for (m, values) in out.iter().enumerate().take(count) {
            let to = cx.listed(inst, m);
            cx.set(to, FULL, values);
        }
        Ok(())
    }
}

/// `stmatrix`: the list holds the address and a source for each matrix.
pub(crate) struct StoreMatrix;

impl Operation for StoreMatrix {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, _: u32) -> Outcome {
        let count = (inst.flags() & 255) as usize;
        let to = cx.listed(inst, 0);
        if cx.grid.watched {
            watch(cx, inst, Action::Write, to, count)?;
        }
        for m in 0..count {
            let mut values = *cx.read(cx.listed(inst, 1 + m));
            if inst.flags() & TRANSPOSE != 0 {
                values = transposed(&values);
            }
            for (i, &row) in values.as_chunks::<4>().0.iter().enumerate() {
                let lane = 8 * m + i;
                let at = address(cx, inst, to, lane);
                let place = locate_writable(cx, reach(inst), lane, at, 16)?;
                write_row(place, row);
            }
        }
        Ok(())
    }
}

/// `movmatrix.trans`.
pub(crate) struct TransposeMatrix;

impl Operation for TransposeMatrix {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, _: u32) -> Outcome {
        let values = transposed(cx.read(inst.a));
        cx.set(inst.d, FULL, &values);
        Ok(())
    }
}
