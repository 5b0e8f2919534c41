//! A model at work on a device: its cache, its pool of audio, its workspaces, and on a GPU its graphs.

use crate::core::{Runner, Step};
use crate::error::Error;
use crate::model::{Hearing, Model, Unit};
use crate::observe::Stage;
use crate::plan::{MemoryPlan, load};
use crate::scheduler::BLOCK;
use gamut_kernels::ops::{PendingTokens, Rope, Sampled, copy_pages, start_sampling};
use gamut_kernels::{Batch, Bucket, Context, Device, Graph, Host, KvCache, PAGE, Tensor};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See [the module](self).
#[derive(Debug)]
pub(crate) struct DeviceRunner {
    model: Arc<Model>,
    device: Device,
    /// For the host's part of the work.
    host: Arc<Host>,
    decoder: DecoderRunner,
    /// For the experts and all up to the decoder.
    audio: Context,
    /// Rows of audio among the decoder's embeddings, `[blocks * BLOCK, D]`.
    pool: Tensor,
    /// What the units of a clip hand on, and at last its rows before they are projected.
    hearing: Option<Hearing>,
    combined: Option<Tensor>,
    /// The tokens of the step under way.
    drawing: Option<PendingTokens>,
    /// When that step was launched, on a device that goes on with it by itself.
    launched: Option<Instant>,
    /// See [`Runner::device_time`].
    worked: Duration,
}

/// What steps of the decoder run on.
#[derive(Debug)]
pub(crate) struct DecoderRunner {
    /// For activations.
    pub(crate) cx: Context,
    kv: KvCache,
    rope: Rope,
    graphs: Option<DecodeGraphs>,
}

