//! The next token of every sequence, from its logits.
//!
//! For one row of `V` logits `x`, in vLLM's order of steps:
//!
//! ```text
//! a = x + bias                                    of the tokens that have one
//! a = a / repetition_penalty if a > 0, else a * repetition_penalty    seen in prompt or output
//! a = a - frequency_penalty * count - presence_penalty                generated count > 0 times
//! token = the greatest a                          if temperature < 1e-5, or else
//! w = floor(2^44 exp((a - max a) / temperature))
//! w = 0  where exp(..) < min_p                    min_p
//! w = 0  but for the k tokens of greatest a       top_k
//! w = 0  but for the fewest tokens of greatest a that hold top_p of the sum of w      top_p
//! token = the first t with w_0 + .. + w_t > floor(u sum w / 2^64)
//! ```
//!
//! Of equal logits the lower token counts as the greater (vLLM's top_k keeps all that are equal to
//! the last). `u` is 64 bits of Philox at (seed, position). Weights are integers, so their sums are
//! the same in any order: with the shared `exp`, the same logits give the same token on every device.
//!
//! Log-probabilities are those of the model, `x - ln(sum exp x)`, before all of the above (vLLM's
//! `raw_logprobs`). Tokens of logit minus infinity are never chosen.

use super::Op;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, check, ensure};
use crate::host::cut::{Cut, order};
use crate::host::math;
use crate::host::simd::{Kernel, LANES, Simd};
use crate::tensor::{Tensor, View};
use crate::{Context, History, Host, Isa, Sampling, Work, philox, reference};

/// What one row of logits is to be sampled with.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// The request's parameters.
    pub sampling: &'a Sampling,
    /// The tokens before.
    pub history: &'a History,
    /// The place of the token in its sequence; with the seed it fixes the random number.
    pub position: u64,
    /// How many of the most probable tokens to report.
    pub alternatives: usize,
}

/// A chosen token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: u32,
    /// Its log-probability by the model.
    pub logprob: f32,
    /// The most probable tokens by the model, the first one first, with their log-probabilities.
    pub alternatives: Vec<(u32, f32)>,
}

/// A token for each row of `logits`, `[B, V]`, chosen as `draws` has it for that row.
///
/// # Errors
/// If a parameter is impossible, a token unknown or `V` not below 2^20; if a logit is NaN, or
/// no token of a row can be chosen, naming the row.
pub fn sample<'a>(
    cx: &Context,
    logits: impl Into<View<'a>>,
    draws: &[Draw<'_>],
) -> Result<Vec<Sampled>> {
    let logits = logits.into();
    cx.check_f32("sample", "logits", logits)?;
    let (rows, vocabulary) = (logits.rows(), logits.cols());
    check("sample", "number of draws", draws.len(), rows)?;
    let possible = (1..1 << 20).contains(&vocabulary);
    let range = "1 to 2^20 - 1";
    ensure("sample", possible, "vocabulary", vocabulary, range)?;
    for draw in draws {
        draw.sampling.check(vocabulary)?;
        draw.history.check(vocabulary)?;
        let (n, most) = (draw.alternatives, format_args!("at most {vocabulary}"));
        ensure("sample", n <= vocabulary, "alternatives", n, most)?;
    }
    let most = draws.iter().map(|d| d.alternatives).max().unwrap_or(0);
    let mut out = cx.tensor_f32(rows, PAIR * (1 + most))?;
    let mut scratch = cx.host_scratch_for(rows, 2 * vocabulary)?;
    // Two exponentials a logit.
    let work = Work::new(
        2 * 20 * rows * vocabulary,
        rows * vocabulary * size_of::<f32>(),
    );
    cx.run(
        "sample",
        work,
        &mut out,
        |host, out| host_sample(host, logits, draws, scratch.data_mut(), out),
        |gpu, out| launch(gpu, logits, draws, out),
    )?;
    let chosen = out.to_vec()?;
    if chosen.is_empty() {
        return Ok(vec![Sampled::default(); rows]);
    }
    let chosen = chosen.chunks_exact(out.cols());
    let rows = draws.iter().zip(chosen).enumerate();
    rows.map(|(row, (draw, chosen))| decode(row, draw, chosen))
        .collect()
}

