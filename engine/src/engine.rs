//! A model at work on a device.

use crate::error::Error;
use crate::kv::PagePool;
use crate::model::{Model, SAMPLES_PER_TOKEN};
use crate::observe::{Observer, Stage, Stopwatch};
use crate::plan::{MemoryPlan, load};
use crate::runner::Runner;
use crate::session::Session;
use gamut_frontend::{Audio, Options as AudioOptions, Source as AudioSource};
use gamut_kernels::{Context, DType, Device, DeviceChoice, Host, PAGE, Tensor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Positions beside the audio's that a context holds unless asked otherwise.
const DEFAULT_TEXT_TOKENS: usize = 4096;

/// How an engine is set up.
#[derive(Clone, Debug, Default)]
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
}

/// A model on a device, with the memory that it works in. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    model: Arc<Model>,
    device: Device,
    /// For audio, and for the host's part of a step.
    host: Arc<Host>,
    plan: MemoryPlan,
    pool: Arc<PagePool>,
    runner: Mutex<Runner>,
}

/// A song that the model has heard. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Song {
    inner: Arc<SongInner>,
}

#[derive(Debug)]
struct SongInner {
    embeddings: Tensor,
    seconds: f64,
    times: Vec<(Stage, Duration)>,
}

impl Song {
    /// A song of no tokens, for timing the decoder alone.
    pub(crate) fn silent(engine: &Engine) -> Result<Song, Error> {
        let cx = Context::new(&engine.inner.device, 0)?;
        let embeddings = cx.tensor_f32(0, engine.model().config().text.hidden_size)?;
        let inner = SongInner {
            embeddings,
            seconds: 0.0,
            times: Vec::new(),
        };
        Ok(Song {
            inner: Arc::new(inner),
        })
    }

    /// Audio tokens.
    pub fn tokens(&self) -> usize {
        self.inner.embeddings.rows()
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.inner.seconds
    }

    /// How long each stage took.
    pub fn times(&self) -> &[(Stage, Duration)] {
        &self.inner.times
    }

    /// `[N, D]`, among the decoder's embeddings.
    pub(crate) fn embeddings(&self) -> &Tensor {
        &self.inner.embeddings
    }
}

impl Engine {
    /// Opens the device, loads the weights onto it and takes all the memory that the model's work
    /// needs there.
    ///
    /// # Errors
    /// If there is no such device, if the context is longer than the model's positions, or memory or
    /// threads cannot be had.
    pub fn new(model: Arc<Model>, options: &EngineOptions) -> Result<Engine, Error> {
        let host = Arc::new(Host::new(options.threads)?);
        let device = Device::open(options.device, options.dtype, &host)?;
        let plan = MemoryPlan::new(&model, options.max_model_len, device.target())?;
        if let Device::Cuda(cuda) = &device {
            let (needed, free) = (plan.weights + plan.anonymous(), cuda.free_memory()? as u64);
            if needed > free {
                let tokens = plan.max_model_len;
                return Err(Error::DeviceMemory {
                    tokens,
                    needed,
                    free,
                });
            }
        }
        load(&model, &device)?;
        let runner = Runner::new(&model, &device, &plan)?;
        let pages = plan.max_model_len.div_ceil(PAGE);
        tracing::debug!(
            ?device,
            isa = host.isa().name(),
            threads = host.threads(),
            max_model_len = plan.max_model_len,
            anonymous = plan.anonymous(),
            "engine"
        );
        Ok(Engine {
            inner: Arc::new(Inner {
                model,
                device,
                host,
                plan,
                pool: PagePool::new(pages),
                runner: Mutex::new(runner),
            }),
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.inner.model
    }

    /// The memory that was taken.
    pub fn plan(&self) -> &MemoryPlan {
        &self.inner.plan
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    /// Decodes an audio file, or a part of it, to samples. The cap on its length is the model's
    /// unless `options` has a lower one.
    ///
    /// # Errors
    /// If the audio cannot be read, or is too long.
    pub fn load_audio(&self, source: &AudioSource, options: &AudioOptions) -> Result<Audio, Error> {
        let most = self.model().config().max_audio_seconds as f64;
        let options = AudioOptions {
            max_seconds: options.max_seconds.min(most),
            ..options.clone()
        };
        Ok(self
            .inner
            .host
            .install(|| gamut_frontend::load(source, &options))?)
    }

    /// Lets the model hear `samples` of 16 kHz mono.
    ///
    /// # Errors
    /// If there are none, more than the model takes, or one that is not finite.
    pub fn hear(&self, samples: &[f32], observer: &mut dyn Observer) -> Result<Song, Error> {
        let rate = gamut_frontend::SAMPLE_RATE as usize;
        let most = self.model().config().max_audio_seconds;
        let seconds = samples.len() as f64 / rate as f64;
        if samples.is_empty() {
            return Err(Error::EmptyClip);
        }
        if samples.len() > most.saturating_mul(rate) {
            return Err(Error::ClipTooLong { seconds, most });
        }
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Error::NotFinite {
                index,
                value: samples[index],
            });
        }
        let mut watch = Stopwatch::new(observer);
        let inner = &self.inner;
        let embeddings = {
            let runner = self.runner();
            inner.host.install(|| -> Result<Tensor, Error> {
                let projected = inner.model.encode(&runner.cx, samples, &mut watch)?;
                // The song outlives the workspace.
                let bytes = projected.rows() * projected.cols() * projected.dtype().size();
                let own = Context::new(&inner.device, bytes)?;
                Ok(own.copy(projected.view())?)
            })?
        };
        let times = watch.times;
        Ok(Song {
            inner: Arc::new(SongInner {
                embeddings,
                seconds,
                times,
            }),
        })
    }

    /// A conversation about a song.
    pub fn session(&self, song: &Song) -> Session {
        Session::new(self.clone(), song.clone())
    }

    pub(crate) fn pool(&self) -> &Arc<PagePool> {
        &self.inner.pool
    }

    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.inner.host.install(work)
    }

    /// The device, for one step.
    pub(crate) fn runner(&self) -> MutexGuard<'_, Runner> {
        self.inner
            .runner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The context's length: what was asked for, or enough for the longest song and some text.
pub(crate) fn max_model_len(model: &Model, asked: Option<usize>) -> Result<usize, Error> {
    let config = model.config();
    let most = config.text.max_position_embeddings;
    let rate = gamut_frontend::SAMPLE_RATE as usize;
    let audio = (config.max_audio_seconds * rate).div_ceil(SAMPLES_PER_TOKEN);
    match asked {
        Some(asked) if asked == 0 || asked > most => Err(Error::ContextTooLong { asked, most }),
        Some(asked) => Ok(asked),
        None => Ok(most.min(audio + DEFAULT_TEXT_TOKENS)),
    }
}
