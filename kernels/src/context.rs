//! Where operations run: a device with its workspace.

use crate::arena::Arena;
use crate::cuda::{Cuda, Driver, Graph, Launcher, Needs, Output};
use crate::error::{Error, Result, check, ensure};
use crate::host::Host;
use crate::ops::Source;
use crate::table::{Integers, Pool, Table};
use crate::tensor::{Tensor, View};
use crate::work::Work;
use crate::{Batch, DType, Sequence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What computes.
#[derive(Clone, Debug)]
pub enum Device {
    /// The CPU.
    Host(Arc<Host>),
    /// A GPU, or the virtual one.
    Cuda(Arc<Cuda>),
}

/// Which device to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU if there is one that works, else the host.
    #[default]
    Auto,
    /// The CPU.
    Host,
    /// The first GPU.
    Cuda,
    /// The virtual GPU, which emulates one on the CPU.
    Virtual,
}

impl Device {
    /// Opens a device; `host` is the one that the CPU's work is done on. A GPU computes in `dtype`,
    /// by default bf16.
    ///
    /// # Errors
    /// If there is no such device, naming what is missing, or it does not compute in `dtype`.
    pub fn open(choice: DeviceChoice, dtype: Option<DType>, host: &Arc<Host>) -> Result<Device> {
        let cuda = |driver| Cuda::open(driver, dtype.unwrap_or(DType::BF16)).map(Device::Cuda);
        match choice {
            DeviceChoice::Cuda => cuda(Driver::Hardware),
            DeviceChoice::Virtual => cuda(Driver::Virtual),
            DeviceChoice::Host => Device::on_host(dtype, host),
            DeviceChoice::Auto if !Cuda::is_present() => Device::on_host(dtype, host),
            DeviceChoice::Auto => cuda(Driver::Hardware).or_else(|e| {
                tracing::warn!("the GPU is not used: {e}");
                Device::on_host(dtype, host).map_err(|_| e)
            }),
        }
    }

    fn on_host(dtype: Option<DType>, host: &Arc<Host>) -> Result<Device> {
        match dtype {
            None | Some(DType::F32) => Ok(Device::Host(host.clone())),
            Some(dtype) => Err(Error::NoDevice {
                device: "host",
                reason: format!("computes in f32, not in {dtype}"),
            }),
        }
    }

    /// `host`, `cuda` or `virtual`.
    pub fn name(&self) -> &'static str {
        match self {
            Device::Host(_) => "host",
            Device::Cuda(cuda) => cuda.driver().device(),
        }
    }

    /// The device in words: its name, and what makes its code.
    pub fn describe(&self) -> String {
        match self {
            Device::Host(host) => {
                format!(
                    "the host ({}, {} threads)",
                    host.isa().name(),
                    host.threads()
                )
            }
            Device::Cuda(cuda) => cuda.describe(),
        }
    }

    /// Loads the weights and compiles the kernels that dry runs needed, as far as they are not
    /// there yet. Without it a weight is missing, and a kernel is compiled when it is first launched.
    ///
    /// # Errors
    /// If the device's memory does not hold the weights, a copy fails or a kernel does not compile.
    pub fn load(&self, dry_runs: &[&Context]) -> Result<()> {
        let Device::Cuda(cuda) = self else {
            // The host reads weights where they are.
            return Ok(());
        };
        cuda.load_needs(&Context::needs(dry_runs))
    }

    /// Waits for all work, and forgets all weights, so that others can be loaded. Graphs that were
    /// recorded before read what is no longer there.
    ///
    /// # Errors
    /// If some of the work failed.
    pub fn unload(&self) -> Result<()> {
        self.synchronize()?;
        if let Device::Cuda(cuda) = self {
            cuda.unload();
        }
        Ok(())
    }

    /// Waits for all work.
    ///
    /// # Errors
    /// If some of it failed.
    pub fn synchronize(&self) -> Result<()> {
        match self {
            Device::Host(_) => Ok(()),
            Device::Cuda(cuda) => cuda.synchronize(),
        }
    }

    /// What a dry run for this device is for.
    pub fn target(&self) -> Target {
        match self {
            Device::Host(host) => Target::Host {
                threads: host.threads(),
            },
            Device::Cuda(cuda) => Target::Cuda {
                dtype: cuda.dtype(),
            },
        }
    }
}

/// What a dry run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host of so many threads.
    Host {
        /// Threads of the host.
        threads: usize,
    },
    /// A GPU that computes in a type.
    Cuda {
        /// Type of weights and activations.
        dtype: DType,
    },
}

impl Target {
    /// Type of activations.
    pub fn dtype(self) -> DType {
        match self {
            Target::Host { .. } => DType::F32,
            Target::Cuda { dtype } => dtype,
        }
    }
}

