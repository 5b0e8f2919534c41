//! Audio on its way into the engine.

use super::request::{Clip, Request, Task, Unexpanded};
use super::{Core, Runner};
use crate::error::Error;
use crate::event::{Event, Phase};
use crate::input::AudioInput;
use crate::prefix::Key;
use crate::scheduler::{Prompt, Scheduler, State};
use crate::sync::Arc;
use std::time::Duration;

/// Clips that are read before they can be heard.
const AHEAD: usize = 4;

/// Audio to be read, outside of the engine's thread.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) ticket: Ticket,
    pub(crate) audio: Vec<AudioInput>,
    /// Whether the samples are wanted even if the content is known.
    pub(crate) samples: bool,
}

/// Whose audio it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(super) job: usize,
    request: u64,
    /// The clip whose samples the engine has lost.
    lost: Option<Key>,
}

/// Audio that was read.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) clip: Clip,
    /// None if they were not wanted and the content is known.
    pub(crate) samples: Option<Arc<[f32]>>,
    /// Reading and decoding.
    pub(crate) time: Duration,
}

impl<R: Runner> Core<R> {
    /// The audio to be read next; [`Core::loaded`] brings it.
    pub(crate) fn next_load(&mut self) -> Option<Load> {
        let many = |this: &Self| this.loading + this.samples.len() >= AHEAD;
        if many(self) {
            // Readers may be slow for as long as they like.
            self.drop_samples(Scheduler::awaits_clip);
        }
        if many(self) {
            return None;
        }
        let (job, lost) = self.scheduler.next_load()?;
        let request = self.requests.get(&job)?;
        self.loading += 1;
        Some(Load {
            ticket: Ticket {
                job,
                request: request.id,
                lost,
            },
            audio: request.unexpanded.audio.clone(),
            samples: lost.is_some(),
        })
    }

    /// Whether the content of some audio is known, so that its samples may not be needed.
    #[cfg(test)]
    pub(crate) fn knows(&self, clip: &Key) -> bool {
        self.scheduler.clip_state(clip).is_some()
    }

    /// Brings the audio of a load.
    pub(crate) fn loaded(&mut self, ticket: Ticket, result: Result<Vec<Loaded>, Error>) {
        self.loading -= 1;
        if let Some(lost) = ticket.lost
            && self.scheduler.clip_state(&lost) == Some(State::Loading)
        {
            self.scheduler.lose_clip(&lost);
        }
        let job = ticket.job;
        let Some(request) = self.requests.get_mut(&job) else {
            return;
        };
        if request.id != ticket.request {
            return;
        }
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(error) => return self.fail(job, error),
        };
        let clips: Vec<Clip> = loaded.iter().map(|loaded| loaded.clip).collect();
        if request.started && request.clips != clips {
            return self.fail(job, Error::AudioChanged);
        }
        request.usage.load += loaded.iter().map(|loaded| loaded.time).sum::<Duration>();
        request.tell_progress(Event::Progress {
            phase: Phase::Load,
            done: 1,
            total: 1,
        });
        let started = request.started;
        for Loaded { clip, samples, .. } in loaded {
            let (rows, units) = (
                self.runner.rows(clip.samples),
                self.runner.units(clip.samples),
            );
            let loaded = samples.is_some();
            self.scheduler.know_clip(clip.key, rows, units, loaded);
            if self.scheduler.clip_state(&clip.key) == Some(State::Loaded)
                && let Some(samples) = samples
            {
                self.samples.insert(clip.key, samples);
            }
        }
        if !started {
            self.begin(job, clips);
        }
    }

    /// Gives a request whose audio is known to the scheduler.
    pub(super) fn begin(&mut self, job: usize, clips: Vec<Clip>) {
        let Some(request) = self.requests.get_mut(&job) else {
            return;
        };
        let rows = |clip: &Clip| (clip.key, self.runner.rows(clip.samples));
        let expanded: Vec<(Key, usize)> = clips.iter().map(rows).collect();
        let started = request.start(clips, &expanded, self.max_model_len);
        let started = started.and_then(|prompt| {
            let clips = prompt.audio.iter().map(|(clip, _)| clip);
            match self.has_room(clips.clone()) {
                true => Ok(prompt),
                false => Err(Error::NoRoomForAudio {
                    clips: clips.count(),
                    kept: self.songs.len(),
                }),
            }
        });
        match started {
            Ok(prompt) => self.scheduler.start(job, prompt),
            Err(error) => self.fail(job, error),
        }
    }
}

impl Request {
    /// Expands the prompt, and says what the scheduler needs to know of it.
    fn start(
        &mut self,
        clips: Vec<Clip>,
        expanded: &[(Key, usize)],
        most: usize,
    ) -> Result<Prompt, Error> {
        self.started = true;
        let samples: usize = clips.iter().map(|clip| clip.samples).sum();
        self.clips = clips;
        self.usage.audio_seconds = samples as f64 / f64::from(gamut_frontend::SAMPLE_RATE);
        self.prompt = self.unexpanded.expand(expanded);
        let (tokens, audio) = (self.prompt.tokens.len(), self.prompt.audio_tokens());
        self.usage.prompt_tokens = tokens;
        self.usage.audio_tokens = audio;
        let spans = self.prompt.audio.iter();
        let spans = spans
            .map(|span| (span.clip, span.start + span.rows))
            .collect();
        let mut prompt = Prompt {
            audio: spans,
            ..Prompt::default()
        };
        if matches!(self.task, Task::Hear { .. }) {
            // No position is computed.
            return Ok(prompt);
        }
        if tokens >= most {
            return Err(Error::PromptTooLong {
                tokens,
                audio,
                most,
            });
        }
        self.score_from = match self.task {
            Task::Score { given, .. } => Some(self.unexpanded.expanded(expanded, given)),
            _ => self.params.prompt_logprobs.map(|_| 1),
        };
        prompt.tokens = self.computed_tokens();
        prompt.wanted = self.score_from.unwrap_or(prompt.tokens).min(prompt.tokens) - 1;
        prompt.keys = self.prompt.keys(prompt.tokens);
        if let Task::Generate(_) = self.task {
            prompt.max_tokens = self.params.max_tokens.min(most - tokens);
        }
        self.max_tokens = prompt.max_tokens;
        Ok(prompt)
    }
}

impl Unexpanded {
    /// The position after expansion of what is at `position` before it.
    fn expanded(&self, clips: &[(Key, usize)], position: usize) -> usize {
        let before = self.ids.iter().take(position);
        let placeholders = before.filter(|id| Some(**id) == self.placeholder).count();
        let clips = &clips[..placeholders.min(clips.len())];
        position + clips.iter().map(|(_, rows)| rows).sum::<usize>() - clips.len()
    }
}
