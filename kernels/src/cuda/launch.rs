//! Launches of kernels, checked against the kernel's own list of parameters.
#![allow(unsafe_code)]

use super::weights::Needs;
use super::{Cuda, driver};
use crate::DType;
use crate::error::{Error, Result, check};
use crate::table::Indices;
use crate::tensor::{Tensor, View, ViewMut};
use cudarc::driver::{CudaFunction, CudaModule, DriverError, result, sys};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::ffi::c_void;
use std::num::NonZero;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

/// The CUDA source of an operation, as it lies beside its Rust twin.
#[derive(Debug)]
pub(crate) struct CudaSource {
    /// Its file's name.
    pub(crate) file: &'static str,
    /// Its text.
    pub(crate) text: &'static str,
    /// Some of the sets of macros that it is compiled with.
    pub(crate) variants: &'static [&'static [Define]],
}

/// A macro that a source is compiled with.
pub type Define = (&'static str, usize);

/// The shape of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    /// Blocks in x, y and z.
    pub(crate) blocks: [usize; 3],
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Dynamic shared memory of a block in bytes.
    pub(crate) shared: usize,
    /// Multiply-adds of matrix products of all blocks.
    pub(crate) products: usize,
}

impl Grid {
    /// Blocks of `threads` threads, without dynamic shared memory and products.
    pub(crate) fn new(blocks: [usize; 3], threads: u32) -> Grid {
        Grid {
            blocks,
            threads,
            shared: 0,
            products: 0,
        }
    }
}

/// An argument of a kernel.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    /// An address on the GPU; 0 for none.
    Pointer(u64),
    /// A size or an index, which kernels take as 32-bit integers.
    Size(usize),
    Float(f32),
    /// A structure of these fields, each at a multiple of its size.
    Struct(Vec<Arg>),
}

impl From<u64> for Arg {
    fn from(address: u64) -> Arg {
        Arg::Pointer(address)
    }
}

impl From<usize> for Arg {
    fn from(size: usize) -> Arg {
        Arg::Size(size)
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Arg {
        Arg::Float(value)
    }
}

impl From<&Tensor> for Arg {
    fn from(tensor: &Tensor) -> Arg {
        Arg::Pointer(tensor.view().address())
    }
}

impl From<&mut Tensor> for Arg {
    fn from(tensor: &mut Tensor) -> Arg {
        Arg::Pointer(tensor.view().address())
    }
}

impl From<View<'_>> for Arg {
    fn from(view: View<'_>) -> Arg {
        Arg::Pointer(view.address())
    }
}

impl From<Indices<'_>> for Arg {
    fn from(indices: Indices<'_>) -> Arg {
        Arg::Pointer(indices.address())
    }
}

impl From<&mut ViewMut<'_>> for Arg {
    fn from(view: &mut ViewMut<'_>) -> Arg {
        Arg::Pointer(view.as_view().address())
    }
}

/// An argument as it goes to the driver.
enum Value {
    Four(u32),
    Eight(u64),
    Bytes(Vec<u8>),
}

impl Arg {
    fn value(&self, op: &'static str, index: usize) -> Result<Value> {
        Ok(match self {
            Arg::Pointer(address) => Value::Eight(*address),
            Arg::Float(value) => Value::Four(value.to_bits()),
            Arg::Struct(fields) => {
                let mut bytes = Vec::new();
                for field in fields {
                    match field.value(op, index)? {
                        Value::Four(value) => bytes.extend(value.to_ne_bytes()),
                        Value::Eight(value) => {
                            bytes.resize(bytes.len().next_multiple_of(8), 0);
                            bytes.extend(value.to_ne_bytes());
                        }
                        Value::Bytes(inner) => bytes.extend(inner),
                    }
                }
                // All of ours hold pointers.
                bytes.resize(bytes.len().next_multiple_of(8), 0);
                Value::Bytes(bytes)
            }
            Arg::Size(size) => {
                let size = i32::try_from(*size).map_err(|_| Error::Argument {
                    op,
                    what: format!("argument {index} of the kernel"),
                    expected: format!("at most {}", i32::MAX),
                    found: size.to_string(),
                })?;
                Value::Four(size as u32)
            }
        })
    }
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Value::Four(_) => 4,
            Value::Eight(_) => 8,
            Value::Bytes(bytes) => bytes.len(),
        }
    }

    /// Where the driver finds it.
    fn place(&self) -> *mut c_void {
        let place: *const c_void = match self {
            Value::Four(value) => ptr::from_ref(value).cast(),
            Value::Eight(value) => ptr::from_ref(value).cast(),
            Value::Bytes(bytes) => bytes.as_ptr().cast(),
        };
        place.cast_mut()
    }
}

