//! Log-mel spectrogram of every 30 s window, as Whisper large-v3's feature extractor makes it.
//!
//! Samples at 16 kHz, mono, are cut into windows of 480,000, the last one filled up with zeros.
//! Within a window, by itself:
//!
//! ```text
//! p        = the window with 200 samples reflected at either end
//! X[k, t]  = sum over n < 400 of hann[n] p[160 t + n] e^(-2 pi i k n / 400),  hann[n] = sin^2(pi n / 400)
//! m[b, t]  = log10(max(1e-10, sum over k of bank[b, k] |X[k, t]|^2)),        t < 3000
//! y[b, t]  = (max(m[b, t], greatest m of the window - 8) + 4) / 4
//! ```
//!
//! `bank` has triangles between neighbours of `b` on Slaney's mel scale (linear below 1 kHz,
//! logarithmic above) from 0 to 8 kHz, each of unit area. `y` is `[windows * num_mel_bins, 3000]`.
//! Source: Whisper (arXiv 2212.04356); the scale is that of M. Slaney, Auditory Toolbox (1998).

use super::Op;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{Arg, CudaSource, Grid, Launcher};
use crate::error::{Result, ensure};
use crate::host::fft::{self, BINS, POINTS, Twiddles};
use crate::host::math;
use crate::host::simd::{Kernel, LANES, Simd};
use crate::host::tiles::Tile;
use crate::tensor::Tensor;
use crate::{Context, Host, Work, reference};
use std::f64::consts::{PI, TAU};
use std::sync::{Arc, Mutex, PoisonError};

/// Samples a second.
const RATE: f64 = 16_000.0;
/// Samples of a window.
const WINDOW: usize = 480_000;
/// Samples from one frame to the next.
const HOP: usize = 160;
/// Frames of a window.
const FRAMES: usize = WINDOW / HOP;
/// The most bands that a bank may have; Whisper's have 80 or 128.
const MOST_BANDS: usize = 1024;

/// The mel filter bank of [`log_mel`], with the other tables that it needs.
#[derive(Clone, Debug)]
pub struct MelBank {
    /// First bin and number of weights of each band.
    bands: Vec<(usize, usize)>,
    /// The weights that are not zero, band after band.
    weights: Vec<f32>,
    /// The points of a frame, in [`fft::ORDER`].
    taps: [Tap; POINTS],
    twiddles: Twiddles,
    /// What the kernels read: the Hann window, each band's first bin, where its weights begin and
    /// where the last one's end, and the weights.
    tables: Arc<[u32]>,
}

/// One point of sixteen neighbouring frames.
#[derive(Clone, Copy, Debug)]
struct Tap {
    /// Where in a transposed block.
    at: usize,
    /// Its weight in the Hann window.
    hann: f32,
}

impl MelBank {
    /// A bank of `num_mel_bins` bands.
    ///
    /// # Errors
    /// If `num_mel_bins` is not between 1 and 1024.
    pub fn new(num_mel_bins: usize) -> Result<MelBank> {
        let possible = (1..=MOST_BANDS).contains(&num_mel_bins);
        let expected = format!("1 to {MOST_BANDS}");
        ensure("log_mel", possible, "num_mel_bins", num_mel_bins, expected)?;
        let (mut bands, mut weights) = (Vec::new(), Vec::new());
        for band in 0..num_mel_bins {
            let mut band = triangle(band, num_mel_bins)
                .into_iter()
                .enumerate()
                .skip_while(|(_, weight)| *weight == 0.0)
                .take_while(|(_, weight)| *weight > 0.0)
                .peekable();
            let first = band.peek().map_or(0, |(bin, _)| *bin);
            let before = weights.len();
            weights.extend(band.map(|(_, weight)| weight as f32));
            bands.push((first, weights.len() - before));
        }
        let taps = fft::ORDER.map(|n| Tap {
            at: n % HOP * HOPS + n / HOP,
            hann: hann(n) as f32,
        });
        let mut tables: Vec<u32> = (0..POINTS).map(|n| (hann(n) as f32).to_bits()).collect();
        tables.extend(bands.iter().map(|(first, _)| *first as u32));
        tables.push(0);
        tables.extend(bands.iter().scan(0, |end, (_, count)| {
            *end += *count as u32;
            Some(*end)
        }));
        tables.extend(weights.iter().map(|weight| weight.to_bits()));
        Ok(MelBank {
            bands,
            weights,
            taps,
            twiddles: Twiddles::new(),
            tables: tables.into(),
        })
    }

