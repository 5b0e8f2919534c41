//! Linear layers: `y = x W^T + b` and the arithmetic that follows it, fused.
//!
//! | function | result |
//! |---|---|
//! | [`gemm`] | `x W^T + b` |
//! | [`gemm_f32`] | the same in f32 on every device |
//! | [`gemm_gelu`] | `gelu(x W^T + b)`, exact |
//! | [`gemm_add`] | `out += x W^T + b` in f32 on every device |
//! | [`gemm_swiglu`] | `silu(x W_gate^T) * (x W_up^T)`, the two stacked |
//! | [`gemm_gate`] | `g * T + (1 - g) * G` with `g = sigmoid([T ; G] W^T + b)`, in f32 on every device |
//!
//! `x` is `[M, K]`, `W` `[N, K]` as stored, `y` `[M, N]`. `x` has the activations' type, or is a
//! residual stream in f32, which tensor cores take rounded to that type. Sums follow one order on the
//! host and one on a GPU, for every `M`.
//! Sources: Whisper (arXiv 2212.04356), Qwen3 (arXiv 2505.09388), GaMMA (arXiv 2605.00371, the
//! token-level gate).

use super::Op;
use crate::cuda::{Arg, CudaSource, Grid, Launcher};
use crate::error::{Result, check, ensure};
use crate::host::math;
use crate::host::product::{self, MAX_COLS, MAX_ROWS, product};
use crate::host::simd::{Kernel, LANES, Simd};
use crate::host::tiles::Tile;
use crate::tensor::{Tensor, View, ViewMut};
use crate::weight::Linear;
use crate::{Context, DType, Host, Work, reference};
use std::ops::Range;

/// `x W^T + b`, `[M, N]`.
///
/// # Errors
/// If the widths of `x` and `w` differ, or the workspace is used up.
pub fn gemm<'a>(cx: &Context, x: impl Into<View<'a>>, w: &Linear) -> Result<Tensor> {
    let x = x.into();
    let mut y = cx.tensor(x.rows(), w.outputs())?;
    run(cx, "gemm", x, w, &mut y.view_mut(), Epilogue::Store)?;
    Ok(y)
}

/// `x W^T + b`, `[M, N]`, in f32 on every device: what is rounded only further on, and logits.
///
/// # Errors
/// If the widths of `x` and `w` differ, or the workspace is used up.
pub fn gemm_f32<'a>(cx: &Context, x: impl Into<View<'a>>, w: &Linear) -> Result<Tensor> {
    let x = x.into();
    let mut y = cx.tensor_f32(x.rows(), w.outputs())?;
    run(cx, "gemm_f32", x, w, &mut y.view_mut(), Epilogue::F32)?;
    Ok(y)
}

/// `gelu(x W^T + b)`, `[M, N]`.
///
/// # Errors
/// If the widths of `x` and `w` differ, or the workspace is used up.
pub fn gemm_gelu<'a>(cx: &Context, x: impl Into<View<'a>>, w: &Linear) -> Result<Tensor> {
    let x = x.into();
    let mut y = cx.tensor(x.rows(), w.outputs())?;
    run(cx, "gemm_gelu", x, w, &mut y.view_mut(), Epilogue::Gelu)?;
    Ok(y)
}

/// `out += x W^T + b`, in place on `[M, N]`, a residual stream: f32 on every device.
///
/// # Errors
/// If a dimension of `x`, `w` and `out` does not fit.
pub fn gemm_add<'a, 'b>(
    cx: &Context,
    x: impl Into<View<'a>>,
    w: &Linear,
    out: impl Into<ViewMut<'b>>,
) -> Result<()> {
    run(cx, "gemm_add", x.into(), w, &mut out.into(), Epilogue::Add)
}

/// `silu(x W_gate^T) * (x W_up^T)`, `[M, N]`, for `gate_up` the two `[N, K]` matrices stacked.
///
/// # Errors
/// If the widths differ, or if `gate_up` does not halve.
pub fn gemm_swiglu<'a>(cx: &Context, x: impl Into<View<'a>>, gate_up: &Linear) -> Result<Tensor> {
    let x = x.into();
    let rows = gate_up.outputs();
    ensure(
        "gemm_swiglu",
        rows.is_multiple_of(2),
        "rows of gate and up",
        rows,
        "an even number",
    )?;
    let mut y = cx.tensor(x.rows(), rows / 2)?;
    run(
        cx,
        "gemm_swiglu",
        x,
        gate_up,
        &mut y.view_mut(),
        Epilogue::SwiGlu,
    )?;
    Ok(y)
}

