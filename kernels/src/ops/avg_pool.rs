//! Average pooling by two over time: `y[t] = (x[2t] + x[2t + 1]) / 2`.
//!
//! `x` `[2T, d]` (50 frames a second), `y` the first `rows` of `[T, d]` (25 tokens a second), both
//! f32 on every device.
//! Source: GaMMA, arXiv 2605.00371, the audio encoder's rate of 25 tokens a second.

use super::Op;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, check, ensure};
use crate::tensor::{View, ViewMut};
use crate::{Context, Host, Work, reference};

/// Pools the rows of `x` by two into `y`, which may be shorter: the clip may end in the window.
///
/// # Errors
/// If the widths differ, or if `x` has fewer than two rows for one of `y`.
pub fn avg_pool<'a, 'b>(
    cx: &Context,
    x: impl Into<View<'a>>,
    y: impl Into<ViewMut<'b>>,
) -> Result<()> {
    let (x, mut y) = (x.into(), y.into());
    cx.check_f32("avg_pool", "x", x)?;
    cx.check_f32("avg_pool", "the output", y.as_view())?;
    check("avg_pool", "columns of the output", y.cols(), x.cols())?;
    let most = x.rows() / 2;
    ensure(
        "avg_pool",
        y.rows() <= most,
        "rows of the output",
        y.rows(),
        format_args!("at most {most}"),
    )?;
    let elements = y.rows() * y.cols();
    cx.run(
        "avg_pool",
        Work::new(2 * elements, 3 * elements * size_of::<f32>()),
        &mut y,
        |host, y| host_avg_pool(host, x, y),
        |gpu, y| launch(gpu, x, y.as_view()),
    )
}

/// The formula at the head of this file.
fn reference(x: &[f64], cols: usize, rows: usize) -> Vec<f64> {
    let element = |i| {
        let (t, c) = (i / cols, i % cols);
        (x[2 * t * cols + c] + x[(2 * t + 1) * cols + c]) / 2.0
    };
    (0..rows * cols).map(element).collect()
}

fn host_avg_pool(host: &Host, x: View<'_>, y: &mut ViewMut<'_>) {
    host.for_rows(y, |row, y| {
        let (even, odd) = (x.row(2 * row), x.row(2 * row + 1));
        for (y, (even, odd)) in y.iter_mut().zip(even.iter().zip(odd)) {
            *y = (even + odd) * 0.5;
        }
    });
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "avg_pool.cu",
    text: include_str!("avg_pool.cu"),
    variants: &[&[]],
};

/// Threads of a row's block.
const THREADS: u32 = 256;

fn launch(gpu: &Launcher<'_>, x: View<'_>, y: View<'_>) -> Result<()> {
    gpu.launch(
        (&CUDA, "avg_pool"),
        &[],
        Grid::new([y.rows(), 1, 1], THREADS),
        [
            y.into(),
            y.stride().into(),
            x.into(),
            x.stride().into(),
            x.cols().into(),
        ],
    )
}

pub(super) const AVG_POOL: Op = Op {
    name: "avg_pool",
    cuda: &CUDA,
    cases,
};

fn cases() -> Vec<Case> {
    // The last columns of wider frames.
    let case = |(frames, width, cols, rows): (usize, usize, usize, usize)| {
        Case::new(
            format!("{frames}x{cols} of {width} to {rows}"),
            1e-6,
            move |cx| {
                let x = Inputs::new(cx, frames as u64).floats(frames * width, 1.0);
                let device_x = cx.upload_f32(&x, width)?;
                let last = |row: &[f32]| reference::widen(&row[width - cols..]);
                let x64: Vec<f64> = x.chunks_exact(width).flat_map(last).collect();
                Ok(Trial::new(
                    move |cx| {
                        let mut y = cx.tensor_f32(rows, cols)?;
                        avg_pool(cx, device_x.columns(width - cols, cols), &mut y)?;
                        y.to_vec()
                    },
                    move || reference(&x64, cols, rows),
                ))
            },
        )
        .always_f32()
    };
    [
        (1500, 64, 64, 750),
        (1500, 33, 33, 13),
        (2, 33, 33, 1),
        // The last frame begins at a vector and ends within it.
        (2, 11, 6, 1),
        // Narrower than a vector, at its start and past it.
        (2, 1, 1, 1),
        (2, 2, 1, 1),
        (4, 8, 8, 0),
    ]
    .map(case)
    .into()
}