    /// Bands of the bank.
    pub fn num_mel_bins(&self) -> usize {
        self.bands.len()
    }
}

fn hann(n: usize) -> f64 {
    (PI * n as f64 / POINTS as f64).sin().powi(2)
}

/// Weights of one band over the bins.
fn triangle(band: usize, bands: usize) -> [f64; BINS] {
    let top = hertz_to_mel(RATE / 2.0);
    let edge = |i: usize| mel_to_hertz(top * i as f64 / (bands + 1) as f64);
    let (low, centre, high) = (edge(band), edge(band + 1), edge(band + 2));
    std::array::from_fn(|bin| {
        let f = bin as f64 * RATE / POINTS as f64;
        let height = ((f - low) / (centre - low)).min((high - f) / (high - centre));
        height.max(0.0) * 2.0 / (high - low)
    })
}

/// Hertz of one step in the linear part of the mel scale.
const LINEAR_STEP: f64 = 200.0 / 3.0;
/// Hertz where the logarithmic part begins; from there 27 steps multiply by 6.4.
const KNEE: f64 = 1000.0;

fn hertz_to_mel(f: f64) -> f64 {
    if f < KNEE {
        return f / LINEAR_STEP;
    }
    KNEE / LINEAR_STEP + (f / KNEE).ln() * 27.0 / 6.4f64.ln()
}

fn mel_to_hertz(mel: f64) -> f64 {
    let knee = KNEE / LINEAR_STEP;
    if mel < knee {
        return mel * LINEAR_STEP;
    }
    KNEE * ((mel - knee) * 6.4f64.ln() / 27.0).exp()
}

/// Log-mel spectrograms of all windows, `[windows * num_mel_bins, 3000]`, from finite samples at
/// 16 kHz.
///
/// # Errors
/// If there are no samples, or the workspace is used up.
pub fn log_mel(cx: &Context, samples: &[f32], bank: &MelBank) -> Result<Tensor> {
    let some = !samples.is_empty();
    ensure("log_mel", some, "number of samples", 0, "at least 1")?;
    let windows = samples.len().div_ceil(WINDOW);
    let rows = windows * bank.num_mel_bins();
    let mut out = cx.tensor_f32(rows, FRAMES)?;
    let mut device_samples = cx.device_scratch(1, samples.len())?;
    if cx.is_gpu() {
        device_samples.write(samples)?;
    }
    let maxima = cx.device_scratch(windows, FRAMES.div_ceil(GPU_TILE))?;
    // A transform of n real points counts 2.5 n log2 n by convention.
    let frame = 2.5 * POINTS as f64 * (POINTS as f64).log2() + (2 * bank.weights.len()) as f64;
    let operations = windows * FRAMES * frame as usize;
    let elements = samples.len() + rows * FRAMES;
    let work = Work::new(operations, elements * size_of::<f32>());
    cx.run(
        "log_mel",
        work,
        &mut out,
        |host, out| host_log_mel(host, samples, bank, out),
        |gpu, out| launch(gpu, &device_samples, bank, &maxima, out),
    )?;
    Ok(out)
}

/// The formula at the head of this file, the transform by its definition.
fn reference(samples: &[f64], bands: usize) -> Vec<f64> {
    let cos: Vec<f64> = (0..POINTS)
        .map(|i| (TAU * i as f64 / POINTS as f64).cos())
        .collect();
    let triangles: Vec<_> = (0..bands).map(|band| triangle(band, bands)).collect();
    let mut out = Vec::new();
    for window in samples.chunks(WINDOW) {
        // p[i] of the window, which is filled up with zeros.
        let padded = |i: usize| {
            let mirrored = i.abs_diff(POINTS / 2);
            let at = match mirrored < WINDOW {
                true => mirrored,
                false => 2 * (WINDOW - 1) - mirrored,
            };
            window.get(at).copied().unwrap_or(0.0)
        };
        let mut m = vec![0.0; bands * FRAMES];
        for t in 0..FRAMES {
            let frame: Vec<f64> = (0..POINTS).map(|n| padded(HOP * t + n) * hann(n)).collect();
            let power: Vec<f64> = match frame.iter().all(|x| *x == 0.0) {
                true => vec![0.0; BINS],
                false => (0..BINS).map(|k| squared(&frame, &cos, k)).collect(),
            };
            for (band, triangle) in triangles.iter().enumerate() {
                let sum: f64 = triangle.iter().zip(&power).map(|(w, p)| w * p).sum();
                m[band * FRAMES + t] = sum.max(1e-10).log10();
            }
        }
        let greatest = m.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        out.extend(m.iter().map(|m| (m.max(greatest - 8.0) + 4.0) / 4.0));
    }
    out
}

