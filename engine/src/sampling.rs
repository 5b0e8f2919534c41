//! How an answer is drawn, and where it ends.

use crate::error::Error;
use gamut_loader::GenerationConfig;

/// How an answer is drawn, and where it ends. Names and meanings follow vLLM and OpenAI.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Draws among this many of the most likely tokens; 0 takes all.
    pub top_k: usize,
    /// Draws among the most likely tokens that make up this probability; 1 takes all.
    pub top_p: f32,
    /// Draws among tokens of at least this probability relative to the most likely one.
    pub min_p: f32,
    /// Same seed, same answer.
    pub seed: u64,
    /// Divides positive and multiplies negative logits of tokens in prompt or answer; 1 is off.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens in the answer.
    pub presence_penalty: f32,
    /// Subtracted from the logits of tokens in the answer, for each time they are in it.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// The answer ends before any of these strings.
    pub stop: Vec<String>,
    /// The answer ends with any of these tokens, beside the model's own.
    pub stop_token_ids: Vec<u32>,
    /// Goes on past the model's own end tokens.
    pub ignore_eos: bool,
    /// Reports the log-probability of each token and of this many likely others.
    pub logprobs: Option<usize>,
}

impl Default for SamplingParams {
    /// Greedy, 512 tokens.
    fn default() -> SamplingParams {
        SamplingParams {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            max_tokens: 512,
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            ignore_eos: false,
            logprobs: None,
        }
    }
}

impl SamplingParams {
    /// The defaults that the model's authors recommend.
    pub fn recommended(config: &GenerationConfig) -> SamplingParams {
        let defaults = SamplingParams::default();
        if config.do_sample == Some(false) {
            return SamplingParams {
                repetition_penalty: config.repetition_penalty.unwrap_or(1.0) as f32,
                ..defaults
            };
        }
        SamplingParams {
            temperature: config.temperature.unwrap_or(match config.do_sample {
                Some(_) => 1.0,
                None => 0.0,
            }) as f32,
            top_k: config.top_k.unwrap_or(0),
            top_p: config.top_p.unwrap_or(1.0) as f32,
            min_p: config.min_p.unwrap_or(0.0) as f32,
            repetition_penalty: config.repetition_penalty.unwrap_or(1.0) as f32,
            ..defaults
        }
    }

    /// # Errors
    /// If a parameter is out of its range, with its name, value and range.
    pub fn check(&self, vocab_size: usize) -> Result<(), Error> {
        let unit = |x: f32| (0.0..=1.0).contains(&x);
        let penalty = |x: f32| (-2.0..=2.0).contains(&x);
        let rules = [
            ("temperature", self.temperature, self.temperature >= 0.0, "0 or more"),
            ("top_p", self.top_p, unit(self.top_p) && self.top_p > 0.0, "above 0, up to 1"),
            ("min_p", self.min_p, unit(self.min_p), "from 0 to 1"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty > 0.0,
                "above 0",
            ),
            (
                "presence_penalty",
                self.presence_penalty,
                penalty(self.presence_penalty),
                "from -2 to 2",
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                penalty(self.frequency_penalty),
                "from -2 to 2",
            ),
        ];
        for (name, value, holds, expected) in rules {
            if !(holds && value.is_finite()) {
                return Err(Error::Parameter { name, found: value.to_string(), expected });
            }
        }
        let ids = self.logit_bias.iter().map(|(id, _)| ("logit_bias", *id));
        for (name, id) in ids.chain(self.stop_token_ids.iter().map(|id| ("stop_token_ids", *id))) {
            if id as usize >= vocab_size {
                let expected = "a token of the vocabulary";
                return Err(Error::Parameter { name, found: id.to_string(), expected });
            }
        }
        if self.logprobs.is_some_and(|n| n > vocab_size) {
            let found = self.logprobs.unwrap_or(0).to_string();
            return Err(Error::Parameter { name: "logprobs", found, expected: "at most the vocabulary" });
        }
        Ok(())
    }
}
