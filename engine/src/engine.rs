//! A model at work on a device, for any number of requests at a time.

use crate::core::request::{Clip, Heard, Reader, Submission, Task, Told, Unexpanded};
use crate::device::DeviceRunner;
use crate::error::{Error, SubmitError};
use crate::event::{Event, Phase, Usage};
use crate::generation::{Completion, Generation};
use crate::input::{AudioInput, Request};
use crate::mailbox::{Bell, Mailbox};
use crate::model::Model;
use crate::plan::MemoryPlan;
use crate::sampling::SamplingParams;
use crate::session::Session;
use crate::worker::{self, Command, Shared};
use gamut_frontend::Audio;
use gamut_kernels::{DType, Device, DeviceChoice, Host};
use gamut_loader::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How an engine is set up. Names follow vLLM.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Type of weights and activations on a GPU; by default bf16. The host computes in f32.
    pub dtype: Option<DType>,
    /// Threads of the host; 0 takes one a core.
    pub threads: usize,
    /// Longest sequence in tokens, the audio's included. By default the longest song that the
    /// model takes and 4,096 tokens of text, within the model's positions.
    pub max_model_len: Option<usize>,
    /// Sequences that run at a time.
    pub max_num_seqs: usize,
    /// Rows of a step: what prompts may add to the tokens being generated. More makes prompts faster
    /// and the steps of others, while a prompt is computed, longer.
    pub max_num_batched_tokens: usize,
    /// Tokens whose keys and values are kept. By default as many as fit on a GPU, and on the host
    /// two of the longest contexts.
    pub kv_cache_tokens: Option<usize>,
    /// Songs of the longest kind that there is room for: those that are kept, and the audio of a
    /// prompt beside them.
    pub max_songs: usize,
    /// Requests that may wait to be run.
    pub max_queued: usize,
    /// Events that are kept for a reader before its request pauses.
    pub event_buffer: usize,
}

impl EngineOptions {
    /// Rows of a step unless asked otherwise.
    pub const MAX_NUM_BATCHED_TOKENS: usize = 512;
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions {
            device: DeviceChoice::default(),
            dtype: None,
            threads: 0,
            max_model_len: None,
            max_num_seqs: 64,
            max_num_batched_tokens: EngineOptions::MAX_NUM_BATCHED_TOKENS,
            kv_cache_tokens: None,
            max_songs: 4,
            max_queued: 1024,
            event_buffer: 256,
        }
    }
}

/// A model at work on a device. Cloning shares it. It runs on threads of its own, which end soon
/// after the last clone and the last [`Generation`] are dropped.
#[derive(Clone, Debug)]
pub struct Engine {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    model: RwLock<Arc<Model>>,
    device: Device,
    host: Arc<Host>,
    plan: MemoryPlan,
    event_buffer: usize,
    ids: AtomicU64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// A song that the model has heard, whose audio stays in the engine's memory until the last clone is
/// dropped.
#[derive(Clone, Debug)]
pub struct Song {
    inner: Arc<SongInner>,
}

#[derive(Debug)]
struct SongInner {
    shared: Arc<Shared>,
    source: AudioInput,
    clip: Clip,
    usage: Usage,
}

impl Drop for SongInner {
    fn drop(&mut self) {
        self.shared.send(Command::LetGo(self.clip.key));
    }
}

impl Song {
    /// Audio tokens.
    pub fn tokens(&self) -> usize {
        self.inner.usage.audio_tokens
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.inner.usage.audio_seconds
    }

    /// What it took to load and hear it.
    pub fn usage(&self) -> &Usage {
        &self.inner.usage
    }

    pub(crate) fn clip(&self) -> Clip {
        self.inner.clip
    }

    /// Where it came from.
    pub(crate) fn source(&self) -> &AudioInput {
        &self.inner.source
    }
}

/// What an engine is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sequences that run.
    pub running: usize,
    /// Requests and preempted sequences that wait.
    pub waiting: usize,
    /// Pages of keys and values in use by running sequences.
    pub pages_used: usize,
    /// Pages whose content may be found again.
    pub pages_cached: usize,
    /// All pages.
    pub pages: usize,
    /// Blocks of audio in the pool.
    pub audio_blocks_used: usize,
    /// All blocks of the pool.
    pub audio_blocks: usize,
    /// How often a sequence lost its pages to another.
    pub preemptions: u64,
    /// Steps of the decoder so far.
    pub steps: u64,
    /// Tokens generated so far.
    pub generated_tokens: u64,
    /// Tokens of prompts computed so far.
    pub prompt_tokens: u64,
    /// Tokens of prompts found in the cache so far.
    pub cached_tokens: u64,
    /// Time of steps and of hearing so far, with all that the engine does between those that follow
    /// each other without a rest.
    pub step_time: Duration,
    /// The part of it in which the device had work: the host while it computes, a GPU from the
    /// beginning of a step's launch until its tokens are there, since the engine schedules the next
    /// step meanwhile. The rest is what the engine adds to the steps.
    pub device_time: Duration,
}

