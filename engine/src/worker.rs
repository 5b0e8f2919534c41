//! The engine's threads: one that works, and one that reads audio for it.

use crate::core::request::{Clip, Submission};
use crate::core::{Core, Load, Loaded, Ticket, Update, Vocabulary};
use crate::device::DeviceRunner;
use crate::engine::Stats;
use crate::error::{Error, SubmitError};
use crate::input::{AudioInput, load_file};
use crate::mailbox::Bell;
use crate::model::Model;
use crate::plan::longest_clip;
use crate::prefix::Key;
use crate::scheduler::Limits;
use gamut_kernels::{Device, Host};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Clips whose lengths are kept.
const MOST_KNOWN: usize = 4096;

/// What handles and threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    bell: Arc<Bell>,
    inside: Mutex<Inside>,
    /// The working thread has ended.
    ended: Condvar,
    max_queued: usize,
    /// Samples of the clips that the engine knows.
    known: Mutex<HashMap<Key, usize>>,
}

#[derive(Debug, Default)]
struct Inside {
    commands: VecDeque<Command>,
    /// Requests among the commands.
    submitted: usize,
    stats: Stats,
    /// No more requests are taken.
    closed: bool,
    /// Requests are to end.
    aborted: bool,
    ended: bool,
}

/// What the working thread is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// A request.
    Submit(Box<Submission>),
    /// Audio that was read.
    Loaded(Ticket, Result<Vec<Loaded>, Error>),
    /// A song need no longer be kept.
    LetGo(Key),
    /// Other weights.
    Update(Arc<Model>, SyncSender<Result<(), Error>>),
}

impl Shared {
    pub(crate) fn new(max_queued: usize) -> Shared {
        Shared {
            bell: Arc::default(),
            inside: Mutex::default(),
            ended: Condvar::new(),
            max_queued,
            known: Mutex::default(),
        }
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Takes a request, if the queue is not full.
    pub(crate) fn submit(&self, submission: Submission) -> Result<(), SubmitError> {
        let mut inside = self.lock();
        if inside.closed {
            return Err(SubmitError::ShutDown);
        }
        let queued = inside.stats.waiting + inside.submitted;
        if queued >= self.max_queued {
            let most = self.max_queued;
            return Err(SubmitError::Overloaded { queued, most });
        }
        inside.submitted += 1;
        inside
            .commands
            .push_back(Command::Submit(Box::new(submission)));
        drop(inside);
        self.bell.ring();
        Ok(())
    }

    /// Has the weights replaced; `sender` is told.
    pub(crate) fn update(
        &self,
        model: Arc<Model>,
        sender: SyncSender<Result<(), Error>>,
    ) -> Result<(), SubmitError> {
        let mut inside = self.lock();
        if inside.closed {
            return Err(SubmitError::ShutDown);
        }
        inside.commands.push_back(Command::Update(model, sender));
        drop(inside);
        self.bell.ring();
        Ok(())
    }

    pub(crate) fn send(&self, command: Command) {
        self.lock().commands.push_back(command);
        self.bell.ring();
    }

    /// Takes no more requests.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.bell.ring();
    }

    /// See [`Engine::shutdown`](crate::Engine::shutdown).
    pub(crate) fn shutdown(&self, deadline: Duration) -> bool {
        self.close();
        let running = |inside: &mut Inside| !inside.ended;
        let waited = self
            .ended
            .wait_timeout_while(self.lock(), deadline, running);
        let (mut inside, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if !timeout.timed_out() {
            return true;
        }
        inside.aborted = true;
        drop(inside);
        self.bell.ring();
        let ended = self.ended.wait_while(self.lock(), running);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
        false
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, usize>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the threads.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    runner: DeviceRunner,
    model: &Arc<Model>,
    host: &Arc<Host>,
    limits: Limits,
    max_model_len: usize,
) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::Thread {
        reason: e.to_string(),
    };
    let (loads, incoming) = channel();
    let audio = AudioReader {
        shared: shared.clone(),
        host: host.clone(),
        model: model.clone(),
    };
    let device = runner.device().clone();
    let core = Core::new(
        runner,
        limits,
        Box::new(ModelVocabulary(model.clone())),
        (max_model_len, model.audio_tokens(longest_clip(model))),
    );
    let worker = Worker {
        shared: shared.clone(),
        core,
        loads,
        device,
    };
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    thread("gamut-audio")
        .spawn(move || audio.run(&incoming))
        .map_err(failed)?;
    thread("gamut-engine")
        .spawn(move || worker.run())
        .map_err(failed)?;
    Ok(())
}

/// Tokens as the checkpoint's tokenizer has them.
struct ModelVocabulary(Arc<Model>);

impl Vocabulary for ModelVocabulary {
    fn bytes(&self, token: u32) -> Vec<u8> {
        let tokenizer = self.0.checkpoint().tokenizer();
        match tokenizer.is_special(token) {
            true => Vec::new(),
            // Rows of the vocabulary that the tokenizer does not know have no text.
            false => tokenizer.token_bytes(token).unwrap_or_default(),
        }
    }