/// A device and the memory for activations on it.
#[derive(Debug)]
pub struct Context {
    runs: Runs,
    target: Target,
    arena: Arc<Arena>,
    pool: Pool,
    poison: bool,
    salt: u64,
}

/// How operations run.
#[derive(Debug)]
enum Runs {
    On(Device),
    /// Not at all: they check shapes, take their workspace and are noted.
    Dry(Notes),
}

/// What a dry run notes.
#[derive(Debug, Default)]
struct Notes {
    calls: Mutex<Vec<(&'static str, Work)>>,
    needs: Mutex<Needs>,
}

impl Context {
    /// A device with a workspace of `bytes` bytes.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn new(device: &Device, bytes: usize) -> Result<Context> {
        let arena = match device {
            Device::Host(_) => Arena::host(bytes)?,
            Device::Cuda(cuda) => Arena::device(cuda, bytes)?,
        };
        Ok(Context::in_arena(device, arena))
    }

    /// A GPU with memory for each tensor apart, where a virtual one notices the first byte that is
    /// read or written outside of it; a host with a workspace of `bytes` bytes.
    ///
    /// # Errors
    /// If the host's memory cannot be had.
    pub(crate) fn apart(device: &Device, bytes: usize) -> Result<Context> {
        let Device::Cuda(cuda) = device else {
            return Context::new(device, bytes);
        };
        Ok(Context::in_arena(device, Arena::apart(cuda)))
    }

    fn in_arena(device: &Device, arena: Arc<Arena>) -> Context {
        Context {
            runs: Runs::On(device.clone()),
            target: device.target(),
            arena,
            pool: Pool::default(),
            poison: false,
            salt: 0,
        }
    }

    /// A dry run: operations check their arguments, take their workspace and note their work and
    /// the weights and kernels that they need, but compute nothing. What it counted is in
    /// [`Context::workspace_peak`] and [`Context::work`]; [`Device::load`] loads the weights.
    pub fn plan(target: Target) -> Context {
        Context {
            runs: Runs::Dry(Notes::default()),
            target,
            arena: Arena::counting(),
            pool: Pool::default(),
            poison: false,
            salt: 0,
        }
    }

    /// Bytes that the weights take on a GPU which these dry runs needed.
    pub fn weight_bytes(dry_runs: &[&Context]) -> usize {
        let dtype = dry_runs.first().map_or(DType::F32, |run| run.dtype());
        Context::needs(dry_runs).bytes(dtype)
    }

    pub(crate) fn needs(dry_runs: &[&Context]) -> Needs {
        let mut all = Needs::default();
        for run in dry_runs {
            if let Runs::Dry(notes) = &run.runs {
                all.extend(&lock(&notes.needs));
            }
        }
        all
    }

    /// Fills every new tensor with NaN, so that an element left unwritten shows.
    pub fn poisoned(mut self) -> Context {
        self.poison = true;
        self
    }

    /// Makes cases draw other inputs; without it, or with 0, they are the same every time.
    pub fn salted(mut self, salt: u64) -> Context {
        self.salt = salt;
        self
    }

    /// What the seeds of inputs are changed by.
    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    /// Type of activations.
    pub fn dtype(&self) -> DType {
        self.target.dtype()
    }

    /// What the device is, or would be.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// Whether nothing is computed.
    pub(crate) fn is_dry(&self) -> bool {
        matches!(self.runs, Runs::Dry(_))
    }

    /// Whether operations run on a GPU, or would.
    pub(crate) fn is_gpu(&self) -> bool {
        matches!(self.target, Target::Cuda { .. })
    }

    /// The most bytes of workspace that were ever spanned.
    pub fn workspace_peak(&self) -> usize {
        self.arena.peak()
    }

    /// On a dry run: the operations in the order of their calls, with the work of each.
    pub fn work(&self) -> Vec<(&'static str, Work)> {
        match &self.runs {
            Runs::Dry(notes) => lock(&notes.calls).clone(),
            Runs::On(_) => Vec::new(),
        }
    }

    /// A matrix `[rows, cols]` of activations from the workspace, holding whatever was there
    /// before.
    ///
    /// # Errors
    /// If the workspace is used up.
    pub fn tensor(&self, rows: usize, cols: usize) -> Result<Tensor> {
        self.tensor_of(self.dtype(), rows, cols)
    }

    /// As [`Context::tensor`], in f32 on every device.
    ///
    /// # Errors
    /// If the workspace is used up.
    pub fn tensor_f32(&self, rows: usize, cols: usize) -> Result<Tensor> {
        self.tensor_of(DType::F32, rows, cols)
    }

