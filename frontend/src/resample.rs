//! Band-limited resampling to 16 kHz with exact timing.
//!
//! A polyphase windowed-sinc filter (Kaiser window, 92 dB stopband; flat to 7.5 kHz, nothing above
//! 8.4 kHz passes; scaled down with the rate when upsampling). Output sample `n` sits exactly at
//! input position `n * rate / 16000` and depends on the input around it alone, never on where a
//! segment or a range starts. That is what makes parallel results the serial ones, bit for bit, and
//! why this is not rubato, whose FFT resampler ties every sample to a grid of blocks and whose others
//! shift the sound by half a sample. The tests hold the two against each other.

use std::ops::Range;

use rayon::prelude::*;

use crate::SAMPLE_RATE;
use crate::simd::{self, Filter};

/// Stopband attenuation in dB.
const ATTENUATION: f64 = 92.0;
/// The passband's end and the stopband's start, relative to the lower of the two Nyquist rates.
const PASSBAND: f64 = 7_500.0 / 8_000.0;
const STOPBAND: f64 = 8_400.0 / 8_000.0;
/// The most filter phases that are tabulated exactly; rates that need more interpolate between them.
const MAX_PHASES: u64 = 1024;

/// A filter bank from one input rate to 16 kHz.
pub(crate) struct Resampler {
    /// Output and input rate, divided by their greatest common divisor.
    up: u64,
    down: u64,
    /// The filter spans `2 * half` input frames, the last `half` of them ahead of the output.
    half: usize,
    /// `[phases + 1, 2 * half]`; empty when the rates are equal.
    rows: Vec<f32>,
    phases: u64,
}

