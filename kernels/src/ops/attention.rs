//! Full attention: `softmax(Q K^T / sqrt(head_dim)) V` for each head, without a mask.
//!
//! A batch of problems of the same heads: the windows of an expert, or both directions of the
//! cross-attention. `q` `[Tq, heads * head_dim]`, `k` and `v` `[Tk, heads * head_dim]`; the output
//! `[sum of Tq, heads * head_dim]` holds the problems one after the other.
//! Source: Vaswani et al., arXiv 1706.03762, section 3.2.

use super::Op;
use crate::case::{Case, Inputs, Trial, behind_nan};
use crate::cuda::{Arg, CudaSource, Define, Grid, Launcher};
use crate::error::{Result, check, ensure};
use crate::host::softmax::{Attention, scratch_len};
use crate::tensor::{Tensor, View, ViewMut};
use crate::{Context, DType, Host, Work, reference};
use std::ops::Range;

/// Queries, keys and values of one problem.
#[derive(Clone, Copy, Debug)]
pub struct Qkv<'a> {
    /// `[Tq, heads * head_dim]`.
    pub q: View<'a>,
    /// `[Tk, heads * head_dim]`.
    pub k: View<'a>,
    /// `[Tk, heads * head_dim]`.
    pub v: View<'a>,
}

/// Attention of every problem over all of its keys.
///
/// # Errors
/// If the widths differ or do not divide by `heads`, if a problem has queries and no keys, or if
/// the workspace is used up.
pub fn attention(cx: &Context, heads: usize, problems: &[Qkv<'_>]) -> Result<Tensor> {
    const OP: &str = "attention";
    let width = problems.first().map_or(0, |p| p.q.cols());
    let divides = heads > 0 && width.is_multiple_of(heads);
    ensure(
        OP,
        divides,
        "width of q",
        width,
        format_args!("a multiple of {heads} heads"),
    )?;
    let (mut operations, mut elements) = (0, 0);
    for Qkv { q, k, v } in problems {
        for (what, x) in [("q", q), ("k", k), ("v", v)] {
            cx.check(OP, what, *x)?;
        }
        check(OP, "columns of q", q.cols(), width)?;
        check(OP, "columns of k", k.cols(), width)?;
        check(OP, "columns of v", v.cols(), width)?;
        check(OP, "rows of v", v.rows(), k.rows())?;
        ensure(
            OP,
            q.rows() == 0 || k.rows() > 0,
            "rows of k",
            k.rows(),
            "at least 1",
        )?;
        operations += 4 * q.rows() * k.rows() * width;
        elements += 2 * (q.rows() + k.rows()) * width;
    }
    let mut y = cx.tensor(problems.iter().map(|p| p.q.rows()).sum(), width)?;
    let mut scratch = cx.host_scratch(scratch_len(TILE_ROWS, width / heads))?;
    cx.run(
        OP,
        Work::new(operations, elements * cx.dtype().size()),
        &mut y,
        |host, y| {
            let mut row = 0;
            for problem in problems {
                let rows = problem.q.rows();
                let out = y.rows_from_mut(row, rows);
                host_attention(host, width / heads, problem, out, scratch.data_mut());
                row += rows;
            }
        },
        |gpu, y| launch(gpu, heads, problems, y),
    )?;
    Ok(y)
}

/// The formula at the head of this file, for one problem.
fn reference(heads: usize, width: usize, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let head_dim = width / heads;
    let mut out = Vec::new();
    for q in q.chunks_exact(width) {
        for head in (0..width)
            .step_by(head_dim)
            .map(|from| from..from + head_dim)
        {
            let dot = |k: &[f64]| -> f64 {
                q[head.clone()]
                    .iter()
                    .zip(&k[head.clone()])
                    .map(|(q, k)| q * k)
                    .sum()
            };
            let scores: Vec<f64> = k
                .chunks_exact(width)
                .map(|k| dot(k) / (head_dim as f64).sqrt())
                .collect();
            let weights = reference::softmax(&scores);
            out.extend(head.map(|d| -> f64 {
                weights
                    .iter()
                    .zip(v.chunks_exact(width))
                    .map(|(w, v)| w * v[d])
                    .sum()
            }));
        }
    }
    out
}

/// Queries that a task computes, for which it packs the keys once.
const TILE_ROWS: usize = 252;

fn host_attention(
    host: &Host,
    head_dim: usize,
    problem: &Qkv<'_>,
    mut out: ViewMut<'_>,
    scratch: &mut [f32],
) {
    let Qkv { q, k, v } = problem;
    host.for_tiles(
        &mut out,
        (TILE_ROWS, head_dim),
        scratch,
        |mut tile, scratch| {
            let (rows, head) = (tile.rows(), tile.cols());
            host.isa().run(Attention {
                head_dim,
                rows: rows.len(),
                query: |row| &q.row(rows.start + row)[head.clone()],
                block: |keys: Range<usize>| {
                    [k, v].map(|x| x.host_block(keys.clone(), head.clone()))
                },
                visible: |_| k.rows(),
                output: |row, out: &[f32]| tile.row_mut(rows.start + row).copy_from_slice(out),
                scratch,
            });
        },
    );
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "attention.cu",
    text: include_str!("attention.cu"),
    variants: HEAD_DIMS,
};

/// Problems that one launch takes.
const PROBLEMS: usize = 16;
/// Queries of a block, and keys that it takes at a time.
const BLOCK: usize = 64;
/// Threads of a block.
pub(super) const THREADS: u32 = 128;
/// Widest head of the kernels.
const MAX_HEAD_DIM: usize = 128;

/// Heads for which tests look at the code.
pub(super) const HEAD_DIMS: &[&[Define]] = &[
    &[("HEAD_DIM", 16)],
    &[("HEAD_DIM", 20)],
    &[("HEAD_DIM", 64)],
    &[("HEAD_DIM", 128)],
];

/// The macro that kernels of attention are compiled with.
pub(super) fn define_head_dim(op: &'static str, head_dim: usize) -> Result<[Define; 1]> {
    let fits = head_dim.is_multiple_of(2) && head_dim <= MAX_HEAD_DIM;
    let expected = format!("even and at most {MAX_HEAD_DIM} on a GPU");
    ensure(op, fits, "head_dim", head_dim, expected)?;
    Ok([("HEAD_DIM", head_dim)])
}

/// Bytes of shared memory for so many rows of a head.
pub(super) fn shared_rows(rows: usize, head_dim: usize, dtype: DType) -> usize {
    rows * (head_dim.next_multiple_of(16) + 8) * dtype.size()
}

/// Multiply-adds of so many query rows of a head and a block of keys and values.
pub(super) fn block_products(rows: usize, head_dim: usize) -> usize {
    2 * rows * BLOCK * head_dim.next_multiple_of(16)
}

fn launch(gpu: &Launcher<'_>, heads: usize, problems: &[Qkv<'_>], y: &Tensor) -> Result<()> {
    let head_dim = y.cols() / heads;
    let mut grid = Grid::new([0, heads, 1], THREADS);
    grid.shared = shared_rows(2 * BLOCK, head_dim, y.dtype());
    let block = block_products(BLOCK, head_dim);
    let mut first_row = 0;
    for problems in problems.chunks(PROBLEMS) {
        let mut fields = Vec::new();
        grid.blocks[0] = 0;
        grid.products = 0;
        for Qkv { q, k, v } in problems {
            fields.push(Arg::Struct(vec![
                (*q).into(),
                (*k).into(),
                (*v).into(),
                q.stride().into(),
                k.stride().into(),
                v.stride().into(),
                q.rows().into(),
                k.rows().into(),
                first_row.into(),
                grid.blocks[0].into(),
            ]));
            first_row += q.rows();
            let tiles = q.rows().div_ceil(BLOCK);
            grid.blocks[0] += tiles;
            grid.products += tiles * heads * k.rows().div_ceil(BLOCK) * block;
        }
        let unused = || Arg::Struct(vec![Arg::Pointer(0); 7]);
        fields.resize_with(PROBLEMS, unused);
        let defines = define_head_dim("attention", head_dim)?;
        let args = [y.into(), Arg::Struct(fields), problems.len().into()];
        gpu.launch((&CUDA, "attention"), &defines, grid, args)?;
    }
    Ok(())
}