/// What an operation launches kernels with: a GPU, or a dry run that notes what it needs.
pub(crate) enum Launcher<'a> {
    Gpu(&'a Cuda),
    Plan {
        dtype: DType,
        needs: &'a Mutex<Needs>,
    },
}

impl Launcher<'_> {
    /// Type of weights and activations.
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Launcher::Gpu(cuda) => cuda.dtype(),
            Launcher::Plan { dtype, .. } => *dtype,
        }
    }

    /// Launches `kernel` of `source` behind all work before it.
    ///
    /// # Errors
    /// If the source does not compile, has no such kernel, or the arguments do not fit it.
    pub(crate) fn launch<const N: usize>(
        &self,
        (source, kernel): (&'static CudaSource, &'static str),
        defines: &[Define],
        grid: Grid,
        args: [Arg; N],
    ) -> Result<()> {
        match self {
            _ if grid.blocks.contains(&0) => Ok(()),
            Launcher::Plan { dtype, needs } => {
                let mut needs = needs.lock().unwrap_or_else(PoisonError::into_inner);
                needs.launches += 1;
                needs.products += operations(grid.products, *dtype);
                needs
                    .kernels
                    .insert((source.file, kernel, defines.to_vec()), source);
                Ok(())
            }
            Launcher::Gpu(cuda) => cuda.launch((source, kernel), defines, grid, args),
        }
    }
}

/// Operations of tensor cores for so many multiply-adds; in f32 each is three of parts of operands.
fn operations(products: usize, dtype: DType) -> u64 {
    let parts = if dtype == DType::F32 { 3 } else { 1 };
    2 * parts * products as u64
}

/// A kernel: its source's file, its name, and the macros.
type KernelKey = (&'static str, &'static str, Vec<Define>);
/// Kernels with their sources.
pub(crate) type Kernels = HashMap<KernelKey, &'static CudaSource>;

