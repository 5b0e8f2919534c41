//! The convolution stem of a Whisper encoder, with the position table:
//! `h = gelu(conv(mel, W_1) + b_1)`, `y = gelu(conv(h, W_2, stride 2) + b_2) + positions`.
//!
//! Kernels of three frames, one frame of zeros on either side. `mel` `[bins, 2T]`, `W_1`
//! `[d, bins, 3]`, `W_2` `[d, d, 3]`, `positions` `[T, d]` as stored, `y` `[T, d]`. `mel` and `y`,
//! where the residual stream starts, are f32 on every device.
//! Source: Whisper, arXiv 2212.04356, section 2.2.

use super::Op;
use super::gemm::{Gemm, TILE_128};
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, check, ensure};
use crate::host::math;
use crate::host::product::{self, MAX_COLS, product};
use crate::host::simd::{Kernel, LANES, Simd};
use crate::tensor::{Rows, Tensor, View};
use crate::weight::{Linear, Weight};
use crate::{Context, DType, Host, Work, reference};

/// Frames under one kernel of the stem's convolutions.
pub const TAPS: usize = 3;

/// Weights of the stem.
#[derive(Clone, Debug)]
pub struct ConvStem {
    /// `[d, 3 * bins]`, as `[d, bins, 3]` lies in memory, with its bias.
    pub conv1: Linear,
    /// `[d, 3 * d]`, as `[d, d, 3]` lies in memory, with its bias.
    pub conv2: Linear,
    /// `[T, d]`.
    pub positions: Weight,
}

/// One window's log-mel `[bins, 2T]` to the first `frames` of its frames, `[frames, d]`.
///
/// # Errors
/// If a dimension does not fit, there are not that many frames, or the workspace is used up.
pub fn conv_stem<'a>(
    cx: &Context,
    mel: impl Into<View<'a>>,
    stem: &ConvStem,
    frames: usize,
) -> Result<Tensor> {
    let mel = mel.into();
    cx.check_f32("conv_stem", "mel", mel)?;
    let (all, d) = (stem.positions.rows(), stem.positions.cols());
    check("conv_stem", "frames of mel", mel.cols(), 2 * all)?;
    let expected = format_args!("at most {all}");
    ensure("conv_stem", frames <= all, "frames", frames, expected)?;
    check(
        "conv_stem",
        "inputs of conv1",
        stem.conv1.inputs(),
        TAPS * mel.rows(),
    )?;
    check("conv_stem", "outputs of conv1", stem.conv1.outputs(), d)?;
    check(
        "conv_stem",
        "inputs of conv2",
        stem.conv2.inputs(),
        TAPS * d,
    )?;
    check("conv_stem", "outputs of conv2", stem.conv2.outputs(), d)?;
    // A GPU has zeros before the frames: one row that the second layer reads, and before the input
    // two, since that row has an input, too. The input ends in one more.
    let input = cx.device_tensor(2 * all + 3, mel.rows())?;
    let mut hidden = cx.tensor(2 * all + usize::from(cx.is_gpu()), d)?;
    let mut y = cx.tensor_f32(frames, d)?;
    let widest = mel.rows().max(d);
    let mut scratch = cx.host_scratch(TILE_ROWS * (TAPS * widest + d) + product::SCRATCH)?;
    let operations = 2 * TAPS * d * (2 * all * mel.rows() + frames * d);
    let convolutions = stem.conv1.bytes_on(cx.target()) + stem.conv2.bytes_on(cx.target());
    let positions = stem.positions.bytes_on(cx.target()) / all.max(1) * frames;
    let weights = convolutions + positions;
    let read = mel.rows() * mel.cols() * size_of::<f32>() + weights;
    let written = frames * d * size_of::<f32>();
    cx.run(
        "conv_stem",
        Work::new(operations, read + written),
        (&mut hidden, &mut y),
        |host, (hidden, y)| host_conv_stem(host, mel, stem, scratch.data_mut(), hidden, y),
        |gpu, (hidden, y)| launch(gpu, mel, stem, &input, hidden, y),
    )?;
    Ok(y)
}

