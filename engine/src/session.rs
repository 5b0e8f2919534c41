//! A conversation about one song.

use crate::engine::{Engine, Song};
use crate::error::Error;
use crate::kv::PageTable;
use crate::prompt::Prompt;
use crate::runner::Step;
use crate::sampling::SamplingParams;
use crate::text::{Piece, TextStream};
use gamut_kernels::ops::{Draw, Sampled, Source, sample};
use gamut_kernels::{Context, History, Sequence, View};
use gamut_loader::{Content, Message};
use serde_json::{Map, Value};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Positions of a prompt that one step takes: a whole number of pages.
pub const PREFILL_CHUNK: usize = 512;

/// A conversation about one song. A further question costs only its own tokens: what the cache
/// holds of the conversation is not computed again.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    song: Song,
    messages: Vec<Message>,
    pages: PageTable,
    /// Tokens whose keys and values are in the cache.
    cached: Vec<u32>,
}

/// What a generation tells as it goes on.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// `done` of `total` positions of the prompt are computed.
    Prefill {
        /// Positions computed.
        done: usize,
        /// Positions to compute.
        total: usize,
    },
    /// A token was drawn.
    Token {
        /// The token with its log-probability.
        token: &'a Token,
        /// Text that became whole with it.
        pieces: &'a [Piece],
    },
}

/// A token of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Natural logarithm of its probability by the model's own logits.
    pub logprob: f32,
    /// Likely tokens with their log-probabilities, as many as were asked for.
    pub top: Vec<(u32, f32)>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// An end token or a stop string.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
    /// The listener asked to.
    Cancelled,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The answer without thoughts. Of a cancelled one it may go on behind the last event, by what
    /// was held back.
    pub text: String,
    /// The thoughts.
    pub reasoning: String,
    /// Every token, an end token included.
    pub tokens: Vec<Token>,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that were in the cache.
    pub cached_tokens: usize,
    /// Time for the rest of the prompt.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}

/// Told of every event; breaking ends the answer.
pub type Listener<'l> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'l;

impl Session {
    pub(crate) fn new(engine: Engine, song: Song) -> Session {
        let pages = PageTable::new(engine.pool());
        Session {
            engine,
            song,
            messages: Vec::new(),
            pages,
            cached: Vec::new(),
        }
    }

    /// The conversation so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Says something before the first question, as `system`.
    pub fn system(&mut self, text: impl Into<String>) {
        self.messages.insert(0, Message::text("system", text));
    }

    /// Asks about the song and adds question and answer to the conversation, unless the listener
    /// cancels it. `variables` are the chat template's, such as `enable_thinking`.
    ///
    /// # Errors
    /// If the conversation cannot be rendered or does not fit; it is then as it was before.
    pub fn ask(
        &mut self,
        question: &str,
        params: &SamplingParams,
        variables: &Map<String, Value>,
        listener: &mut Listener<'_>,
    ) -> Result<Answer, Error> {
        let heard = self
            .messages
            .iter()
            .any(|m| matches!(m.content, Content::Parts(_)));
        let question = match heard {
            true => Message::text("user", question),
            false => Message::audio("user", question),
        };
        let mut messages = self.messages.clone();
        messages.push(question);
        let answer = self.generate(&messages, params, variables, listener)?;
        if answer.finish != Finish::Cancelled {
            messages.push(Message::text("assistant", answer.text.clone()));
            self.messages = messages;
        }
        Ok(answer)
    }

    /// Answers a conversation of any messages, one of which has the song in it.
    ///
    /// # Errors
    /// If it cannot be rendered or does not fit, or a parameter is out of its range.
    pub fn generate(
        &mut self,
        messages: &[Message],
        params: &SamplingParams,
        variables: &Map<String, Value>,
        listener: &mut Listener<'_>,
    ) -> Result<Answer, Error> {
        let engine = self.engine.clone();
        let vocab = engine.model().config().text.vocab_size;
        params.check(vocab)?;
        let prompt = Prompt::render(engine.model(), messages, variables, self.song.tokens())?;
        let most = engine.plan().max_model_len;
        if prompt.tokens.len() >= most {
            let (tokens, audio) = (prompt.tokens.len(), self.song.tokens());
            return Err(Error::PromptTooLong {
                tokens,
                audio,
                most,
            });
        }
        let room = params.max_tokens.min(most - prompt.tokens.len());
        self.pages.reserve(prompt.tokens.len() + room)?;
        Generation::new(self, &prompt, params).run(room, listener)
    }

