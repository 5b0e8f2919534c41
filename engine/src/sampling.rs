//! How an answer is drawn, and where it ends.

use crate::constraint::Constraint;
use crate::error::Error;
use gamut_kernels::Sampling;
use gamut_loader::GenerationConfig;

/// The most tokens that can be reported beside each token drawn.
pub const MAX_LOGPROBS: usize = 20;

/// How an answer is drawn, and where it ends. Names and meanings follow vLLM and OpenAI.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// How a token is drawn: temperature, filters, penalties, bias, seed.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// The answer ends before any of these strings.
    pub stop: Vec<String>,
    /// The answer ends with any of these tokens, beside the model's own.
    pub stop_token_ids: Vec<u32>,
    /// Goes on past the model's own end tokens.
    pub ignore_eos: bool,
    /// Likely tokens to report beside each token drawn, at most [`MAX_LOGPROBS`].
    pub logprobs: usize,
    /// Reports the log-probabilities of the prompt's tokens, with so many likely ones beside each.
    pub prompt_logprobs: Option<usize>,
    /// What the answer must be.
    pub constraint: Option<Constraint>,
    /// Answers to the one prompt, at most as many as run at a time. Answer `i` is what a request
    /// with the seed `seed + i` gets alone.
    pub n: usize,
}

impl Default for SamplingParams {
    /// Greedy, 512 tokens.
    fn default() -> SamplingParams {
        SamplingParams {
            sampling: Sampling::default(),
            max_tokens: 512,
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            ignore_eos: false,
            logprobs: 0,
            prompt_logprobs: None,
            constraint: None,
            n: 1,
        }
    }
}

impl SamplingParams {
    /// What the model's authors recommend: greedy unless `generation_config.json` says to sample.
    pub fn recommended(config: &GenerationConfig) -> SamplingParams {
        let or = |value: Option<f64>, default: f32| value.map_or(default, |v| v as f32);
        let mut sampling = Sampling {
            repetition_penalty: or(config.repetition_penalty, 1.0),
            ..Sampling::default()
        };
        if config.do_sample == Some(true) {
            sampling.temperature = or(config.temperature, 1.0);
            sampling.top_k = config.top_k.unwrap_or(0);
            sampling.top_p = or(config.top_p, 1.0);
            sampling.min_p = or(config.min_p, 0.0);
        }
        SamplingParams {
            sampling,
            ..SamplingParams::default()
        }
    }

    /// Whether the values are possible for a model of `vocabulary` tokens, of which `max_num_seqs`
    /// sequences run at a time.
    ///
    /// # Errors
    /// Naming the first one that is not, with its value and range.
    pub fn check(&self, vocabulary: usize, max_num_seqs: usize) -> Result<(), Error> {
        self.sampling.check(vocabulary)?;
        let most = MAX_LOGPROBS.min(vocabulary);
        let ids = self
            .stop_token_ids
            .iter()
            .map(|id| ("stop_token_ids", *id as usize, vocabulary - 1));
        let counts = [
            ("logprobs", self.logprobs, most),
            ("prompt_logprobs", self.prompt_logprobs.unwrap_or(0), most),
        ];
        if !(1..=max_num_seqs).contains(&self.n) {
            return Err(Error::Option {
                name: "n",
                found: self.n,
                least: 1,
                most: max_num_seqs,
            });
        }
        for (name, found, most) in ids.chain(counts) {
            if found > most {
                return Err(Error::Parameter { name, found, most });
            }
        }
        Ok(())
    }
}
