//! `x W^T` in one fixed order.
//!
//! Every element is sixteen partial sums, lane `l` over the columns that are `l` modulo 16 in
//! ascending order, each step one fused multiply-add, folded at the end (8, 4, 2, 1 apart). The
//! order depends on nothing but the width of the matrix, so a row has the same bits alone or among
//! others, on any number of threads and with any instruction set.
//!
//! One row widens its weights in registers. Several rows share a panel, which stays in the second
//! level cache: the first of them fill it while they compute.
#![allow(unsafe_code)]
// Tiles of registers are plain to read by row and column only.
#![allow(clippy::needless_range_loop)]

use super::simd::{Isa, Kernel, LANES, Simd};
use crate::DType;
use crate::tensor::Rows;
use crate::weight::{Bf16, Element, F16, F32, Linear, Weight};
use std::marker::PhantomData;
use std::ops::Range;

/// Steps of sixteen columns that are computed before the next ones are looked at: a piece of some
/// rows of `x` stays in the first-level cache, that of the weight's in the second.
const PIECE: usize = 80;
/// The most columns of a product of several rows.
pub(crate) const MAX_COLS: usize = 64;
/// The most rows of one product.
pub(crate) const MAX_ROWS: usize = 96;

/// Bytes that a stream of weights is asked for ahead of their use.
const AHEAD: usize = 768;

/// Elements of scratch for one product.
pub(crate) const SCRATCH: usize = (MAX_COLS * PIECE + MAX_COLS * MAX_ROWS) * LANES;