/// The formula at the head of this file.
fn reference(mel: &[f64], stem: &ConvStem, wanted: usize) -> Vec<f64> {
    let frames = 2 * stem.positions.rows();
    let channels: Vec<&[f64]> = mel.chunks_exact(frames).collect();
    let h = convolve(frames, 1, &stem.conv1, |t, c| channels[c][t]);
    let d = stem.positions.cols();
    let y = convolve(frames, 2, &stem.conv2, |t, c| h[t * d + c]);
    y.iter()
        .zip(reference::widen_weight(&stem.positions))
        .map(|(y, p)| y + p)
        .take(wanted * d)
        .collect()
}

fn convolve(frames: usize, stride: usize, w: &Linear, x: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let patch = |t: usize| -> Vec<f64> {
        let taps = |c| (0..TAPS).map(move |tap| (t * stride + tap, c));
        let inside = |(t, c): (usize, usize)| {
            if (1..=frames).contains(&t) {
                x(t - 1, c)
            } else {
                0.0
            }
        };
        (0..w.inputs() / TAPS).flat_map(taps).map(inside).collect()
    };
    let patches: Vec<f64> = (0..frames / stride).flat_map(patch).collect();
    reference::linear(&patches, w)
        .into_iter()
        .map(reference::gelu)
        .collect()
}

/// Frames of output that a task computes.
const TILE_ROWS: usize = 32;

fn host_conv_stem(
    host: &Host,
    mel: View<'_>,
    stem: &ConvStem,
    scratch: &mut [f32],
    hidden: &mut Tensor,
    y: &mut Tensor,
) {
    let first = Conv {
        x: Input::Channels(mel),
        w: &stem.conv1,
        stride: 1,
        positions: None,
    };
    first.run(host, hidden, scratch);
    let second = Conv {
        x: Input::Frames(hidden.view()),
        w: &stem.conv2,
        stride: 2,
        positions: Some(&stem.positions),
    };
    second.run(host, y, scratch);
}

/// What a convolution reads.
#[derive(Clone, Copy)]
enum Input<'a> {
    /// `[channels, frames]`.
    Channels(View<'a>),
    /// `[frames, channels]`.
    Frames(View<'a>),
}

impl Input<'_> {
    fn channels(&self) -> usize {
        match self {
            Input::Channels(x) => x.rows(),
            Input::Frames(x) => x.cols(),
        }
    }

    /// The three frames around `centre` as a row in the order of the weights, channel by channel.
    fn patch(&self, centre: usize, patch: &mut [f32]) {
        for tap in 0..TAPS {
            let frame = (centre + tap).checked_sub(1);
            let row = patch.iter_mut().skip(tap).step_by(TAPS);
            match (self, frame) {
                (Input::Channels(x), Some(t)) if t < x.cols() => {
                    row.enumerate().for_each(|(c, out)| *out = x.row(c)[t]);
                }
                (Input::Frames(x), Some(t)) if t < x.rows() => {
                    row.zip(x.row(t)).for_each(|(out, x)| *out = *x);
                }
                _ => row.for_each(|out| *out = 0.0),
            }
        }
    }
}

/// One convolution: products with patches.
struct Conv<'a> {
    x: Input<'a>,
    w: &'a Linear,
    stride: usize,
    positions: Option<&'a Weight>,
}

impl Conv<'_> {
    fn run(&self, host: &Host, y: &mut Tensor, scratch: &mut [f32]) {
        let (d, cols) = (y.cols(), TAPS * self.x.channels());
        host.for_tiles(
            &mut y.view_mut(),
            (TILE_ROWS, d),
            scratch,
            |mut tile, scratch| {
                let (scratch, rest) = scratch.split_at_mut(product::SCRATCH);
                let (patches, products) = rest.split_at_mut(TILE_ROWS * cols);
                for (patch, t) in patches.chunks_exact_mut(cols).zip(tile.rows()) {
                    self.x.patch(t * self.stride, patch);
                }
                let rows = Rows {
                    data: patches,
                    stride: cols,
                    rows: tile.rows().len(),
                    cols,
                };
                for from in (0..d).step_by(MAX_COLS) {
                    let to = d.min(from + MAX_COLS);
                    product(
                        host.isa(),
                        rows,
                        self.w,
                        from..to,
                        (&mut products[from..], d),
                        scratch,
                    );
                }
                for (products, t) in products.chunks_exact_mut(d).zip(tile.rows()) {
                    let out = tile.row_mut(t);
                    self.w.bias(0..d, out);
                    let positions = self.positions.map(|p| (p, t));
                    host.isa().run(Finish {
                        products,
                        positions,
                        out,
                    });
                }
            },
        );
    }
}