/// The formula at the head of this file for one row: the token, and how near another one was.
fn reference_token(logits: &[f64], draw: Draw<'_>) -> (usize, f64) {
    let sampling = draw.sampling;
    let mut a = logits.to_vec();
    for (token, bias) in &sampling.logit_bias {
        a[*token as usize] += f64::from(*bias);
    }
    for (token, count) in draw.history.seen() {
        let a = &mut a[*token as usize];
        let penalty = f64::from(sampling.repetition_penalty);
        *a = if *a > 0.0 { *a / penalty } else { *a * penalty };
        if *count > 0 {
            *a -= f64::from(sampling.frequency_penalty) * f64::from(*count);
            *a -= f64::from(sampling.presence_penalty);
        }
    }
    let mut sorted: Vec<usize> = (0..a.len()).collect();
    sorted.sort_by(|i, j| a[*j].total_cmp(&a[*i]));
    let greatest = a[sorted[0]];
    if sampling.is_greedy() {
        return (sorted[0], greatest - a[sorted[1]]);
    }
    let temperature = f64::from(sampling.temperature);
    let mut w: Vec<f64> = a
        .iter()
        .map(|a| ((a - greatest) / temperature).exp())
        .collect();
    w.iter_mut()
        .filter(|w| **w < f64::from(sampling.min_p))
        .for_each(|w| *w = 0.0);
    if sampling.top_k > 0 {
        sorted.iter().skip(sampling.top_k).for_each(|i| w[*i] = 0.0);
    }
    let mut margin = f64::INFINITY;
    if sampling.top_p < 1.0 {
        let target = f64::from(sampling.top_p) * w.iter().sum::<f64>();
        let mut sum = 0.0;
        for i in sorted {
            if sum >= target {
                w[i] = 0.0;
            }
            sum += w[i];
            margin = margin.min((sum - target).abs() / target);
        }
    }
    let sum: f64 = w.iter().sum();
    let uniform = philox::bits(sampling.seed, draw.position) as f64 / 2f64.powi(64);
    let (mut below, mut token) = (0.0, None);
    for (i, w) in w.iter().enumerate() {
        below += w / sum;
        margin = margin.min((below - uniform).abs());
        if below > uniform && token.is_none() {
            token = Some(i);
        }
    }
    (token.unwrap_or(0), margin)
}

/// The log-probabilities of the token and of the alternatives, each in a row of `V` at its token.
fn reference(logits: &[f64], vocabulary: usize, setups: &[Setup]) -> Vec<f64> {
    let mut out = Vec::new();
    for (row, (x, setup)) in logits.chunks_exact(vocabulary).zip(setups).enumerate() {
        let probabilities = reference::softmax(x);
        let mut sorted: Vec<usize> = (0..vocabulary).collect();
        sorted.sort_by(|i, j| x[*j].total_cmp(&x[*i]));
        let (token, _) = reference_token(x, setup.draw(row));
        for token in std::iter::once(&token).chain(&sorted[..ALTERNATIVES]) {
            let mut dense = vec![0.0; vocabulary];
            dense[*token] = probabilities[*token].ln();
            out.extend(dense);
        }
    }
    out
}

/// Elements of a token with its log-probability.
const PAIR: usize = 2;
/// In place of a token: a logit is NaN.
const NOT_A_NUMBER: f32 = -1.0;
/// In place of a token: none can be chosen.
const NO_TOKEN: f32 = -2.0;

/// A row of the output: the token, then the alternatives, each with its log-probability.
fn decode(row: usize, draw: &Draw<'_>, out: &[f32]) -> Result<Sampled> {
    let (pairs, _) = out.as_chunks::<PAIR>();
    let [token, logprob] = pairs[0];
    let what = format!("logits of row {row}");
    ensure("sample", token != NOT_A_NUMBER, &what, "NaN", "numbers")?;
    let (found, expected) = ("without a finite maximum", "one");
    ensure("sample", token != NO_TOKEN, &what, found, expected)?;
    let alternatives = &pairs[1..][..draw.alternatives];
    Ok(Sampled {
        token: token as u32,
        logprob,
        alternatives: alternatives
            .iter()
            .map(|[t, logprob]| (*t as u32, *logprob))
            .collect(),
    })
}