    fn ends(&self, token: u32) -> bool {
        self.0.checkpoint().end_tokens().contains(&token)
    }
}

/// The working thread.
struct Worker {
    shared: Arc<Shared>,
    core: Core<DeviceRunner>,
    loads: Sender<Load>,
    device: Device,
}

impl Worker {
    fn run(mut self) {
        while self.turn() {}
        // Device memory first: whoever waits for the end may count on it.
        let Worker {
            shared,
            core,
            loads,
            device,
        } = self;
        drop((core, loads));
        // Only then is it free for others.
        if let Err(e) = device.synchronize() {
            tracing::debug!("giving memory back: {e}");
        }
        drop(device);
        shared.lock().ended = true;
        shared.ended.notify_all();
    }

    /// One round of commands and work; false if there will be none any more.
    fn turn(&mut self) -> bool {
        let mut inside = self.shared.lock();
        let mut commands = std::mem::take(&mut inside.commands);
        // Counted as waiting until the next statistics.
        inside.stats.waiting += std::mem::take(&mut inside.submitted);
        let (closed, aborted) = (inside.closed, inside.aborted);
        drop(inside);
        let work = || {
            while let Some(command) = commands.pop_front() {
                self.take(command);
            }
            if aborted {
                self.core.fail_all(|| Error::ShutDown);
            }
            let busy = self.core.tick();
            while let Some(load) = self.core.next_load() {
                // The other thread goes when this one does.
                drop(self.loads.send(load));
            }
            busy
        };
        let busy = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            self.core.fail_all(|| Error::Panicked);
            true
        });
        let mut inside = self.shared.lock();
        inside.stats = self.core.stats();
        // After a panic some are left.
        commands.append(&mut inside.commands);
        inside.commands = commands;
        let more = !inside.commands.is_empty();
        drop(inside);
        if closed && self.core.is_idle() && !more {
            return false;
        }
        if !busy && !more {
            self.shared.bell.wait();
        }
        true
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(submission) => self.core.submit(*submission),
            Command::Loaded(ticket, result) => {
                if let Ok(loaded) = &result {
                    let mut known = self.shared.known();
                    if known.len() >= MOST_KNOWN {
                        known.clear();
                    }
                    known.extend(loaded.iter().map(|l| (l.clip.key, l.clip.samples)));
                }
                self.core.loaded(ticket, result);
            }
            Command::LetGo(clip) => self.core.unpin(&clip),
            Command::Update(model, sender) => {
                let vocabulary = Box::new(ModelVocabulary(model.clone()));
                self.core.update(Update {
                    model,
                    vocabulary,
                    sender,
                });
            }
        }
    }
}

/// The thread that reads audio.
struct AudioReader {
    shared: Arc<Shared>,
    host: Arc<Host>,
    /// A model of the same sizes as the one that the engine has.
    model: Arc<Model>,
}

impl AudioReader {
    fn run(&self, loads: &Receiver<Load>) {
        for load in loads {
            let read = || {
                load.audio
                    .iter()
                    .map(|audio| self.read(audio, load.samples))
                    .collect()
            };
            // Decoders are others' code.
            let result = catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Error::Panicked));
            self.shared.send(Command::Loaded(load.ticket, result));
        }
    }

    /// Reads some audio; its samples only if they are `wanted` or its content is not known.
    fn read(&self, audio: &AudioInput, wanted: bool) -> Result<Loaded, Error> {
        let start = Instant::now();
        let loaded = |clip, samples| Loaded {
            clip,
            samples,
            time: start.elapsed(),
        };
        if let AudioInput::Song(song) = audio {
            return match wanted {
                true => self.read(song.source(), true),
                false => Ok(loaded(song.clip(), None)),
            };
        }
        if let AudioInput::Samples(samples) = audio {
            self.model.check_clip(samples)?;
            let key = Key::of_samples(samples);
            let clip = Clip {
                key,
                samples: samples.len(),
            };
            return Ok(loaded(clip, Some(samples.clone())));
        }
        let Some((source, excerpt)) = audio.source() else {
            return Err(Error::EmptyClip);
        };
        let source = source.reopenable()?;
        let bits = |second: Option<f64>| second.map_or([0xff; 8], f64::to_le_bytes);
        let part = [
            bits(excerpt.from),
            bits(excerpt.to),
            [u8::from(excerpt.truncate); 8],
        ];
        let key = Key::of_source(&source)?.with(part.as_flattened());
        if !wanted && let Some(samples) = self.shared.known().get(&key) {
            let clip = Clip {
                key,
                samples: *samples,
            };
            return Ok(loaded(clip, None));
        }
        let most = self.model.audio()?.max_seconds;
        let decoded = self.host.install(|| load_file(&source, excerpt, most))?;
        self.model.check_clip(&decoded.samples)?;
        let clip = Clip {
            key,
            samples: decoded.samples.len(),
        };
        Ok(loaded(clip, Some(decoded.samples.into())))
    }
}
