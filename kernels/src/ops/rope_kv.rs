//! Per-head normalisation and rotation of queries and keys, and the write of keys and values into
//! their pages, in one.
//!
//! `qkv` `[M, (heads + 2 kv_heads) * head_dim]`, f32 on every device, holds q, k and v of each row:
//! they are rounded once, where they are stored. With `h` a head of q or k, `p` its position and
//! `f_i = theta^(-2i / head_dim)`:
//! `n = rms_norm(h)`, or `h` itself in models without that norm, `h[i] = n[i] cos(p f_i) - n[i + half] sin(p f_i)`,
//! `h[i + half] = n[i + half] cos(p f_i) + n[i] sin(p f_i)`.
//! Sources: RoFormer, arXiv 2104.09864, section 3.2.2, in the halves' layout; Qwen3,
//! arXiv 2505.09388, section 2 (q and k normalised).

use super::rms_norm::{self, RmsNorm};
use super::{Op, Source, rms_norm::InPlace};
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, check, ensure};
use crate::host::simd::{Kernel, LANES, Simd};
use crate::kv_cache::{KvCache, PAGE};
use crate::tensor::Tensor;
use crate::{Batch, Bucket, Context, DType, Host, Sequence, Work, reference};

/// Cosines and sines of every position and frequency.
///
/// Frequencies and angles are rounded to f32 before the cosine is taken, as in the models'
/// training: at position 7,500 an angle of other rounding would differ by 2e-4.
#[derive(Debug)]
pub struct Rope {
    /// Cosines and then sines of the frequencies, `[positions, head_dim]`.
    table: Tensor,
}

impl Rope {
    /// The table of `positions` positions for heads of `head_dim`, an even number, in the
    /// context's workspace.
    ///
    /// # Errors
    /// If the workspace is used up.
    pub fn new(cx: &Context, theta: f32, head_dim: usize, positions: usize) -> Result<Rope> {
        let frequencies = frequencies(theta, head_dim);
        let half = frequencies.len();
        let mut table = cx.tensor_f32(positions, 2 * half)?;
        if cx.is_dry() {
            return Ok(Rope { table });
        }
        let mut values = Vec::with_capacity(positions * 2 * half);
        for position in 0..positions {
            let angles = frequencies.iter().map(|f| f64::from(position as f32 * f));
            values.extend(angles.clone().map(|angle| angle.cos() as f32));
            values.extend(angles.map(|angle| angle.sin() as f32));
        }
        table.write_rows(0, &values)?;
        Ok(Rope { table })
    }

    /// Bytes of a table.
    pub fn bytes(head_dim: usize, positions: usize) -> usize {
        (head_dim / 2 * 2 * size_of::<f32>()).saturating_mul(positions)
    }

    /// Positions in the table.
    pub fn positions(&self) -> usize {
        self.table.rows()
    }
}

/// `theta^(-2i / dim)` in f32 for `2i < dim`, the power rounded before it is inverted.
pub(super) fn frequencies(theta: f32, dim: usize) -> Vec<f32> {
    let power = |i| f64::from(theta).powf(f64::from((2 * i) as f32 / dim as f32)) as f32;
    (0..dim.div_ceil(2)).map(|i| 1.0 / power(i)).collect()
}

/// What the queries and keys of a layer go through.
#[derive(Clone, Debug)]
pub struct QkNorm {
    /// Over each head of q.
    pub q: RmsNorm,
    /// Over each head of k.
    pub k: RmsNorm,
}

