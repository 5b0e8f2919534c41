//! `x W^T` in one fixed order.
//!
//! Every element is sixteen partial sums, lane `l` over the columns that are `l` modulo 16 in
//! ascending order, each step one fused multiply-add, folded at the end (8, 4, 2, 1 apart). The
//! order depends on nothing but the width of the matrix, so a row has the same bits alone or among
//! others, on any number of threads and with any instruction set. Weights are widened in registers.
#![allow(unsafe_code)]

use super::simd::{Isa, Kernel, LANES, Simd};
use crate::DType;
use crate::weight::{Bf16, Element, F16, F32, Linear, Weight};
use std::ops::Range;

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

/// Columns `cols` of `x W^T`, row after row, into `out`.
pub(crate) fn product(isa: Isa, x: Rows<'_>, w: &Linear, cols: Range<usize>, out: &mut [f32]) {
    let width = cols.len();
    let mut first = 0;
    for (weight, _) in w.parts() {
        let from = cols.start.max(first);
        let to = cols.end.min(first + weight.rows());
        if from < to {
            let rows = from - first..to - first;
            let out = &mut out[from - cols.start..];
            match weight.dtype() {
                DType::F32 => isa.run(Block::<F32>::new(x, weight, rows, out, width)),
                DType::F16 => isa.run(Block::<F16>::new(x, weight, rows, out, width)),
                DType::BF16 => isa.run(Block::<Bf16>::new(x, weight, rows, out, width)),
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

    /// `N` rows of the weight against all rows of `x`, `M` at a time.
    #[inline(always)]
    fn columns<S: Simd, const M: usize, const N: usize>(&mut self, s: S, w: usize) {
        let mut row = 0;
        while row + M <= self.x.rows {
            self.tile::<S, M, N>(s, row, w);
            row += M;
        }
        while row + 2 <= self.x.rows {
            self.tile::<S, 2, N>(s, row, w);
            row += 2;
        }
        if row < self.x.rows {
            self.tile::<S, 1, N>(s, row, w);
        }
    }

    /// `M` rows of `x` against `N` rows of the weight.
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize>(&mut self, s: S, row: usize, w: usize) {
        let x: [&[f32]; M] = std::array::from_fn(|i| self.x.row(row + i));
        let w_rows: [&[u8]; N] = std::array::from_fn(|j| self.weight.row(self.rows.start + w + j));
        let sums = dots::<S, E, M, N>(s, x, w_rows);
        for (i, sums) in sums.into_iter().enumerate() {
            self.out[(row + i) * self.stride + w..][..N].copy_from_slice(&sums);
        }
    }

    #[inline(always)]
    fn run_tiled<S: Simd, const M: usize, const N: usize>(mut self, s: S) {
        let mut w = 0;
        while w + N <= self.rows.len() {
            self.columns::<S, M, N>(s, w);
            w += N;
        }
        while w < self.rows.len() {
            self.columns::<S, M, 1>(s, w);
            w += 1;
        }
    }
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // As many sums as the registers hold.
        if S::REGISTERS >= 32 {
            self.run_tiled::<S, 6, 4>(s);
        } else {
            self.run_tiled::<S, 2, 2>(s);
        }
    }
}

/// The inner products of `M` rows with `N` rows.
#[inline(always)]
fn dots<S: Simd, E: Element, const M: usize, const N: usize>(
    s: S,
    x: [&[f32]; M],
    w: [&[u8]; N],
) -> [[f32; N]; M] {
    let steps = x[0].len() / LANES;
    let xs: [&[[f32; LANES]]; M] = x.map(|x| &x.as_chunks().0[..steps]);
    let ws: [&[E::Block]; N] = w.map(|w| &E::blocks(w)[..steps]);
    let mut sums = [[s.splat(0.0); N]; M];
    for k in 0..steps {
        let mut block = [s.splat(0.0); N];
        for j in 0..N {
            // SAFETY: every slice was cut to `steps` elements just above. With checks in it, this
            // loop is half as fast.
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
    let mut dots = [[0.0; N]; M];
    let rest = steps * LANES;
    for i in 0..M {
        for j in 0..N {
            if rest < x[0].len() {
                let x = s.load_part(&x[i][rest..], 0.0);
                sums[i][j] = s.fma(x, E::widen_from(s, w[j], rest), sums[i][j]);
            }
            dots[i][j] = s.sum(sums[i][j]);
        }
    }
    dots
}
