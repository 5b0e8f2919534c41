//! Layer normalisation: `y = (x - mean(x)) / sqrt(var(x) + eps) * w + b`, row by row.
//!
//! `x`, `y` `[M, D]`; `w`, `b` `[D]` as stored; the variance is the biased one. `x`, a residual
//! stream, `w` and `b` are f32 on every device.
//! Source: Ba, Kiros and Hinton, arXiv 1607.06450, section 3.

use super::Op;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, check};
use crate::host::simd::{Kernel, LANES, Simd};
use crate::tensor::{Tensor, View, ViewMut};
use crate::weight::Weight;
use crate::{Context, DType, Host, Work, reference};

/// Scale and shift of a layer normalisation, with its epsilon.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Scale, one row of `D`.
    pub weight: Weight,
    /// Shift, one row of `D`.
    pub bias: Weight,
    /// Added to the variance.
    pub eps: f32,
}

/// The rows of `x` `[M, D]`, normalised.
///
/// # Errors
/// If the width of `x` is not that of the weights, or the workspace is used up.
pub fn layer_norm<'a>(cx: &Context, x: impl Into<View<'a>>, norm: &LayerNorm) -> Result<Tensor> {
    let x = x.into();
    let mut y = cx.tensor(x.rows(), x.cols())?;
    run(cx, x, norm, (&mut y).into())?;
    Ok(y)
}

/// As [`layer_norm`], in f32 on every device: where a residual stream ends in one.
///
/// # Errors
/// If the width of `x` is not that of the weights, or the workspace is used up.
pub fn layer_norm_f32<'a>(
    cx: &Context,
    x: impl Into<View<'a>>,
    norm: &LayerNorm,
) -> Result<Tensor> {
    let x = x.into();
    let mut y = cx.tensor_f32(x.rows(), x.cols())?;
    run(cx, x, norm, (&mut y).into())?;
    Ok(y)
}

/// As [`layer_norm_f32`], into `y` `[M, D]`, rows that lie one behind the other.
///
/// # Errors
/// As [`layer_norm`], and if `y` is of another type or shape.
pub fn layer_norm_into<'a, 'b>(
    cx: &Context,
    x: impl Into<View<'a>>,
    norm: &LayerNorm,
    y: impl Into<ViewMut<'b>>,
) -> Result<()> {
    let y = y.into();
    cx.check_f32("layer_norm", "y", y.as_view())?;
    run(cx, x.into(), norm, y)
}

fn run(cx: &Context, x: View<'_>, norm: &LayerNorm, mut y: ViewMut<'_>) -> Result<()> {
    cx.check_f32("layer_norm", "x", x)?;
    let shape = (x.rows(), x.cols());
    check("layer_norm", "shape of y", (y.rows(), y.cols()), shape)?;
    let stride = y.as_view().stride();
    check("layer_norm", "columns between rows of y", stride, x.cols())?;
    let width = y.as_view().dtype().size();
    for (what, weight) in [("weight", &norm.weight), ("bias", &norm.bias)] {
        check(
            "layer_norm",
            what,
            (weight.rows(), weight.cols()),
            (1, x.cols()),
        )?;
    }
    let elements = x.rows() * x.cols();
    let moved = elements * (x.dtype().size() + width);
    let vectors = [&norm.weight, &norm.bias].map(|v| v.vector_bytes_on(cx.target()));
    let work = Work::new(8 * elements, moved + vectors.iter().sum::<usize>());
    cx.run(
        "layer_norm",
        work,
        &mut y,
        |host, y| host_layer_norm(host, x, norm, y),
        |gpu, y| launch(gpu, x, norm, y),
    )
}

/// The formula at the head of this file.
pub(super) fn reference(x: &[f64], norm: &LayerNorm) -> Vec<f64> {
    let w = reference::widen_weight(&norm.weight);
    let b = reference::widen_weight(&norm.bias);
    let d = w.len() as f64;
    let normalise = |row: &[f64]| -> Vec<f64> {
        let mean = row.iter().sum::<f64>() / d;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d;
        let scale = 1.0 / (variance + f64::from(norm.eps)).sqrt();
        row.iter()
            .zip(w.iter().zip(&b))
            .map(|(x, (w, b))| (x - mean) * scale * w + b)
            .collect()
    };
    x.chunks_exact(w.len()).flat_map(normalise).collect()
}

fn host_layer_norm(host: &Host, x: View<'_>, norm: &LayerNorm, y: &mut ViewMut<'_>) {
    host.for_rows(y, |row, y| {
        host.isa().run(Row {
            x: x.row(row),
            norm,
            y,
        });
    });
}

