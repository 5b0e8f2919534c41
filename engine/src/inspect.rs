//! Every stage of one pass, for comparison with another implementation.

use crate::core::Step;
use crate::core::request::{Span, Unexpanded};
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
    /// The result of each audio stage with its shape; the rows of several clips one behind the other.
    pub stages: Vec<(Stage, Vec<usize>, Vec<f32>)>,
    /// Logits `[vocab]` at the last position of the prompt.
    pub logits: Vec<f32>,
    /// Tokens of the prompt, the placeholder expanded.
    pub prompt_tokens: Vec<i64>,
    /// Greedy tokens.
    pub tokens: Vec<i64>,
}

impl Inspection {
    /// Hears `clips`, reads the conversation about them, and takes exactly `tokens` greedy tokens, end
    /// tokens or not. `progress` is told what goes on, and how much of it is done of how much. The
    /// device is used directly, without an engine's threads and caches.
    ///
    /// # Errors
    /// If the device or memory cannot be had, the model cannot hear a clip, the prompt does not fit, or
    /// the conversation has not as many places for audio as there are clips.
    pub fn run(
        model: &Model,
        options: &EngineOptions,
        clips: &[&[f32]],
        messages: Vec<Message>,
        tokens: usize,
        progress: &mut (dyn FnMut(&'static str, usize, usize) + Send),
    ) -> Result<Inspection, Error> {
        let message = Input::Messages(messages, Variables::default());
        let audio = clips.iter().map(|_| AudioInput::Samples([].into()));
        let unexpanded = Unexpanded::new(model, &message, audio.collect())?;
        clips.iter().try_for_each(|clip| model.check_clip(clip))?;
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
        let rows: Vec<usize> = clips
            .iter()
            .map(|clip| model.audio_tokens(clip.len()))
            .collect();
        let width = model.config().text.hidden_size;
        let all: usize = rows.iter().sum();
        let own = Context::new(&device, all * width * size_of::<f32>())?;
        let mut audio = own.tensor_f32(all, width)?;
        if let Some(ears) = model.ears() {
            let keep = &mut Keep {
                bins: model.audio()?.encoder.num_mel_bins(),
                stages: &mut inspection.stages,
                told: &mut *progress,
            };
            let mut row = 0;
            for clip in clips {
                let heard = host.install(|| ears.encode(&hearing, clip, keep))?;
                audio.copy_rows(row, heard.view())?;
                row += heard.rows();
            }
        }

        let nobody = Key::of_samples(&[]);
        let expanded: Vec<_> = rows.iter().map(|rows| (nobody, *rows)).collect();
        let prompt = unexpanded.expand(&expanded);
        let (len, most) = (prompt.tokens.len(), plan.max_model_len);
        if len.saturating_add(tokens) > most {
            let (tokens, audio) = (len.saturating_add(tokens), all);
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
        let mut sources: Vec<Source> = prompt.tokens.iter().map(|id| Source::Token(*id)).collect();
        let heard = prompt.audio.iter().flat_map(Span::positions);
        for (row, position) in heard.enumerate() {
            sources[position] = Source::Audio(row as u32);
        }
        let mut logits = Vec::new();
        for start in (0..len).step_by(plan.max_num_batched_tokens) {
            let end = len.min(start + plan.max_num_batched_tokens);
            logits = step(start, &sources[start..end], false)?;
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

    /// Writes a safetensors file: `mel` `[windows, num_mel_bins, 3000]`, each further audio stage by
    /// its name, such as `temporal` `[N, d]` and `projected` `[N, D]`, `logits` `[vocab]`, all f32;
    /// `prompt_tokens` and `tokens`, i64.
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
        let (rows, cols, values) = (output.rows(), output.cols(), output.to_vec()?);
        let shape = match stage {
            Stage::Mel => vec![rows / self.bins, self.bins, cols],
            _ => vec![rows, cols],
        };
        match self.stages.iter_mut().find(|(known, ..)| *known == stage) {
            Some((_, before, all)) => {
                before[0] += shape[0];
                all.extend(values);
            }
            None => self.stages.push((stage, shape, values)),
        }
        Ok(())
    }
}
