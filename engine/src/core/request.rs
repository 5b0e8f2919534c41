//! A request, from its coming to its end.

use crate::constraint::Guide;
use crate::error::Error;
use crate::event::{Event, Token, Usage};
use crate::input::AudioInput;
use crate::mailbox::Mailbox;
use crate::prefix::{Key, PageAudio};
use crate::sampling::SamplingParams;
use crate::sync::Arc;
use gamut_kernels::PAGE;
use std::fmt;
use std::time::{Duration, Instant};

/// A request as it comes, checked as far as that is possible without its audio.
#[derive(Debug)]
pub(crate) struct Submission {
    /// Whose it is.
    pub(crate) client: String,
    pub(crate) priority: i32,
    pub(crate) prompt: Unexpanded,
    pub(crate) params: SamplingParams,
    /// The parameters' constraint.
    pub(crate) guide: Option<Guide>,
    pub(crate) task: Task,
    pub(crate) came: Instant,
}

/// Token ids, with one placeholder for each audio.
#[derive(Debug, Default)]
pub(crate) struct Unexpanded {
    pub(crate) ids: Vec<u32>,
    /// The placeholder, of a model that hears.
    pub(crate) placeholder: Option<u32>,
    /// The audio in the order of its placeholders.
    pub(crate) audio: Vec<AudioInput>,
    /// Whether the assistant's turn opens inside a thought.
    pub(crate) thinking: bool,
}

/// What is wanted, and who is told.
#[derive(Debug)]
pub(crate) enum Task {
    /// Answers.
    Generate(Arc<Reader>),
    /// The log-probabilities of the prompt's tokens behind the first `given`, counted before
    /// placeholders are expanded.
    Score { given: usize, reader: Arc<Reader> },
    /// That the audio is heard. The reader is told of progress alone.
    Hear { reader: Arc<Reader>, told: Told },
}

/// Who is told that some audio is heard, and has to let it go then.
pub(crate) struct Told(Box<dyn Fn(Result<Heard, Error>) + Send>);

impl Told {
    pub(crate) fn new(told: impl Fn(Result<Heard, Error>) + Send + 'static) -> Told {
        Told(Box::new(told))
    }

    pub(super) fn tell(&self, result: Result<Heard, Error>) {
        (self.0)(result);
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Task {
    /// Who is told of events.
    fn reader(&self) -> &Arc<Reader> {
        match self {
            Task::Generate(reader) | Task::Score { reader, .. } | Task::Hear { reader, .. } => {
                reader
            }
        }
    }
}

impl Drop for Task {
    /// However a request comes to its end, its reader learns of it.
    fn drop(&mut self) {
        self.reader().put(Err(Error::Panicked));
        self.reader().end();
    }
}

/// The mailbox of a request.
pub(crate) type Reader = Mailbox<Result<Event, Error>>;

/// Audio in the pool, pinned.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) clip: Clip,
    pub(crate) usage: Usage,
}

/// Audio by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clip {
    pub(crate) key: Key,
    pub(crate) samples: usize,
}

/// A prompt as the decoder reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompt {
    /// Token ids, the placeholder repeated for every token of audio.
    pub(crate) tokens: Vec<u32>,
    pub(crate) audio: Vec<Span>,
    pub(crate) thinking: bool,
}

/// Audio in a prompt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) clip: Key,
    /// Its first position.
    pub(crate) start: usize,
    pub(crate) rows: usize,
}

impl Unexpanded {
    /// The prompt with `rows` tokens of audio in place of each placeholder.
    pub(crate) fn expand(&self, clips: &[(Key, usize)]) -> Prompt {
        let mut prompt = Prompt {
            thinking: self.thinking,
            ..Prompt::default()
        };
        let mut clips = clips.iter();
        for id in &self.ids {
            match clips.as_slice().first() {
                Some((clip, rows)) if Some(*id) == self.placeholder => {
                    clips.next();
                    let (start, rows) = (prompt.tokens.len(), *rows);
                    prompt.audio.push(Span {
                        clip: *clip,
                        start,
                        rows,
                    });
                    prompt.tokens.extend(std::iter::repeat_n(*id, rows));
                }
                _ => prompt.tokens.push(*id),
            }
        }
        prompt
    }
}

impl Prompt {
    /// Tokens of audio.
    pub(crate) fn audio_tokens(&self) -> usize {
        self.audio.iter().map(|span| span.rows).sum()
    }

    /// The audio at a position: which, and which of its rows.
    pub(crate) fn audio_at(&self, position: usize) -> Option<(&Key, usize)> {
        let span = self
            .audio
            .iter()
            .find(|span| span.positions().contains(&position))?;
        Some((&span.clip, position - span.start))
    }

