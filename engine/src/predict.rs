//! How long a GPU takes at least: a dry run of the work, and for every operation the longer of
//! what its arithmetic and its bytes take at the GPU's ceilings, and its launches.

use crate::bench::{Shape, Test};
use crate::engine::EngineOptions;
use crate::error::Error;
use crate::model::Model;
use crate::observe::{Observer, Stage};
use crate::plan::{DryRows, dry_step};
use gamut_kernels::{Context, PAGE, Target, View, Work};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a GPU reaches at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// The GPU.
    pub name: &'static str,
    /// Operations a second of products in bf16.
    pub products: f64,
    /// Operations a second of full attention.
    pub attention: f64,
    /// Operations a second of causal attention.
    pub attention_paged: f64,
    /// Bytes a second to and from memory.
    pub bytes: f64,
    /// Seconds from one kernel to the next.
    pub launch: f64,
}

/// An H100 SXM, as `gamut-probe` measured it on 2026-11-26
/// (`benches/results/2026-11-26-probe-h100.json`).
pub const H100: Ceilings = Ceilings {
    name: "H100",
    // PyTorch's and cuBLASLt's best of the models' shapes lie between 735 and 809.
    products: 790e12,
    // FlashAttention-3 by its authors, heads of 64 (arXiv 2407.08608).
    attention: 450e12,
    // The same, causal and heads of 128; cuDNN reached 591 under the probe.
    attention_paged: 600e12,
    // "cuMemcpyDtoD 2+2 GiB", bytes read and written.
    bytes: 3.02e12,
    // "graph of 1,000 kernels", a node.
    launch: 0.78e-6,
};

/// An H200: an H100 with other memory, whose copy was measured on 2026-10-28.
pub const H200: Ceilings = Ceilings {
    name: "H200",
    bytes: 4.3e12,
    ..H100
};

impl Ceilings {
    /// The least seconds for one call of an operation.
    pub fn floor(&self, op: &str, work: Work) -> f64 {
        let rate = match op {
            "attention" => self.attention,
            "attention_paged" => self.attention_paged,
            _ => self.products,
        };
        let arithmetic = work.operations as f64 / rate;
        let memory = work.bytes as f64 / self.bytes;
        arithmetic.max(memory) + work.launches as f64 * self.launch
    }
}

/// The calls of a test, of which [`bench`](crate::bench) takes the time.
#[derive(Clone, Debug)]
pub struct Calls {
    /// What is run.
    pub test: Test,
    /// Tokens that it handles; of audio stages, audio tokens.
    pub tokens: usize,
    /// The operations in the order of their calls, with the work of each.
    pub calls: Vec<(&'static str, Work)>,
}

/// All calls of one operation in a test.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// How often it is called.
    pub calls: u64,
    /// The work of all calls.
    pub work: Work,
    /// The least seconds that they take.
    pub seconds: f64,
}

impl Calls {
    /// The least time of all calls.
    pub fn floor(&self, ceilings: &Ceilings) -> Duration {
        let seconds = self
            .calls
            .iter()
            .map(|(op, work)| ceilings.floor(op, *work));
        Duration::from_secs_f64(seconds.sum())
    }

    /// What each operation has of it, by name.
    pub fn shares(&self, ceilings: &Ceilings) -> BTreeMap<&'static str, Share> {
        let mut shares: BTreeMap<&'static str, Share> = BTreeMap::new();
        for (op, work) in &self.calls {
            let share = shares.entry(op).or_default();
            share.calls += 1;
            share.work = share.work + *work;
            share.seconds += ceilings.floor(op, *work);
        }
        shares
    }
}

/// The stages of hearing a clip of `samples`.
///
/// # Errors
/// If the model cannot hear them.
pub fn stages(model: &Model, samples: usize, target: Target) -> Result<Vec<Calls>, Error> {
    let cx = Context::plan(target);
    let mut ends = Ends {
        cx: &cx,
        ends: Vec::new(),
    };
    // Zeroed memory that is never touched costs nothing.
    model.audio()?;
    if let Some(ears) = model.ears() {
        ears.encode(&cx, &vec![0.0; samples], &mut ends)?;
    }
    let (ends, calls) = (ends.ends, cx.work());
    let starts = std::iter::once(0).chain(ends.iter().map(|(_, end)| *end));
    let stage = |((stage, end), start): (&(Stage, usize), usize)| Calls {
        test: Test::Stage(*stage),
        tokens: model.audio_tokens(samples),
        calls: calls[start..*end].to_vec(),
    };
    Ok(ends.iter().zip(starts).map(stage).collect())
}

/// Prompts behind what is in the context before, in the engine's steps.
///
/// # Errors
/// If the model cannot take them.
pub fn prompt(model: &Model, shape: Shape, target: Target) -> Result<Calls, Error> {
    let mut calls = Vec::new();
    let end = shape.depth + shape.tokens;
    // Only whole pages of what is before are in the cache.
    let mut starts = vec![shape.depth / PAGE * PAGE; shape.batch];
    while starts.iter().any(|start| *start < end) {
        let mut left = EngineOptions::MAX_NUM_BATCHED_TOKENS;
        let (mut rows, mut ended) = (Vec::new(), 0);
        for start in starts.iter_mut().filter(|start| **start < end) {
            let mut to = end.min(*start + left);
            if to < end {
                to = to / PAGE * PAGE;
            }
            if to <= *start {
                continue;
            }
            left -= to - *start;
            ended += usize::from(to == end);
            rows.push(DryRows {
                generated: false,
                start: *start,
                rows: to - *start,
            });
            *start = to;
        }
        calls.extend(step(model, &rows, ended.max(1), target)?);
    }
    Ok(Calls {
        test: Test::Prompt(shape),
        tokens: shape.total(),
        calls,
    })
}

