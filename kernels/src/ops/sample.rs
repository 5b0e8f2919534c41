//! The next token of every sequence, from its logits.
//!
//! For one row of `V` logits `x`, in vLLM's order of steps:
//!
//! ```text
//! a = x + bias                                    of the tokens that have one
//! a = a / repetition_penalty if a > 0, else a * repetition_penalty    seen in prompt or output
//! a = a - frequency_penalty * count - presence_penalty                generated count > 0 times
//! a = -inf                                        of the tokens that are not allowed
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
//! `raw_logprobs`). Tokens of logit minus infinity are never chosen. A token that is given is not
//! chosen by any of this, only reported as if it were.

use super::Op;
use crate::cuda::{CudaSource, Grid};
use crate::error::{Result, check, ensure};
use crate::host::cut::{Cut, order};
use crate::host::math;
use crate::host::simd::{Kernel, LANES, Simd};
use crate::table::{Integers, Table};
use crate::tensor::{Tensor, View};
use crate::{Context, Host, Sampling, Work, philox};
use draw::{Parameters, allowed_words, share};

pub use draw::{Draw, MOST_ALTERNATIVES};

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
/// If a parameter is impossible, a token unknown, a set of allowed tokens of another length or `V`
/// not below 2^20; if a logit is NaN, or no token of a row can be chosen, naming the row.
pub fn sample<'a>(
    cx: &Context,
    logits: impl Into<View<'a>>,
    draws: &[Draw<'_>],
) -> Result<Vec<Sampled>> {
    let mut chosen = Vec::with_capacity(draws.len());
    start_sampling(cx, logits, draws)?.wait(&mut chosen)?;
    chosen.into_iter().collect()
}

/// Tokens that a device was told to choose and may not have come to yet. They keep some of the
/// workspace, and need neither the logits nor the draws any more.
#[derive(Debug)]
#[must_use]
pub struct PendingTokens {
    /// A row for each token; nothing on a dry run.
    out: Tensor,
    /// How many alternatives each row wants.
    alternatives: Integers,
    /// For the rows on the host.
    rows: Integers,
}

impl PendingTokens {
    /// Waits for the tokens, on a GPU together with all work that was queued since, and puts them
    /// into `chosen` instead of what is there: of each row the token, or that a logit is NaN or no
    /// token can be chosen.
    ///
    /// # Errors
    /// If what was to compute the logits failed.
    pub fn wait(mut self, chosen: &mut Vec<Result<Sampled>>) -> Result<()> {
        chosen.clear();
        if self.out.is_nowhere() {
            chosen.resize_with(self.alternatives.len(), || Ok(Sampled::default()));
            return Ok(());
        }
        self.rows.resize(self.out.rows() * self.out.cols(), 0);
        let rows: &mut [f32] = bytemuck::cast_slice_mut(&mut self.rows);
        self.out.read(rows)?;
        let rows = rows.chunks_exact(self.out.cols()).enumerate();
        for ((row, out), alternatives) in rows.zip(self.alternatives.iter()) {
            chosen.push(decode(row, *alternatives as usize, out));
        }
        Ok(())
    }
}

/// As [`sample`], without waiting for the tokens.
///
/// # Errors
/// As [`sample`], but for what the logits' values are to blame for.
pub fn start_sampling<'a>(
    cx: &Context,
    logits: impl Into<View<'a>>,
    draws: &[Draw<'_>],
) -> Result<PendingTokens> {
    let logits = logits.into();
    cx.check_f32("sample", "logits", logits)?;
    let (rows, vocabulary) = (logits.rows(), logits.cols());
    check("sample", "number of draws", draws.len(), rows)?;
    let possible = (1..1 << 20).contains(&vocabulary);
    let range = "1 to 2^20 - 1";
    ensure("sample", possible, "vocabulary", vocabulary, range)?;
    for draw in draws {
        draw.check(vocabulary)?;
    }
    let mut alternatives = cx.integers();
    alternatives.extend(draws.iter().map(|draw| draw.alternatives as i32));
    let most = draws
        .iter()
        .map(|draw| draw.alternatives)
        .max()
        .unwrap_or(0);
    let mut out = cx.tensor_f32(rows, PAIR * (1 + most))?;
    let mut scratch = cx.host_scratch_for(rows, 2 * vocabulary)?;
    let Parameters {
        mut words,
        entries,
        allowed,
    } = Parameters::new(cx.integers(), draws);
    // A dry run makes room for bias, penalties and sets of allowed tokens.
    if cx.is_dry() {
        words.resize(allowed + rows * allowed_words(vocabulary), 0);
    }
    let parameters = Table::new(cx, words)?;
    let parameters = parameters.indices();
    let behind = |start| parameters.part(start..parameters.len());
    let adjusts = cx.is_dry() || draws.iter().any(Draw::adjusts);
    let adjusted = cx.device_scratch(if adjusts { rows } else { 0 }, vocabulary)?;
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
        |gpu, out| {
            gpu.launch(
                (&CUDA, "sample"),
                &[],
                Grid::new([rows, 1, 1], THREADS),
                [
                    (&*out).into(),
                    out.cols().into(),
                    logits.into(),
                    logits.stride().into(),
                    (&adjusted).into(),
                    parameters.into(),
                    behind(entries).into(),
                    behind(allowed).into(),
                    vocabulary.into(),
                ],
            )
        },
    )?;
    Ok(PendingTokens {
        out,
        alternatives,
        rows: cx.integers(),
    })
}

/// Elements of a token with its log-probability.
const PAIR: usize = 2;
/// In place of a token: a logit is NaN.
const NOT_A_NUMBER: f32 = -1.0;
/// In place of a token: none can be chosen.
const NO_TOKEN: f32 = -2.0;

/// A row of the output: the token, then the alternatives, each with its log-probability.
fn decode(row: usize, alternatives: usize, out: &[f32]) -> Result<Sampled> {
    let (pairs, _) = out.as_chunks::<PAIR>();
    let [token, logprob] = pairs[0];
    let what = format_args!("logits of row {row}");
    ensure("sample", token != NOT_A_NUMBER, what, "NaN", "numbers")?;
    let (found, expected) = ("without a finite maximum", "one");
    ensure("sample", token != NO_TOKEN, what, found, expected)?;
    let alternatives = &pairs[1..][..alternatives];
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
        let token = match draw.given {
            Some(token) => token as usize,
            None if draw.sampling.is_greedy() => adjusted
                .iter()
                .position(|a| *a == greatest_adjusted)
                .unwrap_or(0),
            None => {
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

/// The logits after bias, penalties and bans, in `scratch` if there are any.
fn adjust<'a>(logits: &'a [f32], draw: Draw<'_>, scratch: &'a mut [f32]) -> &'a [f32] {
    let sampling = draw.sampling;
    if !draw.adjusts() {
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
    let tokens = scratch.chunks_mut(u32::BITS as usize);
    for (a, allowed) in tokens.zip(draw.allowed.unwrap_or_default()) {
        for (bit, a) in a.iter_mut().enumerate() {
            if allowed >> bit & 1 == 0 {
                *a = f32::NEG_INFINITY;
            }
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
        let share = u128::from(share(sampling.top_p));
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

pub(super) const SAMPLE: Op = Op {
    name: "sample",
    cuda: &CUDA,
    cases: cases::cases,
};

mod cases;
mod draw;
#[cfg(test)]
mod tests;
