//! Causal grouped-query attention over paged keys and values, for prompts in chunks and for
//! single tokens alike: `softmax(q k^T / sqrt(head_dim)) v` over the positions up to the row's own.
//!
//! `q` `[M, heads * head_dim]`; query head `h` reads key-value head `h / (heads / kv_heads)`;
//! the output is like `q`. Pages are taken in ascending order, whatever the chunk.
//! Sources: Ainslie et al., arXiv 2305.13245 (grouped queries); Kwon et al., arXiv 2309.06180
//! (pages).

use super::Op;
use super::attention::{HEAD_DIMS, THREADS, block_products, define_head_dim, shared_rows};
use super::rope_kv::{Pages, case_batch};
use crate::batch::SPLIT;
use crate::case::{Case, Inputs, Trial, behind_nan};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, ensure};
use crate::host::softmax::{Attention, BLOCK, scratch_len};
use crate::kv_cache::{KvCache, PAGE};
use crate::tensor::{Tensor, View, ViewMut};
use crate::{Batch, Bucket, Context, Host, Sequence, Work, reference};
use std::ops::Range;

/// Attention of every row over its sequence, whose keys and values up to the row are in `layer`.
///
/// # Errors
/// If the width of `q` is not a multiple of the cache's heads, if a position has no page, or if
/// the workspace is used up.
pub fn attention_paged<'a>(
    cx: &Context,
    q: impl Into<View<'a>>,
    batch: &Batch<'_>,
    kv: &KvCache,
    layer: usize,
) -> Result<Tensor> {
    const OP: &str = "attention_paged";
    let q = q.into();
    cx.check(OP, "q", q)?;
    kv.check_device(cx, OP)?;
    let (head_dim, kv_heads) = (kv.head_dim(), kv.kv_heads());
    let group_width = q.cols() / kv_heads.max(1);
    let fits = group_width * kv_heads == q.cols() && group_width.is_multiple_of(head_dim);
    ensure(
        OP,
        fits,
        "columns of q",
        q.cols(),
        format_args!("a multiple of {kv_heads} x {head_dim}"),
    )?;
    let sequences = batch.sequences();
    batch.check(cx, OP, q.rows())?;
    kv.check(OP, layer, sequences)?;
    let pairs: usize = sequences
        .iter()
        .map(|s| s.rows * (2 * s.start + s.rows + 1) / 2)
        .sum();
    let cached: usize = sequences.iter().map(|s| s.start + s.rows).sum();
    let elements = 2 * q.rows() * q.cols() + 2 * cached * kv_heads * head_dim;
    let mut y = cx.tensor(q.rows(), q.cols())?;
    let group = group_width / head_dim;
    let mut scratch = cx.host_scratch(scratch_len(TILE_ROWS * group, head_dim))?;
    let heads = q.cols() / head_dim;
    let splits = batch.splits();
    let (_, decodes) = batch.decode_table();
    let partial = cx.device_scratch(decodes * heads * splits, partial_len(head_dim))?;
    cx.run(
        OP,
        Work::new(4 * pairs * q.cols(), elements * cx.dtype().size()),
        &mut y,
        |host, y| {
            let mut first = 0;
            for sequence in sequences {
                let out = y.rows_from_mut(first, sequence.rows);
                let q = q.rows_from(first, sequence.rows);
                host_attention_paged(host, q, sequence, (kv, layer), out, scratch.data_mut());
                first += sequence.rows;
            }
        },
        |gpu, y| launch(gpu, q, batch, (kv, layer), (&partial, splits), y),
    )?;
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

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "attention_paged.cu",
    text: include_str!("attention_paged.cu"),
    variants: HEAD_DIMS,
};

/// Warps of a block: each has a page of a split.
const WARPS: usize = SPLIT / PAGE;
/// Query rows of a warp.
const WARP_ROWS: usize = 16;

/// Elements of a partial result: of the values, the greatest score and the weight, in whole sectors.
fn partial_len(head_dim: usize) -> usize {
    (head_dim + 2).next_multiple_of(8)
}