/// `g * T + (1 - g) * G`, `[N, d]`, with `g = sigmoid([T ; G] W^T + b)`, in f32 on every device.
///
/// `streams` is `[T ; G]`, `[N, 2d]`, f32 on every device; `w` is `[d, 2d]` for a gate per channel
/// or `[1, 2d]` for one per token.
///
/// # Errors
/// If a dimension does not fit, or a stream has a single column.
pub fn gemm_gate<'a>(cx: &Context, streams: impl Into<View<'a>>, w: &Linear) -> Result<Tensor> {
    let streams = streams.into();
    let d = streams.cols() / 2;
    let outputs = w.outputs();
    ensure(
        "gemm_gate",
        outputs == d || outputs == 1,
        "rows of the gate",
        outputs,
        format_args!("{d} or 1"),
    )?;
    let wide = d != 1;
    ensure("gemm_gate", wide, "columns of a stream", d, "more")?;
    cx.check_f32("gemm_gate", "the streams", streams)?;
    let mut y = cx.tensor_f32(streams.rows(), d)?;
    run(
        cx,
        "gemm_gate",
        streams,
        w,
        &mut y.view_mut(),
        Epilogue::Gate,
    )?;
    Ok(y)
}

/// What becomes of the products.
#[derive(Clone, Copy)]
enum Epilogue {
    Store,
    F32,
    Gelu,
    Add,
    SwiGlu,
    Gate,
}

fn run(
    cx: &Context,
    op: &'static str,
    x: View<'_>,
    w: &Linear,
    out: &mut ViewMut<'_>,
    epilogue: Epilogue,
) -> Result<()> {
    cx.check_activations(op, "x", x)?;
    match epilogue {
        Epilogue::F32 | Epilogue::Add | Epilogue::Gate => {
            cx.check_f32(op, "the output", out.as_view())?;
        }
        _ => cx.check(op, "the output", out.as_view())?,
    }
    check(op, "columns of x", x.cols(), w.inputs())?;
    check(op, "rows of the output", out.rows(), x.rows())?;
    match epilogue {
        Epilogue::Store | Epilogue::F32 | Epilogue::Gelu | Epilogue::Add => {
            check(op, "columns of the output", out.cols(), w.outputs())?;
        }
        Epilogue::SwiGlu => check(op, "columns of the output", 2 * out.cols(), w.outputs())?,
        Epilogue::Gate => check(op, "columns of the streams", x.cols(), 2 * out.cols())?,
    }
    let mut scratch = cx.host_scratch(2 * PRODUCTS + product::SCRATCH)?;
    let operand = match x.dtype() == cx.dtype() {
        true => None,
        false => Some(cx.device_tensor(x.rows(), x.cols())?),
    };
    let read = x.rows() * x.cols() * x.dtype().size() + w.bytes_on(cx.target());
    let out_bytes = out.rows() * out.cols() * out.as_view().dtype().size();
    // A sum reads what it adds to.
    let visits = if matches!(epilogue, Epilogue::Add) {
        2
    } else {
        1
    };
    let operations = 2 * x.rows() * w.inputs() * w.outputs();
    let work = Work::new(operations, read + visits * out_bytes);
    cx.run(
        op,
        work,
        out,
        |host, out| host_gemm(host, x, w, out, epilogue, scratch.data_mut()),
        |gpu, out| launch(gpu, x, operand.as_ref(), w, out, epilogue),
    )
}

/// The formulas at the head of this file; the gate mixes `streams`, which `x` is rounded from.
fn reference(
    (x, streams): (&[f64], &[f64]),
    w: &Linear,
    out: &[f64],
    epilogue: Epilogue,
) -> Vec<f64> {
    let products = reference::linear(x, w);
    let (width, inputs) = (w.outputs(), w.inputs());
    match epilogue {
        Epilogue::Store | Epilogue::F32 => products,
        Epilogue::Gelu => products.into_iter().map(reference::gelu).collect(),
        Epilogue::Add => products.iter().zip(out).map(|(p, o)| p + o).collect(),
        Epilogue::SwiGlu => products
            .chunks_exact(width)
            .flat_map(|row| {
                let (gate, up) = row.split_at(width / 2);
                gate.iter()
                    .zip(up)
                    .map(|(g, u)| g * reference::sigmoid(*g) * u)
            })
            .collect(),
        Epilogue::Gate => streams
            .chunks_exact(inputs)
            .zip(products.chunks_exact(width))
            .flat_map(|(streams, products)| {
                let (t, g) = streams.split_at(inputs / 2);
                (0..t.len()).map(move |c| {
                    let gate = reference::sigmoid(products[c % width]);
                    gate * t[c] + (1.0 - gate) * g[c]
                })
            })
            .collect(),
    }
}