/// `|X[k]|^2` of one frame. A sine is the cosine a quarter of a turn before.
fn squared(frame: &[f64], cos: &[f64], k: usize) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, x) in frame.iter().enumerate() {
        let turn = k * n % POINTS;
        re += x * cos[turn];
        im += x * cos[(turn + POINTS - POINTS / 4) % POINTS];
    }
    re * re + im * im
}

/// Frames that a task computes, a multiple of the lanes.
const TILE: usize = 160;
/// Hops that sixteen frames span.
const HOPS: usize = LANES + POINTS / HOP;
/// Samples of these hops.
const BLOCK: usize = HOPS * HOP;

fn host_log_mel(host: &Host, samples: &[f32], bank: &MelBank, out: &mut Tensor) {
    let bands = bank.num_mel_bins();
    let greatest = Mutex::new(vec![f32::NEG_INFINITY; out.rows() / bands]);
    let mut out = out.view_mut();
    host.for_tiles(&mut out, (bands, TILE), &mut [], |tile, _| {
        let window = tile.rows().start / bands;
        let max = host.isa().run(Frames {
            samples: &samples[window * WINDOW..],
            bank,
            tile,
        });
        let mut greatest = greatest.lock().unwrap_or_else(PoisonError::into_inner);
        greatest[window] = greatest[window].max(max);
    });
    let greatest = greatest
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    host.for_rows(&mut out, |row, values| {
        // Eight below the greatest is two below it after `(m + 4) / 4`.
        let floor = greatest[row / bands] - 2.0;
        host.isa().run(Floor { values, floor });
    });
}

/// Frames of one window before the floor; gives their greatest value.
struct Frames<'a> {
    /// From the window's first sample on.
    samples: &'a [f32],
    bank: &'a MelBank,
    tile: Tile<'a>,
}

impl Kernel for Frames<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> f32 {
        let mut staged = [0.0; BLOCK];
        let mut hops = [0.0; BLOCK];
        let mut work = [[0.0; LANES]; fft::WORK];
        let mut power = [[0.0; LANES]; BINS];
        let mut greatest = s.splat(f32::NEG_INFINITY);
        for from in self.tile.cols().step_by(LANES) {
            // The last block of a window overlaps the one before.
            let from = from.min(self.tile.cols().end - LANES);
            let samples = block(self.samples, from, &mut staged);
            if samples.iter().any(|x| *x != 0.0) {
                transpose(samples, &mut hops);
                let input = Points {
                    hops: &hops,
                    taps: &self.bank.taps,
                };
                fft::power(s, &self.bank.twiddles, &input, &mut work, &mut power);
            } else {
                power.fill([0.0; LANES]);
            }
            let mut weights = self.bank.weights.as_slice();
            for (band, (first, count)) in self.bank.bands.iter().enumerate() {
                let (mine, others) = weights.split_at(*count);
                weights = others;
                let mut sum = s.splat(0.0);
                for (weight, power) in mine.iter().zip(&power[*first..]) {
                    sum = s.fma(s.splat(*weight), s.load(power), sum);
                }
                let log = math::log10(s, s.max(sum, s.splat(1e-10)));
                let value = s.mul(s.add(log, s.splat(4.0)), s.splat(0.25));
                greatest = s.max(value, greatest);
                let row = self.tile.rows().start + band;
                let at = from - self.tile.cols().start;
                if let Some(out) = self.tile.row_mut(row)[at..].first_chunk_mut() {
                    s.store(value, out);
                }
            }
        }
        s.max_lane(greatest)
    }
}

/// The points of sixteen frames, in the Hann window.
struct Points<'a> {
    hops: &'a [f32; BLOCK],
    taps: &'a [Tap; POINTS],
}

impl fft::Input for Points<'_> {
    #[inline(always)]
    fn point<S: Simd>(&self, s: S, i: usize) -> S::V {
        let Tap { at, hann } = self.taps[i];
        let frames = self.hops[at..].first_chunk().unwrap_or(&[0.0; LANES]);
        s.mul(s.load(frames), s.splat(hann))
    }
}