/// Columns `cols` of `x W^T`, of one row or at most [`MAX_COLS`] of at most [`MAX_ROWS`] rows, into
/// the rows of `out`, `stride` apart. `scratch` has [`SCRATCH`] elements.
pub(crate) fn product(
    isa: Isa,
    x: Rows<'_>,
    w: &Linear,
    cols: Range<usize>,
    (out, stride): (&mut [f32], usize),
    scratch: &mut [f32],
) {
    let fits = x.rows == 1 || (cols.len() <= MAX_COLS && x.rows <= MAX_ROWS);
    assert!(fits, "{} rows, {} columns", x.rows, cols.len());
    let mut first = 0;
    for (weight, _) in w.parts() {
        let from = cols.start.max(first);
        let to = cols.end.min(first + weight.rows());
        if from < to {
            let rows = from - first..to - first;
            let out = &mut out[from - cols.start..];
            match weight.dtype() {
                DType::F32 => isa.run(Block::<F32>::new(x, weight, rows, (out, stride), scratch)),
                DType::F16 => isa.run(Block::<F16>::new(x, weight, rows, (out, stride), scratch)),
                DType::BF16 => isa.run(Block::<Bf16>::new(x, weight, rows, (out, stride), scratch)),
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
    /// Some steps of every row of the weight, widened: `[rows][steps]`.
    panel: &'a mut [[f32; LANES]],
    /// Sums over the steps so far, tile after tile.
    partial: &'a mut [[f32; LANES]],
    element: PhantomData<E>,
}

impl<'a, E: Element> Block<'a, E> {
    fn new(
        x: Rows<'a>,
        weight: &'a Weight,
        rows: Range<usize>,
        (out, stride): (&'a mut [f32], usize),
        scratch: &'a mut [f32],
    ) -> Self {
        let (vectors, _) = scratch.as_chunks_mut();
        let (panel, partial) = vectors.split_at_mut(MAX_COLS * PIECE);
        Block {
            x,
            weight,
            rows,
            out,
            stride,
            panel,
            partial,
            element: PhantomData,
        }
    }

    /// Many rows: `M` of `x` against `N` of the weight at a time. Past the last row of either, a
    /// tile computes something that nobody reads.
    #[inline(always)]
    fn tiled<S: Simd, const M: usize, const N: usize>(&mut self, s: S) {
        let total = self.x.cols.div_ceil(LANES);
        for first in (0..total).step_by(PIECE) {
            let steps = first..total.min(first + PIECE);
            let mut tile = 0;
            for row in (0..self.x.rows).step_by(M) {
                for w in (0..self.rows.len()).step_by(N) {
                    match row {
                        0 => self.tile::<S, M, N, true>(s, (row, w), steps.clone(), tile),
                        _ => self.tile::<S, M, N, false>(s, (row, w), steps.clone(), tile),
                    }
                    tile += M * N;
                }
            }
        }
    }

    /// `M` rows of `x` against `N` rows of the panel, which the `FIRST` rows fill.
    #[inline(always)]
    fn tile<S: Simd, const M: usize, const N: usize, const FIRST: bool>(
        &mut self,
        s: S,
        (row, w): (usize, usize),
        steps: Range<usize>,
        partial: usize,
    ) {
        let whole = steps.len().min(self.x.cols / LANES - steps.start);
        let mut x: [&[f32]; M] = [&[]; M];
        let mut xs: [&[[f32; LANES]]; M] = [&[]; M];
        for i in 0..M {
            x[i] = &self.x.row((row + i).min(self.x.rows - 1))[steps.start * LANES..];
            xs[i] = &x[i].as_chunks().0[..whole];
        }
        let mut rows: [&[u8]; N] = [&[]; N];
        let mut blocks: [&[E::Block]; N] = [&[]; N];
        let mut panel: [&mut [[f32; LANES]]; N] = std::array::from_fn(|_| &mut [][..]);
        let panels = self.panel.chunks_exact_mut(steps.len()).skip(w);
        for (j, of_row) in panels.take(N).enumerate() {
            rows[j] = self
                .weight
                .row(self.rows.start + (w + j).min(self.rows.len() - 1));
            blocks[j] = &E::blocks(rows[j])[steps.start..][..whole];
            panel[j] = of_row;
        }
        assert!(panel.iter().all(|row| row.len() >= whole));
        let partial = &mut self.partial[partial..][..M * N];
        let mut sums = [[s.splat(0.0); N]; M];
        if steps.start > 0 {
            for i in 0..M {
                for j in 0..N {
                    sums[i][j] = s.load(&partial[i * N + j]);
                }
            }
        }
        for k in 0..whole {
            let mut v = [s.splat(0.0); N];
            for j in 0..N {
                // SAFETY: every slice was cut to `whole`, or asserted to have as many, just above.
                // With checks in it, this loop is half as fast.
                let widened = unsafe { panel[j].get_unchecked_mut(k) };
                if FIRST {
                    // SAFETY: as above.
                    v[j] = E::widen(s, unsafe { blocks[j].get_unchecked(k) });
                    s.store(v[j], widened);
                } else {
                    v[j] = s.load(widened);
                }
            }
            for i in 0..M {
                // SAFETY: as above.
                let x = s.load(unsafe { xs[i].get_unchecked(k) });
                for j in 0..N {
                    sums[i][j] = s.fma(x, v[j], sums[i][j]);
                }
            }
        }
        if whole < steps.len() {
            for j in 0..N {
                if FIRST {
                    let at = (steps.start + whole) * LANES;
                    s.store(E::widen_from(s, rows[j], at), &mut panel[j][whole]);
                }
                let v = s.load(&panel[j][whole]);
                for i in 0..M {
                    let x = s.load_part(&x[i][whole * LANES..], 0.0);
                    sums[i][j] = s.fma(x, v, sums[i][j]);
                }
            }
        }
        if steps.end * LANES < self.x.cols {
            for i in 0..M {
                for j in 0..N {
                    s.store(sums[i][j], &mut partial[i * N + j]);
                }
            }
            return;
        }
        let mut out = [[0.0; N]; M];
        for i in 0..M {
            out[i] = fold(s, sums[i]);
        }
        let cols = N.min(self.rows.len() - w);
        for (out, row) in out.iter().zip(row..self.x.rows) {
            let to = &mut self.out[row * self.stride + w..][..cols];
            match to.first_chunk_mut() {
                Some(to) => *to = *out,
                None => to.copy_from_slice(&out[..cols]),
            }
        }
    }

    /// One row, whose products memory alone limits: `N` streams of rows of the weight, for memory
    /// is read faster at several places than at one.
    #[inline(always)]
    fn streamed<S: Simd, const N: usize>(&mut self, s: S) {
        let apart = self.rows.len() / N;
        for w in 0..apart {
            self.stream::<S, N>(s, w, apart);
        }
        for w in apart * N..self.rows.len() {
            self.stream::<S, 1>(s, w, 1);
        }
    }

    /// The one row of `x` against `N` rows of the weight, from `w` on and `apart`.
    #[inline(always)]
    fn stream<S: Simd, const N: usize>(&mut self, s: S, w: usize, apart: usize) {
        let (x, last) = self.x.row(0).as_chunks();
        let mut rows: [&[u8]; N] = [&[]; N];
        let mut blocks: [&[E::Block]; N] = [&[]; N];
        for j in 0..N {
            rows[j] = self.weight.row(self.rows.start + w + j * apart);
            blocks[j] = &E::blocks(rows[j])[..x.len()];
        }
        let mut sums = [s.splat(0.0); N];
        for k in 0..x.len() {
            let x = s.load(&x[k]);
            for j in 0..N {
                // SAFETY: every slice was cut to the length of `x` just above.
                let block = unsafe { blocks[j].get_unchecked(k) };
                s.prefetch(std::ptr::from_ref(block).wrapping_byte_add(AHEAD).cast());
                sums[j] = s.fma(x, E::widen(s, block), sums[j]);
            }
        }
        if !last.is_empty() {
            let at = x.len() * LANES;
            let x = s.load_part(last, 0.0);
            for j in 0..N {
                sums[j] = s.fma(x, E::widen_from(s, rows[j], at), sums[j]);
            }
        }
        let out = fold(s, sums);
        for j in 0..N {
            self.out[w + j * apart] = out[j];
        }
    }
}

/// The sum of the lanes of each vector.
#[inline(always)]
fn fold<S: Simd, const N: usize>(s: S, sums: [S::V; N]) -> [f32; N] {
    let mut out = [0.0; N];
    let (fours, rest) = out.as_chunks_mut::<4>();
    for (i, out) in fours.iter_mut().enumerate() {
        *out = s.sum_each([
            sums[4 * i],
            sums[4 * i + 1],
            sums[4 * i + 2],
            sums[4 * i + 3],
        ]);
    }
    let done = N - rest.len();
    for (i, out) in rest.iter_mut().enumerate() {
        *out = s.sum(sums[done + i]);
    }
    out
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        // As many sums as the registers hold.
        if self.x.rows == 1 {
            self.streamed::<S, 4>(s);
        } else if S::REGISTERS >= 32 {
            self.tiled::<S, 6, 4>(s);
        } else {
            self.tiled::<S, 2, 2>(s);
        }
    }
}
