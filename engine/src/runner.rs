//! What steps of the decoder run on: the device's workspace, the cache, and on a GPU the graphs.

use crate::error::Error;
use crate::model::Model;
use crate::plan::MemoryPlan;
use gamut_kernels::ops::{Rope, Source};
use gamut_kernels::{Batch, Bucket, Context, Device, Graph, KvCache, PAGE, Sequence, Tensor, View};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Sequences that one step decodes at most.
pub(crate) const MAX_SEQUENCES: usize = 1;

/// What one step of the decoder computes.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    /// Whose rows they are.
    pub(crate) sequences: &'a [Sequence<'a>],
    /// The embedding of every row.
    pub(crate) sources: &'a [Source],
    /// The projected audio, where a source asks for it.
    pub(crate) audio: Option<View<'a>>,
    /// The rows whose logits are wanted.
    pub(crate) wanted: &'a [usize],
}

impl Step<'_> {
    /// Whether all rows are wanted, in their order.
    fn wants_all(&self) -> bool {
        self.wanted.iter().copied().eq(0..self.sources.len())
    }
}

/// What one step at a time has for itself.
#[derive(Debug)]
pub(crate) struct Runner {
    /// For activations.
    pub(crate) cx: Context,
    kv: KvCache,
    rope: Rope,
    graphs: Option<DecodeGraphs>,
}

impl Runner {
    /// Takes the memory that `plan` has.
    ///
    /// # Errors
    /// If it cannot be had.
    pub(crate) fn new(model: &Model, device: &Device, plan: &MemoryPlan) -> Result<Runner, Error> {
        let text = &model.config().text;
        let pages = plan.max_model_len.div_ceil(PAGE);
        let context = |bytes| {
            Context::new(device, bytes as usize).map_err(|e| match e {
                gamut_kernels::Error::OutOfMemory { .. } => Error::CacheMemory {
                    tokens: plan.max_model_len,
                    bytes: plan.kv + plan.rope,
                },
                e => e.into(),
            })
        };
        let theta = text.rope_theta as f32;
        let kv = KvCache::new(
            &context(plan.kv)?,
            text.num_hidden_layers,
            pages,
            text.num_key_value_heads,
            text.head_dim,
        )?;
        Ok(Runner {
            rope: Rope::new(&context(plan.rope)?, theta, text.head_dim, pages * PAGE)?,
            kv,
            cx: Context::new(device, plan.workspace as usize)?,
            graphs: match device {
                Device::Host(_) => None,
                Device::Cuda(_) => Some(DecodeGraphs::new(device, plan)?),
            },
        })
    }

    /// Writes the step's keys and values and returns the logits of the wanted rows,
    /// `[wanted.len(), vocab]`.
    pub(crate) fn decode(&mut self, model: &Model, step: &Step<'_>) -> Result<Tensor, Error> {
        let (kv, rope) = (&mut self.kv, &self.rope);
        if let Some(graphs) = &mut self.graphs
            && let Some(bucket) = Bucket::of(step.sequences)
            && step.wants_all()
        {
            return graphs.decode(bucket, model, step, rope, kv);
        }
        let batch = self.cx.step(step.sequences, step.sources, step.wanted)?;
        Ok(model.decode(&self.cx, &batch, step.audio, rope, kv)?)
    }
}

/// Steps of generated tokens as CUDA graphs, one for every bucket, recorded when it is first met.
#[derive(Debug)]
struct DecodeGraphs {
    /// For the graphs' activations, one graph at a time.
    cx: Context,
    /// What a step brings: whose rows, which tokens.
    tables: Tensor,
    graphs: HashMap<Bucket, Graph>,
}

impl DecodeGraphs {
    fn new(device: &Device, plan: &MemoryPlan) -> Result<DecodeGraphs, Error> {
        let tables = Bucket::holding(MAX_SEQUENCES, plan.max_model_len).table_len();
        let own = Context::new(device, tables * size_of::<i32>())?;
        Ok(DecodeGraphs {
            cx: Context::new(device, plan.decode as usize)?,
            tables: own.table_memory(tables)?,
            graphs: HashMap::new(),
        })
    }

    fn decode(
        &mut self,
        bucket: Bucket,
        model: &Model,
        step: &Step<'_>,
        rope: &Rope,
        kv: &mut KvCache,
    ) -> Result<Tensor, Error> {
        let known = (&*kv, model.config().text.vocab_size);
        let tables = &mut self.tables;
        let batch = Batch::in_bucket(bucket, tables, known, step.sequences, step.sources)?;
        let graph = match self.graphs.entry(bucket) {
            Entry::Occupied(graph) => graph.into_mut(),
            Entry::Vacant(place) => {
                tracing::debug!(?bucket, "recording a graph");
                let decode = |cx: &Context| model.decode(cx, &batch, None, rope, kv);
                place.insert(self.cx.record(decode)?)
            }
        };
        Ok(self.cx.launch(graph, step.sources.len())?)
    }
}
