//! From arguments to an engine that has heard the audio.

use crate::args::{
    AudioArgs, BatchingArgs, EngineArgs, LogprobsArgs, SamplingArgs, TalkArgs, TemplateArgs,
};
use crate::bundled;
use crate::error::Error;
use crate::output;
use crate::progress::Progress;
use gamut_engine::{
    AudioInput, Constraint, DType, Device, Engine, EngineOptions, Excerpt, Model, OpenOptions,
    Sampling, SamplingParams, Session, Song, Variables,
};
use gamut_loader::layout;
use gamut_loader::synthetic::{self, Shape};
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
    /// A shape's name or a config, whose model gets random ones.
    Random(&'a Path),
    /// The bundled model.
    Bundled,
}

impl<'a> From<Option<&'a PathBuf>> for Weights<'a> {
    fn from(model: Option<&'a PathBuf>) -> Weights<'a> {
        model.map_or(Weights::Bundled, |dir| Weights::Stored(dir))
    }
}

/// Opens the model.
pub(crate) fn model(weights: Weights<'_>, mmap: bool) -> Result<Model, Error> {
    let open = |dir| Ok(Model::open(dir, &OpenOptions { mmap })?);
    match weights {
        Weights::Stored(dir) => open(dir),
        Weights::Bundled => open(&bundled::checkpoint()?),
        Weights::Random(config) => {
            let shape = Shape::ALL
                .into_iter()
                .find(|shape| config.as_os_str() == shape.name());
            let config = match shape {
                Some(shape) => shape.config(),
                None => synthetic::read_config(config).map_err(gamut_engine::Error::from)?,
            };
            Ok(Model::random(&config.to_string(), 0)?)
        }
    }
}

/// Opens the model and an engine for one request at a time, about so many songs.
pub(crate) fn open(weights: Weights<'_>, args: &EngineArgs, songs: usize) -> Result<Opened, Error> {
    let options = EngineOptions {
        // Those that stay, and room for the work on another.
        max_songs: songs + 1,
        ..one_at_a_time(args)
    };
    open_with(weights, args, &options)
}

/// Opens the model and an engine for many requests at a time.
pub(crate) fn open_many(
    weights: Weights<'_>,
    args: &EngineArgs,
    batching: &BatchingArgs,
) -> Result<Opened, Error> {
    let options = EngineOptions {
        max_num_seqs: batching.max_num_seqs,
        max_num_batched_tokens: batching.max_num_batched_tokens,
        kv_cache_tokens: batching.kv_cache_tokens,
        ..options(args)
    };
    open_with(weights, args, &options)
}

fn open_with(
    weights: Weights<'_>,
    args: &EngineArgs,
    options: &EngineOptions,
) -> Result<Opened, Error> {
    let start = Instant::now();
    let model = Arc::new(model(weights, !args.no_mmap)?);
    let engine = Engine::new(model, options)?;
    note_emulation(engine.device());
    Ok(Opened {
        engine,
        load: start.elapsed(),
    })
}

/// The number of a model's parameters.
pub(crate) fn parameters(model: &Model) -> u64 {
    let tensors = layout::tensors(model.config());
    let sizes = tensors
        .iter()
        .map(|t| t.shape.iter().map(|d| *d as u64).product::<u64>());
    sizes.sum()
}

/// The options of an engine for one request at a time.
pub(crate) fn one_at_a_time(args: &EngineArgs) -> EngineOptions {
    EngineOptions {
        max_num_seqs: 1,
        max_songs: 2,
        ..options(args)
    }
}

/// The options of an engine for many requests at a time.
pub(crate) fn options(args: &EngineArgs) -> EngineOptions {
    EngineOptions {
        device: args.device.device.into(),
        dtype: args.device.dtype.map(DType::from),
        threads: args.device.threads,
        max_model_len: args.max_model_len,
        ..EngineOptions::default()
    }
}