    /// The logits at the last position of `prompt`, which `more` tokens may follow.
    pub(crate) fn logits(
        &mut self,
        prompt: &Prompt,
        more: usize,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<f32>, Error> {
        self.reserve(prompt.tokens.len().saturating_add(more))?;
        let progress = |done, total| {
            progress(done, total);
            ControlFlow::Continue(())
        };
        let read = |_: &Context, logits: View<'_>| Ok(logits.to_vec()?);
        let (logits, _) = self.prefill(prompt, progress, read)?;
        Ok(logits.unwrap_or_default())
    }

    /// Owns the pages of `tokens` tokens.
    pub(crate) fn reserve(&mut self, tokens: usize) -> Result<(), Error> {
        let most = self.engine.plan().max_model_len;
        if tokens > most {
            return Err(Error::PromptTooLong {
                tokens,
                audio: self.song.tokens(),
                most,
            });
        }
        self.pages.reserve(tokens)
    }

    /// Computes tokens behind the cached ones, generated or prompted.
    pub(crate) fn advance(&mut self, tokens: &[u32], generated: bool) -> Result<(), Error> {
        let sources: Vec<Source> = tokens.iter().map(|id| Source::Token(*id)).collect();
        self.step(tokens, &sources, generated, |_, logits| Ok(logits.wait()?))
    }

    /// Computes the positions of `sources` behind the cached ones and calls `read` with the logits
    /// of the last, `[1, vocab]`.
    fn step<T: Send>(
        &mut self,
        tokens: &[u32],
        sources: &[Source],
        generated: bool,
        read: impl FnOnce(&Context, View<'_>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let engine = &self.engine;
        let runner = &mut *engine.runner();
        let rows = sources.len();
        let sequence = Sequence {
            generated,
            start: self.cached.len(),
            rows,
            pages: self.pages.pages(),
        };
        let step = Step {
            sources,
            audio: Some(self.song.embeddings().view()),
            sequences: &[sequence],
            wanted: &[rows - 1],
        };
        let result = engine.install(|| {
            let logits = runner.decode(engine.model(), &step)?;
            read(&runner.cx, logits.view())
        })?;
        self.cached.extend_from_slice(tokens);
        Ok(result)
    }

    /// Computes what the cache does not hold of the prompt, and calls `read` with the logits of its
    /// last position. Returns its result and the positions that were in the cache.
    fn prefill<T: Send>(
        &mut self,
        prompt: &Prompt,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
        read: impl FnOnce(&Context, View<'_>) -> Result<T, Error> + Send,
    ) -> Result<(Option<T>, usize), Error> {
        let known = self
            .cached
            .iter()
            .zip(&prompt.tokens)
            .take_while(|(a, b)| a == b)
            .count();
        // The last position is computed even if known: its logits are wanted.
        let reused = known.min(prompt.tokens.len() - 1);
        self.cached.truncate(reused);
        let total = prompt.tokens.len() - reused;
        while prompt.tokens.len() - self.cached.len() > PREFILL_CHUNK {
            let range = self.cached.len()..self.cached.len() + PREFILL_CHUNK;
            self.step(
                &prompt.tokens[range.clone()],
                &prompt.sources[range],
                false,
                |_, logits| Ok(logits.wait()?),
            )?;
            if progress(self.cached.len() - reused, total).is_break() {
                return Ok((None, reused));
            }
        }
        let range = self.cached.len()..prompt.tokens.len();
        let result = self.step(
            &prompt.tokens[range.clone()],
            &prompt.sources[range],
            false,
            read,
        )?;
        Ok((Some(result), reused))
    }
}

/// An answer in the making.
struct Generation<'a> {
    session: &'a mut Session,
    prompt: &'a Prompt,
    params: &'a SamplingParams,
    history: History,
    text: TextStream,
    answer: Answer,
}

impl Generation<'_> {
    fn new<'a>(
        session: &'a mut Session,
        prompt: &'a Prompt,
        params: &'a SamplingParams,
    ) -> Generation<'a> {
        Generation {
            history: History::new(&prompt.tokens),
            text: TextStream::new(&params.stop, prompt.thinking),
            answer: Answer {
                text: String::new(),
                reasoning: String::new(),
                tokens: Vec::new(),
                finish: Finish::Length,
                prompt_tokens: prompt.tokens.len(),
                cached_tokens: 0,
                prefill: Duration::ZERO,
                decode: Duration::ZERO,
            },
            session,
            prompt,
            params,
        }
    }

    /// Draws at most `room` tokens.
    fn run(mut self, room: usize, listener: &mut Listener<'_>) -> Result<Answer, Error> {
        let start = Instant::now();
        if room == 0 {
            return Ok(self.answer);
        }
        let draw = Generation::draw(&self.history, self.params, self.prompt.tokens.len());
        let (first, cached) = self.session.prefill(
            self.prompt,
            |done, total| listener(Event::Prefill { done, total }),
            |cx, logits| draw_token(cx, logits, draw),
        )?;
        self.answer.cached_tokens = cached;
        self.answer.prefill = start.elapsed();
        tracing::debug!(
            tokens = self.answer.prompt_tokens,
            cached,
            time = ?self.answer.prefill,
            "prefill"
        );
        let start = Instant::now();
        let mut drawn = first;
        self.answer.finish = loop {
            let Some(token) = drawn else {
                break Finish::Cancelled;
            };
            let id = token.id;
            if let Some(finish) = self.take(token, room, listener)? {
                break finish;
            }
            let draw = Generation::draw(&self.history, self.params, self.session.cached.len() + 1);
            let read = |cx: &Context, logits: View<'_>| draw_token(cx, logits, draw);
            drawn = Some(self.session.step(&[id], &[Source::Token(id)], true, read)?);
        };
        self.answer.decode = start.elapsed();
        tracing::debug!(
            tokens = self.answer.tokens.len(),
            finish = ?self.answer.finish,
            time = ?self.answer.decode,
            "decode"
        );
        Ok(self.answer)
    }

    /// How the token at `position` is drawn.
    fn draw<'a>(history: &'a History, params: &'a SamplingParams, position: usize) -> Draw<'a> {
        Draw {
            alternatives: params.logprobs,
            ..Draw::new(&params.sampling, history, position as u64)
        }
    }

    /// Notes a token and says whether the answer ends with it.
    fn take(
        &mut self,
        token: Token,
        room: usize,
        listener: &mut Listener<'_>,
    ) -> Result<Option<Finish>, Error> {
        let id = token.id;
        let checkpoint = self.session.engine.model().checkpoint();
        let tokenizer = checkpoint.tokenizer();
        let ends = (checkpoint.end_tokens().contains(&id) && !self.params.ignore_eos)
            || self.params.stop_token_ids.contains(&id);
        self.history.push(id);
        // Rows of the vocabulary that the tokenizer does not know have no text.
        let silent = ends || tokenizer.is_special(id) || tokenizer.id_to_token(id).is_none();
        let mut pieces = match silent {
            true => Vec::new(),
            false => self.text.push(&tokenizer.token_bytes(id)?),
        };
        let count = self.answer.tokens.len() + 1;
        let finish = match () {
            () if ends || self.text.stopped() => Some(Finish::Stop),
            () if count >= room => Some(Finish::Length),
            () => None,
        };
        if finish.is_some() {
            pieces.extend(self.text.finish());
        }
        let flow = listener(Event::Token {
            token: &token,
            pieces: &pieces,
        });
        self.answer.tokens.push(token);
        let cancelled = finish.is_none() && flow.is_break();
        if cancelled {
            pieces.extend(self.text.cancel());
        }
        for piece in &pieces {
            match piece.reasoning {
                true => self.answer.reasoning.push_str(&piece.text),
                false => self.answer.text.push_str(&piece.text),
            }
        }
        Ok(finish.or(cancelled.then_some(Finish::Cancelled)))
    }
}

/// One token from logits `[1, vocab]`.
fn draw_token(cx: &Context, logits: View<'_>, draw: Draw<'_>) -> Result<Token, Error> {
    let Sampled {
        token,
        logprob,
        alternatives,
    } = sample(cx, logits, &[draw])?.pop().unwrap_or_default();
    Ok(Token {
        id: token,
        logprob,
        top: alternatives,
    })
}