/// The samples of sixteen frames from `frame` on, with the reflection at the window's ends.
fn block<'a>(samples: &'a [f32], frame: usize, staged: &'a mut [f32; BLOCK]) -> &'a [f32] {
    let (from, pad) = (frame * HOP, POINTS / 2);
    if from >= pad && from - pad + BLOCK <= samples.len().min(WINDOW) {
        return &samples[from - pad..][..BLOCK];
    }
    for (i, staged) in staged.iter_mut().enumerate() {
        let before = (from + i).abs_diff(pad);
        let at = before.min((2 * (WINDOW - 1)).abs_diff(before));
        *staged = samples.get(at).copied().unwrap_or(0.0);
    }
    staged
}

/// Puts the samples that lie whole hops apart side by side.
#[inline(always)]
fn transpose(samples: &[f32], hops: &mut [f32; BLOCK]) {
    for (j, hops) in hops.as_chunks_mut::<HOPS>().0.iter_mut().enumerate() {
        for (h, out) in hops.iter_mut().enumerate() {
            *out = samples[h * HOP + j];
        }
    }
}

/// Raises values to a floor.
struct Floor<'a> {
    values: &'a mut [f32],
    floor: f32,
}

impl Kernel for Floor<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for value in self.values {
            *value = if *value > self.floor {
                *value
            } else {
                self.floor
            };
        }
    }
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "log_mel.cu",
    text: include_str!("log_mel.cu"),
    variants: &[&[]],
};

/// Frames of a block.
const GPU_TILE: usize = 16;
/// Threads of a block of frames.
const FRAME_THREADS: u32 = 128;
/// Threads of a block of the floor, and elements of each.
const FLOOR_THREADS: u32 = 256;
const FLOOR_ELEMENTS: usize = 8;

fn launch(
    gpu: &Launcher<'_>,
    samples: &Tensor,
    bank: &MelBank,
    maxima: &Tensor,
    out: &Tensor,
) -> Result<()> {
    let (bands, windows, tiles) = (bank.num_mel_bins(), maxima.rows(), maxima.cols());
    let tables = gpu.words(&bank.tables)?;
    let table = |words: usize| Arg::Pointer(tables + (words * size_of::<u32>()) as u64);
    gpu.launch(
        (&CUDA, "log_mel_power"),
        &[],
        Grid::new([tiles, windows, 1], FRAME_THREADS),
        [
            out.into(),
            maxima.into(),
            samples.into(),
            samples.cols().into(),
            table(0),
            table(POINTS),
            table(POINTS + bands),
            table(POINTS + bands + bands + 1),
            bands.into(),
        ],
    )?;
    let block = FLOOR_THREADS as usize * FLOOR_ELEMENTS;
    gpu.launch(
        (&CUDA, "log_mel_floor"),
        &[],
        Grid::new(
            [(bands * FRAMES).div_ceil(block), windows, 1],
            FLOOR_THREADS,
        ),
        [out.into(), maxima.into(), bands.into()],
    )
}

pub(super) const LOG_MEL: Op = Op {
    name: "log_mel",
    cuda: &CUDA,
    cases,
};

/// Both of Whisper's banks, past a window's end, the signals that are hard, fewer bands than threads
/// share, and some so narrow that no bin is in them.
fn cases() -> Vec<Case> {
    // Most of the music lies 60 to 80 dB under the loudest notes, where the rounding of any
    // transform in f32 begins to show.
    let music = |cx: &Context, len| music(Inputs::f32(cx, 5), len);
    vec![
        case("music, 30.01 s, 128 bands", 2e-6, 128, move |cx| {
            music(cx, 480_160)
        }),
        case("music, 0.5 s, 80 bands", 1e-6, 80, move |cx| {
            music(cx, 8_000)
        }),
        case("noise, 0.5 s, 128 bands", 1e-6, 128, |cx| {
            Inputs::f32(cx, 11).normal(8_000, 0.1)
        }),
        case("silence, 0.1 s, 128 bands", 1e-6, 128, |_| vec![0.0; 1_600]),
        case("tone, 0.3 s, 128 bands", 1e-6, 128, |_| {
            let tone = |i| (TAU * 440.0 / RATE * i as f64).sin() as f32;
            (0..4_800).map(tone).collect()
        }),
        case("constant, 0.3 s, 128 bands", 1e-6, 128, |_| {
            vec![0.5; 4_800]
        }),
        case("impulse, 0.3 s, 80 bands", 1e-6, 80, |_| {
            (0..4_800).map(|i| f32::from(i == 1_000)).collect()
        }),
        case("one sample, 128 bands", 1e-6, 128, |_| vec![0.3]),
        case("noise, 0.1 s, 5 bands", 1e-6, 5, |cx| {
            Inputs::f32(cx, 12).normal(1_600, 0.1)
        }),
        case("noise, 0.1 s, 198 bands", 1e-6, 198, |cx| {
            Inputs::f32(cx, 13).normal(1_600, 0.1)
        }),
    ]
}