impl Resampler {
    /// Designs the filters for input at `rate` Hz.
    pub(crate) fn new(rate: u32) -> Self {
        let gcd = gcd(rate, SAMPLE_RATE);
        let (up, down) = (u64::from(SAMPLE_RATE / gcd), u64::from(rate / gcd));
        if up == down {
            return Resampler {
                up,
                down,
                half: 0,
                rows: Vec::new(),
                phases: 1,
            };
        }
        let phases = up.min(MAX_PHASES);
        // In cycles per input sample.
        let nyquist = 0.5 * f64::from(rate.min(SAMPLE_RATE)) / f64::from(rate);
        let cutoff = 0.5 * (PASSBAND + STOPBAND) * nyquist;
        let transition = (STOPBAND - PASSBAND) * nyquist;
        // Kaiser's formulas for length and shape.
        let length = (ATTENUATION - 7.95) / (14.36 * transition);
        let beta = 0.1102 * (ATTENUATION - 8.7);
        let half = (length / 2.0).ceil() as usize;
        let half = half.next_multiple_of(simd::LANES / 2);

        let taps = 2 * half;
        let mut rows = vec![0.0; (phases as usize + 1) * taps];
        rows.par_chunks_exact_mut(taps)
            .enumerate()
            .for_each(|(phase, row)| {
                let offset = (half - 1) as f64 + phase as f64 / phases as f64;
                let weights: Vec<f64> = (0..taps)
                    .map(|k| {
                        let t = k as f64 - offset;
                        sinc(2.0 * cutoff * t) * kaiser(t / half as f64, beta)
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                for (tap, weight) in row.iter_mut().zip(weights) {
                    *tap = (weight / sum) as f32;
                }
            });
        Resampler {
            up,
            down,
            half,
            rows,
            phases,
        }
    }

    /// Output samples of `frames` input frames: `ceil(frames * 16000 / rate)`.
    pub(crate) fn output_len(&self, frames: u64) -> u64 {
        frames.saturating_mul(self.up).div_ceil(self.down)
    }

    /// The input frames that `outputs` depend on.
    pub(crate) fn input_range(&self, outputs: &Range<u64>) -> Range<u64> {
        let before = self.half.saturating_sub(1) as u64;
        let first = self.position(outputs.start).0.saturating_sub(before);
        let last = self.position(outputs.end.saturating_sub(1)).0 + self.half as u64 + 1;
        first..last
    }

    /// Output `n`'s input position: whole frames, and the remainder in units of `1 / up`. `n` and the
    /// rate are bounded so that the product fits.
    fn position(&self, n: u64) -> (u64, u64) {
        let position = n.saturating_mul(self.down);
        (position / self.up, position % self.up)
    }

    /// Resamples what can be resampled of `input`, a run of frames that starts at frame `start`, and
    /// keeps its borders for [`Resampler::stitch`]. Only the outputs in `wanted` are computed.
    pub(crate) fn chunk(&self, start: u64, input: &[f32], wanted: &Range<u64>) -> Chunk {
        let end = start + input.len() as u64;
        let border = 2 * self.half;
        if input.len() < border {
            return Chunk {
                start,
                end,
                inner: None,
                head: input.to_vec(),
                tail: Vec::new(),
            };
        }
        let half = self.half as u64;
        let range = self.output_len(start + half.saturating_sub(1))..self.output_len(end - half);
        let samples = self.outputs(start as i64, input, range.clone(), wanted);
        Chunk {
            start,
            end,
            inner: Some(Inner { range, samples }),
            head: input[..border].to_vec(),
            tail: input[input.len() - border..].to_vec(),
        }
    }

    /// Puts neighbouring chunks together: the outputs in `wanted`, cut to the last chunk's end. There
    /// is silence before the first chunk and behind the last.
    pub(crate) fn stitch(&self, chunks: Vec<Chunk>, wanted: &Range<u64>) -> Vec<f32> {
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
            return Vec::new();
        };
        let total = self.output_len(last.end);
        let mut next = self.output_len(first.start);
        let mut pieces = Vec::with_capacity(2 * chunks.len() + 1);
        // The frames around the border that comes next.
        let mut carry = vec![0.0; self.half];
        let mut carry_start = first.start as i64 - self.half as i64;
        for chunk in chunks {
            carry.extend(chunk.head);
            if let Some(inner) = chunk.inner {
                pieces.push(self.outputs(carry_start, &carry, next..inner.range.start, wanted));
                pieces.push(inner.samples);
                next = inner.range.end;
                carry_start = chunk.end as i64 - chunk.tail.len() as i64;
                carry = chunk.tail;
            }
        }
        carry.extend(vec![0.0; self.half]);
        pieces.push(self.outputs(carry_start, &carry, next..total, wanted));
        concatenate(pieces)
    }

    /// The outputs that are both in `range` and in `wanted`, from `input`, which starts at frame
    /// `start` and holds all that they depend on.
    fn outputs(
        &self,
        start: i64,
        input: &[f32],
        range: Range<u64>,
        wanted: &Range<u64>,
    ) -> Vec<f32> {
        let first = range.start.max(wanted.start);
        let length = range.end.min(wanted.end).saturating_sub(first) as usize;
        if self.rows.is_empty() {
            let skipped = (first as i64 - start) as usize;
            return input.iter().skip(skipped).take(length).copied().collect();
        }
        let filter = simd::filter();
        let taps = 2 * self.half;
        // After `up` outputs, `down` frames on, the filters come again in the same order.
        let (period, stride) = (self.up as usize, self.down as usize);
        let mut out = vec![0.0; length];
        for (index, group) in out.chunks_mut(simd::GROUP * period).enumerate() {
            let base = first + (index * simd::GROUP * period) as u64;
            for phase in 0..period.min(group.len()) {
                let (frame, remainder) = self.position(base + phase as u64);
                let offset = (frame as i64 - start) as usize + 1 - self.half;
                let count = (group.len() - phase).div_ceil(period);
                // Where the group ends early, its first window stands in.
                let windows = std::array::from_fn(|j| {
                    let repeat = if j < count { j } else { 0 };
                    &input[offset + repeat * stride..][..taps]
                });
                let sums = self.filter(filter, remainder, windows);
                for (slot, sum) in group.iter_mut().skip(phase).step_by(period).zip(sums) {
                    *slot = sum;
                }
            }
        }
        out
    }

    /// Filters windows that all lie at the same `remainder` of a position.
    fn filter(
        &self,
        filter: Filter,
        remainder: u64,
        windows: [&[f32]; simd::GROUP],
    ) -> [f32; simd::GROUP] {
        let taps = 2 * self.half;
        let row = |phase: usize| &self.rows[phase * taps..(phase + 1) * taps];
        if self.phases == self.up {
            return filter(row(remainder as usize), windows);
        }
        let phase = remainder as f64 * self.phases as f64 / self.up as f64;
        let (low, blend) = (phase as usize, phase.fract() as f32);
        let (low, high) = (filter(row(low), windows), filter(row(low + 1), windows));
        std::array::from_fn(|j| low[j] + blend * (high[j] - low[j]))
    }
}

/// A resampled run of frames, with the input near its borders, whose outputs need its neighbours.
pub(crate) struct Chunk {
    start: u64,
    end: u64,
    /// Absent when the run is shorter than the filter.
    inner: Option<Inner>,
    /// The first frames of the run; all of them when there is no `inner`.
    head: Vec<f32>,
    tail: Vec<f32>,
}

impl Chunk {
    /// The frame behind the last one.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}

/// The outputs that depend on one run alone.
struct Inner {
    /// Before clipping to the wanted outputs.
    range: Range<u64>,
    samples: Vec<f32>,
}

/// Joins `pieces`, in parallel, because touching fresh memory takes its time.
fn concatenate(pieces: Vec<Vec<f32>>) -> Vec<f32> {
    let mut joined = vec![0.0; pieces.iter().map(Vec::len).sum()];
    let mut rest = &mut joined[..];
    let mut slots = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (slot, behind) = rest.split_at_mut(piece.len());
        slots.push((slot, piece));
        rest = behind;
    }
    slots
        .into_par_iter()
        .for_each(|(slot, piece)| slot.copy_from_slice(&piece));
    joined
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn sinc(x: f64) -> f64 {
    let x = std::f64::consts::PI * x;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

/// The Kaiser window at `x` from -1 to 1, up to a factor.
fn kaiser(x: f64, beta: f64) -> f64 {
    let y = beta * beta * 0.25 * (1.0 - x * x);
    if y < 0.0 {
        return 0.0;
    }
    // The modified Bessel function of order 0, by its power series.
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..64 {
        term *= y / f64::from(k * k);
        sum += term;
        if term < sum * 1e-12 {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rubato::audioadapter_buffers::direct::InterleavedSlice;
    use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

    use super::*;

    const ALL: Range<u64> = 0..u64::MAX;
    const RATES: [u32; 14] = [
        8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000,
        192_000, 44_099, 1_000,
    ];

    fn whole(rate: u32, input: &[f32]) -> Vec<f32> {
        let resampler = Resampler::new(rate);
        resampler.stitch(vec![resampler.chunk(0, input, &ALL)], &ALL)
    }

    fn sine(rate: u32, hertz: f64, frames: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * hertz / f64::from(rate);
        (0..frames)
            .map(|i| (step * i as f64).sin() as f32)
            .collect()
    }

    /// The largest difference, leaving out the first and last 2,000 samples, where signals begin.
    fn worst(a: &[f32], b: &[f32]) -> f32 {
        let inner = 2_000..a.len() - 2_000;
        a[inner.clone()]
            .iter()
            .zip(&b[inner])
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn sines_keep_their_place_and_height() {
        for rate in RATES {
            let nyquist = f64::from(rate.min(SAMPLE_RATE)) / 2.0;
            for part in [0.0125, 0.3, 0.7, 0.93] {
                let out = whole(rate, &sine(rate, part * nyquist, rate as usize));
                assert_eq!(out.len(), SAMPLE_RATE as usize, "{rate} Hz");
                // A shift of a thousandth of a sample at 7.4 kHz would be off by 3e-3.
                let error = worst(&out, &sine(SAMPLE_RATE, part * nyquist, out.len()));
                assert!(
                    error < 1e-4,
                    "{rate} Hz, tone at {part} of the band: off by {error}"
                );
            }
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_gone() {
        for rate in RATES.into_iter().filter(|&rate| rate > 17_000) {
            for hertz in [8_400.0, 9_000.0, 10_500.0, f64::from(rate) * 0.49] {
                let out = whole(rate, &sine(rate, hertz, rate as usize));
                let left = worst(&out, &vec![0.0; out.len()]);
                assert!(
                    left < 3.2e-5,
                    "{rate} Hz, tone at {hertz} Hz: {left} left, below -90 dB"
                );
            }
        }
    }

    #[test]
    fn rubato_agrees() {
        for rate in [22_050, 32_000, 44_100, 48_000] {
            // Up to 7 kHz, where both are flat.
            let input: Vec<f32> = (0..rate)
                .map(|i| {
                    let t = f64::from(i) / f64::from(rate);
                    (std::f64::consts::TAU * (50.0 * t + 3_475.0 * t * t)).sin() as f32
                })
                .collect();
            // Where a block holds an odd number of periods, rubato is early.
            let period = 2 * (rate / gcd(rate, SAMPLE_RATE)) as usize;
            let block = 4_000usize.next_multiple_of(period);
            let window = WindowFunction::BlackmanHarris2;
            let mut fft = Fft::<f32>::new_custom(
                rate as usize,
                SAMPLE_RATE as usize,
                block,
                1,
                1,
                window,
                FixedSync::Both,
            )
            .unwrap();
            let adapter = InterleavedSlice::new(&input[..], 1, input.len()).unwrap();
            let theirs = fft
                .process_all(&adapter, input.len(), None)
                .unwrap()
                .take_data();
            let error = worst(&whole(rate, &input), &theirs);
            assert!(error < 1e-4, "{rate} Hz: off by {error}");
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_show(
            rate in prop::sample::select(RATES.to_vec()),
            length in 0usize..20_000,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            wanted in (0u64..12_000, 0u64..12_000),
        ) {
            let input = sine(rate, 440.0, length);
            let resampler = Resampler::new(rate);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
            cuts.extend([0, length]);
            cuts.sort_unstable();
            let wanted = wanted.0.min(wanted.1)..wanted.0.max(wanted.1);
            let chunk = |cut: &[usize]| resampler.chunk(cut[0] as u64, &input[cut[0]..cut[1]], &wanted);
            let chunks = cuts.windows(2).map(chunk).collect();
            let expected = whole(rate, &input);
            prop_assert_eq!(expected.len() as u64, resampler.output_len(length as u64));
            let clip = |n: u64| (n as usize).min(expected.len());
            let expected = &expected[clip(wanted.start)..clip(wanted.end)];
            let bits = |samples: &[f32]| samples.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&resampler.stitch(chunks, &wanted)), bits(expected));
        }
    }
}
