//! `x W^T` in one fixed order.
//!
//! Every element is sixteen partial sums, lane `l` over the columns that are `l` modulo 16 in
//! ascending order, each step one fused multiply-add, folded at the end (8, 4, 2, 1 apart). The
//! order depends on nothing but the width of the matrix, so a row has the same bits alone or among
//! others, on any number of threads and with any instruction set. Weights are widened in registers.
#![allow(unsafe_code)]
// Tiles of registers are plain to read by row and column only.
#![allow(clippy::needless_range_loop)]

use super::simd::{Isa, Kernel, LANES, Simd};
use crate::DType;
use crate::weight::{Bf16, Element, F16, F32, Linear, Weight};
use std::ops::Range;

/// Steps of sixteen columns in a piece of some rows that stays in the first-level cache.
const PIECE: usize = 80;
/// The most columns of one product.
pub(crate) const MAX_COLS: usize = 64;
/// The most rows that are computed together.
const MAX_ROWS: usize = 6;
/// Sums of the widest row of tiles.
const PARTIAL: usize = MAX_ROWS * MAX_COLS;

/// Rows of an f32 matrix on the host.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// From the first element of the first row on.
    pub(crate) data: &'a [f32],
    /// Elements from one row's start to the next one's.
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.cols]
    }
}

/// Columns `cols` of `x W^T`, at most [`MAX_COLS`], into the rows of `out`, `stride` apart.
pub(crate) fn product(
    isa: Isa,
    x: Rows<'_>,
    w: &Linear,
    cols: Range<usize>,
    out: &mut [f32],
    stride: usize,
) {
    assert!(cols.len() <= MAX_COLS, "{} columns", cols.len());
    let mut first = 0;
    for (weight, _) in w.parts() {
        let from = cols.start.max(first);
        let to = cols.end.min(first + weight.rows());
        if from < to {
            let rows = from - first..to - first;
            let out = &mut out[from - cols.start..];
            match weight.dtype() {
                DType::F32 => isa.run(Block::<F32>::new(x, weight, rows, out, stride)),
                DType::F16 => isa.run(Block::<F16>::new(x, weight, rows, out, stride)),
                DType::BF16 => isa.run(Block::<Bf16>::new(x, weight, rows, out, stride)),
            }
        }
        first += weight.rows();
    }
}

/// Products of the rows of `x` with some rows of one matrix, stored `stride` apart.
struct Block<'a, E> {
    x: Rows<'a>,
    weight: &'a Weight,
    rows: Range<usize>,
    out: &'a mut [f32],
    stride: usize,
    element: std::marker::PhantomData<E>,
}

impl<'a, E: Element> Block<'a, E> {
    fn new(
        x: Rows<'a>,
        weight: &'a Weight,
        rows: Range<usize>,
        out: &'a mut [f32],
        stride: usize,
    ) -> Self {
        Block {
            x,
            weight,
            rows,
            out,
            stride,
            element: std::marker::PhantomData,
        }
    }

    /// All rows, `M` of `x` against `N` of the weight at a time, single ones against `L`.
    #[inline(always)]
    fn run_tiled<S: Simd, const M: usize, const N: usize, const L: usize>(mut self, s: S) {
        let mut row = 0;
        if self.x.rows >= M {
            let mut partial = [[0.0; LANES]; PARTIAL];
            while row + M <= self.x.rows {
                self.row_tile::<S, M, N>(s, row, &mut partial);
                row += M;
            }
        }
        while row < self.x.rows {
            let steps = 0..self.x.cols / LANES;
            let mut w = 0;
            while w + L <= self.rows.len() {
                self.tile::<S, 1, L>(s, row, w, steps.clone(), &mut []);
                w += L;
            }
            while w < self.rows.len() {
                self.tile::<S, 1, 1>(s, row, w, steps.clone(), &mut []);
                w += 1;
            }
            row += 1;
        }
    }

    /// `M` rows of `x` against all rows of the weight, `N` at a time. A piece of the rows stays in
    /// the first-level cache while the weight streams past; its sums go on in the next piece.
    #[inline(always)]
    fn row_tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        s: S,
        row: usize,
        partial: &mut [[f32; LANES]; PARTIAL],
    ) {
        let steps = self.x.cols / LANES;
        let mut first = 0;
        loop {
            let piece = first..steps.min(first + PIECE);
            let mut w = 0;
            while w + N <= self.rows.len() {
                self.tile::<S, M, N>(s, row, w, piece.clone(), &mut partial[w * M..]);
                w += N;
            }
            while w < self.rows.len() {
                self.tile::<S, M, 1>(s, row, w, piece.clone(), &mut partial[w * M..]);
                w += 1;
            }
            first = piece.end;
            if first == steps {
                break;
            }
        }
    }

    /// `M` rows of `x` against `N` rows of the weight over some of their steps of sixteen columns.
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        s: S,
        row: usize,
        w: usize,
        steps: Range<usize>,
        partial: &mut [[f32; LANES]],
    ) {
        let total = self.x.cols / LANES;
        let mut x: [&[f32]; M] = [&[]; M];
        let mut xs: [&[[f32; LANES]]; M] = [&[]; M];
        for i in 0..M {
            x[i] = self.x.row(row + i);
            xs[i] = &x[i].as_chunks().0[steps.clone()];
        }
        let mut ws: [&[E::Block]; N] = [&[]; N];
        for j in 0..N {
            ws[j] = &E::blocks(self.weight.row(self.rows.start + w + j))[steps.clone()];
        }
        let mut sums = [[s.splat(0.0); N]; M];
        if steps.start > 0 {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = s.load(&partial[i * N + j]);
                }
            }
        }
        let next = N * self.weight.row_bytes();
        for k in 0..steps.len() {
            if M == 1 {
                // The weight is read once, faster than the processor would fetch it by itself.
                for j in 0..N {
                    s.prefetch(
                        self.weight.row(self.rows.start + w + j),
                        next + k * size_of::<E::Block>(),
                    );
                }
            }
            let mut block = [s.splat(0.0); N];
            for j in 0..N {
                // SAFETY: every slice was cut to `steps` just above. With checks in it, this loop
                // is half as fast.
                block[j] = E::widen(s, unsafe { ws[j].get_unchecked(k) });
            }
            for i in 0..M {
                // SAFETY: as above.
                let x = s.load(unsafe { xs[i].get_unchecked(k) });
                for j in 0..N {
                    sums[i][j] = s.fma(x, block[j], sums[i][j]);
                }
            }
        }
        if steps.end < total {
            for i in 0..M {
                for j in 0..N {
                    s.store(sums[i][j], &mut partial[i * N + j]);
                }
            }
            return;
        }
        let rest = total * LANES;
        for i in 0..M {
            for j in 0..N {
                if rest < x[i].len() {
                    let x = s.load_part(&x[i][rest..], 0.0);
                    let weight = self.weight.row(self.rows.start + w + j);
                    sums[i][j] = s.fma(x, E::widen_from(s, weight, rest), sums[i][j]);
                }
                self.out[(row + i) * self.stride + w + j] = s.sum(sums[i][j]);
            }
        }
    }
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // As many sums as the registers hold.
        if S::REGISTERS >= 32 {
            self.run_tiled::<S, 6, 4, 4>(s);
        } else {
            self.run_tiled::<S, 2, 2, 4>(s);
        }
    }
}
