//! The formula in f64, and the inputs on which sampling is verified.

use super::{Draw, Sampled, sample};
use crate::case::{Case, Inputs, Trial};
use crate::{Context, Error, History, Result, Sampling, philox, reference};

/// The formula at the head of `sample.rs` for one row: the token, and how near another one was.
pub(super) fn reference_token(logits: &[f64], draw: Draw<'_>) -> (usize, f64) {
    if let Some(token) = draw.given {
        return (token as usize, f64::INFINITY);
    }
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
    if let Some(allowed) = draw.allowed {
        let banned = |i: &usize| allowed[i / 32] & 1 << (i % 32) == 0;
        let banned = (0..a.len()).filter(banned);
        banned.for_each(|i| a[i] = f64::NEG_INFINITY);
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
    let alternatives = alternatives(vocabulary);
    let mut out = Vec::new();
    for (row, (x, setup)) in logits.chunks_exact(vocabulary).zip(setups).enumerate() {
        let probabilities = reference::softmax(x);
        let mut sorted: Vec<usize> = (0..vocabulary).collect();
        sorted.sort_by(|i, j| x[*j].total_cmp(&x[*i]));
        let (token, _) = reference_token(x, setup.draw(row, alternatives));
        for token in std::iter::once(&token).chain(&sorted[..alternatives]) {
            let mut dense = vec![0.0; vocabulary];
            dense[*token] = probabilities[*token].ln();
            out.extend(dense);
        }
    }
    out
}

/// Alternatives that the cases ask for.
fn alternatives(vocabulary: usize) -> usize {
    if vocabulary == VOCABULARIES[3] { 21 } else { 3 }
}

/// The parameters of a row of a case.
pub(super) struct Setup {
    sampling: Sampling,
    history: History,
    given: Option<u32>,
    allowed: Option<Vec<u32>>,
}

impl Setup {
    pub(super) fn draw(&self, row: usize, alternatives: usize) -> Draw<'_> {
        Draw {
            alternatives,
            given: self.given,
            allowed: self.allowed.as_deref(),
            ..Draw::new(&self.sampling, &self.history, row as u64)
        }
    }
}

fn warm() -> Sampling {
    Sampling {
        temperature: 0.8,
        seed: 1 << 40 | 7,
        ..Sampling::default()
    }
}

fn penalties() -> Sampling {
    Sampling {
        repetition_penalty: 1.3,
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        logit_bias: vec![(1, 2.5), (3, f32::NEG_INFINITY)],
        ..warm()
    }
}

/// Every third token, and one of them again and again.
fn history(vocabulary: usize) -> History {
    let mut history = History::new(&[0, 1, 2, 2]);
    for token in (0..vocabulary as u32).step_by(3).chain([4, 4]) {
        history.push(token);
    }
    history
}

/// The rows of a case: greedy, every parameter by itself, all of them together.
pub(super) fn setups(vocabulary: usize) -> Vec<Setup> {
    let (warm, penalties) = (warm(), penalties());
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
    all.map(|sampling| Setup {
        sampling,
        history: history(vocabulary),
        given: None,
        allowed: None,
    })
    .into()
}

/// The rows of a case where tokens are given, or only some allowed, beside penalties and filters:
/// every parameter of one kind by itself, and all of them together; one token alone.
pub(super) fn restricted_setups(vocabulary: usize) -> Vec<Setup> {
    let (warm, penalties) = (warm(), penalties());
    let some = |keeps: fn(usize) -> bool| {
        // Bits past the vocabulary say nothing.
        let mut words = vec![0; vocabulary.div_ceil(32)];
        let tokens = (0..32 * words.len()).filter(|i| *i >= vocabulary || keeps(*i));
        tokens.for_each(|i| words[i / 32] |= 1 << (i % 32));
        Some(words)
    };
    let most = some(|i| i % 5 != 2);
    let all = penalties.with(|s| (s.top_k, s.top_p, s.min_p) = (20, 0.9, 0.01));
    let given = Some(vocabulary as u32 - 1);
    [
        (Sampling::default(), None, most.clone()),
        (warm.clone(), None, most.clone()),
        (warm.with(|s| s.top_k = 3), None, some(|i| i % 7 == 5)),
        (warm.with(|s| s.top_p = 0.7), None, most.clone()),
        (
            penalties.with(|s| s.temperature = 0.0),
            None,
            some(|i| i % 3 == 0),
        ),
        (all.clone(), None, most.clone()),
        (all.clone(), None, some(|i| i == 9)),
        (Sampling::default(), given, None),
        (all.clone(), given, None),
        (all, Some(2), most),
    ]
    .map(|(sampling, given, allowed)| Setup {
        sampling,
        history: history(vocabulary),
        given,
        allowed,
    })
    .into()
}