fn launch(
    gpu: &Launcher<'_>,
    q: View<'_>,
    batch: &Batch<'_>,
    (kv, layer): (&KvCache, usize),
    (partial, splits): (&Tensor, usize),
    y: &Tensor,
) -> Result<()> {
    let (head_dim, kv_heads) = (kv.head_dim(), kv.kv_heads());
    let heads = q.cols() / head_dim;
    let defines = define_head_dim("attention_paged", head_dim)?;
    let (tile_table, tiles) = batch.tile_table();
    let (decode_table, decodes) = batch.decode_table();
    let (tile_pages, row_pages) = batch.seen_pages();
    let groups = kv_heads * (heads / kv_heads).div_ceil(WARP_ROWS);
    gpu.launch(
        (&CUDA, "attention_paged_prefill"),
        &defines,
        Grid {
            blocks: [tiles, heads, 1],
            threads: THREADS,
            shared: shared_rows(2 * PAGE, head_dim, y.dtype()),
            products: tile_pages * heads * block_products(PAGE, head_dim),
        },
        [
            y.into(),
            q.into(),
            q.stride().into(),
            kv.layer(layer).into(),
            tile_table.into(),
            batch.sequence_table().into(),
            batch.page_table().into(),
            heads.into(),
            kv_heads.into(),
        ],
    )?;
    gpu.launch(
        (&CUDA, "attention_paged_decode"),
        &defines,
        Grid {
            blocks: [splits, groups, decodes],
            threads: THREADS,
            shared: shared_rows(WARPS * PAGE + WARP_ROWS, head_dim, y.dtype()),
            products: row_pages * groups * block_products(WARP_ROWS, head_dim),
        },
        [
            partial.into(),
            q.into(),
            q.stride().into(),
            kv.layer(layer).into(),
            decode_table.into(),
            batch.row_table().into(),
            batch.sequence_table().into(),
            batch.page_table().into(),
            heads.into(),
            kv_heads.into(),
            splits.into(),
        ],
    )?;
    gpu.launch(
        (&CUDA, "attention_paged_combine"),
        &defines,
        Grid::new([heads, decodes, 1], THREADS),
        [
            y.into(),
            partial.into(),
            decode_table.into(),
            batch.row_table().into(),
            heads.into(),
            splits.into(),
        ],
    )
}

pub(super) const ATTENTION_PAGED: Op = Op {
    name: "attention_paged",
    cuda: &CUDA,
    cases,
};

/// First tokens, one past a page, a chunk in the middle, generated tokens at the borders of splits,
/// one to twenty heads a group, requests of no rows, a step that does not fill its bucket, and of
/// each width rows of queries some of which are aligned, one of them over several splits.
fn cases() -> Vec<Case> {
    let plain = [
        ((4, 4, 32), &[(0, 65)][..]),
        ((4, 2, 64), &[(100, 1), (0, 1), (63, 3)]),
        ((8, 1, 128), &[(64, 70)]),
        ((5, 1, 16), &[(129, 2)]),
        ((6, 2, 20), &[(0, 130)]),
        ((6, 2, 20), &[(130, 1)]),
        ((4, 2, 24), &[(0, 130)]),
        ((4, 2, 24), &[(0, 3)]),
        ((4, 2, 24), &[(70, 1)]),
        ((4, 2, 6), &[(0, 130)]),
        ((4, 2, 6), &[(0, 3)]),
        ((4, 2, 6), &[(70, 1)]),
        ((40, 2, 64), &[(255, 1), (256, 1), (600, 1)]),
        ((4, 2, 64), &[(5, 0), (0, 3)]),
        ((2, 1, 16), &[(70, 0)]),
    ];
    let plain = plain.map(|(sizes, spans)| case(sizes, spans, 0, None));
    let spans = &[(0, 70), (1100, 1), (200, 1), (800, 1), (500, 1)];
    let unaligned = [6, 16, 20, 24, 32, 64, 128];
    let unaligned = unaligned.map(|head_dim| case((5, 1, head_dim), spans, 1, None));
    let spans = &[(300, 1), (70, 1), (1, 1)];
    let bucket = Bucket::holding(spans.len(), 301);
    let filled = case((4, 2, 16), spans, 0, Some(bucket));
    plain.into_iter().chain(unaligned).chain([filled]).collect()
}