    pub(crate) fn tensor_of(&self, dtype: DType, rows: usize, cols: usize) -> Result<Tensor> {
        let bytes = rows.saturating_mul(cols).saturating_mul(dtype.size());
        let region = self.arena.take(bytes)?;
        let mut tensor = Tensor::new(region, dtype, rows, cols);
        if self.poison {
            tensor.poison()?;
        }
        Ok(tensor)
    }

    /// A matrix `[values.len() / cols, cols]` of activations with these values, rounded to their
    /// type.
    ///
    /// # Errors
    /// If the values are no whole rows, the workspace is used up, or a copy fails.
    pub fn upload(&self, values: &[f32], cols: usize) -> Result<Tensor> {
        let mut tensor = self.tensor(rows_of(values, cols)?, cols)?;
        tensor.write(values)?;
        Ok(tensor)
    }

    /// As [`Context::upload`], in f32 on every device.
    ///
    /// # Errors
    /// If the values are no whole rows, the workspace is used up, or a copy fails.
    pub fn upload_f32(&self, values: &[f32], cols: usize) -> Result<Tensor> {
        let mut tensor = self.tensor_f32(rows_of(values, cols)?, cols)?;
        tensor.write(values)?;
        Ok(tensor)
    }

    /// Integers for kernels to read.
    ///
    /// # Errors
    /// If the workspace is used up, or a copy fails.
    pub fn table(&self, values: impl IntoIterator<Item = i32>) -> Result<Table> {
        let mut integers = self.integers();
        integers.extend(values);
        Table::new(self, integers)
    }

    /// Memory for integers on the host.
    pub(crate) fn integers(&self) -> Integers {
        self.pool.take()
    }

    /// Memory for a table of integers: on a GPU in its memory, on the host none.
    ///
    /// # Errors
    /// If the workspace is used up.
    pub fn table_memory(&self, len: usize) -> Result<Tensor> {
        // Four bytes each, as f32.
        self.device_scratch(1, len)
    }