/// Steps of one token each of sequences side by side, after what is in the context before.
///
/// # Errors
/// If the model cannot take them.
pub fn generation(model: &Model, shape: Shape, target: Target) -> Result<Calls, Error> {
    let steps = (0..shape.tokens).map(|drawn| {
        let row = DryRows {
            generated: true,
            start: shape.depth + drawn,
            rows: 1,
        };
        step(model, &vec![row; shape.batch], shape.batch, target)
    });
    let steps = steps.collect::<Result<Vec<_>, Error>>()?;
    Ok(Calls {
        test: Test::Generation(shape),
        tokens: shape.total(),
        calls: steps.concat(),
    })
}

/// The calls of a step of the decoder, but for sampling.
fn step(
    model: &Model,
    rows: &[DryRows],
    wanted: usize,
    target: Target,
) -> Result<Vec<(&'static str, Work)>, Error> {
    let mut calls = dry_step(model, rows, wanted, target)?.work();
    calls.retain(|(op, _)| *op != "sample");
    Ok(calls)
}

/// Notes where in the calls each stage ends.
struct Ends<'a> {
    cx: &'a Context,
    ends: Vec<(Stage, usize)>,
}

impl Observer for Ends<'_> {
    fn output(&mut self, stage: Stage, _output: View<'_>) -> Result<(), Error> {
        self.ends.push((stage, self.cx.work().len()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gamut_kernels::DType;
    use gamut_loader::synthetic;

    const TARGET: Target = Target::Cuda { dtype: DType::BF16 };

    #[test]
    fn the_longer_of_arithmetic_and_bytes_counts_and_every_launch() {
        let ceilings = Ceilings {
            name: "a slow one",
            products: 10.0,
            attention: 5.0,
            attention_paged: 2.0,
            bytes: 100.0,
            launch: 0.25,
        };
        let work = |operations, bytes, launches| Work {
            operations,
            bytes,
            launches,
            products: 0,
        };
        assert_eq!(ceilings.floor("gemm", work(40, 100, 1)), 4.25);
        assert_eq!(ceilings.floor("gemm", work(40, 800, 0)), 8.0);
        assert_eq!(ceilings.floor("attention", work(40, 0, 2)), 8.5);
        assert_eq!(ceilings.floor("attention_paged", work(40, 0, 0)), 20.0);
        let calls = Calls {
            test: Test::Audio,
            tokens: 1,
            calls: vec![("gemm", work(40, 100, 1)), ("gemm", work(0, 300, 1))],
        };
        assert_eq!(calls.floor(&ceilings), Duration::from_secs_f64(7.5));
        let share = calls.shares(&ceilings)["gemm"];
        assert_eq!(
            (share.calls, share.work, share.seconds),
            (2, work(40, 400, 2), 7.5)
        );
    }

    /// The operations of a linear layer are those of its shape, for every position.
    #[test]
    fn stages_and_steps_are_told_apart() {
        let model = Model::random(&synthetic::demo_config().to_string(), 0).unwrap();
        let stages = stages(&model, 31 * 16_000, TARGET).unwrap();
        let names: Vec<String> = stages.iter().map(|calls| calls.test.name()).collect();
        assert_eq!(names, ["mel", "temporal", "global", "fused", "projected"]);
        let [mel, temporal, _, _, projected] = &stages[..] else {
            panic!("{stages:?}");
        };
        assert_eq!(mel.calls.len(), 1);
        // Two windows of two layers, each with two products that add.
        let adds = temporal.shares(&H100)["gemm_add"];
        assert_eq!(adds.calls, 2 * 2 * 2);
        assert_eq!(
            adds.work.operations,
            2 * 2 * 2 * 1500 * (64 * 64 + 256 * 64)
        );
        assert_eq!(
            projected.shares(&H100)["gemm_gelu"].work.operations,
            2 * 775 * 64 * 128
        );

        let prompt = prompt(&model, Shape::new(600, 0, 1), TARGET).unwrap();
        let swiglu = prompt.shares(&H100)["gemm_swiglu"];
        // Of the last layer only the last row of each chunk.
        assert_eq!(swiglu.work.operations, 2 * (3 * 600 + 2) * 128 * 768);
        let [alone, beside] =
            [1, 8].map(|batch| generation(&model, Shape::new(3, 600, batch), TARGET).unwrap());
        let embed = alone.shares(&H100)["embed"];
        assert_eq!((embed.calls, embed.work.launches), (3, 3));
        assert!(alone.floor(&H200) < alone.floor(&H100));
        // Eight times the arithmetic, but the weights are read once.
        let [few, many] = [&alone, &beside].map(|calls| calls.shares(&H100)["gemm_swiglu"].work);
        assert_eq!((alone.tokens, beside.tokens), (3, 24));
        assert_eq!(many.operations, 8 * few.operations);
        assert!(many.bytes < 2 * few.bytes, "{many:?}");
    }
}