/// Rows of sequences at `spans`, {start, rows}, alone or filled up to a bucket. `q` is behind
/// `apart` columns of NaN.
fn case(
    sizes: Heads,
    spans: &'static [(usize, usize)],
    apart: usize,
    bucket: Option<Bucket>,
) -> Case {
    let (heads, kv_heads, head_dim) = sizes;
    let rows: usize = spans.iter().map(|s| s.1).sum();
    let all = bucket.map_or(rows, Bucket::rows);
    let of = if all > rows {
        format!(" of {all}")
    } else {
        String::new()
    };
    let first = spans[0].0;
    let name = format!("{heads}/{kv_heads}x{head_dim}, {rows}{of} rows at {first}");
    Case::new(name, 1e-6, move |cx| {
        let mut inputs = Inputs::new(cx, (rows + first) as u64);
        let pages = Pages::scattered(spans);
        let mut kv = KvCache::new(cx, 2, pages.count(), kv_heads, head_dim)?;
        let (mut q, mut wide) = (Vec::new(), Vec::new());
        for sequence in pages.batch(spans) {
            let width = kv_heads * head_dim;
            let total = sequence.start + sequence.rows;
            let new_q = inputs.normal(sequence.rows * heads * head_dim, 1.5);
            let [k, v] = [(); 2].map(|()| inputs.normal(total * width, 1.5));
            kv.fill(1, sequence.pages, &k, &v)?;
            wide.push((
                sequence.start,
                [&new_q, &k, &v].map(|x| reference::widen(x)),
            ));
            q.extend(new_q);
        }
        let nothing = (all - rows) * heads * head_dim;
        q.extend(inputs.normal(nothing, 1.5));
        let width = heads * head_dim;
        let q = cx.upload(&behind_nan(&q, width, apart), width + apart)?;
        // A GPU gives zeros for rows that only fill up; the host does not go there.
        let (shown, zeros) = if cx.is_gpu() {
            (all, nothing)
        } else {
            (rows, 0)
        };
        Ok(Trial::new(
            move |cx| {
                let sequences = pages.batch(spans);
                let mut tables = None;
                let batch = case_batch(cx, &sequences, bucket, &kv, &mut tables)?;
                let q = q.columns(apart, heads * head_dim);
                let y = attention_paged(cx, q, &batch, &kv, 1)?;
                y.rows_from(0, shown).to_vec()
            },
            move || {
                wide.iter()
                    .flat_map(|(start, qkv)| reference(sizes, *start, qkv))
                    .chain(vec![0.0; zeros])
                    .collect()
            },
        ))
    })
    // The error of a score, a sum of products, is that of the weight's logarithm.
    .f32(2e-5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Isa};
    use std::sync::Arc;

    /// Whole, in chunks, or token by token: the same bits, on any threads and instruction set.
    #[test]
    fn rows_do_not_depend_on_the_chunk() {
        let (heads, kv_heads, head_dim, rows) = (6, 2, 32, 150);
        let mut inputs = Inputs::plain(3);
        let q = inputs.normal(rows * heads * head_dim, 1.5);
        let [k, v] = [(); 2].map(|()| inputs.normal(rows * kv_heads * head_dim, 1.5));
        let pages = [2, 0, 1];
        let mut all = Vec::new();
        for isa in Isa::available() {
            for (threads, chunk) in [(1, rows), (3, 64), (2, 50), (2, 1)] {
                let host = Arc::new(Host::with_isa(threads, isa).unwrap());
                let cx = Context::new(&Device::Host(host), 1_600_000).unwrap();
                let cx = cx.poisoned();
                let mut kv = KvCache::new(&cx, 1, 3, kv_heads, head_dim).unwrap();
                kv.fill(0, &pages, &k, &v).unwrap();
                let q = cx.upload(&q, heads * head_dim).unwrap();
                let mut out = Vec::new();
                for start in (0..rows).step_by(chunk) {
                    let rows = chunk.min(rows - start);
                    let sequences = [Sequence {
                        generated: false,
                        start,
                        rows,
                        pages: &pages,
                    }];
                    let batch = cx.batch(&sequences).unwrap();
                    let q = q.rows_from(start, rows);
                    let y = attention_paged(&cx, q, &batch, &kv, 0).unwrap();
                    out.extend(y.to_vec().unwrap());
                }
                all.push(out);
            }
        }
        assert!(all.iter().all(|y| *y == all[0]));
    }
}
