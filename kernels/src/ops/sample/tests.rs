//! Distributions, filters, penalties, and rows that keep to themselves.

use super::cases::{
    RESTRICTED, VOCABULARIES, case_logits, reference_token, restricted_setups, setups,
};
use super::*;
use crate::case::Inputs;
use crate::{Device, History, Isa, reference};
use std::sync::Arc;

fn host(elements: usize) -> Context {
    let host = Device::Host(Arc::new(Host::new(2).unwrap()));
    Context::new(&host, elements * size_of::<f32>()).unwrap()
}

/// The tokens that `rows` draws from the same logits give, at positions from 0 on.
fn draws(logits: &[f32], sampling: &Sampling, history: &History, rows: usize) -> Vec<usize> {
    let cx = host(rows * (logits.len() + 2) + 2 * 2 * logits.len() + 200);
    let logits = cx.upload(&logits.repeat(rows), logits.len()).unwrap();
    let draws: Vec<_> = (0..rows as u64)
        .map(|position| Draw::new(sampling, history, position))
        .collect();
    let sampled = sample(&cx, &logits, &draws).unwrap();
    sampled.iter().map(|s| s.token as usize).collect()
}

/// Which tokens come up at all.
fn support(logits: &[f32], sampling: &Sampling) -> Vec<usize> {
    let mut tokens = draws(logits, sampling, &History::default(), 4_000);
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

fn warm() -> Sampling {
    Sampling::default().with(|s| (s.temperature, s.seed) = (1.0, 42))
}

/// Else rounding, not the formula, would decide the cases.
#[test]
fn no_case_is_near_a_border() {
    let plain = VOCABULARIES.map(|v| (v, setups(v)));
    let restricted = RESTRICTED.map(|v| (v, restricted_setups(v)));
    for (vocabulary, setups) in plain.into_iter().chain(restricted) {
        let inputs = Inputs::plain(vocabulary as u64);
        let logits = reference::widen(&case_logits(inputs, setups.len(), vocabulary));
        let rows = logits.chunks_exact(vocabulary);
        for (row, (x, setup)) in rows.zip(&setups).enumerate() {
            let (_, margin) = reference_token(x, setup.draw(row, 0));
            let of = setups.len();
            assert!(margin > 1e-5, "{vocabulary}, row {row} of {of}: {margin:e}");
        }
    }
}

#[test]
fn frequencies_follow_the_softmax() {
    let logits = [0.3f32, -1.0, 2.0, 1.1, 0.0, -0.4, 1.9, 0.8];
    let sampling = warm().with(|s| s.temperature = 1.5);
    let scaled: Vec<f64> = logits.iter().map(|x| f64::from(*x) / 1.5).collect();
    let rows = 40_000;
    let mut counts = [0.0; 8];
    for token in draws(&logits, &sampling, &History::default(), rows) {
        counts[token] += 1.0;
    }
    let chi_square: f64 = counts
        .iter()
        .zip(reference::softmax(&scaled))
        .map(|(count, p)| (count - p * rows as f64).powi(2) / (p * rows as f64))
        .sum();
    // Seven degrees of freedom exceed 24.3 once in a thousand times; far below 0.6 as seldom.
    assert!((0.6..24.3).contains(&chi_square), "{chi_square}");
}

#[test]
fn each_filter_keeps_what_it_says() {
    // Probabilities 0.4, 0.3, 0.1, 0.1, 0.1.
    let logits = [0.1f32, 0.4, 0.1, 0.3, 0.1].map(f32::ln);
    let kept = |change: fn(&mut Sampling)| support(&logits, &warm().with(change));
    assert_eq!(kept(|_| ()), [0, 1, 2, 3, 4]);
    assert_eq!(kept(|s| s.top_k = 1), [1]);
    // Of the equal ones the lowest.
    assert_eq!(kept(|s| s.top_k = 4), [0, 1, 2, 3]);
    assert_eq!(kept(|s| s.top_p = 0.35), [1]);
    assert_eq!(kept(|s| s.top_p = 0.6), [1, 3]);
    assert_eq!(kept(|s| s.top_p = 0.75), [0, 1, 3]);
    assert_eq!(kept(|s| s.top_p = f32::MIN_POSITIVE), [1]);
    assert_eq!(kept(|s| s.min_p = 0.7), [1, 3]);
    assert_eq!(kept(|s| s.min_p = 1.0), [1]);
    // top_p is a share of what top_k leaves: 0.4 of 0.7.
    assert_eq!(kept(|s| (s.top_k, s.top_p) = (2, 0.5)), [1]);
}

#[test]
fn penalties_and_bias_move_the_greatest() {
    let mut history = History::new(&[0, 3]);
    for token in [1, 1, 1, 2] {
        history.push(token);
    }
    let choose = |logits: [f32; 5], change: fn(&mut Sampling)| {
        draws(&logits, &Sampling::default().with(change), &history, 1)[0]
    };
    let logits = [3.0, 2.9, 2.8, 2.7, 2.0];
    assert_eq!(choose(logits, |_| ()), 0);
    // Prompt and output count for repetition, and negative logits grow.
    assert_eq!(choose(logits, |s| s.repetition_penalty = 2.0), 4);
    let negative = [-1.0, -1.0, -1.0, -1.0, -1.5];
    assert_eq!(choose(negative, |s| s.repetition_penalty = 2.0), 4);
    // Only the output counts for the other two: three times 0.3 for token 1, once for 2.
    let close = [1.0, 2.0, 2.0, 1.1, 0.0];
    assert_eq!(choose(close, |s| s.presence_penalty = 1.0), 3);
    let close = [1.0, 2.0, 1.6, 1.0, 1.0];
    assert_eq!(choose(close, |s| s.frequency_penalty = 0.3), 2);
    let banned = |s: &mut Sampling| s.logit_bias = vec![(0, f32::NEG_INFINITY), (4, 0.85)];
    assert_eq!(choose(logits, banned), 1);
    assert_eq!(choose(logits, |s| s.logit_bias = vec![(4, 1.1)]), 4);
    // The lowest of equal tokens; zeros are equal whatever their sign.
    let zeros = [-3.0, -0.0, 0.0, 0.0, -1.0];
    assert_eq!(choose(zeros, |_| ()), 1);
    assert_eq!(choose(zeros, |s| (s.temperature, s.top_k) = (1.0, 1)), 1);
}

/// A row's token does not change with the rows beside it, the threads or the instruction set.
#[test]
fn rows_do_not_depend_on_company() {
    let vocabulary = VOCABULARIES[0];
    let setups = setups(vocabulary);
    let values = case_logits(Inputs::plain(vocabulary as u64), setups.len(), vocabulary);
    let draws: Vec<_> = (0..).zip(&setups).map(|(row, s)| s.draw(row, 3)).collect();
    let mut all = Vec::new();
    for isa in Isa::available() {
        for threads in [1, 3] {
            let host = Arc::new(Host::with_isa(threads, isa).unwrap());
            let cx = Context::new(&Device::Host(host), 80 * vocabulary).unwrap();
            let logits = cx.upload(&values, vocabulary).unwrap();
            all.push(sample(&cx, &logits, &draws).unwrap());
            let alone = sample(&cx, logits.rows_from(7, 1), &draws[7..]).unwrap();
            assert_eq!(alone, all[0][7..], "{isa:?}");
        }
    }
    assert!(all.iter().all(|sampled| *sampled == all[0]));
}

#[test]
fn only_what_is_allowed_comes_up() {
    // Probabilities 0.4, 0.3, 0.1, 0.1, 0.1.
    let logits = [0.1f32, 0.4, 0.1, 0.3, 0.1].map(f32::ln);
    let cx = host(200_000);
    let tokens = |allowed: u32, sampling: &Sampling| {
        let x = cx.upload(&logits.repeat(2_000), logits.len()).unwrap();
        let (history, allowed) = (History::default(), [allowed]);
        let draws: Vec<_> = (0..2_000)
            .map(|position| Draw {
                allowed: Some(&allowed),
                ..Draw::new(sampling, &history, position)
            })
            .collect();
        let sampled = sample(&cx, &x, &draws).unwrap();
        // Of all tokens, whatever may be chosen.
        for s in &sampled {
            assert!((s.logprob - logits[s.token as usize]).abs() < 1e-5);
        }
        let mut tokens: Vec<u32> = sampled.iter().map(|s| s.token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    };
    assert_eq!(tokens(0b10101, &warm()), [0, 2, 4]);
    assert_eq!(tokens(!0b00010, &warm()), [0, 2, 3, 4]);
    assert_eq!(tokens(0b11001, &Sampling::default()), [3]);
    // Filters see what is left, here 0.3 of 0.5.
    assert_eq!(tokens(0b11001, &warm().with(|s| s.top_k = 2)), [0, 3]);
    assert_eq!(tokens(0b11001, &warm().with(|s| s.top_p = 0.55)), [3]);
    assert_eq!(tokens(0b10101, &warm().with(|s| s.min_p = 1.0)), [0, 2, 4]);
    // No bias brings a token back.
    let bias = warm().with(|s| s.logit_bias = vec![(1, 100.0)]);
    assert_eq!(tokens(0b11001, &bias), [0, 3, 4]);
}

#[test]
fn a_given_token_is_reported_and_nothing_else_matters() {
    let logits = [0.1f32, 0.4, 0.1, 0.3, 0.1].map(f32::ln);
    let cx = host(1_000);
    let x = cx.upload(&logits, logits.len()).unwrap();
    let history = History::new(&[0, 1]);
    let penalties = warm().with(|s| (s.repetition_penalty, s.top_k) = (2.0, 1));
    for sampling in [Sampling::default(), penalties] {
        for allowed in [None, Some(&[0b10][..])] {
            for token in 0..5 {
                let draw = Draw {
                    alternatives: 2,
                    given: Some(token),
                    allowed,
                    ..Draw::new(&sampling, &history, 3)
                };
                let sampled = sample(&cx, &x, &[draw]).unwrap().remove(0);
                assert_eq!(sampled.token, token);
                assert!((sampled.logprob - logits[token as usize]).abs() < 1e-5);
                let alternatives = sampled.alternatives.iter().map(|a| a.0);
                assert!(alternatives.eq([1, 3]));
            }
        }
    }
}

#[test]
fn bad_rows_and_parameters_are_named() {
    let cx = host(1_000);
    let history = History::new(&[5]);
    let sampling = Sampling::default();
    let fail = |values: &[f32], sampling: &Sampling| {
        let logits = cx.upload(values, values.len() / 2).unwrap();
        let draw = Draw::new(sampling, &history, 0);
        sample(&cx, &logits, &[draw; 2]).unwrap_err().to_string()
    };
    let mut values = [0.0; 16];
    values[9] = f32::NAN;
    let message = fail(&values, &sampling);
    assert_eq!(message, "sample: logits of row 1 is NaN, expected numbers");
    values[8..].fill(f32::NEG_INFINITY);
    assert!(fail(&values, &sampling).contains("logits of row 1 is without a finite maximum"));
    let message = fail(&[0.0; 8], &sampling);
    assert_eq!(message, "sample: token in history is 5, expected below 4");
    let bad = sampling.with(|s| s.top_p = 0.0);
    let message = fail(&[0.0; 16], &bad);
    assert_eq!(message, "sample: top_p is 0, expected above 0, up to 1");
    let logits = cx.upload(&[0.0; 33], 33).unwrap();
    let plain = Draw::new(&sampling, &history, 0);
    let fail = |draw| sample(&cx, &logits, &[draw]).unwrap_err().to_string();
    let given = Some(33);
    let message = fail(Draw { given, ..plain });
    assert_eq!(message, "sample: given token is 33, expected below 33");
    for words in [&[][..], &[1], &[1; 3]] {
        let allowed = Some(words);
        let message = fail(Draw { allowed, ..plain });
        let found = words.len();
        let expected = format!("sample: words of allowed tokens is {found}, expected 2");
        assert_eq!(message, expected);
    }
}
