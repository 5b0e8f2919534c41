//! Rows of audio turned by the time that they are of, in place, as Music Flamingo does it.
//!
//! `x` `[N, d]`, f32 on every device, is of windows of `period` rows; of row `n`, `w = n / period`
//! and `r = n % period`. The seconds are `t = 4 step (w period + r)`, for a row is of four mel frames.
//! With `dim = factor d`, rounded down, `F = ceil(dim / 2)` and `f_i = theta^(-2i / dim)`, pair `i` of
//! the first `2F` pairs of neighbouring channels is turned by
//!
//! ```text
//! a_i     = -2 pi t (w / theta) f_i              i < F
//! a_(F+i) = -2 pi t (2 pi r / theta) f_i
//! (x[2i], x[2i+1]) = (x[2i] cos a_i - x[2i+1] sin a_i, x[2i+1] cos a_i + x[2i] sin a_i)
//! ```
//!
//! Angles are up to some 30,000 radians and every step to them is rounded to f32, as in the models'
//! training: that rounding is part of the formula.
//! Sources: Music Flamingo, arXiv 2511.10289; transformers' `MusicFlamingoRotaryEmbedding`.

use super::Op;
use super::rope_kv::frequencies;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, check, ensure};
use crate::tensor::ViewMut;
use crate::{Context, Host, Work, reference};
use std::f32::consts::{PI, TAU};
use std::sync::Arc;

/// What rows are turned by.
#[derive(Clone, Debug)]
pub struct TimeRotation {
    /// Channels of a row.
    channels: usize,
    /// Rows of a window.
    period: usize,
    /// Seconds of a row.
    step: f32,
    /// Positions of a full turn of either axis.
    theta: f32,
    /// `f_i`, and the same as the kernel reads them.
    frequencies: Vec<f32>,
    words: Arc<[u32]>,
}

impl TimeRotation {
    /// For rows of `channels` in windows of `period` rows, of which each is of four mel frames of
    /// `frame_step` seconds.
    ///
    /// # Errors
    /// If there is an odd number of channels, no row in a window, or if both axes need more channels
    /// than there are.
    pub fn new(
        channels: usize,
        period: usize,
        theta: f64,
        factor: f64,
        frame_step: f64,
    ) -> Result<TimeRotation> {
        const OP: &str = "rotate_time";
        let even = channels.is_multiple_of(2);
        ensure(OP, even, "channels", channels, "an even number")?;
        ensure(OP, period > 0, "rows of a window", period, "at least 1")?;
        let frequencies = frequencies(theta as f32, (channels as f64 * factor) as usize);
        let turned = 4 * frequencies.len();
        let fits = turned <= channels;
        ensure(
            OP,
            fits,
            "channels of both axes",
            turned,
            format_args!("at most {channels}"),
        )?;
        Ok(TimeRotation {
            channels,
            period,
            step: (4.0 * frame_step) as f32,
            theta: theta as f32,
            words: frequencies.iter().map(|f| f.to_bits()).collect(),
            frequencies,
        })
    }

    /// The angles of a row, of the pairs in their order.
    fn angles(&self, row: usize) -> impl Iterator<Item = f32> {
        let (window, row) = (row / self.period, row % self.period);
        let seconds = (window * self.period) as f32 * self.step + row as f32 * self.step;
        let turn = -seconds * 2.0 * PI;
        let places = [window as f32 / self.theta, row as f32 / self.theta * TAU];
        let axis = move |place: f32| self.frequencies.iter().map(move |f| place * f * turn);
        places.into_iter().flat_map(axis)
    }
}

/// Turns the rows of `x` `[N, d]`.
///
/// # Errors
/// If `x` is not of f32 or has another number of channels.
pub fn rotate_time<'a>(
    cx: &Context,
    x: impl Into<ViewMut<'a>>,
    rotation: &TimeRotation,
) -> Result<()> {
    let mut x = x.into();
    cx.check_f32("rotate_time", "x", x.as_view())?;
    check("rotate_time", "channels", x.cols(), rotation.channels)?;
    let turned = x.rows() * 4 * rotation.frequencies.len();
    // Of each pair an angle and six operations.
    let operations = 10 * turned / 2;
    let moved = (2 * turned + rotation.frequencies.len()) * size_of::<f32>();
    cx.run(
        "rotate_time",
        Work::new(operations, moved),
        &mut x,
        |host, x| host_rotate_time(host, x, rotation),
        |gpu, x| launch(gpu, x, rotation),
    )
}

