//! Every stage of one pass, for comparison with another implementation.

use crate::engine::Engine;
use crate::error::Error;
use crate::observe::{Observer, Stage};
use crate::prompt::Prompt;
use crate::sampling::SamplingParams;
use crate::session::Event;
use gamut_kernels::View;
use gamut_loader::Message;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use serde_json::Map;
use std::ops::ControlFlow;
use std::path::Path;

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
    /// done of how much.
    ///
    /// # Errors
    /// If the clip or the prompt does not fit.
    pub fn run(
        engine: &Engine,
        samples: &[f32],
        question: &str,
        tokens: usize,
        progress: &mut (dyn FnMut(&'static str, usize, usize) + Send),
    ) -> Result<Inspection, Error> {
        let bins = engine.model().config().temporal.num_mel_bins;
        let mut inspection = Inspection::default();
        let song = engine.hear(
            samples,
            &mut Keep {
                bins,
                stages: &mut inspection.stages,
                told: &mut *progress,
            },
        )?;
        let messages = [Message::audio("user", question)];
        let prompt = Prompt::render(engine.model(), &messages, &Map::new(), song.tokens())?;
        inspection.prompt_tokens = prompt.tokens.iter().map(|id| i64::from(*id)).collect();
        let mut session = engine.session(&song);
        inspection.logits = session.logits(&prompt, tokens, |done, total| {
            progress("prefill", done, total);
        })?;
        let params = SamplingParams {
            max_tokens: tokens,
            ignore_eos: true,
            ..Default::default()
        };
        let mut drawn = 0;
        let listener = &mut |event: Event<'_>| {
            if let Event::Token { .. } = event {
                drawn += 1;
                progress("decode", drawn, tokens);
            }
            ControlFlow::Continue(())
        };
        let answer = session.generate(&messages, &params, &Map::new(), listener)?;
        inspection.tokens = answer
            .tokens
            .iter()
            .map(|token| i64::from(token.id))
            .collect();
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