impl Engine {
    /// Opens the device, loads the weights onto it and takes all the memory that the model's work
    /// needs there.
    ///
    /// # Errors
    /// If there is no such device, an option is out of its range, or memory or threads cannot be
    /// had.
    pub fn new(model: Arc<Model>, options: &EngineOptions) -> Result<Engine, Error> {
        let host = Arc::new(Host::new(options.threads)?);
        let device = Device::open(options.device, options.dtype, &host)?;
        let free = match &device {
            Device::Cuda(cuda) => Some(cuda.free_memory()? as u64),
            Device::Host(_) => None,
        };
        let plan = MemoryPlan::new(&model, options, device.target(), free)?;
        if let Some(free) = free {
            let needed = plan.total();
            if needed > free {
                let tokens = plan.kv_tokens();
                return Err(Error::DeviceMemory {
                    tokens,
                    needed,
                    free,
                });
            }
        }
        let runner = DeviceRunner::new(model.clone(), &device, host.clone(), &plan)?;
        tracing::debug!(
            ?device,
            isa = host.isa().name(),
            threads = host.threads(),
            max_model_len = plan.max_model_len,
            anonymous = plan.anonymous(),
            "engine"
        );
        let limits = plan.limits(options.max_queued);
        let shared = Arc::new(Shared::new(options.max_queued));
        worker::spawn(&shared, runner, &model, &host, limits, plan.max_model_len)?;
        Ok(Engine {
            handle: Arc::new(Handle {
                shared,
                model: RwLock::new(model),
                device,
                host,
                plan,
                event_buffer: options.event_buffer,
                ids: AtomicU64::new(0),
            }),
        })
    }

