//! Attention of some query rows over keys, 64 keys at a time, with an online softmax.
//!
//! A row's arithmetic is a fixed sequence over its keys, ascending: a score is one chain of fused
//! multiply-adds over the head's width, the sums are rescaled after each block of 64 keys. It does
//! not depend on the rows beside it, as long as values are finite. Source: Milakov and Gimelshein,
//! arXiv 1805.02867; the blocks, Dao et al., arXiv 2205.14135.
// Tiles of registers are plain to read by row and column only.
#![allow(clippy::needless_range_loop)]

use super::math;
use super::simd::{Kernel, LANES, Simd};
use crate::tensor::Rows;
use std::ops::Range;

/// Keys in a block.
pub(crate) const BLOCK: usize = 64;
/// Vectors that a block of keys fills.
const VECTORS: usize = BLOCK / LANES;

/// Rows that are computed together, as many as the registers hold.
const GROUP: usize = 6;

/// Elements of scratch for `rows` queries of `head_dim`.
pub(crate) fn scratch_len(rows: usize, head_dim: usize) -> usize {
    let padded = head_dim.next_multiple_of(LANES);
    rows * (head_dim + padded + 2) + BLOCK * padded
}

/// Attention of some rows: queries of one head, or of several heads that share their keys.
pub(crate) struct Attention<'a, Q, K, V, O> {
    pub(crate) head_dim: usize,
    pub(crate) rows: usize,
    /// Query of a row.
    pub(crate) query: Q,
    /// Keys and values of a range of indices, of a block at most, `[keys, head_dim]` each.
    pub(crate) block: K,
    /// How many keys, from the first on, a row sees; at least one.
    pub(crate) visible: V,
    /// Takes the result of a row.
    pub(crate) output: O,
    /// [`scratch_len`] elements.
    pub(crate) scratch: &'a mut [f32],
}

/// The scratch, cut up.
struct Parts<'a> {
    /// Scaled queries by group, transposed: `[head_dim][rows of the group]`.
    queries: &'a mut [f32],
    /// Weighted sums of values, `[rows][padded]`.
    sums: &'a mut [f32],
    /// Greatest score of each row so far.
    max: &'a mut [f32],
    /// Sum of the weights of each row so far.
    weight: &'a mut [f32],
    /// The block's keys, transposed: `[padded][BLOCK]`.
    keys: &'a mut [f32],
}

impl<'a> Parts<'a> {
    fn cut(scratch: &'a mut [f32], rows: usize, head_dim: usize) -> Parts<'a> {
        let padded = head_dim.next_multiple_of(LANES);
        let (queries, rest) = scratch.split_at_mut(rows * head_dim);
        let (sums, rest) = rest.split_at_mut(rows * padded);
        let (max, rest) = rest.split_at_mut(rows);
        let (weight, rest) = rest.split_at_mut(rows);
        Parts {
            queries,
            sums,
            max,
            weight,
            keys: &mut rest[..BLOCK * padded],
        }
    }
}

/// The size of the next group of rows where `left` are left.
#[inline(always)]
fn group_size(left: usize) -> usize {
    match left {
        GROUP.. => GROUP,
        2.. => 2,
        _ => 1,
    }
}

impl<'x, Q, K, V, O> Kernel for Attention<'_, Q, K, V, O>
where
    Q: Fn(usize) -> &'x [f32],
    K: Fn(Range<usize>) -> [Rows<'x>; 2],
    V: Fn(usize) -> usize,
    O: FnMut(usize, &[f32]),
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (rows, head_dim) = (self.rows, self.head_dim);
        let mut parts = Parts::cut(self.scratch, rows, head_dim);
        let scale = (head_dim as f32).sqrt().recip();
        let mut first = 0;
        while first < rows {
            let size = group_size(rows - first);
            for i in 0..size {
                for (d, q) in (self.query)(first + i).iter().enumerate() {
                    parts.queries[first * head_dim + d * size + i] = q * scale;
                }
            }
            first += size;
        }
        parts.sums.fill(0.0);
        parts.max.fill(f32::NEG_INFINITY);
        parts.weight.fill(0.0);
        let keys = (0..rows).map(&self.visible).max().unwrap_or(0);
        let block_at = |first: usize| (self.block)(first..keys.min(first + BLOCK));
        for first_key in (0..keys).step_by(BLOCK) {
            let [block, values] = block_at(first_key);
            let next = (first_key + BLOCK < keys).then(|| block_at(first_key + BLOCK)[0]);
            parts.transpose(s, block, values);
            let mut first = 0;
            while first < rows {
                let mut seen = [0; GROUP];
                let size = group_size(rows - first);
                for (i, seen) in seen[..size].iter_mut().enumerate() {
                    *seen = (self.visible)(first + i)
                        .saturating_sub(first_key)
                        .min(BLOCK);
                }
                let next = next.filter(|_| first == 0);
                match size {
                    GROUP => parts.absorb::<S, GROUP>(s, first, &seen, (values, next)),
                    2 => parts.absorb::<S, 2>(s, first, &seen, (values, next)),
                    _ => parts.absorb::<S, 1>(s, first, &seen, (values, next)),
                }
                first += size;
            }
        }
        let padded = head_dim.next_multiple_of(LANES);
        for (row, sums) in parts.sums.chunks_exact_mut(padded).enumerate() {
            let weight = s.splat(parts.weight[row]);
            for sum in sums.as_chunks_mut().0 {
                s.store(s.div(s.load(sum), weight), sum);
            }
            (self.output)(row, &sums[..head_dim]);
        }
    }
}