pub(super) const ATTENTION: Op = Op {
    name: "attention",
    cuda: &CUDA,
    cases,
};

/// One row, one key past a block, few keys, several problems at once, head widths that no vector
/// divides, and of each width matrices within wider ones, whose rows are aligned or not.
fn cases() -> Vec<Case> {
    let whole = [
        (4, 64, &[(70, 65)][..]),
        (2, 16, &[(1, 1), (3, 130)]),
        (3, 20, &[(130, 64)]),
        (2, 24, &[(5, 130)]),
        (2, 24, &[(5, 7)]),
        (2, 6, &[(3, 130)]),
        (2, 6, &[(3, 7)]),
        (1, 128, &[(7, 200)]),
        (2, 32, &[(0, 5)]),
    ];
    let whole = whole.map(|(heads, head_dim, sizes)| case(heads, head_dim, sizes, &[0]));
    let within = [6, 16, 20, 24, 64, 128];
    let within =
        within.map(|head_dim| case(2, head_dim, &[(70, 130), (70, 100), (3, 20)], &[8, 1, 1]));
    whole.into_iter().chain(within).collect()
}

/// Problems of `sizes`, {queries, keys}. The first one's matrices are behind `apart[0]` columns of
/// NaN, and so on in turn.
fn case(
    heads: usize,
    head_dim: usize,
    sizes: &'static [(usize, usize)],
    apart: &'static [usize],
) -> Case {
    let (tq, tk) = sizes[0];
    let name = format!("{} of {heads}x{head_dim}, {tq} over {tk}", sizes.len());
    Case::new(name, 1e-6, move |cx| {
        let width = heads * head_dim;
        let mut inputs = Inputs::new(cx, (tq * tk + head_dim) as u64);
        let mut draw = |rows: usize, apart: usize| {
            let values = inputs.normal(rows * width, 1.5);
            let x = cx.upload(&behind_nan(&values, width, apart), width + apart)?;
            Ok((reference::widen(&values), x))
        };
        let mut problems = Vec::new();
        for ((tq, tk), apart) in sizes.iter().zip(apart.iter().cycle()) {
            let matrices = [*tq, *tk, *tk].map(|rows| draw(rows, *apart));
            let [q, k, v] = matrices;
            problems.push((*apart, [q?, k?, v?]));
        }
        let (wide, device): (Vec<_>, Vec<_>) = problems
            .into_iter()
            .map(|(apart, [q, k, v])| ([q.0, k.0, v.0], (apart, [q.1, k.1, v.1])))
            .unzip();
        Ok(Trial::new(
            move |cx| {
                let mut problems = Vec::new();
                for (apart, matrices) in &device {
                    let [q, k, v] = matrices.each_ref().map(|x| x.columns(*apart, width));
                    problems.push(Qkv { q, k, v });
                }
                attention(cx, heads, &problems)?.to_vec()
            },
            move || {
                wide.iter()
                    .flat_map(|[q, k, v]| reference(heads, width, q, k, v))
                    .collect()
            },
        ))
    })
    // The error of a score, a sum of products, is that of the weight's logarithm.
    .f32(2e-5)
}