/// Plucked notes of eight partials over faint noise.
fn music(mut inputs: Inputs, len: usize) -> Vec<f32> {
    let noise = inputs.normal(len, 1e-3);
    let note = |i: usize| {
        let (number, t) = (i / 5_000, (i % 5_000) as f64 / RATE);
        let pitch = 110.0 * 2f64.powf((number * 7 % 25) as f64 / 12.0);
        let partial = |h: u32| (TAU * f64::from(h) * pitch * t).sin() / f64::from(h);
        (1..=8).map(partial).sum::<f64>() * (-6.0 * t).exp() * 0.3
    };
    (0..len).map(|i| note(i) as f32 + noise[i]).collect()
}

fn case(
    name: &str,
    tolerance: f64,
    bands: usize,
    samples: impl Fn(&Context) -> Vec<f32> + 'static,
) -> Case {
    Case::new(name, tolerance, move |cx| {
        let samples = samples(cx);
        let (wide, bank) = (reference::widen(&samples), MelBank::new(bands)?);
        Ok(Trial::new(
            move |cx| log_mel(cx, &samples, &bank)?.to_vec(),
            move || reference(&wide, bands),
        ))
    })
    .always_f32()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Isa, Target};

    /// A window's bits do not change with the windows beside it, the threads or the instruction set.
    #[test]
    fn windows_do_not_depend_on_company() {
        let samples = music(Inputs::plain(5), 2 * WINDOW + 1_234);
        let bank = MelBank::new(80).unwrap();
        let mut all = Vec::new();
        for isa in Isa::available() {
            for threads in [1, 3] {
                let host = Arc::new(Host::with_isa(threads, isa).unwrap());
                let cx = Context::new(&Device::Host(host), 4 * 4 * 80 * FRAMES).unwrap();
                all.push(log_mel(&cx, &samples, &bank).unwrap().to_vec().unwrap());
                let second = &samples[WINDOW..2 * WINDOW];
                let alone = log_mel(&cx, second, &bank).unwrap().to_vec().unwrap();
                assert_eq!(alone, all[0][80 * FRAMES..2 * 80 * FRAMES], "{isa:?}");
            }
        }
        assert!(all.iter().all(|y| *y == all[0]));
    }

    /// Numbers worked out by hand: 1 kHz is the 15th step, 6.4 times that 27 steps on.
    #[test]
    fn the_scale_is_slaneys() {
        assert!((hertz_to_mel(1000.0) - 15.0).abs() < 1e-12);
        assert!((hertz_to_mel(6400.0) - 42.0).abs() < 1e-12);
        for f in [0.0, 300.0, 1000.0, 7999.0] {
            assert!((mel_to_hertz(hertz_to_mel(f)) - f).abs() < 1e-9);
        }
    }

    /// A triangle of unit area over bins 40 Hz apart; the widest is sampled finely enough to see.
    #[test]
    fn bands_have_unit_area() {
        let area: f64 = triangle(79, 80).iter().sum::<f64>() * 40.0;
        assert!((area - 1.0).abs() < 0.01, "{area}");
    }

    #[test]
    fn bad_arguments_name_both_values() {
        let cx = Context::plan(Target::Host { threads: 1 });
        let message = log_mel(&cx, &[], &MelBank::new(80).unwrap()).unwrap_err();
        assert_eq!(
            message.to_string(),
            "log_mel: number of samples is 0, expected at least 1"
        );
        let message = MelBank::new(1 << 40).unwrap_err().to_string();
        assert!(
            message.contains("1099511627776, expected 1 to 1024"),
            "{message}"
        );
    }
}