/// Asks for the memory of some rows, as far as they exist.
#[inline(always)]
fn fetch<S: Simd>(s: S, rows: Rows<'_>, range: Range<usize>) {
    for row in range.start..range.end.min(rows.rows) {
        for line in rows.row(row).chunks(LANES) {
            s.prefetch(line.as_ptr().cast());
        }
    }
}

impl Parts<'_> {
    /// Takes a block's keys, zeros behind them, and asks for the rows that are `next`, a few at a
    /// time: few queries wait for memory, and many requests at once for each other.
    #[inline(always)]
    fn transpose<S: Simd>(&mut self, s: S, keys: Rows<'_>, next: Rows<'_>) {
        let (columns, _) = self.keys.as_chunks_mut::<BLOCK>();
        let vectors = columns.len() / LANES;
        for first in (0..BLOCK).step_by(LANES) {
            for (d, columns) in columns.chunks_exact_mut(LANES).enumerate() {
                let share = LANES * d / vectors..LANES * (d + 1) / vectors;
                fetch(s, next, first + share.start..first + share.end);
                let mut tile = [s.splat(0.0); LANES];
                for i in 0..LANES.min(keys.rows.saturating_sub(first)) {
                    let key = &keys.row(first + i)[d * LANES..];
                    tile[i] = s.load_part(&key[..key.len().min(LANES)], 0.0);
                }
                let tile = s.transpose(tile);
                for i in 0..LANES {
                    s.store_part(tile[i], &mut columns[i][first..first + LANES]);
                }
            }
        }
    }

    /// Adds the block to `M` rows, of which row `i` sees the first `seen[i]` keys, and asks for the
    /// rows that are `next`.
    #[inline(always)]
    fn absorb<S: Simd, const M: usize>(
        &mut self,
        s: S,
        first: usize,
        seen: &[usize; GROUP],
        (values, next): (Rows<'_>, Option<Rows<'_>>),
    ) {
        if seen[..M] == [0; M] {
            return;
        }
        let mut weights = self.scores::<S, M>(s, first);
        let mut rescale = [0.0; M];
        for i in 0..M {
            weights[i][seen[i]..].fill(f32::NEG_INFINITY);
            let (scores, _) = weights[i].as_chunks_mut::<LANES>();
            let (max, weight) = (&mut self.max[first + i], &mut self.weight[first + i]);
            let mut greatest = s.splat(*max);
            for v in scores.iter() {
                greatest = s.max(greatest, s.load(v));
            }
            let greatest = s.max_lane(greatest);
            rescale[i] = s.max_lane(math::exp(s, s.splat(*max - greatest)));
            *max = greatest;
            let mut sum = s.splat(0.0);
            for v in scores {
                let e = math::exp(s, s.sub(s.load(v), s.splat(greatest)));
                sum = s.add(sum, e);
                s.store(e, v);
            }
            *weight = weight.mul_add(rescale[i], s.sum(sum));
        }
        let vectors = values.cols.div_ceil(LANES);
        let mut column = 0;
        while column + VECTORS <= vectors {
            self.add_values::<S, M, VECTORS>(s, first, (values, column, next), &weights, &rescale);
            column += VECTORS;
        }
        while column < vectors {
            self.add_values::<S, M, 1>(s, first, (values, column, next), &weights, &rescale);
            column += 1;
        }
    }

    /// Scores of `M` rows against the block.
    #[inline(always)]
    fn scores<S: Simd, const M: usize>(&self, s: S, first: usize) -> [[f32; BLOCK]; M] {
        let head_dim = self.queries.len() / self.max.len();
        let (queries, _) = self.queries[first * head_dim..][..M * head_dim].as_chunks::<M>();
        let (keys, _) = self.keys.as_chunks::<BLOCK>();
        let mut sums = [[s.splat(0.0); VECTORS]; M];
        for (q, keys) in queries.iter().zip(keys) {
            let (keys, _) = keys.as_chunks::<LANES>();
            let mut k = [s.splat(0.0); VECTORS];
            for c in 0..VECTORS {
                k[c] = s.load(&keys[c]);
            }
            for i in 0..M {
                let q = s.splat(q[i]);
                for c in 0..VECTORS {
                    sums[i][c] = s.fma(q, k[c], sums[i][c]);
                }
            }
        }
        let mut scores = [[0.0; BLOCK]; M];
        for i in 0..M {
            let (scores, _) = scores[i].as_chunks_mut::<LANES>();
            for c in 0..VECTORS {
                s.store(sums[i][c], &mut scores[c]);
            }
        }
        scores
    }

    /// `sums * rescale + weights * values` in `C` vectors of `M` rows. Lanes past the head's width
    /// hold what lies behind it in memory, and are not read.
    #[inline(always)]
    fn add_values<S: Simd, const M: usize, const C: usize>(
        &mut self,
        s: S,
        first: usize,
        (values, column, next): (Rows<'_>, usize, Option<Rows<'_>>),
        weights: &[[f32; BLOCK]; M],
        rescale: &[f32; M],
    ) {
        let padded = values.cols.next_multiple_of(LANES);
        let mut sums = [[s.splat(0.0); C]; M];
        for i in 0..M {
            let (row, _) = self.sums[(first + i) * padded..][..padded].as_chunks::<LANES>();
            for c in 0..C {
                sums[i][c] = s.mul(s.load(&row[column + c]), s.splat(rescale[i]));
            }
        }
        for j in 0..values.rows {
            let row = &values.data[j * values.stride + column * LANES..];
            if let Some(next) = next
                && column == 0
            {
                fetch(s, next, j..j + 1);
            }
            let mut v = [s.splat(0.0); C];
            if let Some((row, _)) = row.split_at_checked(C * LANES) {
                let (row, _) = row.as_chunks();
                for c in 0..C {
                    v[c] = s.load(&row[c]);
                }
            } else {
                for c in 0..C {
                    let row = &row[row.len().min(c * LANES)..];
                    v[c] = s.load_part(&row[..row.len().min(LANES)], 0.0);
                }
            }
            for i in 0..M {
                let weight = s.splat(weights[i][j]);
                for c in 0..C {
                    sums[i][c] = s.fma(weight, v[c], sums[i][c]);
                }
            }
        }
        for i in 0..M {
            let (row, _) = self.sums[(first + i) * padded..][..padded].as_chunks_mut::<LANES>();
            for c in 0..C {
                s.store(sums[i][c], &mut row[column + c]);
            }
        }
    }
}
