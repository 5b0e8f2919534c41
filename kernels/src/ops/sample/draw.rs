//! What rows of logits are sampled with, and how the kernel reads it.

use crate::error::{Result, check, ensure};
use crate::table::Integers;
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

    /// The tokens that the choice is limited to.
    fn chosen_from(&self) -> Option<&'a [u32]> {
        self.allowed.filter(|_| self.given.is_none())
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
    pub(super) words: Integers,
    /// Where the tokens begin, in words.
    pub(super) entries: usize,
    /// Where the sets begin.
    pub(super) allowed: usize,
}

/// Words of a row's record.
const RECORD: usize = 16;
/// Words of a token with bias or history.
const ENTRY: usize = 4;

impl Parameters {
    /// Puts them into `words`.
    pub(super) fn new(mut words: Integers, draws: &[Draw<'_>]) -> Parameters {
        let entries = draws.len() * RECORD;
        words.resize(entries, 0);
        let mut sets = 0;
        for (row, draw) in draws.iter().enumerate() {
            let first = words.len();
            if draw.given.is_none() {
                append_entries(&mut words, draw);
            }
            let set = match draw.chosen_from() {
                Some(_) => sets,
                None => NONE,
            };
            sets += i32::from(set != NONE);
            let tokens = [first - entries, words.len() - first].map(|words| words / ENTRY);
            words[row * RECORD..][..RECORD].copy_from_slice(&record(draw, tokens, set));
        }
        let allowed = words.len();
        for set in draws.iter().filter_map(Draw::chosen_from) {
            words.extend(set.iter().map(|word| *word as i32));
        }
        Parameters {
            words,
            entries,
            allowed,
        }
    }
}

/// A row's record. Its tokens are so many from `first` on, its set is the `set`-th.
fn record(draw: &Draw<'_>, [first, tokens]: [usize; 2], set: i32) -> [i32; RECORD] {
    let sampling = draw.sampling;
    let halves = |x: u64| [x as i32, (x >> 32) as i32];
    let [share, share_high] = halves(share(sampling.top_p));
    let [random, random_high] = halves(philox::bits(sampling.seed, draw.position));
    let float = |x: f32| x.to_bits() as i32;
    [
        share,
        share_high,
        random,
        random_high,
        float(sampling.temperature),
        float(sampling.min_p),
        float(sampling.repetition_penalty),
        float(sampling.presence_penalty),
        float(sampling.frequency_penalty),
        i32::from(sampling.is_greedy()),
        // Beyond any vocabulary, all are wanted.
        sampling.top_k.min(i32::MAX as usize) as i32,
        draw.alternatives as i32,
        first as i32,
        tokens as i32,
        // A vocabulary has less than 2^20 tokens.
        draw.given.map_or(NONE, |token| token as i32),
        set,
    ]
}

/// In place of a token that is given, or of a set.
const NONE: i32 = -1;

/// Every token with a bias or a history, once: `{token, bias, whether seen, times generated}`.
fn append_entries(words: &mut Vec<i32>, draw: &Draw<'_>) {
    let sampling = draw.sampling;
    let first = words.len();
    if sampling.penalises() {
        let seen = draw.history.seen().iter();
        words.extend(seen.flat_map(|(token, times)| [*token as i32, 0, 1, *times as i32]));
    }
    let behind = words.len();
    for (token, bias) in &sampling.logit_bias {
        let (token, bias) = (*token as i32, bias.to_bits() as i32);
        let (seen, _) = words[first..behind].as_chunks_mut::<ENTRY>();
        match seen.binary_search_by_key(&token, |entry| entry[0]) {
            Ok(at) => seen[at][1] = bias,
            Err(_) => words.extend([token, bias, 0, 0]),
        }
    }
}

/// A share of probability in units of 2^-32.
pub(super) fn share(top_p: f32) -> u64 {
    (top_p * (1u64 << 32) as f32) as u64
}