impl Sampling {
    /// The same but for a change.
    pub(super) fn with(&self, change: impl FnOnce(&mut Sampling)) -> Sampling {
        let mut sampling = self.clone();
        change(&mut sampling);
        sampling
    }
}

/// Logits as peaked as a model's.
pub(super) fn case_logits(mut inputs: Inputs, rows: usize, vocabulary: usize) -> Vec<f32> {
    inputs.normal(rows * vocabulary, 6.0)
}

/// A vocabulary that no vector divides, one of a single vector, Qwen3's, and one of two or three
/// tokens for each thread of a block.
pub(super) const VOCABULARIES: [usize; 4] = [1_003, 16, 151_936, 2_600];

/// Those of sets of allowed tokens, which end within a word, within the first one, and with one.
pub(super) const RESTRICTED: [usize; 3] = [VOCABULARIES[0], VOCABULARIES[1], 4_096];

pub(super) fn cases() -> Vec<Case> {
    let cases =
        VOCABULARIES.map(|vocabulary| [greedy_case(vocabulary), case(vocabulary, "", setups)]);
    let restricted =
        RESTRICTED.map(|vocabulary| case(vocabulary, ", restricted", restricted_setups));
    let refused = [refused_case()];
    let rest = restricted.into_iter().chain(refused);
    cases.into_iter().flatten().chain(rest).collect()
}

/// Rows from which no token can be drawn, and why: a logit is NaN (1), or no greatest one is finite,
/// before bias or with it (2), and so where no token is allowed.
fn refused_case() -> Case {
    const VOCABULARY: usize = 40;
    Case::new(format!("5x{VOCABULARY}, refused"), 0.0, |cx| {
        let row = |first| [vec![first], vec![f32::NEG_INFINITY; VOCABULARY - 1]].concat();
        let rows = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, 1.0].map(row);
        let logits = cx.upload_f32(&rows.concat(), VOCABULARY)?;
        let all = Sampling::default();
        let none = all.with(|s| s.logit_bias = vec![(0, f32::NEG_INFINITY)]);
        let run = move |cx: &Context| {
            let history = History::default();
            let [all, none] = [&all, &none].map(|sampling| Draw::new(sampling, &history, 0));
            // All but the only one that could be.
            let allowed = Some(&[!1, !0][..]);
            let draws = [all, all, all, none, Draw { allowed, ..all }];
            let rows = draws.into_iter().enumerate();
            rows.map(|(row, draw)| reason(sample(cx, logits.rows_from(row, 1), &[draw])))
                .collect()
        };
        Ok(Trial::new(run, || vec![1.0, 2.0, 2.0, 2.0, 2.0]))
    })
}

/// Why no token was drawn; 0 if one was.
fn reason(sampled: Result<Vec<Sampled>>) -> Result<f32> {
    match sampled {
        Ok(_) => Ok(0.0),
        Err(Error::Argument { found, .. }) if found == "NaN" => Ok(1.0),
        Err(Error::Argument { found, .. }) if found == "without a finite maximum" => Ok(2.0),
        Err(error) => Err(error),
    }
}

/// Nothing but the greatest logit, with equals of it behind it.
fn greedy_case(vocabulary: usize) -> Case {
    const ROWS: usize = 3;
    Case::new(format!("{ROWS}x{vocabulary}, greedy"), 1e-6, move |cx| {
        let mut values = Inputs::f32(cx, vocabulary as u64).normal(ROWS * vocabulary, 6.0);
        for row in values.chunks_exact_mut(vocabulary) {
            row[vocabulary - 1] = row.iter().copied().fold(row[0], f32::max);
        }
        let logits = cx.upload_f32(&values, vocabulary)?;
        let wide = reference::widen(&values);
        let run = move |cx: &Context| {
            let (sampling, history) = (Sampling::default(), History::default());
            let draw = Draw::new(&sampling, &history, 0);
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

fn case(vocabulary: usize, kind: &str, setups: fn(usize) -> Vec<Setup>) -> Case {
    let rows = setups(vocabulary).len();
    Case::new(format!("{rows}x{vocabulary}{kind}"), 1e-6, move |cx| {
        let values = case_logits(Inputs::f32(cx, vocabulary as u64), rows, vocabulary);
        let logits = cx.upload_f32(&values, vocabulary)?;
        let wide = reference::widen(&values);
        let run = move |cx: &Context| {
            let setups = setups(vocabulary);
            let draws = (0..).zip(&setups);
            let draws: Vec<_> = draws
                .map(|(row, s)| s.draw(row, alternatives(vocabulary)))
                .collect();
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