struct Row<'a> {
    x: &'a [f32],
    norm: &'a LayerNorm,
    y: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.x.len() as f32;
        let mut sum = s.splat(0.0);
        for x in self.x.chunks(LANES) {
            sum = s.add(sum, s.load_part(x, 0.0));
        }
        let mean = s.sum(sum) / width;
        // What rounding took from the mean shows in the sum of the differences (Chan, Golub and
        // LeVeque, "Algorithms for computing the sample variance" (1983), the corrected two-pass).
        let (mut squares, mut rest) = (s.splat(0.0), s.splat(0.0));
        for x in self.x.chunks(LANES) {
            let centred = s.sub(s.load_part(x, mean), s.splat(mean));
            squares = s.fma(centred, centred, squares);
            rest = s.add(rest, centred);
        }
        let rest = s.sum(rest) / width;
        let variance = s.sum(squares) / width - rest * rest;
        let scale = 1.0 / (variance + self.norm.eps).sqrt();
        for (i, (x, y)) in self
            .x
            .chunks(LANES)
            .zip(self.y.chunks_mut(LANES))
            .enumerate()
        {
            let centred = s.sub(s.load_part(x, mean), s.splat(mean));
            let centred = s.sub(centred, s.splat(rest));
            let w = self.norm.weight.lanes(s, 0, i * LANES);
            let b = self.norm.bias.lanes(s, 0, i * LANES);
            s.store_part(s.fma(s.mul(centred, s.splat(scale)), w, b), y);
        }
    }
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "layer_norm.cu",
    text: include_str!("layer_norm.cu"),
    variants: &[&[]],
};

/// Threads of a row's block.
const THREADS: u32 = 256;

fn launch(gpu: &Launcher<'_>, x: View<'_>, norm: &LayerNorm, y: &mut ViewMut<'_>) -> Result<()> {
    let kernel = match y.as_view().dtype() {
        DType::F32 => "layer_norm_f32",
        _ => "layer_norm",
    };
    gpu.launch(
        (&CUDA, kernel),
        &[],
        Grid::new([x.rows(), 1, 1], THREADS),
        [
            y.into(),
            x.into(),
            x.stride().into(),
            gpu.vector(&norm.weight)?.into(),
            gpu.vector(&norm.bias)?.into(),
            x.cols().into(),
            norm.eps.into(),
        ],
    )
}

pub(super) const LAYER_NORM: Op = Op {
    name: "layer_norm",
    cuda: &CUDA,
    cases,
};

fn cases() -> Vec<Case> {
    let sizes = [
        (1, 64, DType::F32),
        (33, 1280, DType::BF16),
        (5, 99, DType::F16),
        (0, 8, DType::F32),
        // More than a GPU keeps of a row, with the end of the last one in the midst of a vector.
        (1, 6158, DType::BF16),
        // The same where rows start anywhere.
        (4, 6157, DType::BF16),
    ];
    let case = |(m, d, dtype)| {
        Case::new(format!("{m}x{d} {dtype}"), 1e-6, move |cx| {
            let mut inputs = Inputs::new(cx, d as u64);
            // Off centre, so that a one-pass variance would cancel.
            let x = inputs.floats(m * d, 1.0);
            let x: Vec<f32> = x.into_iter().map(|x| x + 8.0).collect();
            let norm = LayerNorm {
                weight: inputs.vector(dtype, d, 1.0, 0.1)?,
                bias: inputs.vector(dtype, d, 0.0, 0.1)?,
                eps: 1e-5,
            };
            let device_x = cx.upload_f32(&x, d)?;
            let (x64, norm64) = (reference::widen(&x), norm.clone());
            Ok(Trial::new(
                move |cx| {
                    let mut both = layer_norm(cx, &device_x, &norm)?.to_vec()?;
                    both.extend(layer_norm_f32(cx, &device_x, &norm)?.to_vec()?);
                    // Among other rows, which stay as they are.
                    let mut among = cx.tensor_f32(m + 2, d)?;
                    among.fill(0)?;
                    layer_norm_into(cx, &device_x, &norm, among.rows_from_mut(1, m))?;
                    both.extend(among.to_vec()?);
                    Ok(both)
                },
                move || {
                    let (y, none) = (reference(&x64, &norm64), vec![0.0; d]);
                    [&y, &y, &none, &y, &none].map(|part| &part[..]).concat()
                },
            ))
        })
    };
    sizes.map(case).into()
}