/// Rows of `x` that a task keeps in its core's second-level cache.
const TILE_ROWS: usize = MAX_ROWS;
/// Columns of the output that a task computes.
const TILE_COLS: usize = MAX_COLS;
/// The most columns that a task computes of a single row: at the start of each task memory has to
/// get going.
const ROW_COLS: usize = 512;
/// Tasks for each thread that a single row is cut into, if it has the columns.
const ROW_TASKS: usize = 8;
/// Elements of scratch for one set of products and biases; a task has two.
const PRODUCTS: usize = TILE_ROWS * TILE_COLS + ROW_COLS;

fn host_gemm(
    host: &Host,
    x: View<'_>,
    w: &Linear,
    out: &mut ViewMut<'_>,
    epilogue: Epilogue,
    scratch: &mut [f32],
) {
    let tile = match x.rows() {
        1 => {
            let share = out.cols() / (ROW_TASKS * host.threads());
            (1, share.next_multiple_of(LANES).clamp(LANES, ROW_COLS))
        }
        _ => (TILE_ROWS, TILE_COLS),
    };
    host.for_tiles(out, tile, scratch, |tile, scratch| {
        let (scratch, rest) = scratch.split_at_mut(product::SCRATCH);
        let (first, second) = rest.split_at_mut(PRODUCTS);
        let (bias, products) = first.split_at_mut(ROW_COLS);
        let (second_bias, second) = second.split_at_mut(ROW_COLS);
        let rows = x.host_rows(tile.rows());
        let half = w.outputs() / 2;
        let (first_cols, second_cols) = match epilogue {
            // One column serves all of the output's.
            Epilogue::Gate if w.outputs() == 1 => (0..1, 0..0),
            Epilogue::SwiGlu => (
                tile.cols(),
                half + tile.cols().start..half + tile.cols().end,
            ),
            _ => (tile.cols(), 0..0),
        };
        let width = first_cols.len();
        for (cols, out) in [(&first_cols, &mut *products), (&second_cols, &mut *second)] {
            product(host.isa(), rows, w, cols.clone(), (out, width), scratch);
        }
        w.bias(first_cols, bias);
        w.bias(second_cols, second_bias);
        host.isa().run(Finish {
            tile,
            x,
            products,
            second,
            bias,
            second_bias,
            width,
            epilogue,
        });
    });
}

/// Turns the products of a tile into its output.
struct Finish<'a> {
    tile: Tile<'a>,
    x: View<'a>,
    products: &'a [f32],
    /// The products of the up projection, where there is one.
    second: &'a [f32],
    bias: &'a [f32],
    second_bias: &'a [f32],
    /// Products in a row.
    width: usize,
    epilogue: Epilogue,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let first_row = self.tile.rows().start;
        for row in self.tile.rows() {
            let at = (row - first_row) * self.width;
            let products = &self.products[at..at + self.width];
            for from in (0..self.tile.cols().len()).step_by(LANES) {
                let to = (from + LANES).min(self.tile.cols().len());
                let piece = from..to;
                let first = biased(s, products, self.bias, piece.clone());
                let cols = self.tile.cols().start + from..self.tile.cols().start + to;
                let out = &mut self.tile.row_mut(row)[from..to];
                let y = match self.epilogue {
                    Epilogue::Store | Epilogue::F32 => first,
                    Epilogue::Gelu => math::gelu(s, first),
                    Epilogue::Add => s.add(s.load_part(out, 0.0), first),
                    Epilogue::SwiGlu => {
                        let up = biased(s, &self.second[at..], self.second_bias, piece);
                        s.mul(math::silu(s, first), up)
                    }
                    Epilogue::Gate => {
                        let gate = match self.width {
                            1 => s.splat(products[0] + self.bias[0]),
                            _ => first,
                        };
                        let streams = self.x.row(row);
                        let d = streams.len() / 2;
                        let t = s.load_part(&streams[cols.clone()], 0.0);
                        let g = s.load_part(&streams[d + cols.start..d + cols.end], 0.0);
                        s.fma(math::sigmoid(s, gate), s.sub(t, g), g)
                    }
                };
                s.store_part(y, out);
            }
        }
    }
}

