//! Causal grouped-query attention over paged keys and values, for prompts in chunks and for
//! single tokens alike: `softmax(q k^T / sqrt(head_dim)) v` over the positions up to the row's own.
//!
//! `q` `[M, heads * head_dim]` f32; query head `h` reads key-value head `h / (heads / kv_heads)`;
//! the output is like `q`. Pages are taken in ascending order, whatever the chunk.
//! Sources: Ainslie et al., arXiv 2305.13245 (grouped queries); Kwon et al., arXiv 2309.06180
//! (pages).

use super::Op;
use super::rope_kv::Pages;
use crate::case::{Case, Inputs, Trial};
use crate::error::{Result, ensure};
use crate::host::softmax::{Attention, BLOCK, scratch_len};
use crate::kv_cache::{KvCache, PAGE, Sequence, check_rows};
use crate::tensor::{Tensor, View, ViewMut};
use crate::{Context, Host, Work, reference};
use std::ops::Range;

/// Attention of every row over its sequence, whose keys and values up to the row are in `layer`.
///
/// # Errors
/// If the width of `q` is not a multiple of the cache's heads, if a position has no page, or if
/// the workspace is used up.
pub fn attention_paged<'a>(
    cx: &Context,
    q: impl Into<View<'a>>,
    batch: &[Sequence<'_>],
    kv: &KvCache,
    layer: usize,
) -> Result<Tensor> {
    const OP: &str = "attention_paged";
    let q = q.into();
    let (head_dim, kv_heads) = (kv.head_dim(), kv.kv_heads());
    let group_width = q.cols() / kv_heads.max(1);
    let fits = group_width * kv_heads == q.cols() && group_width.is_multiple_of(head_dim);
    ensure(
        OP,
        fits,
        "columns of q",
        q.cols(),
        format!("a multiple of {kv_heads} x {head_dim}"),
    )?;
    check_rows(OP, q.rows(), batch)?;
    kv.check(OP, layer, batch)?;
    let pairs: usize = batch
        .iter()
        .map(|s| s.rows * (2 * s.start + s.rows + 1) / 2)
        .sum();
    let cached: usize = batch.iter().map(|s| s.start + s.rows).sum();
    let elements = 2 * q.rows() * q.cols() + 2 * cached * kv_heads * head_dim;
    let mut y = cx.tensor(q.rows(), q.cols())?;
    let group = group_width / head_dim;
    let mut scratch = cx.host_scratch(scratch_len(TILE_ROWS * group, head_dim))?;
    cx.run(OP, Work::new(4 * pairs * q.cols(), elements, 0), |host| {
        let mut first = 0;
        for sequence in batch {
            let out = y.rows_from_mut(first, sequence.rows);
            let q = q.rows_from(first, sequence.rows);
            host_attention_paged(host, q, sequence, (kv, layer), out, scratch.data_mut());
            first += sequence.rows;
        }
    });
    Ok(y)
}

/// Sizes of a case: heads, key-value heads, head_dim.
type Heads = (usize, usize, usize);

/// The formula at the head of this file for one sequence: `q` of its rows from `start` on, `k` and
/// `v` of all of them.
fn reference(
    (heads, kv_heads, head_dim): Heads,
    start: usize,
    [q, k, v]: &[Vec<f64>; 3],
) -> Vec<f64> {
    let at = |x: &[f64], heads: usize, row: usize, head: usize| {
        x[(row * heads + head) * head_dim..][..head_dim].to_vec()
    };
    let mut out = Vec::new();
    for row in 0..q.len() / (heads * head_dim) {
        for head in 0..heads {
            let kv_head = head / (heads / kv_heads);
            let q = at(q, heads, row, head);
            let dot = |key: usize| -> f64 {
                q.iter()
                    .zip(at(k, kv_heads, key, kv_head))
                    .map(|(q, k)| q * k)
                    .sum()
            };
            let scores: Vec<f64> = (0..=start + row)
                .map(|key| dot(key) / (head_dim as f64).sqrt())
                .collect();
            let mut sum = vec![0.0; head_dim];
            for (key, weight) in reference::softmax(&scores).into_iter().enumerate() {
                for (sum, v) in sum.iter_mut().zip(at(v, kv_heads, key, kv_head)) {
                    *sum += weight * v;
                }
            }
            out.extend(sum);
        }
    }
    out
}

// A block of keys is a page.
const _: () = assert!(BLOCK == PAGE);

/// Positions that a task computes, for each query head of a group.
const TILE_ROWS: usize = 64;