/// Normalises q and k of `qkv` where there is a `norm`, rotates them, writes k and v into the pages of `layer`, and returns q,
/// `[M, heads * head_dim]`.
///
/// # Errors
/// If a dimension does not fit, a position has no page or is past the table's end, or the workspace
/// is used up.
pub fn rope_kv(
    cx: &Context,
    qkv: &Tensor,
    batch: &Batch<'_>,
    norm: Option<&QkNorm>,
    rope: &Rope,
    kv: &mut KvCache,
    layer: usize,
) -> Result<Tensor> {
    const OP: &str = "rope_kv";
    let (head_dim, kv_heads) = (kv.head_dim(), kv.kv_heads());
    let columns = qkv.cols();
    cx.check_f32(OP, "qkv", qkv.view())?;
    cx.check_f32(OP, "the rotation", rope.table.view())?;
    kv.check_device(cx, OP)?;
    let fits = columns.is_multiple_of(head_dim) && columns / head_dim > 2 * kv_heads;
    ensure(
        OP,
        fits,
        "columns of qkv",
        columns,
        format_args!("heads of {head_dim} and 2 x {kv_heads}"),
    )?;
    if let Some(norm) = norm {
        check(OP, "width of q's norm", norm.q.weight.cols(), head_dim)?;
        check(OP, "width of k's norm", norm.k.weight.cols(), head_dim)?;
    }
    check(OP, "width of the rotation", rope.table.cols(), head_dim)?;
    let sequences = batch.sequences();
    batch.check(cx, OP, qkv.rows())?;
    kv.check(OP, layer, sequences)?;
    for s in sequences {
        let limit = rope.positions();
        ensure(
            OP,
            s.start.saturating_add(s.rows) <= limit,
            "positions",
            s.start + s.rows,
            format_args!("at most {limit}"),
        )?;
    }
    let mut q = cx.tensor(qkv.rows(), columns - 2 * kv_heads * head_dim)?;
    let mut keys = cx.host_tensor(qkv.rows(), kv_heads * head_dim)?;
    let rotated = qkv.rows() * (columns - kv_heads * head_dim);
    // Each element is read once and stored once; a rotation for each row.
    let moved = qkv.rows() * columns * (size_of::<f32>() + cx.dtype().size());
    let weights = norm.map_or(0, |norm| {
        let weights = [&norm.q.weight, &norm.k.weight].map(|w| w.vector_bytes_on(cx.target()));
        weights.iter().sum()
    });
    let read_beside = weights + qkv.rows() * head_dim * size_of::<f32>();
    cx.run(
        OP,
        Work::new(10 * rotated, moved + read_beside),
        (&mut q, kv),
        |host, (q, kv)| {
            let turned = [q, &mut keys];
            host_rope_kv(host, qkv, batch, norm, rope, turned, (kv, layer));
        },
        |gpu, (q, kv)| launch(gpu, qkv, batch, norm, rope, q, (kv, layer)),
    )?;
    Ok(q)
}

/// The formula at the head of this file: the rows of q, then of keys, then of values.
pub(super) fn reference(
    qkv: &[f64],
    columns: usize,
    positions: &[usize],
    norm: Option<&QkNorm>,
    theta: f32,
    (kv_heads, head_dim): (usize, usize),
) -> [Vec<f64>; 3] {
    let heads = columns / head_dim - 2 * kv_heads;
    let frequencies = frequencies(theta, head_dim);
    let [mut q, mut k, mut v] = [const { Vec::new() }; 3];
    for (row, position) in qkv.chunks_exact(columns).zip(positions) {
        for (head, x) in row.chunks_exact(head_dim).enumerate() {
            let turn = |x: &[f64], norm: Option<&RmsNorm>| -> Vec<f64> {
                let n = norm.map_or(x.to_vec(), |norm| rms_norm::reference(x, norm));
                let half = head_dim / 2;
                let angle = |i: usize| f64::from(*position as f32 * frequencies[i % half]);
                let other = |i: usize| if i < half { -n[i + half] } else { n[i - half] };
                (0..head_dim)
                    .map(|i| n[i] * angle(i).cos() + other(i) * angle(i).sin())
                    .collect()
            };
            match head {
                h if h < heads => q.extend(turn(x, norm.map(|norm| &norm.q))),
                h if h < heads + kv_heads => k.extend(turn(x, norm.map(|norm| &norm.k))),
                _ => v.extend(x),
            }
        }
    }
    [q, k, v]
}

fn host_rope_kv(
    host: &Host,
    qkv: &Tensor,
    batch: &Batch<'_>,
    norm: Option<&QkNorm>,
    rope: &Rope,
    [q, keys]: [&mut Tensor; 2],
    (kv, layer): (&mut KvCache, usize),
) {
    let first_key = q.cols();
    let first_value = first_key + keys.cols();
    let turn = |row: usize, from: usize, heads: &mut [f32], norm: Option<&RmsNorm>| {
        heads.copy_from_slice(&qkv.row(row)[from..][..heads.len()]);
        let angles = rope.table.row(batch.place(row).1);
        host.isa().run(Turn {
            heads,
            norm,
            angles,
        });
    };
    // Rows behind only fill up a batch.
    let rows = batch.sequences().iter().map(|s| s.rows).sum();
    host.for_rows(&mut q.rows_from_mut(0, rows), |row, q| {
        turn(row, 0, q, norm.map(|norm| &norm.q));
    });
    host.for_rows(&mut keys.rows_from_mut(0, rows), |row, keys| {
        turn(row, first_key, keys, norm.map(|norm| &norm.k));
    });
    for row in 0..rows {
        let (sequence, position) = batch.place(row);
        let values = &qkv.row(row)[first_value..];
        kv.write(layer, sequence.pages, position, [keys.row(row), values]);
    }
}