/// Loaded modules and the kernels taken from them.
#[derive(Default)]
pub(super) struct Functions {
    modules: HashMap<(&'static str, Vec<Define>), Arc<CudaModule>>,
    functions: HashMap<KernelKey, Arc<Function>>,
}

/// A kernel that is loaded.
struct Function {
    function: CudaFunction,
    /// Bytes of each parameter.
    parameters: Vec<usize>,
    /// Threads of a block, by its launch bounds.
    threads: u32,
    /// Dynamic shared memory that it may have, in bytes.
    shared: Mutex<usize>,
}

/// Dynamic shared memory that a kernel may have without asking, in bytes.
const SHARED: usize = 48 * 1024;

impl Cuda {
    fn launch<const N: usize>(
        &self,
        (source, kernel): (&'static CudaSource, &'static str),
        defines: &[Define],
        grid: Grid,
        args: [Arg; N],
    ) -> Result<()> {
        let function = self.function(source, kernel, defines)?;
        let mut values = [const { Value::Four(0) }; N];
        for (index, (arg, value)) in args.iter().zip(&mut values).enumerate() {
            *value = arg.value(kernel, index)?;
        }
        check(
            kernel,
            "bytes of the kernel's arguments",
            &values.each_ref().map(Value::bytes)[..],
            &function.parameters,
        )?;
        // A kernel has the launch bounds that it is written for.
        check(kernel, "threads of a block", grid.threads, function.threads)?;
        let failed = |e| driver::error(format!("launching {kernel} on {grid:?}"), e);
        let context = self.stream.context();
        context.bind_to_thread().map_err(failed)?;
        function.allow_shared(grid.shared).map_err(failed)?;
        let [x, y, z] = grid.blocks.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let shared = u32::try_from(grid.shared).unwrap_or(u32::MAX);
        let function = function.function.cu_function();
        let mut places = values.each_ref().map(Value::place);
        // SAFETY: the arguments have the sizes of the kernel's parameters, and the driver copies as
        // many bytes of each before it returns; that they mean what the kernel takes them for is each
        // operation's to see to, and its cases' to show.
        let launched = unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                (grid.threads, 1, 1),
                shared,
                self.stream.cu_stream(),
                &mut places,
            )
        };
        launched.map_err(failed)
    }

    /// Compiles and loads kernels, several sources at a time.
    pub(crate) fn load_kernels(&self, kernels: &Kernels) -> Result<()> {
        let sources: HashMap<_, _> = kernels
            .iter()
            .map(|((file, _, defines), source)| ((*file, defines), *source))
            .collect();
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let work = Mutex::new(sources.into_iter());
        let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
        let compile = || -> Result<()> {
            while let Some(((_, defines), source)) = next() {
                self.module(source, defines)?;
            }
            Ok(())
        };
        let panicked = |_| {
            Err(Error::Cuda {
                what: "compiling kernels".to_owned(),
                reason: "a thread panicked".to_owned(),
            })
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(compile)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(panicked))
        })?;
        for ((_, kernel, defines), source) in kernels {
            self.function(source, kernel, defines)?;
        }
        Ok(())
    }

    fn module(&self, source: &'static CudaSource, defines: &[Define]) -> Result<Arc<CudaModule>> {
        let key = (source.file, defines.to_vec());
        if let Some(module) = self.functions().modules.get(&key) {
            return Ok(module.clone());
        }
        let code = self.compiler.code(source, self.dtype, defines)?;
        let module = self.stream.context().load_module(Ptx::from_binary(code));
        let module = module.map_err(|e| driver::error(format!("loading {}", source.file), e))?;
        self.functions().modules.insert(key, module.clone());
        Ok(module)
    }

    fn function(
        &self,
        source: &'static CudaSource,
        kernel: &'static str,
        defines: &[Define],
    ) -> Result<Arc<Function>> {
        let key = (source.file, kernel, defines.to_vec());
        if let Some(function) = self.functions().functions.get(&key) {
            return Ok(function.clone());
        }
        let failed = |e| driver::error(format!("loading {kernel} of {}", source.file), e);
        let module = self.module(source, defines)?;
        self.stream.context().bind_to_thread().map_err(failed)?;
        let function = module.load_function(kernel).map_err(failed)?;
        let function = Arc::new(Function {
            parameters: parameters(&function).map_err(failed)?,
            threads: function.max_threads_per_block().map_err(failed)? as u32,
            function,
            shared: Mutex::new(SHARED),
        });
        self.functions().functions.insert(key, function.clone());
        Ok(function)
    }
}

impl Function {
    /// Lets the kernel have so much dynamic shared memory.
    fn allow_shared(&self, bytes: usize) -> std::result::Result<(), DriverError> {
        let mut allowed = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > *allowed {
            use sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MAX;
            let bytes_i32 = i32::try_from(bytes).unwrap_or(i32::MAX);
            self.function.set_attribute(MAX, bytes_i32)?;
            *allowed = bytes;
        }
        Ok(())
    }
}

/// Bytes of each parameter of a kernel.
fn parameters(function: &CudaFunction) -> std::result::Result<Vec<usize>, DriverError> {
    let mut parameters = Vec::new();
    loop {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the function is loaded, `driver::load` has seen that the driver has the call, and
        // two sizes are written.
        let info = unsafe {
            sys::cuFuncGetParamInfo(
                function.cu_function(),
                parameters.len(),
                &raw mut offset,
                &raw mut size,
            )
        };
        match info {
            sys::CUresult::CUDA_SUCCESS => parameters.push(size),
            // That is how drivers say that there are no more.
            sys::CUresult::CUDA_ERROR_INVALID_VALUE => return Ok(parameters),
            _ => return Err(DriverError(info)),
        }
    }
}