impl DeviceRunner {
    /// Loads the weights, and takes the memory that `plan` has.
    ///
    /// # Errors
    /// If it cannot be had.
    pub(crate) fn new(
        model: Arc<Model>,
        device: &Device,
        host: Arc<Host>,
        plan: &MemoryPlan,
    ) -> Result<DeviceRunner, Error> {
        load(&model, device)?;
        let d = model.config().text.hidden_size;
        let own = Context::new(device, plan.audio_pool as usize)?;
        Ok(DeviceRunner {
            decoder: DecoderRunner::new(&model, device, plan)?,
            audio: Context::new(device, plan.hearing as usize)?,
            pool: own.tensor_f32(plan.audio_blocks * BLOCK, d)?,
            hearing: None,
            combined: None,
            drawing: None,
            launched: None,
            worked: Duration::ZERO,
            device: device.clone(),
            model,
            host,
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

impl Runner for DeviceRunner {
    fn start(&mut self, step: &Step<'_>) -> Result<(), gamut_kernels::Error> {
        let began = Instant::now();
        let host = self.host.clone();
        let (decoder, pool) = (&mut self.decoder, &self.pool);
        self.drawing = Some(host.install(|| {
            if !step.copies.is_empty() {
                copy_pages(&decoder.cx, &mut decoder.kv, step.copies)?;
            }
            let logits = decoder.decode(&self.model, pool, step)?;
            start_sampling(&decoder.cx, &logits, step.draws)
        })?);
        match self.device {
            Device::Host(_) => self.worked += began.elapsed(),
            Device::Cuda(_) => self.launched = Some(began),
        }
        Ok(())
    }

    fn finish(
        &mut self,
        drawn: &mut Vec<Result<Sampled, gamut_kernels::Error>>,
    ) -> Result<(), gamut_kernels::Error> {
        let began = self.launched.take().unwrap_or_else(Instant::now);
        let drawing = self.drawing.take();
        let finished = drawing.map_or(Ok(()), |drawing| drawing.wait(drawn));
        self.worked += began.elapsed();
        finished
    }

    fn rows(&self, samples: usize) -> usize {
        self.model.audio_tokens(samples)
    }

    fn units(&self, samples: usize) -> usize {
        self.model.ears().map_or(0, |ears| ears.units(samples))
    }

    fn hear(
        &mut self,
        samples: &[f32],
        unit: usize,
        blocks: &[u32],
    ) -> Result<Stage, gamut_kernels::Error> {
        let began = Instant::now();
        let host = self.host.clone();
        let stage = host.install(|| {
            let Some(ears) = self.model.ears() else {
                // Audio for such a model is refused where it comes in.
                return Ok(Stage::Mel);
            };
            let cx = &self.audio;
            match ears.unit(samples.len(), unit) {
                Unit::Mel => {
                    (self.hearing, self.combined) = (None, None);
                    let hearing = self.hearing.insert(ears.log_mel(cx, samples)?);
                    hearing.mel().wait()?;
                    return Ok(Stage::Mel);
                }
                Unit::Window(encoder, window) => {
                    if let Some(hearing) = &mut self.hearing {
                        ears.listen(cx, hearing, encoder, window)?;
                        let next = ears.unit(samples.len(), unit + 1);
                        if !matches!(next, Unit::Window(same, _) if same == encoder) {
                            // What the encoder takes is not another stage's time.
                            hearing.mel().wait()?;
                        }
                    }
                    return Ok(encoder);
                }
                Unit::Combine => {
                    if let Some(hearing) = self.hearing.take() {
                        let combined = self.combined.insert(ears.combine(cx, hearing)?);
                        combined.view().wait()?;
                    }
                    return Ok(ears.combined());
                }
                Unit::Project => {}
            }
            if let Some(combined) = self.combined.take() {
                let projected = ears.project(cx, &combined)?;
                for (index, block) in blocks.iter().enumerate() {
                    let rows = BLOCK.min(projected.rows() - index * BLOCK);
                    let rows = projected.rows_from(index * BLOCK, rows);
                    self.pool.copy_rows(*block as usize * BLOCK, rows)?;
                }
                projected.view().wait()?;
            }
            Ok(Stage::Projected)
        });
        // While a step is under way, this is part of its time.
        if self.launched.is_none() {
            self.worked += began.elapsed();
        }
        stage
    }

    fn replace(&mut self, model: &Arc<Model>) -> Result<(), Error> {
        if let Some(graphs) = &mut self.decoder.graphs {
            graphs.graphs.clear();
        }
        self.device.unload()?;
        if let Err(error) = load(model, &self.device) {
            self.device.unload()?;
            load(&self.model, &self.device)?;
            return Err(error);
        }
        self.model = model.clone();
        Ok(())
    }

    fn device_time(&self) -> Duration {
        self.worked
    }

    fn abort(&mut self) {
        (self.hearing, self.combined, self.drawing) = (None, None, None);
        self.launched = None;
    }
}

impl DecoderRunner {
    /// Takes the memory that `plan` has.
    ///
    /// # Errors
    /// If it cannot be had.
    pub(crate) fn new(
        model: &Model,
        device: &Device,
        plan: &MemoryPlan,
    ) -> Result<DecoderRunner, Error> {
        let text = &model.config().text;
        let context = |bytes| {
            Context::new(device, bytes as usize).map_err(|e| match e {
                gamut_kernels::Error::OutOfMemory { .. } => Error::CacheMemory {
                    tokens: plan.kv_tokens(),
                    bytes: plan.kv + plan.rope,
                },
                e => e.into(),
            })
        };
        let theta = text.rope_theta as f32;
        let mut kv = KvCache::new(
            &context(plan.kv)?,
            text.num_hidden_layers,
            plan.pages,
            text.num_key_value_heads,
            text.head_dim,
        )?;
        if let Device::Cuda(_) = device {
            // A page is copied whole, also where nothing was written to it yet.
            kv.clear()?;
        }
        let positions = plan.max_model_len.next_multiple_of(PAGE);
        Ok(DecoderRunner {
            rope: Rope::new(&context(plan.rope)?, theta, text.head_dim, positions)?,
            kv,
            cx: Context::new(device, plan.workspace as usize)?,
            graphs: match device {
                Device::Host(_) => None,
                Device::Cuda(_) => Some(DecodeGraphs::new(device, plan)?),
            },
        })
    }

    /// Writes the step's keys and values and returns the logits of the wanted rows,
    /// `[wanted.len(), vocab]`. Sources find audio in `audio`.
    pub(crate) fn decode(
        &mut self,
        model: &Model,
        audio: &Tensor,
        step: &Step<'_>,
    ) -> Result<Tensor, gamut_kernels::Error> {
        let (kv, rope) = (&mut self.kv, &self.rope);
        if let Some(graphs) = &mut self.graphs
            && let Some(bucket) = Bucket::of(step.sequences)
            && step.wants_all()
        {
            return graphs.decode(bucket, model, step, rope, kv);
        }
        let batch = self.cx.step(step.sequences, step.sources, step.wanted)?;
        model.decode(&self.cx, &batch, Some(audio.view()), rope, kv)
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
        let tables = Bucket::holding(plan.max_num_seqs, plan.max_model_len).table_len();
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
    ) -> Result<Tensor, gamut_kernels::Error> {
        let known = (&*kv, model.config().text.vocab_size);
        let tables = &mut self.tables;
        let batch = Batch::in_bucket(
            &self.cx,
            bucket,
            tables,
            known,
            step.sequences,
            step.sources,
        )?;
        let graph = match self.graphs.entry(bucket) {
            Entry::Occupied(graph) => graph.into_mut(),
            Entry::Vacant(place) => {
                tracing::debug!(?bucket, "recording a graph");
                let decode = |cx: &Context| model.decode(cx, &batch, None, rope, kv);
                place.insert(self.cx.record(decode)?)
            }
        };
        self.cx.launch(graph, step.sources.len())
    }
}