    /// The rows of some sequences, as operations of the decoder take them.
    ///
    /// # Errors
    /// If the workspace is used up, or a copy fails.
    pub fn batch<'a>(&self, sequences: &'a [Sequence<'a>]) -> Result<Batch<'a>> {
        Batch::new(self, sequences, &[], &[])
    }

    /// The rows of a step of the decoder: of some sequences, with the embedding of each row, and
    /// the rows whose logits are wanted.
    ///
    /// # Errors
    /// If the workspace is used up, or a copy fails.
    pub fn step<'a>(
        &self,
        sequences: &'a [Sequence<'a>],
        sources: &[Source],
        wanted: &[usize],
    ) -> Result<Batch<'a>> {
        Batch::new(self, sequences, sources, wanted)
    }

    /// Records the kernels of `work` as a CUDA graph; the tensor that `work` returns becomes the
    /// graph's output. `work` is called twice, first for a dry run, and must do the same on every
    /// call, on a GPU without copies. The workspace must be empty, as for every launch.
    ///
    /// # Errors
    /// If `work` fails or copies, the context is not a GPU's, or the workspace is not empty.
    pub fn record(&self, mut work: impl FnMut(&Context) -> Result<Tensor>) -> Result<Graph> {
        let Runs::On(Device::Cuda(cuda)) = &self.runs else {
            return Err(Error::Cuda {
                what: "recording a graph".to_owned(),
                reason: "the context is not a GPU's".to_owned(),
            });
        };
        let plan = Context::plan(self.target);
        drop(work(&plan)?);
        cuda.load_needs(&Context::needs(&[&plan]))?;
        let (graph, output) = cuda.record(|| Ok(work(self)?.place()))?;
        Ok(Graph::new(graph, plan.workspace_peak(), output))
    }

    /// Launches a graph that this context recorded, and returns the first `rows` rows of its output.
    ///
    /// # Errors
    /// If the output has fewer rows, the workspace is not empty, or the launch fails.
    pub fn launch(&self, graph: &mut Graph, rows: usize) -> Result<Tensor> {
        // Its kernels' arguments point into the workspace's head.
        let mut room = self.arena.take(graph.workspace)?;
        check("graph", "start of the workspace", room.offset(), 0)?;
        let Output {
            offset,
            dtype,
            rows: all,
            cols,
        } = graph.output;
        let most = format_args!("at most {all}");
        ensure("graph", rows <= all, "rows of the output", rows, most)?;
        graph.launch()?;
        room.narrow(offset, rows * cols * dtype.size());
        Ok(Tensor::new(room, dtype, rows, cols))
    }

    /// A copy of `x`, from whatever workspace on the same device.
    ///
    /// # Errors
    /// If the workspace is used up, or a copy fails.
    pub fn copy(&self, x: View<'_>) -> Result<Tensor> {
        self.check_of(x.dtype(), "copy", "x", x)?;
        let mut tensor = self.tensor_of(x.dtype(), x.rows(), x.cols())?;
        tensor.copy_rows(0, x)?;
        Ok(tensor)
    }

    /// Checks that an operation can read `x`: activations, on this device.
    pub(crate) fn check(&self, op: &'static str, what: &str, x: View<'_>) -> Result<()> {
        self.check_of(self.dtype(), op, what, x)
    }

    /// As [`Context::check`], for what is f32 on every device.
    pub(crate) fn check_f32(&self, op: &'static str, what: &str, x: View<'_>) -> Result<()> {
        self.check_of(DType::F32, op, what, x)
    }

    /// As [`Context::check`], for what is of the activations' type or f32.
    pub(crate) fn check_activations(
        &self,
        op: &'static str,
        what: &str,
        x: View<'_>,
    ) -> Result<()> {
        match x.dtype() {
            DType::F32 => self.check_f32(op, what, x),
            _ => self.check(op, what, x),
        }
    }

    fn check_of(&self, dtype: DType, op: &'static str, what: &str, x: View<'_>) -> Result<()> {
        let here = match &self.runs {
            Runs::On(Device::Host(_)) => x.region().is_on_host(),
            Runs::On(Device::Cuda(cuda)) => x
                .region()
                .device()
                .is_some_and(|(block, _)| block.is_on(cuda)),
            // Nothing is read.
            Runs::Dry(_) => true,
        };
        let (type_of, place) = (
            format_args!("type of {what}"),
            format_args!("device of {what}"),
        );
        ensure(op, x.dtype() == dtype, type_of, x.dtype(), dtype)?;
        ensure(op, here, place, "another one", "the operation's")
    }

    /// Runs an operation, which writes to `out`, on the device; a dry run notes it.
    pub(crate) fn run<T>(
        &self,
        op: &'static str,
        work: Work,
        out: T,
        host: impl FnOnce(&Host, T),
        cuda: impl FnOnce(&Launcher<'_>, T) -> Result<()>,
    ) -> Result<()> {
        match &self.runs {
            Runs::On(Device::Host(device)) => host(device, out),
            Runs::On(Device::Cuda(device)) => cuda(&Launcher::Gpu(device), out)?,
            Runs::Dry(notes) => {
                let noted = || {
                    let needs = lock(&notes.needs);
                    (needs.launches, needs.products)
                };
                let before = noted();
                if let Target::Cuda { dtype } = self.target {
                    let needs = &notes.needs;
                    cuda(&Launcher::Plan { dtype, needs }, out)?;
                }
                let after = noted();
                let work = Work {
                    launches: after.0 - before.0,
                    products: after.1 - before.1,
                    ..work
                };
                lock(&notes.calls).push((op, work));
            }
        }
        Ok(())
    }

    /// Scratch of `each` f32 elements for every thread that `tasks` tasks can keep busy; nothing
    /// on a GPU.
    pub(crate) fn host_scratch_for(&self, tasks: usize, each: usize) -> Result<Tensor> {
        match self.target {
            Target::Host { threads } => self.tensor_f32(threads.min(tasks), each),
            Target::Cuda { .. } => self.tensor_f32(0, 0),
        }
    }

    /// Scratch of `each` f32 elements for every thread of the host; nothing on a GPU.
    pub(crate) fn host_scratch(&self, each: usize) -> Result<Tensor> {
        self.host_scratch_for(usize::MAX, each)
    }

    /// Scratch `[rows, cols]` on a GPU, in f32; nothing on the host.
    pub(crate) fn device_scratch(&self, rows: usize, cols: usize) -> Result<Tensor> {
        match self.target {
            Target::Host { .. } => self.tensor_f32(0, 0),
            Target::Cuda { .. } => self.tensor_f32(rows, cols),
        }
    }

    /// Activations `[rows, cols]` that only the host needs; nothing on a GPU.
    pub(crate) fn host_tensor(&self, rows: usize, cols: usize) -> Result<Tensor> {
        match self.target {
            Target::Host { .. } => self.tensor(rows, cols),
            Target::Cuda { .. } => self.tensor(0, 0),
        }
    }

    /// Activations `[rows, cols]` that only a GPU needs; nothing on the host.
    pub(crate) fn device_tensor(&self, rows: usize, cols: usize) -> Result<Tensor> {
        match self.target {
            Target::Host { .. } => self.tensor(0, 0),
            Target::Cuda { .. } => self.tensor(rows, cols),
        }
    }
}

/// Rows that the values make up.
fn rows_of(values: &[f32], cols: usize) -> Result<usize> {
    let rows = values.len().checked_div(cols).unwrap_or(0);
    let expected = format_args!("a multiple of {cols}");
    let whole = rows * cols == values.len();
    ensure("upload", whole, "number of values", values.len(), expected)?;
    Ok(rows)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