/// Says that what follows is slow, if it is.
pub(crate) fn note_emulation(device: &Device) {
    if device.name() == "virtual" {
        output::note("Emulating a GPU on the CPU: the same kernels, thousands of times slower.\n");
    }
}

/// The directory of the checkpoint: the one that is named, or the bundled model's.
pub(crate) fn checkpoint(model: Option<&PathBuf>) -> Result<PathBuf, Error> {
    model.map_or_else(bundled::checkpoint, |dir| Ok(dir.clone()))
}

/// A conversation that is ready for its first question.
pub(crate) struct Talk {
    pub(crate) opened: Opened,
    pub(crate) songs: Vec<Song>,
    pub(crate) session: Session,
    pub(crate) params: SamplingParams,
}

/// Opens the model, checks the parameters and lets the model hear the audio.
pub(crate) fn talk(args: &TalkArgs) -> Result<Talk, Error> {
    let opened = open(
        args.model.as_ref().into(),
        &args.engine,
        args.audio.audio.len(),
    )?;
    let engine = &opened.engine;
    let params = sampling(engine, &args.sampling, &args.logprobs);
    params.check(engine.model().config().text.vocab_size, 1)?;
    let mut songs = Vec::new();
    let mut session = engine.session();
    for audio in audio(&args.audio)? {
        let mut progress = Progress::new();
        let song = engine.load_audio_with(audio, &mut |phase, done, total| {
            progress.show(phase.name(), done, total);
        })?;
        session.hear(song.clone());
        songs.push(song);
    }
    if let Some(text) = &args.template.system {
        session.system(text);
    }
    session.set_variables(variables(&args.template)?);
    Ok(Talk {
        opened,
        songs,
        session,
        params,
    })
}

/// The named file, or standard input for `-`.
pub(crate) fn audio_input(path: &Path, excerpt: Excerpt) -> Result<AudioInput, Error> {
    if path.as_os_str() != "-" {
        return Ok(AudioInput::Path(path.to_owned(), excerpt));
    }
    Ok(AudioInput::from_reader(
        "<stdin>",
        std::io::stdin().lock(),
        excerpt,
    )?)
}

/// The audio that the arguments name.
pub(crate) fn audio(args: &AudioArgs) -> Result<Vec<AudioInput>, Error> {
    let excerpt = Excerpt {
        from: args.from,
        to: args.to,
        truncate: args.truncate,
    };
    let input = |path: &PathBuf| audio_input(path, excerpt);
    args.audio.iter().map(input).collect()
}

/// The checkpoint's recommendation, with what the arguments say put over it.
pub(crate) fn sampling(
    engine: &Engine,
    args: &SamplingArgs,
    logprobs: &LogprobsArgs,
) -> SamplingParams {
    let recommended = SamplingParams::recommended(engine.model().checkpoint().generation_config());
    SamplingParams {
        logprobs: logprobs.logprobs.unwrap_or(0),
        ..sampling_over(recommended, args)
    }
}

/// These parameters, with what the arguments say put over them.
pub(crate) fn sampling_over(params: SamplingParams, args: &SamplingArgs) -> SamplingParams {
    let default = params.sampling;
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
        max_tokens: args.max_tokens.unwrap_or(params.max_tokens),
        stop: args.stop.clone(),
        stop_token_ids: args.stop_token_id.clone(),
        ignore_eos: args.ignore_eos,
        constraint: (args.json_schema.clone().map(Constraint::JsonSchema))
            .or_else(|| args.regex.clone().map(Constraint::Regex)),
        ..params
    }
}

/// Variables of the chat template.
pub(crate) fn variables(args: &TemplateArgs) -> Result<Variables, Error> {
    let mut variables = Variables::default();
    if let Some(thinking) = args.enable_thinking {
        variables.set("enable_thinking", &thinking.to_string())?;
    }
    for (name, value) in &args.template_var {
        variables.set(name, &value.to_string())?;
    }
    Ok(variables)
}