fn host_attention_paged(
    host: &Host,
    q: View<'_>,
    sequence: &Sequence<'_>,
    (kv, layer): (&KvCache, usize),
    mut out: ViewMut<'_>,
    scratch: &mut [f32],
) {
    let head_dim = kv.head_dim();
    let group_width = q.cols() / kv.kv_heads();
    let group = group_width / head_dim;
    host.for_tiles(
        &mut out,
        (TILE_ROWS, group_width),
        scratch,
        |mut tile, scratch| {
            let kv_head = tile.cols().start / group_width;
            let rows = tile.rows();
            // Row by row, the heads of the group beside each other.
            let place = |i: usize| (rows.start + i / group, i % group * head_dim);
            host.isa().run(Attention {
                head_dim,
                rows: rows.len() * group,
                query: |i| {
                    let (row, col) = place(i);
                    &q.row(row)[kv_head * group_width + col..][..head_dim]
                },
                block: |keys: Range<usize>| {
                    let page = sequence.pages[keys.start / PAGE];
                    kv.slots(layer, page, kv_head, keys.len())
                },
                visible: |i| sequence.start + place(i).0 + 1,
                output: |i, out: &[f32]| {
                    let (row, col) = place(i);
                    tile.row_mut(row)[col..][..head_dim].copy_from_slice(out);
                },
                scratch,
            });
        },
    );
}

pub(super) const ATTENTION_PAGED: Op = Op {
    name: "attention_paged",
    cases,
};

/// Puts keys and values `[tokens, kv_heads * head_dim]` of the first tokens into their pages.
fn fill(kv: &mut KvCache, layer: usize, pages: &[u32], k: &[f32], v: &[f32]) {
    let width = kv.kv_heads() * kv.head_dim();
    let tokens = k.chunks_exact(width).zip(v.chunks_exact(width));
    for (position, (k, v)) in tokens.enumerate() {
        kv.write(layer, pages, position, &[k, v].concat());
    }
}

/// First tokens, one past a page, a chunk in the middle, decode, one to eight heads a group.
fn cases() -> Vec<Case> {
    let case = |(sizes, spans): (Heads, &'static [(usize, usize)])| {
        let (heads, kv_heads, head_dim) = sizes;
        let rows: usize = spans.iter().map(|s| s.1).sum();
        let name = format!(
            "{heads}/{kv_heads}x{head_dim}, {rows} rows at {}",
            spans[0].0
        );
        Case::new(name, 1e-6, move |cx| {
            let mut inputs = Inputs::new((rows + spans[0].0) as u64);
            let pages = Pages::scattered(spans);
            let mut kv = KvCache::new(cx, 2, pages.count(), kv_heads, head_dim)?;
            let (mut q, mut wide) = (Vec::new(), Vec::new());
            for sequence in pages.batch(spans) {
                let width = kv_heads * head_dim;
                let total = sequence.start + sequence.rows;
                let new_q = inputs.normal(sequence.rows * heads * head_dim, 1.5);
                let [k, v] = [(); 2].map(|()| inputs.normal(total * width, 1.5));
                fill(&mut kv, 1, sequence.pages, &k, &v);
                wide.push((
                    sequence.start,
                    [&new_q, &k, &v].map(|x| reference::widen(x)),
                ));
                q.extend(new_q);
            }
            let q = cx.upload(&q, heads * head_dim)?;
            Ok(Trial::new(
                move |cx| Ok(attention_paged(cx, &q, &pages.batch(spans), &kv, 1)?.to_vec()),
                move || {
                    wide.iter()
                        .flat_map(|(start, qkv)| reference(sizes, *start, qkv))
                        .collect()
                },
            ))
        })
    };
    [
        ((4, 4, 32), &[(0, 65)][..]),
        ((4, 2, 64), &[(100, 1), (0, 1), (63, 3)]),
        ((8, 1, 128), &[(64, 70)]),
        ((5, 1, 16), &[(129, 2)]),
        ((6, 2, 20), &[(0, 130)]),
    ]
    .map(case)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use std::sync::Arc;

    /// Whole, in chunks, or token by token: the same bits, on any threads and instruction set.
    #[test]
    fn rows_do_not_depend_on_the_chunk() {
        let (heads, kv_heads, head_dim, rows) = (6, 2, 32, 150);
        let mut inputs = Inputs::new(3);
        let q = inputs.normal(rows * heads * head_dim, 1.5);
        let [k, v] = [(); 2].map(|()| inputs.normal(rows * kv_heads * head_dim, 1.5));
        let pages = [2, 0, 1];
        let mut all = Vec::new();
        for isa in Isa::available() {
            for (threads, chunk) in [(1, rows), (3, 64), (2, 50), (2, 1)] {
                let host = Arc::new(Host::with_isa(threads, isa).unwrap());
                let cx = Context::host(host, 400_000).unwrap();
                let mut kv = KvCache::new(&cx, 1, 3, kv_heads, head_dim).unwrap();
                fill(&mut kv, 0, &pages, &k, &v);
                let q = cx.upload(&q, heads * head_dim).unwrap();
                let mut out = Vec::new();
                for start in (0..rows).step_by(chunk) {
                    let rows = chunk.min(rows - start);
                    let batch = [Sequence {
                        start,
                        rows,
                        pages: &pages,
                    }];
                    let q = q.rows_from(start, rows);
                    out.extend(attention_paged(&cx, q, &batch, &kv, 0).unwrap().to_vec());
                }
                all.push(out);
            }
        }
        assert!(all.iter().all(|y| *y == all[0]));
    }
}