/// The formula at the head of this file.
fn reference(x: &[f64], rotation: &TimeRotation) -> Vec<f64> {
    let mut y = x.to_vec();
    for (n, row) in y.chunks_exact_mut(rotation.channels).enumerate() {
        let (w, r) = ((n / rotation.period) as f32, (n % rotation.period) as f32);
        let step = rotation.step;
        let t = w * rotation.period as f32 * step + r * step;
        let count = rotation.frequencies.len();
        for i in 0..2 * count {
            let place = if i < count {
                w / rotation.theta
            } else {
                r / rotation.theta * TAU
            };
            let angle = f64::from(place * rotation.frequencies[i % count] * (-t * 2.0 * PI));
            let (a, b) = (row[2 * i], row[2 * i + 1]);
            row[2 * i] = a * angle.cos() - b * angle.sin();
            row[2 * i + 1] = b * angle.cos() + a * angle.sin();
        }
    }
    y
}

fn host_rotate_time(host: &Host, x: &mut ViewMut<'_>, rotation: &TimeRotation) {
    host.for_rows(x, |row, x| {
        for (pair, angle) in x
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .zip(rotation.angles(row))
        {
            let (sin, cos) = f64::from(angle).sin_cos();
            let [a, b] = pair.map(f64::from);
            *pair = [(a * cos - b * sin) as f32, (b * cos + a * sin) as f32];
        }
    });
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "rotate_time.cu",
    text: include_str!("rotate_time.cu"),
    variants: &[&[]],
};

/// Threads of a row's block.
const THREADS: u32 = 256;

fn launch(gpu: &Launcher<'_>, x: &mut ViewMut<'_>, rotation: &TimeRotation) -> Result<()> {
    let stride = x.as_view().stride();
    gpu.launch(
        (&CUDA, "rotate_time"),
        &[],
        Grid::new([x.rows(), 1, 1], THREADS),
        [
            (&mut *x).into(),
            stride.into(),
            gpu.words(&rotation.words)?.into(),
            rotation.frequencies.len().into(),
            rotation.period.into(),
            rotation.step.into(),
            rotation.theta.into(),
        ],
    )
}

pub(super) const ROTATE_TIME: Op = Op {
    name: "rotate_time",
    cuda: &CUDA,
    cases,
};

fn cases() -> Vec<Case> {
    let case = |(rows, period, channels, factor): (usize, usize, usize, f64)| {
        let name = format!("{rows}x{channels} of {period}, {factor}");
        let trial = Case::new(name, 1e-6, move |cx| {
            let x = Inputs::new(cx, rows as u64).floats(rows * channels, 1.0);
            let rotation = TimeRotation::new(channels, period, 1200.0, factor, 0.01)?;
            let device_x = cx.upload_f32(&x, channels)?;
            let (x64, same) = (reference::widen(&x), rotation.clone());
            Ok(Trial::new(
                move |cx| {
                    let mut y = cx.tensor_f32(rows, channels)?;
                    y.copy_rows(0, device_x.view())?;
                    rotate_time(cx, &mut y, &rotation)?;
                    y.to_vec()
                },
                move || reference(&x64, &same),
            ))
        });
        trial.always_f32()
    };
    [
        // One row of the shape that is published; of small shapes, more than a window.
        (1, 750, 1280, 0.2),
        (61, 20, 64, 0.2),
        // An odd number of channels of an axis, far from the start, and all channels.
        (9000, 750, 10, 0.35),
        (7, 3, 8, 0.5),
        // Too few channels for a pair.
        (3, 2, 4, 0.2),
        (0, 750, 64, 0.2),
    ]
    .map(case)
    .into()
}
