//! What a request asks of the choice of its tokens, and what its sequence brings to it.

use crate::error::{Result, ensure};

/// How a request wants its tokens chosen. The default is greedy, without penalties.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; below 1e-5 the choice is greedy.
    pub temperature: f32,
    /// The most tokens to choose from; 0 for all.
    pub top_k: usize,
    /// The share of probability to choose from; 1 for all.
    pub top_p: f32,
    /// The least probability to choose from, as a share of the greatest; 0 for all.
    pub min_p: f32,
    /// Divides positive logits of tokens in prompt or output, multiplies the others; 0.01 to 100, 1
    /// for none.
    pub repetition_penalty: f32,
    /// Taken once from the logits of generated tokens; 0 for none.
    pub presence_penalty: f32,
    /// Taken from the logits of generated tokens for every time; 0 for none.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens, each there once; minus infinity bans one.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl Sampling {
    /// Whether the values are possible with so many tokens.
    ///
    /// # Errors
    /// Naming the first one that is not.
    pub fn check(&self, vocabulary: usize) -> Result<()> {
        let possible = |holds, what, found, range| ensure("sample", holds, what, found, range);
        let penalty = -2.0..=2.0;
        let t = self.temperature;
        possible(t.is_finite() && t >= 0.0, "temperature", t, "0 or more")?;
        let p = self.top_p;
        possible(p > 0.0 && p <= 1.0, "top_p", p, "above 0, up to 1")?;
        let p = self.min_p;
        possible((0.0..=1.0).contains(&p), "min_p", p, "0 to 1")?;
        let r = self.repetition_penalty;
        // Others may make a logit infinite, and with that row end the whole step.
        possible(
            (0.01..=100.0).contains(&r),
            "repetition_penalty",
            r,
            "0.01 to 100",
        )?;
        let p = self.presence_penalty;
        possible(penalty.contains(&p), "presence_penalty", p, "-2 to 2")?;
        let p = self.frequency_penalty;
        possible(penalty.contains(&p), "frequency_penalty", p, "-2 to 2")?;
        for (token, bias) in &self.logit_bias {
            check_token("logit_bias", *token, vocabulary)?;
            possible(*bias < f32::INFINITY, "logit_bias", *bias, "a number")?;
        }
        // In order none is there twice, and nothing need be allocated to see that.
        if self.logit_bias.is_sorted_by(|a, b| a.0 < b.0) {
            return Ok(());
        }
        let mut tokens: Vec<u32> = self.logit_bias.iter().map(|(token, _)| *token).collect();
        tokens.sort_unstable();
        for pair in tokens.windows(2) {
            possible(
                pair[0] != pair[1],
                "token in logit_bias",
                pair[0] as f32,
                "there once",
            )?;
        }
        Ok(())
    }

    /// Whether the most probable token is wanted.
    pub(crate) fn is_greedy(&self) -> bool {
        self.temperature < 1e-5
    }

    /// Whether there is a bias or a penalty.
    pub(crate) fn adjusts(&self) -> bool {
        !self.logit_bias.is_empty() || self.penalises()
    }

    /// Whether there is a penalty.
    pub(crate) fn penalises(&self) -> bool {
        let (repetition, presence) = (self.repetition_penalty, self.presence_penalty);
        (repetition, presence, self.frequency_penalty) != (1.0, 0.0, 0.0)
    }
}

/// Fails unless the token is one of `vocabulary`.
fn check_token(of: &str, token: u32, vocabulary: usize) -> Result<()> {
    let (known, what) = ((token as usize) < vocabulary, format_args!("token in {of}"));
    let expected = format_args!("below {vocabulary}");
    ensure("sample", known, what, token, expected)
}

/// The tokens of a sequence so far, as the penalties see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Each token once, ascending, with how often it was generated.
    seen: Vec<(u32, u32)>,
}

impl History {
    /// The history of a prompt.
    pub fn new(prompt: &[u32]) -> History {
        let mut seen: Vec<_> = prompt.iter().map(|token| (*token, 0)).collect();
        seen.sort_unstable();
        seen.dedup();
        History { seen }
    }

    /// Makes room for so many tokens more.
    pub fn reserve(&mut self, tokens: usize) {
        self.seen.reserve(tokens);
    }

    /// Each token once, ascending, with how often it was generated.
    pub(crate) fn seen(&self) -> &[(u32, u32)] {
        &self.seen
    }

    /// Whether all tokens are of `vocabulary`.
    pub(crate) fn check(&self, vocabulary: usize) -> Result<()> {
        match self.seen.last() {
            Some((token, _)) => check_token("history", *token, vocabulary),
            None => Ok(()),
        }
    }

    /// Notes a generated token.
    pub fn push(&mut self, token: u32) {
        match self.seen.binary_search_by_key(&token, |seen| seen.0) {
            Ok(at) => self.seen[at].1 = self.seen[at].1.saturating_add(1),
            Err(at) => self.seen.insert(at, (token, 1)),
        }
    }
}