/// Heads of one position, to be rotated in place, normalised before if there is a norm.
struct Turn<'a> {
    heads: &'a mut [f32],
    norm: Option<&'a RmsNorm>,
    /// The position's cosines and then sines.
    angles: &'a [f32],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let half = self.angles.len() / 2;
        let (cos, sin) = self.angles.split_at(half);
        for row in self.heads.chunks_exact_mut(self.angles.len()) {
            if let Some(norm) = self.norm {
                InPlace { norm, row }.run(s);
            }
            let (low, high) = row.split_at_mut(half);
            for from in (0..half).step_by(LANES) {
                let part = from..half.min(from + LANES);
                let cos = s.load_part(&cos[part.clone()], 0.0);
                let sin = s.load_part(&sin[part.clone()], 0.0);
                let (low, high) = (&mut low[part.clone()], &mut high[part]);
                let (a, b) = (s.load_part(low, 0.0), s.load_part(high, 0.0));
                s.store_part(s.sub(s.mul(a, cos), s.mul(b, sin)), low);
                s.store_part(s.add(s.mul(b, cos), s.mul(a, sin)), high);
            }
        }
    }
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "rope_kv.cu",
    text: include_str!("rope_kv.cu"),
    variants: &[&[]],
};

/// Heads of a block, a warp each.
const BLOCK_HEADS: usize = 4;
/// Widest head of the kernel.
const MAX_HEAD_DIM: usize = 128;

fn launch(
    gpu: &Launcher<'_>,
    qkv: &Tensor,
    batch: &Batch<'_>,
    norm: Option<&QkNorm>,
    rope: &Rope,
    q: &Tensor,
    (kv, layer): (&mut KvCache, usize),
) -> Result<()> {
    let (head_dim, kv_heads) = (kv.head_dim(), kv.kv_heads());
    let most = MAX_HEAD_DIM;
    ensure(
        "rope_kv",
        head_dim <= most,
        "head_dim",
        head_dim,
        format_args!("at most {most} on a GPU"),
    )?;
    let heads = qkv.cols() / head_dim - 2 * kv_heads;
    let blocks = (heads + 2 * kv_heads).div_ceil(BLOCK_HEADS);
    let vector = |norm: Option<&RmsNorm>| -> Result<(u64, f32)> {
        norm.map_or(Ok((0, 0.0)), |norm| {
            Ok((gpu.vector(&norm.weight)?, norm.eps))
        })
    };
    let (q_norm, q_eps) = vector(norm.map(|norm| &norm.q))?;
    let (k_norm, k_eps) = vector(norm.map(|norm| &norm.k))?;
    gpu.launch(
        (&CUDA, "rope_kv"),
        &[],
        Grid::new([qkv.rows(), blocks, 1], 32 * BLOCK_HEADS as u32),
        [
            q.into(),
            qkv.into(),
            q_norm.into(),
            q_eps.into(),
            k_norm.into(),
            k_eps.into(),
            (&rope.table).into(),
            kv.layer(layer).into(),
            batch.row_table().into(),
            batch.sequence_table().into(),
            batch.page_table().into(),
            heads.into(),
            kv_heads.into(),
            head_dim.into(),
        ],
    )
}

pub(super) const ROPE_KV: Op = Op {
    name: "rope_kv",
    cuda: &CUDA,
    cases,
};

/// One row, a page's border, far positions, pages out of order, two sequences, no rows, a step that
/// does not fill its bucket.
fn cases() -> Vec<Case> {
    let plain = [
        ((2, 1, 16), &[(0, 1)][..]),
        ((4, 2, 32), &[(60, 70)]),
        ((8, 1, 64), &[(7500, 1), (3, 2)]),
        ((5, 5, 128), &[(129, 3)]),
        ((2, 1, 64), &[(5, 0), (0, 1)]),
        ((2, 1, 64), &[(9, 0)]),
    ];
    let plain = plain.map(|(sizes, spans)| case(sizes, spans, None, true));
    // Without norms, as in Qwen2; one with the last angles of the table.
    let bare = [
        ((4, 2, 32), &[(60, 70)][..]),
        ((7, 1, 128), &[(7500, 1)]),
        ((2, 1, 16), &[(63, 1)]),
    ];
    let bare = bare.map(|(sizes, spans)| case(sizes, spans, None, false));
    let spans = &[(70, 1), (1, 1), (9, 1)];
    let filled = case(
        (2, 1, 16),
        spans,
        Some(Bucket::holding(spans.len(), 71)),
        true,
    );
    plain.into_iter().chain(bare).chain([filled]).collect()
}

