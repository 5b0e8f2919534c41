//! Root-mean-square normalisation: `y = x / sqrt(mean(x^2) + eps) * w`, row by row.
//!
//! `x`, `y` `[M, D]`; `w` `[D]` as stored. `x`, a residual stream, and `w` are f32 on every device.
//! Source: Zhang and Sennrich, arXiv 1910.07467, equation 4.

use super::Op;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, check};
use crate::host::simd::{Kernel, LANES, Simd};
use crate::tensor::{Tensor, View};
use crate::weight::Weight;
use crate::{Context, DType, Host, Work, reference};

/// Scale of a root-mean-square normalisation, with its epsilon.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// Scale, one row of `D`.
    pub weight: Weight,
    /// Added to the mean square.
    pub eps: f32,
}

/// The rows of `x` `[M, D]`, normalised.
///
/// # Errors
/// If the width of `x` is not that of the weight, or the workspace is used up.
pub fn rms_norm<'a>(cx: &Context, x: impl Into<View<'a>>, norm: &RmsNorm) -> Result<Tensor> {
    let x = x.into();
    cx.check_f32("rms_norm", "x", x)?;
    check(
        "rms_norm",
        "weight",
        (norm.weight.rows(), norm.weight.cols()),
        (1, x.cols()),
    )?;
    let mut y = cx.tensor(x.rows(), x.cols())?;
    let elements = x.rows() * x.cols();
    let moved = elements * (x.dtype().size() + y.dtype().size());
    let work = Work::new(
        4 * elements,
        moved + norm.weight.vector_bytes_on(cx.target()),
    );
    cx.run(
        "rms_norm",
        work,
        &mut y,
        |host, y| host_rms_norm(host, x, norm, y),
        |gpu, y| launch(gpu, x, norm, y),
    )?;
    Ok(y)
}

/// The formula at the head of this file.
pub(super) fn reference(x: &[f64], norm: &RmsNorm) -> Vec<f64> {
    let w = reference::widen_weight(&norm.weight);
    let normalise = |row: &[f64]| -> Vec<f64> {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / w.len() as f64;
        let scale = 1.0 / (mean + f64::from(norm.eps)).sqrt();
        row.iter().zip(&w).map(|(x, w)| x * scale * w).collect()
    };
    x.chunks_exact(w.len()).flat_map(normalise).collect()
}

fn host_rms_norm(host: &Host, x: View<'_>, norm: &RmsNorm, y: &mut Tensor) {
    host.for_rows(&mut y.view_mut(), |row, y| {
        y.copy_from_slice(x.row(row));
        host.isa().run(InPlace { norm, row: y });
    });
}

/// Normalises one row in place.
pub(super) struct InPlace<'a> {
    pub(super) norm: &'a RmsNorm,
    pub(super) row: &'a mut [f32],
}

impl Kernel for InPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut squares = s.splat(0.0);
        for x in self.row.chunks(LANES) {
            let x = s.load_part(x, 0.0);
            squares = s.fma(x, x, squares);
        }
        let scale = 1.0 / (s.sum(squares) / self.row.len() as f32 + self.norm.eps).sqrt();
        for (i, x) in self.row.chunks_mut(LANES).enumerate() {
            let w = self.norm.weight.lanes(s, 0, i * LANES);
            let y = s.mul(s.mul(s.load_part(x, 0.0), s.splat(scale)), w);
            s.store_part(y, x);
        }
    }
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "rms_norm.cu",
    text: include_str!("rms_norm.cu"),
    variants: &[&[]],
};

/// Threads of a row's block.
const THREADS: u32 = 256;

fn launch(gpu: &Launcher<'_>, x: View<'_>, norm: &RmsNorm, y: &Tensor) -> Result<()> {
    gpu.launch(
        (&CUDA, "rms_norm"),
        &[],
        Grid::new([x.rows(), 1, 1], THREADS),
        [
            y.into(),
            x.into(),
            x.stride().into(),
            gpu.vector(&norm.weight)?.into(),
            x.cols().into(),
            norm.eps.into(),
        ],
    )
}

pub(super) const RMS_NORM: Op = Op {
    name: "rms_norm",
    cuda: &CUDA,
    cases,
};

fn cases() -> Vec<Case> {
    let sizes = [
        (1, 128, DType::F32),
        (33, 1024, DType::BF16),
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
            let x = inputs.floats(m * d, 3.0);
            let norm = RmsNorm {
                weight: inputs.vector(dtype, d, 1.0, 0.1)?,
                eps: 1e-6,
            };
            let device_x = cx.upload_f32(&x, d)?;
            let (x64, norm64) = (reference::widen(&x), norm.clone());
            Ok(Trial::new(
                move |cx| rms_norm(cx, &device_x, &norm)?.to_vec(),
                move || reference(&x64, &norm64),
            ))
        })
    };
    sizes.map(case).into()
}