/// Turns one row of products into output; `out` holds the bias.
struct Finish<'a> {
    products: &'a [f32],
    positions: Option<(&'a Weight, usize)>,
    out: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let pieces = self.products.chunks(LANES).zip(self.out.chunks_mut(LANES));
        for (i, (products, out)) in pieces.enumerate() {
            let mut y = s.add(s.load_part(products, 0.0), s.load_part(out, 0.0));
            y = math::gelu(s, y);
            if let Some((positions, t)) = self.positions {
                y = s.add(y, positions.lanes(s, t, i * LANES));
            }
            s.store_part(y, out);
        }
    }
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "conv_stem.cu",
    text: include_str!("conv_stem.cu"),
    variants: &[&[]],
};

/// Frames and bins of a block's square.
const SIDE: usize = 32;
/// Threads of a block.
const THREADS: u32 = 256;

/// Turns log-mel to frames between zeros; then both layers are products with overlapping rows.
fn launch(
    gpu: &Launcher<'_>,
    mel: View<'_>,
    stem: &ConvStem,
    input: &Tensor,
    hidden: &Tensor,
    y: &Tensor,
) -> Result<()> {
    let (bins, frames, d) = (mel.rows(), y.rows(), y.cols());
    gpu.launch(
        (&CUDA, "conv_stem_frames"),
        &[],
        Grid::new(
            [input.rows().div_ceil(SIDE), bins.div_ceil(SIDE), 1],
            THREADS,
        ),
        [
            input.into(),
            mel.into(),
            mel.stride().into(),
            bins.into(),
            mel.cols().into(),
            1usize.into(),
        ],
    )?;
    let first = Gemm {
        x: (input.view().address(), bins),
        depth: TAPS * bins,
        weights: gpu.convolution(&stem.conv1, TAPS)?,
        out: hidden.view(),
        rows: hidden.rows(),
        positions: (0, 0),
        streams: (0, 0),
        period: hidden.rows() + 1,
    };
    first.launch(gpu, "gemm_128_conv_gelu", TILE_128, 1)?;
    let second = Gemm {
        x: (hidden.view().address(), 2 * d),
        depth: TAPS * d,
        weights: gpu.convolution(&stem.conv2, TAPS)?,
        out: y.view(),
        rows: frames,
        positions: gpu.matrix(&stem.positions)?,
        streams: (0, 0),
        period: frames + 1,
    };
    second.launch(gpu, "gemm_128_conv_gelu_positions", TILE_128, 1)
}

pub(super) const CONV_STEM: Op = Op {
    name: "conv_stem",
    cuda: &CUDA,
    cases,
};

fn cases() -> Vec<Case> {
    // Of `frames`, the first `wanted`.
    let case = |(frames, wanted, bins, d, dtype): (usize, usize, usize, usize, DType)| {
        Case::new(
            format!("{bins}x{} to {wanted}x{d} {dtype}", 2 * frames),
            1e-6,
            move |cx| {
                let mut inputs = Inputs::new(cx, d as u64);
                let mel = inputs.normal(bins * 2 * frames, 1.0);
                let stem = ConvStem {
                    conv1: inputs.linear(dtype, d, TAPS * bins, true)?,
                    conv2: inputs.linear(dtype, d, TAPS * d, true)?,
                    positions: inputs.weight(dtype, (frames, d), 0.0, 0.1)?,
                };
                let device_mel = cx.upload_f32(&mel, 2 * frames)?;
                let (mel64, stem64) = (reference::widen(&mel), stem.clone());
                Ok(Trial::new(
                    move |cx| conv_stem(cx, &device_mel, &stem, wanted)?.to_vec(),
                    move || reference(&mel64, &stem64, wanted),
                ))
            },
        )
    };
    [
        (50, 50, 80, 32, DType::F32),
        (33, 33, 128, 48, DType::BF16),
        (1, 1, 3, 20, DType::F16),
        (11, 11, 67, 45, DType::F32),
        (3, 3, 12, 12, DType::F32),
        // All of the depth in a GPU's first stages.
        (2, 2, 8, 8, DType::F32),
        (3, 3, 12, 13, DType::F32),
        // The clip ends in the window.
        (40, 17, 16, 24, DType::BF16),
        (9, 1, 8, 12, DType::F32),
        (5, 0, 8, 12, DType::F32),
    ]
    .map(case)
    .into()
}
