//! Matrices of 8 by 8 halves between shared memory and a warp's registers (PTX ISA 9.7.14.5).
//!
//! Lane `4 i + j` holds elements `2 j` and `2 j + 1` of row `i`.

use super::memory::{Reach, locate, locate_writable, read_row, write_row};
use crate::code::Inst;
use crate::exec::column::{FULL, LANES};
use crate::exec::{Cx, Operation, Outcome};

/// A matrix by rows.
type Matrix = [[u16; 8]; 8];

/// Set in `Inst::flags` where the matrices are transposed; the low bits hold their number.
pub(crate) const TRANSPOSE: u32 = 1 << 8;
/// Set where addresses are generic, and have 64 bits.
pub(crate) const GENERIC: u32 = 1 << 9;

fn fragment(matrix: &Matrix) -> [u32; LANES] {
    std::array::from_fn(|lane| {
        let row = &matrix[lane / 4];
        let (low, high) = (row[lane % 4 * 2], row[lane % 4 * 2 + 1]);
        u32::from(high) << 16 | u32::from(low)
    })
}

fn matrix(fragment: &[u32; LANES]) -> Matrix {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| (fragment[4 * row + column / 2] >> (16 * (column % 2))) as u16)
    })
}

fn transposed(matrix: &Matrix) -> Matrix {
    std::array::from_fn(|row| std::array::from_fn(|column| matrix[column][row]))
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
    if inst.flags() & GENERIC != 0 { Reach::Generic } else { Reach::Shared }
}

/// `ldmatrix`: the list holds a result for each matrix and the address; lane `8 m + i` has that of
/// row `i` of matrix `m`.
pub(crate) struct LoadMatrix;

impl Operation for LoadMatrix {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, _: u32) -> Outcome {
        let count = (inst.flags() & 255) as usize;
        let from = cx.listed(inst, count);
        let mut out = [[0; LANES]; 4];
        for (m, out) in out.iter_mut().enumerate().take(count) {
            let mut matrix = Matrix::default();
            for (i, row) in matrix.iter_mut().enumerate() {
                let lane = 8 * m + i;
                let place = locate(cx, reach(inst), lane, address(cx, inst, from, lane), 16)?;
                *row = read_row(place);
            }
            let transpose = inst.flags() & TRANSPOSE != 0;
            *out = fragment(&if transpose { transposed(&matrix) } else { matrix });
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
        for m in 0..count {
            let values = matrix(cx.read(cx.listed(inst, 1 + m)));
            let transpose = inst.flags() & TRANSPOSE != 0;
            let values = if transpose { transposed(&values) } else { values };
            for (i, row) in values.iter().enumerate() {
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
        let values = fragment(&transposed(&matrix(cx.read(inst.a))));
        cx.set(inst.d, FULL, &values);
        Ok(())
    }
}