    /// The contents of the whole pages of the first `len` positions.
    pub(crate) fn keys(&self, len: usize) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::with_capacity(len / PAGE);
        for page in 0..len / PAGE {
            let here = page * PAGE..(page + 1) * PAGE;
            let audio = self.audio.iter().filter_map(|span| {
                let positions = span.positions();
                let start = positions.start.max(here.start);
                let end = positions.end.min(here.end);
                (start < end).then(|| PageAudio {
                    clip: &span.clip,
                    at: start - here.start,
                    row: start - span.start,
                    rows: end - start,
                })
            });
            keys.push(Key::page(keys.last(), &self.tokens[here.clone()], audio));
        }
        keys
    }
}

impl Span {
    pub(crate) fn positions(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.rows
    }
}

/// What the engine keeps of a request.
#[derive(Debug)]
pub(super) struct Request {
    /// Tells it from others that had its number.
    pub(super) id: u64,
    pub(super) unexpanded: Unexpanded,
    pub(super) params: SamplingParams,
    pub(super) guide: Option<Guide>,
    pub(super) task: Task,
    /// Empty until the audio is known.
    pub(super) prompt: Prompt,
    /// The audio, once it is known.
    pub(super) clips: Vec<Clip>,
    /// Whether the scheduler knows the prompt.
    pub(super) started: bool,
    /// Most tokens of an answer, as far as the context has room.
    pub(super) max_tokens: usize,
    /// The first token of the prompt whose log-probability is wanted.
    pub(super) score_from: Option<usize>,
    /// The prompt's tokens from there on, with their log-probabilities.
    scores: Vec<Token>,
    /// The answers that have ended.
    pub(super) ended: Vec<usize>,
    pub(super) came: Instant,
    /// When it got its memory.
    pub(super) began: Option<Instant>,
    pub(super) ended_prompt: Option<Instant>,
    /// What has been taken before the answers.
    pub(super) usage: Usage,
}

impl Request {
    pub(super) fn new(id: u64, submission: Submission) -> Request {
        Request {
            id,
            unexpanded: submission.prompt,
            params: submission.params,
            guide: submission.guide,
            task: submission.task,
            prompt: Prompt::default(),
            clips: Vec::new(),
            started: false,
            max_tokens: 0,
            score_from: None,
            scores: Vec::new(),
            ended: Vec::new(),
            came: submission.came,
            began: None,
            ended_prompt: None,
            usage: Usage::default(),
        }
    }

    /// Who is told of events.
    pub(super) fn reader(&self) -> &Arc<Reader> {
        self.task.reader()
    }

    pub(super) fn tell(&self, event: Event) {
        self.reader().put(Ok(event));
    }

    /// Tells of progress, unless the reader has yet to read of much.
    pub(super) fn tell_progress(&self, event: Event) {
        if !self.reader().is_full() {
            self.tell(event);
        }
    }

    /// Ends it with an error.
    pub(super) fn fail(self, error: Error) {
        match &self.task {
            Task::Hear { told, .. } => told.tell(Err(error)),
            Task::Generate(reader) | Task::Score { reader, .. } => reader.put(Err(error)),
        }
        self.reader().end();
    }

    /// Whether whoever asked wants no more.
    pub(super) fn is_stopped(&self) -> bool {
        self.reader().is_stopped()
    }

    /// Notes that it got its memory, with so many tokens in the cache.
    pub(super) fn begin(&mut self, cached: usize, now: Instant) {
        self.began = Some(now);
        self.usage.cached_tokens = cached;
        self.usage.queued = now - self.came;
    }

    /// Positions of the prompt that are computed: of one that is only scored, the last token's are
    /// of no use.
    pub(super) fn computed_tokens(&self) -> usize {
        let scored = matches!(self.task, Task::Score { .. });
        self.prompt.tokens.len() - usize::from(scored)
    }

    /// Takes the log-probability of the prompt's token at a position; perhaps again.
    pub(super) fn score(&mut self, position: usize, token: Token) {
        if let Some(at) = position.checked_sub(self.score_from.unwrap_or(position)) {
            self.scores.truncate(at);
            self.scores.push(token);
        }
    }

    /// Tells the log-probabilities of the prompt, if they were asked for.
    pub(super) fn tell_scores(&mut self) {
        if let Some(from) = self.score_from {
            let tokens = std::mem::take(&mut self.scores);
            self.tell(Event::Prompt { from, tokens });
        }
    }

    /// The answers that have not ended.
    pub(super) fn open_samples(&self) -> Vec<usize> {
        let all = 0..self.params.n;
        all.filter(|sample| !self.ended.contains(sample)).collect()
    }

    /// Adds the time of a stage.
    pub(super) fn add_stage(&mut self, stage: crate::observe::Stage, time: Duration) {
        match self.usage.stages.last_mut() {
            Some((last, sum)) if *last == stage => *sum += time,
            _ => self.usage.stages.push((stage, time)),
        }
    }
}