/// A piece of a row of products with its bias; zeros where one column stands for all.
#[inline(always)]
fn biased<S: Simd>(s: S, products: &[f32], bias: &[f32], piece: Range<usize>) -> S::V {
    let products = products.get(piece.clone()).unwrap_or(&[]);
    s.add(s.load_part(products, 0.0), s.load_part(&bias[piece], 0.0))
}

/// The kernels of linear layers.
const CUDA: CudaSource = CudaSource {
    file: "gemm.cu",
    text: include_str!("gemm.cu"),
    variants: &[&[]],
};

/// `operand` is room for what `x` is rounded to, where it has to be.
fn launch(
    gpu: &Launcher<'_>,
    x: View<'_>,
    operand: Option<&Tensor>,
    w: &Linear,
    out: &mut ViewMut<'_>,
    epilogue: Epilogue,
) -> Result<()> {
    let [wide, narrow] = match epilogue {
        Epilogue::Store => ["gemm_128_store", "gemm_16_store"],
        Epilogue::F32 => ["gemm_128_f32", "gemm_16_f32"],
        Epilogue::Gelu => ["gemm_128_gelu", "gemm_16_gelu"],
        Epilogue::Add => ["gemm_128_add", "gemm_16_add"],
        Epilogue::SwiGlu => ["gemm_128_swiglu", "gemm_16_swiglu"],
        Epilogue::Gate if w.outputs() == 1 => ["gemm_128_gate_token", "gemm_16_gate_token"],
        Epilogue::Gate => ["gemm_128_gate_channel", "gemm_16_gate_channel"],
    };
    let (tile, kernel) = match x.rows() {
        0..=16 => (TILE_16, narrow),
        _ => (TILE_128, wide),
    };
    let stacked = match epilogue {
        Epilogue::SwiGlu => 2,
        _ => 1,
    };
    if let Some(operand) = operand {
        gpu.launch(
            (&CUDA, "gemm_cast"),
            &[],
            Grid::new([x.rows(), 1, 1], CAST_THREADS),
            [operand.into(), x.into(), x.stride().into(), x.cols().into()],
        )?;
    }
    let rounded = operand.map_or(x, Tensor::view);
    let gemm = Gemm {
        x: (rounded.address(), rounded.stride()),
        depth: x.cols(),
        weights: gpu.linear(w)?,
        out: out.as_view(),
        rows: x.rows(),
        positions: (0, 0),
        streams: match epilogue {
            Epilogue::Gate => (x.address(), x.stride()),
            _ => (0, 0),
        },
        period: 0,
    };
    gemm.launch(gpu, kernel, tile, stacked)
}

/// Threads of a row's block where it is rounded.
const CAST_THREADS: u32 = 256;

/// What a kernel of linear layers takes.
pub(super) struct Gemm<'a> {
    /// Address of the first row, and elements from one to the next; rows may overlap.
    pub(super) x: (u64, usize),
    /// Elements of a row.
    pub(super) depth: usize,
    /// Address and pitch of the weights, and address of the biases or 0.
    pub(super) weights: (u64, usize, u64),
    pub(super) out: View<'a>,
    pub(super) rows: usize,
    /// Address and pitch of the position table of a convolution stem.
    pub(super) positions: (u64, usize),
    /// Address and stride of what the gate mixes, in f32.
    pub(super) streams: (u64, usize),
    /// Rows from one window of a convolution to the next.
    pub(super) period: usize,
}

impl Gemm<'_> {
    /// Launches `kernel`, whose outputs need the products of `stacked` matrices each.
    pub(super) fn launch(
        &self,
        gpu: &Launcher<'_>,
        kernel: &'static str,
        tile: GpuTile,
        stacked: usize,
    ) -> Result<()> {
        let (w, w_pitch, bias) = self.weights;
        let (x, x_stride) = self.x;
        let (positions, positions_pitch) = self.positions;
        let (streams, streams_stride) = self.streams;
        let cols = self.out.cols();
        let tiles = self.rows.div_ceil(tile.rows) * cols.div_ceil(tile.cols / stacked);
        let f32 = usize::from(gpu.dtype() == DType::F32);
        let grid = Grid {
            blocks: [tiles, 1, 1],
            threads: tile.threads,
            shared: tile.shared[f32],
            products: tiles * tile.rows * tile.cols * self.depth.next_multiple_of(tile.depth[f32]),
        };
        let fields = vec![
            x.into(),
            w.into(),
            bias.into(),
            positions.into(),
            streams.into(),
            self.out.into(),
            x_stride.into(),
            w_pitch.into(),
            positions_pitch.into(),
            streams_stride.into(),
            self.out.stride().into(),
            self.rows.into(),
            cols.into(),
            self.depth.into(),
            self.period.into(),
        ];
        gpu.launch((&CUDA, kernel), &[], grid, [Arg::Struct(fields)])
    }
}

