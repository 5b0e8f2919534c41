//! Every stage of one pass, for comparison with another implementation.

use crate::core::Step;
use crate::core::request::Unexpanded;
use crate::device::DecoderRunner;
use crate::engine::EngineOptions;
use crate::error::Error;
use crate::input::{AudioInput, Input, Variables};
use crate::model::Model;
use crate::observe::{Observer, Stage};
use crate::plan::{MemoryPlan, load};
use crate::prefix::Key;
use gamut_kernels::ops::Source;
use gamut_kernels::{Context, Device, Host, Sequence, View};
use gamut_loader::Message;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use std::path::Path;
use std::sync::Arc;

/// The stages of one pass over a clip and a prompt.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// The result of each audio stage with its shape.
    pub stages: Vec<(Stage, Vec<usize>, Vec<f32>)>,
    /// Logits `[vocab]` at the last position of the prompt.
    pub logits: Vec<f32>,
    /// Tokens of the prompt, the placeholder expanded.
    pub prompt_tokens: Vec<i64>,
    /// Greedy tokens.
    pub tokens: Vec<i64>,
}

impl Inspection {
    /// Hears `samples`, asks `question` without thinking of a history, and takes exactly `tokens`
    /// greedy tokens, end tokens or not. `progress` is told what goes on, and how much of it is
    /// done of how much. The device is used directly, without an engine's threads and caches.
    ///
    /// # Errors
    /// If the device or memory cannot be had, or the clip or the prompt does not fit.
    pub fn run(
        model: &Model,
        options: &EngineOptions,
        samples: &[f32],
        question: &str,
        tokens: usize,
        progress: &mut (dyn FnMut(&'static str, usize, usize) + Send),
    ) -> Result<Inspection, Error> {
        let host = Arc::new(Host::new(options.threads)?);
        let device = Device::open(options.device, options.dtype, &host)?;
        let options = EngineOptions {
            max_num_seqs: 1,
            max_songs: 1,
            kv_cache_tokens: None,
            ..options.clone()
        };
        let plan = MemoryPlan::new(model, &options, device.target(), None)?;
        load(model, &device)?;
        let mut decoder = DecoderRunner::new(model, &device, &plan)?;
        let mut inspection = Inspection::default();
        let hearing = Context::new(&device, plan.hearing as usize)?;
        let keep = &mut Keep {
            bins: model.config().temporal.num_mel_bins,
            stages: &mut inspection.stages,
            told: &mut *progress,
        };
        let audio = host.install(|| model.encode(&hearing, samples, keep))?;

        let message = Input::Messages(vec![Message::audio("user", question)], Variables::default());
        let unexpanded = Unexpanded::new(model, &message, vec![AudioInput::Samples([].into())])?;
        let nobody = Key::of_samples(&[]);
        let prompt = unexpanded.expand(&[(nobody, audio.rows())]);
        let (len, most) = (prompt.tokens.len(), plan.max_model_len);
        if len.saturating_add(tokens) > most {
            let (tokens, audio) = (len.saturating_add(tokens), audio.rows());
            return Err(Error::PromptTooLong {
                tokens,
                audio,
                most,
            });
        }
        inspection.prompt_tokens = prompt.tokens.iter().map(|id| i64::from(*id)).collect();
        let pages: Vec<u32> = (0..plan.pages as u32).collect();
        let mut step = |start: usize, sources: &[Source], generated| {
            let sequence = Sequence {
                generated,
                start,
                rows: sources.len(),
                pages: &pages,
            };
            let step = Step {
                copies: &[],
                sequences: &[sequence],
                sources,
                wanted: &[sources.len() - 1],
                draws: &[],
            };
            host.install(|| decoder.decode(model, &audio, &step)?.to_vec())
        };
        let source = |position: usize| match prompt.audio_at(position) {
            Some((_, row)) => Source::Audio(row as u32),
            None => Source::Token(prompt.tokens[position]),
        };
        let mut logits = Vec::new();
        for start in (0..len).step_by(plan.max_num_batched_tokens) {
            let end = len.min(start + plan.max_num_batched_tokens);
            let sources: Vec<Source> = (start..end).map(source).collect();
            logits = step(start, &sources, false)?;
            progress("prefill", end, len);
        }
        inspection.logits.clone_from(&logits);
        for drawn in 0..tokens {
            let token = greatest(&logits);
            inspection.tokens.push(i64::from(token));
            progress("decode", drawn + 1, tokens);
            if drawn + 1 < tokens {
                logits = step(len + drawn, &[Source::Token(token)], true)?;
            }
        }
        Ok(inspection)
    }

    /// Writes a safetensors file: `mel` `[windows, num_mel_bins, 3000]`, `temporal`, `global` and
    /// `fused` `[N, d]`, `projected` `[N, D]`, `logits` `[vocab]`, all f32; `prompt_tokens` and
    /// `tokens`, i64.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let f32s = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let i64s = |values: &[i64]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut parts: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (stage, shape, values) in &self.stages {
            parts.push((stage.name(), Dtype::F32, shape.clone(), f32s(values)));
        }
        parts.push((
            "logits",
            Dtype::F32,
            vec![self.logits.len()],
            f32s(&self.logits),
        ));
        for (name, ids) in [
            ("prompt_tokens", &self.prompt_tokens),
            ("tokens", &self.tokens),
        ] {
            parts.push((name, Dtype::I64, vec![ids.len()], i64s(ids)));
        }
        let failed = |e: safetensors::SafeTensorError| Error::Write {
            path: path.to_owned(),
            reason: e.to_string(),
        };
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in &parts {
            views.push((
                name,
                TensorView::new(*dtype, shape.clone(), bytes).map_err(failed)?,
            ));
        }
        serialize_to_file(views, None, path).map_err(failed)
    }
}

/// The first of the greatest.
fn greatest(logits: &[f32]) -> u32 {
    let greater = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).reduce(greater).unwrap_or(0) as u32
}

/// Keeps what it is shown.
struct Keep<'a> {
    bins: usize,
    stages: &'a mut Vec<(Stage, Vec<usize>, Vec<f32>)>,
    told: &'a mut (dyn FnMut(&'static str, usize, usize) + Send),
}

impl Observer for Keep<'_> {
    fn progress(&mut self, stage: Stage, done: usize, total: usize) {
        (self.told)(stage.name(), done, total);
    }

    fn output(&mut self, stage: Stage, output: View<'_>) -> Result<(), Error> {
        let shape = match stage {
            Stage::Mel => vec![output.rows() / self.bins, self.bins, output.cols()],
            _ => vec![output.rows(), output.cols()],
        };
        self.stages.push((stage, shape, output.to_vec()?));
        Ok(())
    }
}
