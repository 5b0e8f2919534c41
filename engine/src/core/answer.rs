//! An answer in the making.

use super::request::Request;
use crate::constraint::Guide;
use crate::error::Error;
use crate::event::{Event, Finish, Token, Usage};
use crate::text::TextStream;
use gamut_kernels::{History, Sampling};
use std::time::{Duration, Instant};

/// What the engine keeps of one answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Whose it is.
    pub(super) request: u64,
    pub(super) sample: usize,
    /// Tokens drawn.
    pub(super) tokens: Vec<u32>,
    pub(super) sampling: Sampling,
    pub(super) history: History,
    /// What the answer is held to.
    guide: Option<Guide>,
    text: TextStream,
    /// Positions computed, as of the last step.
    computed: usize,
    preemptions: usize,
    first: Option<Instant>,
    last: Option<Instant>,
    max_itl: Duration,
}

/// Text of a token, or that it ends the answer.
pub(crate) trait Vocabulary {
    /// The bytes of a token; of special and unknown ones none.
    fn bytes(&self, token: u32) -> Vec<u8>;

    /// Whether the model ends its answers with a token.
    fn ends(&self, token: u32) -> bool;
}

impl Answer {
    pub(super) fn new(request: &Request, sample: usize) -> Answer {
        let params = &request.params;
        let mut history = History::new(&request.prompt.tokens);
        history.reserve(request.max_tokens);
        Answer {
            request: request.id,
            sample,
            tokens: Vec::with_capacity(request.max_tokens),
            sampling: Sampling {
                seed: params.sampling.seed.wrapping_add(sample as u64),
                ..params.sampling.clone()
            },
            history,
            guide: request.guide.clone(),
            text: TextStream::new(&params.stop, request.prompt.thinking),
            computed: 0,
            preemptions: 0,
            first: None,
            last: None,
            max_itl: Duration::ZERO,
        }
    }

    /// Notes that positions from `start` to `end` are computed.
    pub(super) fn compute(&mut self, start: usize, end: usize) {
        self.preemptions += usize::from(start < self.computed);
        self.computed = end;
    }

    /// The tokens to draw the next one from, by default all.
    pub(super) fn allowed(&self) -> Option<&[u32]> {
        // Thoughts are free.
        let guide = self.guide.as_ref().filter(|_| !self.text.is_thinking());
        guide.map(Guide::allowed)
    }

    /// Takes a token that was drawn; whether the answer ends with it.
    ///
    /// # Errors
    /// As [`Guide::take`].
    pub(super) fn take(
        &mut self,
        request: &Request,
        vocabulary: &dyn Vocabulary,
        token: Token,
        now: Instant,
    ) -> Result<Option<Finish>, Error> {
        let id = token.id;
        let params = &request.params;
        let guide = self.guide.as_mut().filter(|_| !self.text.is_thinking());
        let ignored = params.ignore_eos && guide.is_none();
        let ends = vocabulary.ends(id) && !ignored || params.stop_token_ids.contains(&id);
        let complete = match guide {
            Some(guide) if !ends => guide.take(id)?,
            _ => false,
        };
        self.history.push(id);
        self.tokens.push(id);
        if let Some(last) = self.last.replace(now) {
            self.max_itl = self.max_itl.max(now - last);
        }
        self.first.get_or_insert(now);
        let mut pieces = match ends {
            true => Vec::new(),
            false => self.text.push(&vocabulary.bytes(id)),
        };
        let finish = match () {
            () if ends || complete || self.text.stopped() => Some(Finish::Stop),
            () if self.tokens.len() >= request.max_tokens => Some(Finish::Length),
            () => None,
        };
        if finish.is_some() {
            pieces.extend(self.text.finish());
        }
        request.tell(Event::Token {
            sample: self.sample,
            token,
            pieces,
        });
        Ok(finish)
    }

    /// What the answer took.
    pub(super) fn usage(&self, request: &Request) -> Usage {
        let mut usage = request.usage.clone();
        let since = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => to - from,
            _ => Duration::ZERO,
        };
        usage.completion_tokens = self.tokens.len();
        usage.ttft = since(Some(request.came), self.first);
        usage.decode = since(self.first, self.last);
        usage.prefill = since(request.began, self.first.or(request.ended_prompt));
        usage.max_itl = self.max_itl;
        usage.preemptions = self.preemptions;
        usage
    }

    /// Ends the answer.
    pub(super) fn end(&mut self, request: &Request, finish: Finish) {
        let pieces = match finish {
            Finish::Cancelled => self.text.cancel(),
            _ => Vec::new(),
        };
        request.tell(Event::Finished {
            sample: self.sample,
            finish,
            pieces,
            usage: self.usage(request),
        });
    }
}