    /// The model.
    pub fn model(&self) -> Arc<Model> {
        let model = self.handle.model.read();
        model.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The memory that was taken.
    pub fn plan(&self) -> &MemoryPlan {
        &self.handle.plan
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.handle.device
    }

    /// Threads of the host: on it all of the work, beside a GPU decoding of audio alone.
    pub fn threads(&self) -> usize {
        self.handle.host.threads()
    }

    /// What the engine is doing, as of its last step.
    pub fn stats(&self) -> Stats {
        self.handle.shared.stats()
    }

    /// Takes a request. Its events come from the returned [`Generation`].
    ///
    /// # Errors
    /// If the engine has too much to do or is shut down, or the request cannot be understood. What
    /// shows only later, such as a file that is no audio, is the generation's error.
    pub fn submit(&self, request: Request) -> Result<Generation, SubmitError> {
        let model = self.model();
        request
            .params
            .check(model.config().text.vocab_size, self.plan().max_num_seqs)?;
        let prompt = Unexpanded::new(&model, &request.input, request.audio)?;
        let answers = request.params.n;
        self.send(
            prompt,
            request.params,
            (request.client, request.priority),
            answers,
            Task::Generate,
        )
    }

    /// The log-probabilities of each continuation after the same prompt, each continuation's in
    /// [`Completion::prompt`]. What the prompts share is computed once.
    ///
    /// # Errors
    /// If the request cannot be understood, a continuation has no tokens, or the engine has too much
    /// to do or is shut down.
    pub fn score(
        &self,
        request: &Request,
        continuations: &[Continuation],
    ) -> Result<Vec<Completion>, Error> {
        let model = self.model();
        let vocabulary = model.config().text.vocab_size;
        request.params.check(vocabulary, self.plan().max_num_seqs)?;
        let mut generations = Vec::with_capacity(continuations.len());
        for continuation in continuations {
            let mut prompt = Unexpanded::new(&model, &request.input, request.audio.clone())?;
            let given = prompt.ids.len();
            let more = match continuation {
                Continuation::Text(text) => model.checkpoint().tokenizer().encode(text)?,
                Continuation::Tokens(tokens) => tokens.clone(),
            };
            if more.is_empty() {
                return Err(Error::EmptyPrompt);
            }
            if let Some(id) = more.iter().find(|id| **id as usize >= vocabulary) {
                let (name, found) = ("token of a continuation", *id as usize);
                let most = vocabulary - 1;
                return Err(Error::Parameter { name, found, most });
            }
            prompt.ids.extend(more);
            let params = SamplingParams {
                n: 1,
                constraint: None,
                ..request.params.clone()
            };
            let whose = (request.client.clone(), request.priority);
            let score = |reader| Task::Score { given, reader };
            generations.push(self.send(prompt, params, whose, 1, score)?);
        }
        generations.into_iter().map(Generation::wait).collect()
    }

    fn send(
        &self,
        prompt: Unexpanded,
        params: SamplingParams,
        (client, priority): (String, i32),
        answers: usize,
        task: impl FnOnce(Arc<Reader>) -> Task,
    ) -> Result<Generation, SubmitError> {
        let constraint = params.constraint.as_ref();
        let guide = constraint.map(|constraint| self.model().compile(constraint));
        let guide = guide.transpose()?;
        let bell: Arc<Bell> = self.handle.shared.bell().clone();
        // In one step each answer may have a token and its end, and so may those of a step that is
        // under way when the mailbox is found full.
        let reader = Arc::new(Mailbox::new(
            self.handle.event_buffer.max(1),
            4 * answers + 8,
            bell,
        ));
        let id = self.handle.ids.fetch_add(1, Ordering::Relaxed);
        self.handle.shared.submit(Submission {
            client,
            priority,
            prompt,
            guide,
            params,
            task: task(reader.clone()),
            came: Instant::now(),
        })?;
        Ok(Generation::new(reader, id))
    }

    /// Lets the model hear some audio, and keeps it in memory for requests to come.
    ///
    /// # Errors
    /// If the audio cannot be read or is too long, the engine keeps too many songs or has too much to
    /// do, or is shut down.
    pub fn load_audio(&self, audio: impl Into<AudioInput>) -> Result<Song, Error> {
        self.load_audio_with(audio, &mut |_, _, _| ())
    }

    /// As [`Engine::load_audio`], and tells how much of which work is done, of how much.
    ///
    /// # Errors
    /// As [`Engine::load_audio`].
    pub fn load_audio_with(
        &self,
        audio: impl Into<AudioInput>,
        progress: &mut dyn FnMut(Phase, usize, usize),
    ) -> Result<Song, Error> {
        let source = audio.into();
        if let AudioInput::Song(song) = source {
            return Ok(song);
        }
        let placeholder = self.model().audio()?.token;
        let prompt = Unexpanded {
            ids: vec![placeholder],
            placeholder: Some(placeholder),
            audio: vec![source.clone()],
            thinking: false,
        };
        let (sender, receiver) = sync_channel(1);
        let shared = self.handle.shared.clone();
        let song = move |Heard { clip, usage }| Song {
            inner: Arc::new(SongInner {
                shared: shared.clone(),
                source: source.clone(),
                clip,
                usage,
            }),
        };
        // If whoever asked is gone, the song is dropped, and so let go.
        let told = Told::new(move |heard| drop(sender.try_send(heard.map(&song))));
        let hear = |reader| Task::Hear { reader, told };
        let whose = (String::new(), 0);
        let generation = self.send(prompt, SamplingParams::default(), whose, 1, hear)?;
        for event in generation.blocking() {
            if let Event::Progress { phase, done, total } = event? {
                progress(phase, done, total);
            }
        }
        receiver.recv().unwrap_or(Err(Error::ShutDown))
    }

    /// Decodes an audio file on the engine's threads, without hearing it.
    ///
    /// # Errors
    /// As [`Model::decode_audio`].
    pub fn decode_audio(&self, audio: &AudioInput) -> Result<Audio, Error> {
        let model = self.model();
        self.handle.host.install(|| model.decode_audio(audio))
    }

    /// A conversation. Audio that it [hears](Session::hear) stays in memory if it is a [`Song`]; else
    /// it may have to be heard again if the conversation rests while others need the room.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    /// Takes the weights of another checkpoint of the same sizes, with its tokenizer and template.
    /// Requests that have begun are finished with the weights that they began with, and those that
    /// wait begin with the new ones; nothing that was cached is used again. So a request that has
    /// begun and that nobody reads holds all others up meanwhile. On a GPU there is never memory for
    /// both.
    ///
    /// # Errors
    /// If the checkpoint cannot be opened or has other sizes, the device fails, or the engine is shut
    /// down. The engine then goes on with the weights that it had.
    pub fn update_weights(
        &self,
        dir: impl AsRef<Path>,
        options: &OpenOptions,
    ) -> Result<(), Error> {
        let model = Arc::new(Model::open(dir, options)?);
        if model.config() != self.model().config() {
            return Err(Error::OtherModel);
        }
        let (sender, receiver) = sync_channel(1);
        self.handle.shared.update(model.clone(), sender)?;
        receiver.recv().unwrap_or(Err(Error::ShutDown))?;
        let mut current = self
            .handle
            .model
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = model;
        Ok(())
    }

    /// Takes no more requests, and waits until those that are there have ended, or `deadline` has
    /// passed; those that are left then end with [`Error::ShutDown`]. Whether all had ended.
    pub fn shutdown(&self, deadline: Duration) -> bool {
        self.handle.shared.shutdown(deadline)
    }
}

/// What may follow a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Continuation {
    /// Text, tokenized on its own.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
}
