//! What rows of logits are sampled with, and how the kernel reads it.

use crate::error::{Result, check, ensure};
use crate::{History, Sampling, philox};

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
    /// The token, if it is not to be chosen.
    pub given: Option<u32>,
    /// The tokens to choose from, by default all: bit `i % 32` of word `i / 32` for token `i`, in
    /// `ceil(V / 32)` words. Bits past the vocabulary say nothing.
    pub allowed: Option<&'a [u32]>,
}

impl<'a> Draw<'a> {
    /// A choice among all tokens, reported without alternatives.
    pub fn new(sampling: &'a Sampling, history: &'a History, position: u64) -> Draw<'a> {
        Draw {
            sampling,
            history,
            position,
            alternatives: 0,
            given: None,
            allowed: None,
        }
    }

    /// Checks that the row can be drawn from so many tokens.
    pub(super) fn check(&self, vocabulary: usize) -> Result<()> {
        self.sampling.check(vocabulary)?;
        self.history.check(vocabulary)?;
        let (n, most) = (self.alternatives, MOST_ALTERNATIVES.min(vocabulary));
        let expected = format_args!("at most {most}");
        ensure("sample", n <= most, "alternatives", n, expected)?;
        if let Some(token) = self.given {
            let known = (token as usize) < vocabulary;
            let expected = format_args!("below {vocabulary}");
            ensure("sample", known, "given token", token, expected)?;
        }
        let words = allowed_words(vocabulary);
        let found = self.allowed.map_or(words, <[u32]>::len);
        check("sample", "words of allowed tokens", found, words)
    }

    /// Whether the choice is from other numbers than the logits.
    pub(super) fn adjusts(&self) -> bool {
        self.given.is_none() && (self.sampling.adjusts() || self.allowed.is_some())
    }
}

/// Words of a set of allowed tokens.
pub(super) fn allowed_words(vocabulary: usize) -> usize {
    vocabulary.div_ceil(u32::BITS as usize)
}

/// The most alternatives that can be reported.
pub const MOST_ALTERNATIVES: usize = 256;

/// What the kernel reads of the draws: a record for each row, the tokens with bias or history, and
/// the sets of allowed tokens.
pub(super) struct Parameters {
    pub(super) words: Vec<i32>,
    /// Where the tokens begin, in words.
    pub(super) entries: usize,
    /// Where the sets begin.
    pub(super) allowed: usize,
}

impl Parameters {
    pub(super) fn new(draws: &[Draw<'_>]) -> Parameters {
        let (mut rows, mut tokens, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        for draw in draws {
            let sampling = draw.sampling;
            let (first, mut set) = (tokens.len(), NONE);
            if draw.given.is_none() {
                tokens.extend(entries_of(draw));
                if let Some(allowed) = draw.allowed {
                    set = sets.len() as i32;
                    sets.push(allowed);
                }
            }
            let wide = [
                share(sampling.top_p),
                philox::bits(sampling.seed, draw.position),
            ];
            rows.extend(wide.iter().flat_map(|x| [*x as i32, (*x >> 32) as i32]));
            let floats = [
                sampling.temperature,
                sampling.min_p,
                sampling.repetition_penalty,
                sampling.presence_penalty,
                sampling.frequency_penalty,
            ];
            rows.extend(floats.map(|x| x.to_bits() as i32));
            let sizes = [
                usize::from(sampling.is_greedy()),
                // Beyond any vocabulary, all are wanted.
                sampling.top_k.min(i32::MAX as usize),
                draw.alternatives,
                first,
                tokens.len() - first,
            ];
            rows.extend(sizes.map(|x| x as i32));
            // A vocabulary has less than 2^20 tokens.
            rows.extend([draw.given.map_or(NONE, |token| token as i32), set]);
        }
        let entries = rows.len();
        let mut words = [rows, tokens.concat()].concat();
        let allowed = words.len();
        words.extend(sets.concat().into_iter().map(|word| word as i32));
        Parameters {
            words,
            entries,
            allowed,
        }
    }
}

/// In place of a token that is given, or of a set.
const NONE: i32 = -1;

/// Every token with a bias or a history, once: `{token, bias, whether seen, times generated}`.
fn entries_of(draw: &Draw<'_>) -> Vec<[i32; 4]> {
    let sampling = draw.sampling;
    let mut entries: Vec<[i32; 4]> = Vec::new();
    if sampling.penalises() {
        let seen = draw.history.seen().iter();
        entries.extend(seen.map(|(token, times)| [*token as i32, 0, 1, *times as i32]));
    }
    let seen = entries.len();
    for (token, bias) in &sampling.logit_bias {
        let (token, bias) = (*token as i32, bias.to_bits() as i32);
        match entries[..seen].binary_search_by_key(&token, |entry| entry[0]) {
            Ok(at) => entries[at][1] = bias,
            Err(_) => entries.push([token, bias, 0, 0]),
        }
    }
    entries
}

/// A share of probability in units of 2^-32.
pub(super) fn share(top_p: f32) -> u64 {
    (top_p * (1u64 << 32) as f32) as u64
}
