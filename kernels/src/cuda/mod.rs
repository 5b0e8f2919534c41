#![allow(unsafe_code)] // one setting of cudarc's
//! The CUDA device: a GPU through its driver, or the virtual GPU through the same interface.
//!
//! Kernels are compiled by NVRTC for the GPU that is found and kept on disk ([`cache`]). A GPU
//! loads machine code (cubins), since its driver may be older than the compiler's PTX; the virtual
//! GPU loads PTX.

mod cache;
mod compiler;
mod counters;
mod driver;
mod graph;
mod launch;
mod library;
mod memory;
mod nvrtc;
mod timer;
mod trace;
mod upload;
mod weights;

pub(crate) use compiler::whole_text;
pub use compiler::{Assembly, Edit, assemble};
pub use counters::{
    Counters, Counting, CoveredLine, Executed, Footprint, KernelCoverage, Line, Requests,
    SourceLine, Wavefronts,
};
pub use graph::Graph;
pub(crate) use graph::Output;
pub use launch::Define;
pub(crate) use launch::{Arg, CudaSource, Grid, Launcher};
pub(crate) use memory::DeviceBlock;
pub use timer::Timer;
pub use trace::{TraceEvent, TraceKind, Tracing};
pub(crate) use weights::Needs;

use crate::DType;
use crate::error::{Error, Result};
use compiler::Compiler;
use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaContext, CudaStream};
use launch::Functions;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use weights::{Key, Loaded};

/// Which driver runs the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The one of the GPU.
    Hardware,
    /// The virtual GPU, which interprets kernels on the CPU: for tests, not for speed.
    Virtual,
}

impl Driver {
    /// The device's name on a command line.
    pub fn device(self) -> &'static str {
        match self {
            Driver::Hardware => "cuda",
            Driver::Virtual => "virtual",
        }
    }
}

/// Shared memory that the largest block takes, in bytes: attention of generated rows in f32, with
/// heads of 128.
const SHARED_NEEDED: i32 = 147_968;

/// A GPU with what is loaded on it: kernels and weights. What was loaded stays until this is
/// dropped.
pub struct Cuda {
    driver: Driver,
    name: String,
    dtype: DType,
    stream: Arc<CudaStream>,
    compiler: Compiler,
    functions: Mutex<Functions>,
    weights: RwLock<HashMap<Key, Loaded>>,
}

impl Cuda {
    /// Opens the first GPU of a driver, for weights and activations in `dtype`: bf16, or f32 for
    /// sharp comparisons.
    ///
    /// A process has one driver: the first that is opened.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if there is no GPU or NVRTC, naming what is missing and how to come by
    /// it; if `dtype` is f16.
    pub fn open(driver: Driver, dtype: DType) -> Result<Arc<Cuda>> {
        Cuda::with(driver, dtype, None)
    }

    /// Opens the virtual GPU, with kernels that `edit` changes before they are loaded and whose
    /// guards are marked in their PTX: for tests of what notices a bug.
    ///
    /// # Errors
    /// As [`Cuda::open`].
    pub fn open_edited(dtype: DType, edit: Box<Edit>) -> Result<Arc<Cuda>> {
        Cuda::with(Driver::Virtual, dtype, Some(edit))
    }

    fn with(driver: Driver, dtype: DType, edit: Option<Box<Edit>>) -> Result<Arc<Cuda>> {
        let missing = |reason: String| Error::NoDevice {
            device: driver.device(),
            reason,
        };
        if dtype == DType::F16 {
            return Err(missing(
                "kernels compute in bf16 or f32, not in f16".to_owned(),
            ));
        }
        driver::load(driver).map_err(missing)?;
        let failed = |what: &str| {
            let what = what.to_owned();
            move |e| driver::error(what, e)
        };
        let context = CudaContext::new(0).map_err(failed("opening the GPU"))?;
        // One stream: events between buffers would only cost time.
        // SAFETY: all work of this context is on the one stream made below.
        unsafe {
            context.disable_event_tracking();
        }
        let stream = context.new_stream().map_err(failed("making a stream"))?;
        let name = context
            .name()
            .map_err(failed("asking for the GPU's name"))?;
        let (major, minor) = context
            .compute_capability()
            .map_err(failed("asking for the compute capability"))?;
        if major < 8 {
            let reason =
                format!("{name} has compute capability {major}.{minor}, expected 8.0 or more");
            return Err(missing(reason));
        }
        let shared = context
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
            .map_err(failed("asking for the shared memory"))?;
        if shared < SHARED_NEEDED {
            let reason = format!(
                "{name} has {shared} bytes of shared memory a block, expected {SHARED_NEEDED} or \
                more, as A100 and H100 have"
            );
            return Err(missing(reason));
        }
        let compiler = Compiler::new(driver, (major, minor), edit).map_err(missing)?;
        Ok(Arc::new(Cuda {
            driver,
            name,
            dtype,
            stream,
            compiler,
            functions: Mutex::default(),
            weights: RwLock::default(),
        }))
    }

    /// Sets how the virtual GPU runs what is launched from now on, in the words of its
    /// `GAMUT_VGPU_OPTIONS`; what is not named gets its default.
    ///
    /// # Errors
    /// If this is not the virtual GPU, or a word means nothing.
    pub fn set_virtual_options(&self, options: &str) -> Result<()> {
        driver::configure(options)
    }

    /// Whether there is a GPU with its driver; whether all else is there, opening it says.
    pub fn is_present() -> bool {
        driver::has_gpu()
    }

    /// The driver.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// The GPU's name, with architecture and compiler.
    pub fn describe(&self) -> String {
        let architecture = self.compiler.architecture();
        let (name, nvrtc) = (&self.name, self.compiler.version());
        format!("{name} ({architecture}, {}, NVRTC {nvrtc})", self.dtype)
    }

    /// Type of weights and activations.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Waits for all work and reports what failed in it.
    ///
    /// # Errors
    /// If a kernel or a copy failed.
    pub fn synchronize(&self) -> Result<()> {
        let waited = self.stream.synchronize();
        waited.map_err(|e| driver::error("waiting for the GPU".to_owned(), e))
    }

    /// Memory that is free, in bytes.
    ///
    /// # Errors
    /// If the driver does not say.
    pub fn free_memory(&self) -> Result<usize> {
        let info = self.stream.context().mem_get_info();
        let (free, _) = info.map_err(|e| driver::error("asking for free memory".to_owned(), e))?;
        Ok(free)
    }

    /// The stream that all work is queued on, for libraries that are to queue theirs behind it.
    pub fn stream(&self) -> *mut std::ffi::c_void {
        self.stream.cu_stream().cast()
    }

    /// A block of memory, not initialised.
    pub(crate) fn allocate(&self, bytes: usize, what: &'static str) -> Result<DeviceBlock> {
        DeviceBlock::new(&self.stream, bytes, what)
    }

    fn functions(&self) -> std::sync::MutexGuard<'_, Functions> {
        self.functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cuda {
    /// Memory that was given back in the stream is free, and others see it, once somebody has waited.
    fn drop(&mut self) {
        self.unload();
        if let Err(e) = self.synchronize() {
            tracing::debug!("giving memory back: {e}");
        }
    }
}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cuda({})", self.describe())
    }
}
