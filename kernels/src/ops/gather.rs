//! Rows picked by number: `y[i] = x[rows[i]]`, such as the last position of every sequence.
//!
//! `x` `[M, D]`, activations or f32, `y` `[rows.len(), D]` of the same type.

use super::Op;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, ensure};
use crate::tensor::{Tensor, View};
use crate::{Context, DType, Indices, Work, reference};

/// Copies the named rows of `x`.
///
/// # Errors
/// If a row does not exist, or the workspace is used up.
pub fn gather<'a>(cx: &Context, x: impl Into<View<'a>>, rows: Indices<'_>) -> Result<Tensor> {
    let x = x.into();
    cx.check_activations("gather", "x", x)?;
    rows.check(cx, "gather", "rows")?;
    let row = |i: usize| rows.values()[i] as usize;
    for i in 0..rows.len() {
        let limit = x.rows();
        let expected = format_args!("less than {limit}");
        ensure("gather", row(i) < limit, "row", row(i), expected)?;
    }
    let mut y = cx.tensor_of(x.dtype(), rows.len(), x.cols())?;
    let bytes = 2 * x.cols() * x.dtype().size() + size_of::<i32>();
    let work = Work::new(0, rows.len() * bytes);
    cx.run(
        "gather",
        work,
        &mut y,
        |host, y| host.for_rows(&mut y.view_mut(), |i, y| y.copy_from_slice(x.row(row(i)))),
        |gpu, y| launch(gpu, x, rows, y),
    )?;
    Ok(y)
}

/// The formula at the head of this file.
fn reference(x: &[f64], cols: usize, rows: &[usize]) -> Vec<f64> {
    rows.iter()
        .flat_map(|row| x[row * cols..(row + 1) * cols].iter().copied())
        .collect()
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "gather.cu",
    text: include_str!("gather.cu"),
    variants: &[&[]],
};

/// Threads of a row's block.
const THREADS: u32 = 256;

fn launch(gpu: &Launcher<'_>, x: View<'_>, rows: Indices<'_>, y: &Tensor) -> Result<()> {
    let kernel = match x.dtype() {
        DType::F32 => "gather_f32",
        _ => "gather",
    };
    gpu.launch(
        (&CUDA, kernel),
        &[],
        Grid::new([y.rows(), 1, 1], THREADS),
        [
            y.into(),
            x.into(),
            x.stride().into(),
            rows.into(),
            x.cols().into(),
        ],
    )
}

pub(super) const GATHER: Op = Op {
    name: "gather",
    cuda: &CUDA,
    cases,
};

fn cases() -> Vec<Case> {
    let case = |(m, cols, rows): (usize, usize, &'static [usize])| {
        Case::new(format!("{} of {m}x{cols}", rows.len()), 0.0, move |cx| {
            let mut inputs = Inputs::new(cx, m as u64);
            let (x, floats) = (inputs.normal(m * cols, 1.0), inputs.floats(m * cols, 1.0));
            let devices = [cx.upload(&x, cols)?, cx.upload_f32(&floats, cols)?];
            let both = [x, floats].map(|x| reference::widen(&x));
            Ok(Trial::new(
                move |cx| {
                    let rows = cx.table(rows.iter().map(|row| *row as i32))?;
                    let pick = |x: &Tensor| gather(cx, x, rows.indices())?.to_vec();
                    Ok([pick(&devices[0])?, pick(&devices[1])?].concat())
                },
                move || both.each_ref().map(|x| reference(x, cols, rows)).concat(),
            ))
        })
    };
    [
        (7, 33, &[6][..]),
        // The last row begins at a vector and ends within one.
        (9, 10, &[8]),
        (40, 128, &[0, 39, 12, 12]),
        (3, 4099, &[2, 0]),
        (3, 8, &[]),
    ]
    .map(case)
    .into()
}