/// Rows of sequences at `spans`, {start, rows}, alone or filled up to a bucket.
fn case(
    (heads, kv_heads, head_dim): (usize, usize, usize),
    spans: &'static [(usize, usize)],
    bucket: Option<Bucket>,
    normed: bool,
) -> Case {
    let rows: usize = spans.iter().map(|s| s.1).sum();
    let all = bucket.map_or(rows, Bucket::rows);
    let of = match all > rows {
        true => format!(" of {all}"),
        false => String::new(),
    };
    let first = spans[0].0;
    let bare = if normed { "" } else { ", no norm" };
    let name = format!("{heads}/{kv_heads}x{head_dim}, {rows}{of} rows at {first}{bare}");
    Case::new(name, 1e-6, move |cx| {
        let mut inputs = Inputs::new(cx, rows as u64);
        let columns = (heads + 2 * kv_heads) * head_dim;
        let qkv = inputs.floats(all * columns, 2.0);
        let mut norm = || -> Result<RmsNorm> {
            Ok(RmsNorm {
                weight: inputs.vector(DType::F32, head_dim, 1.0, 0.1)?,
                eps: 1e-6,
            })
        };
        let norm = match normed {
            true => Some(QkNorm {
                q: norm()?,
                k: norm()?,
            }),
            false => None,
        };
        let theta = 1e6;
        let pages = Pages::scattered(spans);
        let rope = Rope::new(cx, theta, head_dim, pages.positions())?;
        let positions: Vec<usize> = spans
            .iter()
            .flat_map(|(start, rows)| *start..start + rows)
            .collect();
        let mut kv = KvCache::new(cx, 2, pages.count(), kv_heads, head_dim)?;
        let (qkv64, norm64) = (reference::widen(&qkv[..rows * columns]), norm.clone());
        Ok(Trial::new(
            move |cx| {
                let x = cx.upload_f32(&qkv, columns)?;
                let sequences = pages.batch(spans);
                let mut tables = None;
                let batch = case_batch(cx, &sequences, bucket, &kv, &mut tables)?;
                let q = rope_kv(cx, &x, &batch, norm.as_ref(), &rope, &mut kv, 1)?;
                let mut out = q.rows_from(0, rows).to_vec()?;
                let mut written = Vec::new();
                for s in &sequences {
                    for p in s.start..s.start + s.rows {
                        written.push(kv.read(1, s.pages, p)?);
                    }
                }
                for part in 0..2 {
                    for x in &written {
                        let (k, v) = x.split_at(x.len() / 2);
                        out.extend([k, v][part]);
                    }
                }
                Ok(out)
            },
            move || {
                let (norm, sizes) = (norm64.as_ref(), (kv_heads, head_dim));
                reference(&qkv64, columns, &positions, norm, theta, sizes).concat()
            },
        ))
    })
}

/// Pages for the sequences of a case, handed out backwards.
pub(super) struct Pages(Vec<Vec<u32>>);

impl Pages {
    pub(super) fn scattered(spans: &[(usize, usize)]) -> Pages {
        let mut next = spans
            .iter()
            .map(|(start, rows)| (start + rows).div_ceil(PAGE) as u32)
            .sum();
        let mut take = || {
            next -= 1;
            next
        };
        let pages = |(start, rows): &(usize, usize)| {
            (0..(start + rows).div_ceil(PAGE)).map(|_| take()).collect()
        };
        Pages(spans.iter().map(pages).collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    pub(super) fn positions(&self) -> usize {
        self.0.iter().map(|p| p.len() * PAGE).max().unwrap_or(0)
    }

    pub(super) fn batch(&self, spans: &[(usize, usize)]) -> Vec<Sequence<'_>> {
        let sequence = |((start, rows), pages): (&(usize, usize), _)| {
            let pages: &Vec<u32> = pages;
            Sequence {
                // As a single row behind others is, but for the last of a prompt.
                generated: *rows == 1 && *start > 0,
                start: *start,
                rows: *rows,
                pages,
            }
        };
        spans.iter().zip(&self.0).map(sequence).collect()
    }
}

/// The batch of a case: of the sequences alone, or filled up to a bucket, whose tables are lent.
pub(super) fn case_batch<'a>(
    cx: &Context,
    sequences: &'a [Sequence<'a>],
    bucket: Option<Bucket>,
    kv: &KvCache,
    tables: &'a mut Option<Tensor>,
) -> Result<Batch<'a>> {
    let Some(bucket) = bucket else {
        return cx.batch(sequences);
    };
    let tables = tables.insert(cx.table_memory(bucket.table_len())?);
    let sources = vec![Source::Token(0); sequences.len()];
    Batch::in_bucket(cx, bucket, tables, (kv, 1), sequences, &sources)
}