/// A tile of products of a kernel.
#[derive(Clone, Copy)]
pub(super) struct GpuTile {
    rows: usize,
    cols: usize,
    /// Columns of `x` in a stage, in bf16 and in f32.
    depth: [usize; 2],
    threads: u32,
    /// Shared memory in bytes, in bf16 and in f32.
    shared: [usize; 2],
}

/// For prompts and encoders.
pub(super) const TILE_128: GpuTile = GpuTile {
    rows: 128,
    cols: 128,
    depth: [64, 32],
    threads: 256,
    shared: [110_592, 122_880],
};
/// For generated rows: a stream of weights.
const TILE_16: GpuTile = GpuTile {
    rows: 16,
    cols: 32,
    depth: [128, 64],
    threads: 128,
    shared: [78_336, 82_944],
};

pub(super) const GEMM: Op = Op {
    name: "gemm",
    cuda: &CUDA,
    cases: || cases::cases(Epilogue::Store),
};
pub(super) const GEMM_F32: Op = Op {
    name: "gemm_f32",
    cuda: &CUDA,
    cases: || cases::cases(Epilogue::F32),
};
pub(super) const GEMM_GELU: Op = Op {
    name: "gemm_gelu",
    cuda: &CUDA,
    cases: || cases::cases(Epilogue::Gelu),
};
pub(super) const GEMM_ADD: Op = Op {
    name: "gemm_add",
    cuda: &CUDA,
    cases: || cases::cases(Epilogue::Add),
};
pub(super) const GEMM_SWIGLU: Op = Op {
    name: "gemm_swiglu",
    cuda: &CUDA,
    cases: || cases::cases(Epilogue::SwiGlu),
};
pub(super) const GEMM_GATE: Op = Op {
    name: "gemm_gate",
    cuda: &CUDA,
    cases: || cases::cases(Epilogue::Gate),
};

mod cases;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Inputs;
    use crate::{Device, Isa, Target};
    use std::sync::Arc;

    /// A row's bits do not change with the rows beside it, the threads or the instruction set.
    #[test]
    fn rows_do_not_depend_on_company() {
        let mut inputs = Inputs::plain(7);
        // The wider one is summed in three pieces.
        let sizes = [115, 2579].map(|k| (203, k));
        let dtypes = [DType::F32, DType::F16, DType::BF16];
        for ((m, k), dtype) in sizes.into_iter().flat_map(|size| dtypes.map(|d| (size, d))) {
            let x = inputs.normal(m * k, 1.0);
            let w = inputs.linear(dtype, 150, k, true).unwrap();
            let mut all = Vec::new();
            for isa in Isa::available() {
                for threads in [1, 3] {
                    let host = Arc::new(Host::with_isa(threads, isa).unwrap());
                    let cx = Context::new(&Device::Host(host), 8_000_000).unwrap();
                    let x = cx.upload(&x, k).unwrap();
                    all.push(gemm_gelu(&cx, &x, &w).unwrap().to_vec().unwrap());
                    let alone = gemm_gelu(&cx, x.rows_from(97, 1), &w).unwrap();
                    let alone = alone.to_vec().unwrap();
                    assert_eq!(alone, all[0][97 * 150..98 * 150], "{isa:?} {dtype}");
                }
            }
            assert!(all.iter().all(|y| *y == all[0]), "{k} columns, {dtype}");
        }
    }

    #[test]
    fn misfits_name_both_values() {
        let cx = Context::plan(Target::Host { threads: 1 });
        let x = cx.tensor(2, 8).unwrap();
        let w = Inputs::plain(1).linear(DType::F32, 4, 9, false).unwrap();
        let message = gemm(&cx, &x, &w).unwrap_err().to_string();
        assert_eq!(message, "gemm: columns of x is 8, expected 9");
    }
}