fn host_sample(
    host: &Host,
    logits: View<'_>,
    draws: &[Draw<'_>],
    scratch: &mut [f32],
    out: &mut Tensor,
) {
    let (vocabulary, tile) = (logits.cols(), (1, out.cols()));
    host.for_tiles(&mut out.view_mut(), tile, scratch, |mut tile, scratch| {
        let row = tile.rows().start;
        let (adjusted, weights) = scratch.split_at_mut(vocabulary);
        host.isa().run(Choose {
            logits: logits.row(row),
            draw: draws[row],
            adjusted,
            weights: &mut weights[..vocabulary],
            out: tile.row_mut(row),
        });
    });
}

/// Chooses the token of one row.
struct Choose<'a> {
    logits: &'a [f32],
    draw: Draw<'a>,
    /// Scratch for the logits after penalties.
    adjusted: &'a mut [f32],
    /// Scratch for weights.
    weights: &'a mut [f32],
    out: &'a mut [f32],
}

impl Kernel for Choose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (draw, weights) = (self.draw, self.weights);
        let (pairs, _) = self.out.as_chunks_mut::<PAIR>();
        if self.logits.iter().fold(false, |nan, x| nan | x.is_nan()) {
            pairs[0][0] = NOT_A_NUMBER;
            return;
        }
        let adjusted = adjust(self.logits, draw, self.adjusted);
        let (greatest, greatest_adjusted) = (greatest(s, self.logits), greatest(s, adjusted));
        if !greatest.is_finite() || !greatest_adjusted.is_finite() {
            pairs[0][0] = NO_TOKEN;
            return;
        }
        let token = match draw.sampling.is_greedy() {
            true => adjusted
                .iter()
                .position(|a| *a == greatest_adjusted)
                .unwrap_or(0),
            false => {
                let (t, min_p) = (draw.sampling.temperature, draw.sampling.min_p);
                weigh(s, adjusted, greatest_adjusted, t, min_p, weights);
                restrict(adjusted, draw.sampling, weights);
                pick(weights, philox::bits(draw.sampling.seed, draw.position))
            }
        };
        weigh(s, self.logits, greatest, 1.0, 0.0, weights);
        let sum = total(weights) as f32 / ONE;
        let log_sum = s.max_lane(math::ln(s, s.splat(sum)));
        pairs[0] = [token as f32, self.logits[token]];
        let (first, alternatives) = pairs.split_at_mut(1);
        let alternatives = &mut alternatives[..draw.alternatives];
        most_probable(self.logits, alternatives);
        for pair in first.iter_mut().chain(alternatives) {
            pair[1] = pair[1] - greatest - log_sum;
        }
    }
}

/// The logits after bias and penalties, in `scratch` if there are any.
fn adjust<'a>(logits: &'a [f32], draw: Draw<'_>, scratch: &'a mut [f32]) -> &'a [f32] {
    let sampling = draw.sampling;
    if !sampling.adjusts() {
        return logits;
    }
    scratch.copy_from_slice(logits);
    for (token, bias) in &sampling.logit_bias {
        scratch[*token as usize] += bias;
    }
    for (token, generated) in draw.history.seen() {
        let a = &mut scratch[*token as usize];
        *a = match *a > 0.0 {
            true => *a / sampling.repetition_penalty,
            false => *a * sampling.repetition_penalty,
        };
        if *generated > 0 {
            *a = sampling.frequency_penalty.mul_add(-(*generated as f32), *a);
            *a -= sampling.presence_penalty;
        }
    }
    scratch
}

/// The greatest of some numbers.
#[inline(always)]
fn greatest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks();
    let mut max = s.load_part(rest, f32::NEG_INFINITY);
    for x in chunks {
        max = s.max(max, s.load(x));
    }
    s.max_lane(max)
}

/// `exp((a - greatest) / temperature)`, or zero where that is below `min_p`.
#[inline(always)]
fn weigh<S: Simd>(
    s: S,
    a: &[f32],
    greatest: f32,
    temperature: f32,
    min_p: f32,
    weights: &mut [f32],
) {
    for (a, weights) in a.chunks(LANES).zip(weights.chunks_mut(LANES)) {
        let below = s.sub(s.load_part(a, 0.0), s.splat(greatest));
        let weight = math::exp(s, s.div(below, s.splat(temperature)));
        s.store_part(s.zero_below(weight, weight, min_p), weights);
    }
}

