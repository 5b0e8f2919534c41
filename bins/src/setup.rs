//! From arguments to an engine that has heard the audio.

use crate::args::{AudioArgs, EngineArgs, SamplingArgs, TalkArgs, TemplateArgs};
use crate::error::Error;
use crate::output;
use crate::progress::Progress;
use gamut_engine::{
    Audio, AudioOptions, AudioSource, DType, Device, Engine, EngineOptions, Model, OpenOptions,
    Sampling, SamplingParams, Session, Song,
};
use gamut_loader::synthetic::{self, SyntheticOptions};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An engine with the time that it took to open.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) load: Duration,
}

/// Where the weights come from.
#[derive(Clone, Copy)]
pub(crate) enum Weights<'a> {
    /// A checkpoint directory.
    Stored(&'a Path),
    /// A config whose model gets random ones.
    Random(&'a Path),
    /// The demo model.
    Demo,
}

impl<'a> From<Option<&'a PathBuf>> for Weights<'a> {
    fn from(model: Option<&'a PathBuf>) -> Weights<'a> {
        model.map_or(Weights::Demo, |dir| Weights::Stored(dir))
    }
}

/// Opens the model.
pub(crate) fn model(weights: Weights<'_>, mmap: bool) -> Result<Model, Error> {
    let open = |dir| Ok(Model::open(dir, &OpenOptions { mmap })?);
    match weights {
        Weights::Stored(dir) => open(dir),
        Weights::Demo => open(&demo_model()?),
        Weights::Random(config) => {
            let config = synthetic::read_config(config).map_err(gamut_engine::Error::from)?;
            Ok(Model::random(&config, 0)?)
        }
    }
}

/// Opens the model and an engine for it.
pub(crate) fn open(weights: Weights<'_>, args: &EngineArgs) -> Result<Opened, Error> {
    let start = Instant::now();
    let model = Arc::new(model(weights, !args.no_mmap)?);
    let options = EngineOptions {
        device: args.device.device.into(),
        dtype: args.device.dtype.map(DType::from),
        threads: args.device.threads,
        max_model_len: args.max_model_len,
    };
    let engine = Engine::new(model, &options)?;
    note_emulation(engine.device());
    Ok(Opened {
        engine,
        load: start.elapsed(),
    })
}

/// Says that what follows is slow, if it is.
pub(crate) fn note_emulation(device: &Device) {
    if device.name() == "virtual" {
        output::note("Emulating a GPU on the CPU: the same kernels, thousands of times slower.\n");
    }
}

/// Where the demo model is kept; writes it there the first time.
fn demo_model() -> Result<PathBuf, Error> {
    output::note(
        "No --model given: using a demo model of random weights. Its words carry no meaning.\n",
    );
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    let parent = cache.join("gamut");
    let dir = parent.join(concat!("demo-", env!("CARGO_PKG_VERSION")));
    if dir.join("config.json").is_file() {
        return Ok(dir);
    }
    let failed = |e: std::io::Error| Error::DemoModel {
        dir: dir.clone(),
        reason: e.to_string(),
    };
    std::fs::create_dir_all(&parent).map_err(failed)?;
    // Written aside and renamed: another process may be doing the same.
    let aside = parent.join(format!("demo-{}.partial", std::process::id()));
    synthetic::write(&aside, &SyntheticOptions::default()).map_err(gamut_engine::Error::from)?;
    if let Err(e) = std::fs::rename(&aside, &dir) {
        std::fs::remove_dir_all(&aside).map_err(failed)?;
        if !dir.join("config.json").is_file() {
            return Err(failed(e));
        }
    }
    Ok(dir)
}

/// Audio, decoded and heard.
pub(crate) struct Heard {
    pub(crate) audio: Audio,
    pub(crate) song: Song,
}

/// A conversation that is ready for its first question.
pub(crate) struct Talk {
    pub(crate) opened: Opened,
    pub(crate) heard: Heard,
    pub(crate) session: Session,
    pub(crate) params: SamplingParams,
    /// Variables of the chat template.
    pub(crate) variables: Map<String, Value>,
}

/// Opens the model, checks the parameters and lets the model hear the audio.
pub(crate) fn talk(args: &TalkArgs) -> Result<Talk, Error> {
    let opened = open(args.model.as_ref().into(), &args.engine)?;
    let engine = &opened.engine;
    let params = sampling(engine, &args.sampling);
    params.check(engine.model().config().text.vocab_size)?;
    let heard = hear(engine, &args.audio)?;
    let mut session = engine.session(&heard.song);
    if let Some(text) = &args.template.system {
        session.system(text);
    }
    let variables = variables(&args.template);
    Ok(Talk {
        opened,
        heard,
        session,
        params,
        variables,
    })
}

/// Decodes the audio and lets the model hear it.
fn hear(engine: &Engine, args: &AudioArgs) -> Result<Heard, Error> {
    let audio = load_audio(engine, args)?;
    let mut progress = Progress::new();
    let song = engine.hear(&audio.samples, &mut progress)?;
    Ok(Heard { audio, song })
}

/// The named file, or standard input for `-`.
pub(crate) fn source(path: &Path) -> Result<AudioSource, Error> {
    match path.as_os_str() == "-" {
        true => Ok(AudioSource::from_stdin().map_err(gamut_engine::Error::from)?),
        false => Ok(AudioSource::Path(path.to_owned())),
    }
}

/// Decodes the audio.
pub(crate) fn load_audio(engine: &Engine, args: &AudioArgs) -> Result<Audio, Error> {
    let source = source(&args.audio)?;
    let options = AudioOptions {
        from: args.from,
        to: args.to,
        truncate: args.truncate,
        max_seconds: f64::INFINITY,
    };
    Ok(engine.load_audio(&source, &options)?)
}

/// The checkpoint's recommendation, with what the arguments say put over it.
fn sampling(engine: &Engine, args: &SamplingArgs) -> SamplingParams {
    let recommended = SamplingParams::recommended(engine.model().checkpoint().generation_config());
    let default = recommended.sampling;
    SamplingParams {
        sampling: Sampling {
            temperature: args.temperature.unwrap_or(default.temperature),
            top_k: args.top_k.unwrap_or(default.top_k),
            top_p: args.top_p.unwrap_or(default.top_p),
            min_p: args.min_p.unwrap_or(default.min_p),
            repetition_penalty: args
                .repetition_penalty
                .unwrap_or(default.repetition_penalty),
            presence_penalty: args.presence_penalty,
            frequency_penalty: args.frequency_penalty,
            logit_bias: args.logit_bias.clone(),
            seed: args.seed,
        },
        max_tokens: args.max_tokens,
        stop: args.stop.clone(),
        stop_token_ids: args.stop_token_id.clone(),
        ignore_eos: args.ignore_eos,
        logprobs: args.logprobs.unwrap_or(0),
    }
}

/// Variables of the chat template.
fn variables(args: &TemplateArgs) -> Map<String, Value> {
    let thinking = args
        .enable_thinking
        .map(|b| ("enable_thinking".to_owned(), b.into()));
    thinking
        .into_iter()
        .chain(args.template_var.iter().cloned())
        .collect()
}