/// The integer that stands for a weight of one; a vocabulary of them does not overflow.
const ONE: f32 = (1u64 << 44) as f32;

#[inline(always)]
fn mass(weight: f32) -> u64 {
    (weight * ONE) as u64
}

#[inline(always)]
fn total(weights: &[f32]) -> u64 {
    weights.iter().map(|w| mass(*w)).sum()
}

/// Zeroes the weights that `top_k` and `top_p` leave out.
fn restrict(a: &[f32], sampling: &Sampling, weights: &mut [f32]) {
    if (1..a.len()).contains(&sampling.top_k) {
        let count = |_| 1;
        Cut::find(a, weights, sampling.top_k as u64, count).apply(a, weights, count);
    }
    if sampling.top_p < 1.0 {
        // top_p in units of 2^-32, times the sum.
        let share = (sampling.top_p * (1u64 << 32) as f32) as u128;
        let target = ((share * u128::from(total(weights))) >> 32) as u64;
        Cut::find(a, weights, target.max(1), mass).apply(a, weights, mass);
    }
}

/// The first token whose running sum of weights exceeds its share of the whole.
fn pick(weights: &[f32], uniform: u64) -> usize {
    let target = ((u128::from(uniform) * u128::from(total(weights))) >> 64) as u64;
    let mut sum = 0;
    let exceeds = |weight: &f32| {
        sum += mass(*weight);
        sum > target
    };
    weights.iter().position(exceeds).unwrap_or(0)
}

/// The tokens of greatest logit with their logits, the greatest first.
fn most_probable(logits: &[f32], out: &mut [[f32; PAIR]]) {
    if out.is_empty() {
        return;
    }
    let mut cut = Cut::find(logits, logits, out.len() as u64, |_| 1);
    let chosen = logits.iter().enumerate().filter(|(_, x)| cut.keeps(**x, 1));
    for (out, (token, x)) in out.iter_mut().zip(chosen) {
        *out = [token as f32, *x];
    }
    out.sort_unstable_by(|x, y| order(y[1]).cmp(&order(x[1])).then(x[0].total_cmp(&y[0])));
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "sample.cu",
    text: include_str!("sample.cu"),
    variants: &[&[]],
};

/// Threads of a row's block.
const THREADS: u32 = 1024;

/// Greedily on the GPU. Everything else on the host, from a copy of the logits.
fn launch(
    gpu: &Launcher<'_>,
    logits: View<'_>,
    draws: &[Draw<'_>],
    out: &mut Tensor,
) -> Result<()> {
    let plain =
        |d: &Draw<'_>| d.sampling.is_greedy() && !d.sampling.adjusts() && d.alternatives == 0;
    // A dry run notes the kernel.
    if gpu.is_dry() || draws.iter().all(plain) {
        return gpu.launch(
            (&CUDA, "sample_greedy"),
            &[],
            Grid::new([logits.rows(), 1, 1], THREADS),
            [
                (&*out).into(),
                logits.into(),
                logits.stride().into(),
                logits.cols().into(),
            ],
        );
    }
    let vocabulary = logits.cols();
    let values = logits.to_vec()?;
    let (mut adjusted, mut weights) = (vec![0.0; vocabulary], vec![0.0; vocabulary]);
    for (row, logits) in values.chunks_exact(vocabulary).enumerate() {
        let mut chosen = vec![0.0; out.cols()];
        Isa::best().run(Choose {
            logits,
            draw: draws[row],
            adjusted: &mut adjusted,
            weights: &mut weights,
            out: &mut chosen,
        });
        out.write_rows(row, &chosen)?;
    }
    Ok(())
}

pub(super) const SAMPLE: Op = Op {
    name: "sample",
    cuda: &CUDA,
    cases,
};

/// Alternatives that the cases ask for.
const ALTERNATIVES: usize = 3;

/// The parameters of a row of a case.
struct Setup {
    sampling: Sampling,
    history: History,
}

impl Setup {
    fn draw(&self, row: usize) -> Draw<'_> {
        Draw {
            sampling: &self.sampling,
            history: &self.history,
            position: row as u64,
            alternatives: ALTERNATIVES,
        }
    }
}

/// The rows of a case: greedy, every parameter by itself, all of them together.
fn setups(vocabulary: usize) -> Vec<Setup> {
    let warm = Sampling {
        temperature: 0.8,
        seed: 1 << 40 | 7,
        ..Sampling::default()
    };
    let penalties = Sampling {
        repetition_penalty: 1.3,
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        logit_bias: vec![(1, 2.5), (3, f32::NEG_INFINITY)],
        ..warm.clone()
    };
    let all = [
        Sampling::default(),
        warm.clone(),
        warm.with(|s| s.top_k = 5),
        warm.with(|s| s.top_p = 0.7),
        warm.with(|s| s.min_p = 0.2),
        penalties.clone(),
        penalties.with(|s| s.temperature = 0.0),
        penalties.with(|s| (s.top_k, s.top_p, s.min_p) = (50, 0.9, 0.01)),
    ];
    let mut history = History::new(&[0, 1, 2, 2]);
    for token in (0..vocabulary as u32).step_by(3).chain([4, 4]) {
        history.push(token);
    }
    all.map(|sampling| Setup {
        sampling,
        history: history.clone(),
    })
    .into()
}

impl Sampling {
    /// The same but for a change.
    fn with(&self, change: impl FnOnce(&mut Sampling)) -> Sampling {
        let mut sampling = self.clone();
        change(&mut sampling);
        sampling
    }
}

/// Logits as peaked as a model's.
fn case_logits(vocabulary: usize) -> Vec<f32> {
    let rows = setups(vocabulary).len();
    Inputs::plain(vocabulary as u64).normal(rows * vocabulary, 6.0)
}

/// A vocabulary that no vector divides, one of a single vector, and Qwen3's.
const VOCABULARIES: [usize; 3] = [1_003, 16, 151_936];

fn cases() -> Vec<Case> {
    let cases = VOCABULARIES.map(|vocabulary| [greedy_case(vocabulary), case(vocabulary)]);
    cases.into_iter().flatten().collect()
}

/// Nothing but the greatest logit, with equals of it behind it.
fn greedy_case(vocabulary: usize) -> Case {
    const ROWS: usize = 3;
    Case::new(format!("{ROWS}x{vocabulary}, greedy"), 1e-6, move |cx| {
        let mut values = Inputs::plain(vocabulary as u64).normal(ROWS * vocabulary, 6.0);
        for row in values.chunks_exact_mut(vocabulary) {
            row[vocabulary - 1] = row.iter().copied().fold(row[0], f32::max);
        }
        let logits = cx.upload_f32(&values, vocabulary)?;
        let wide = reference::widen(&values);
        let run = move |cx: &Context| {
            let (sampling, history) = (Sampling::default(), History::default());
            let draw = Draw {
                sampling: &sampling,
                history: &history,
                position: 0,
                alternatives: 0,
            };
            let sampled = sample(cx, &logits, &[draw; ROWS])?;
            Ok(sampled
                .iter()
                .flat_map(|s| [s.token as f32, s.logprob])
                .collect())
        };
        let expected = move || {
            let rows = wide.chunks_exact(vocabulary);
            rows.flat_map(|x| {
                let greatest = x.iter().copied().fold(x[0], f64::max);
                let token = x.iter().position(|x| *x == greatest).unwrap_or(0);
                [token as f64, reference::softmax(x)[token].ln()]
            })
            .collect()
        };
        Ok(Trial::new(run, expected))
    })
    .always_f32()
}

fn case(vocabulary: usize) -> Case {
    Case::new(format!("8x{vocabulary}"), 1e-6, move |cx| {
        let values = case_logits(vocabulary);
        let logits = cx.upload_f32(&values, vocabulary)?;
        let wide = reference::widen(&values);
        let run = move |cx: &Context| {
            let setups = setups(vocabulary);
            let draws: Vec<_> = (0..).zip(&setups).map(|(row, s)| s.draw(row)).collect();
            let mut out = Vec::new();
            for sampled in sample(cx, &logits, &draws)? {
                let chosen = (sampled.token, sampled.logprob);
                for (token, logprob) in std::iter::once(chosen).chain(sampled.alternatives) {
                    let mut dense = vec![0.0; vocabulary];
                    dense[token as usize] = logprob;
                    out.extend(dense);
                }
            }
            Ok(out)
        };
        Ok(Trial::new(run, move || {
            reference(&wide, vocabulary, &setups(vocabulary))
        }))
    })
    .always_f32()
}

#[cfg(test)]
mod tests;
