//! Loaded PTX modules and their kernels.

use crate::code::target::{self, Architecture};
use crate::code::{Globals, Program, lower};
use crate::count::{Line, Source};
use crate::exec::SHARED_START;
use crate::gpu::Gpu;
use crate::memory::{Memory, MemoryError};
use crate::ptx::{self, Function, Initial, Number, PtxError, SourceLine, Space, Variable};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Why a module was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The text is not PTX that the virtual GPU understands.
    #[error(transparent)]
    Ptx(#[from] PtxError),
    /// The text is for another device.
    #[error("target `{target}` on a device of compute capability {major}.{minor}")]
    Target {
        /// What `.target` says.
        target: String,
        /// The device's major number.
        major: u32,
        /// The device's minor number.
        minor: u32,
    },
    /// A variable found no place.
    #[error("variable `{name}` of {bytes} bytes: {source}")]
    Memory {
        /// The variable.
        name: String,
        /// Its size.
        bytes: u64,
        /// Why.
        source: MemoryError,
    },
}

/// A module: its variables lie in device memory until it is dropped.
#[derive(Debug)]
pub struct Module {
    kernels: HashMap<String, Arc<Kernel>>,
    variables: Variables,
}

impl Module {
    /// Reads `text`, places its variables and lowers its kernels. A kernel with an instruction that
    /// is not supported is loaded as well: its launch will name the instruction.
    ///
    /// # Errors
    /// [`LoadError::Ptx`] for text that cannot be read or has an instruction that its target
    /// lacks, [`LoadError::Target`] for one that the device cannot run, [`LoadError::Memory`] for variables that
    /// do not fit.
    pub fn load(text: &str, gpu: &Gpu) -> Result<Module, LoadError> {
        let tree = ptx::parse(text)?;
        let device = gpu.properties().compute_capability;
        let target = Architecture::parse(tree.target).filter(|target| target.runs_on(device));
        let target = target.ok_or_else(|| LoadError::Target {
            target: tree.target.to_owned(),
            major: device.0,
            minor: device.1,
        })?;
        target::check(text, &tree, target)?;
        let variables = Variables::place(text, &tree, gpu)?;
        let globals: Globals = variables
            .places
            .iter()
            .map(|(name, place)| (name.clone(), place.address))
            .collect();
        let files: Arc<HashMap<u32, String>> = Arc::new(
            tree.files
                .iter()
                .map(|(&n, &path)| (n, path.to_owned()))
                .collect(),
        );
        let text: Arc<str> = text.into();
        let entries = tree
            .functions
            .iter()
            .filter(|f| f.entry && f.body.is_some());
        let kernels = entries
            .map(|function| {
                let program = lower(&text, &tree, &globals, function);
                let kernel =
                    Kernel::new(function, program, (Arc::clone(&text), Arc::clone(&files)));
                (function.name.to_owned(), Arc::new(kernel))
            })
            .collect();
        Ok(Module { kernels, variables })
    }

    /// The kernel called `name`.
    pub fn kernel(&self, name: &str) -> Option<Arc<Kernel>> {
        self.kernels.get(name).cloned()
    }

    /// All kernels, in no particular order.
    pub fn kernels(&self) -> impl Iterator<Item = &Arc<Kernel>> {
        self.kernels.values()
    }

    /// Device address and size in bytes of the variable called `name`.
    pub fn global(&self, name: &str) -> Option<(u64, usize)> {
        self.variables
            .places
            .get(name)
            .map(|place| (place.address, place.bytes))
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    address: u64,
    bytes: usize,
}

/// A module's variables in device memory.
#[derive(Debug)]
struct Variables {
    memory: Arc<Memory>,
    places: HashMap<String, Place>,
}

impl Variables {
    fn place(text: &str, tree: &ptx::Module<'_>, gpu: &Gpu) -> Result<Variables, LoadError> {
        let memory = Arc::clone(gpu.shared_memory());
        let mut variables = Variables {
            memory,
            places: HashMap::new(),
        };
        let placed = || {
            let all = tree.variables.iter();
            all.filter(|v| matches!(v.space, Space::Global | Space::Constant) && v.bytes > 0)
        };
        for variable in placed() {
            let refused = |source| LoadError::Memory {
                name: variable.name.to_owned(),
                bytes: variable.bytes,
                source,
            };
            let bytes = usize::try_from(variable.bytes).unwrap_or(usize::MAX);
            let address = variables.memory.allocate(bytes).map_err(refused)?;
            variables
                .places
                .insert(variable.name.to_owned(), Place { address, bytes });
            variables
                .memory
                .fill(address, &[0], bytes)
                .map_err(refused)?;
        }
        for variable in placed() {
            let Some(place) = variables.places.get(variable.name) else {
                continue;
            };
            let image = variables.image(text, variable)?;
            let refused = |source| LoadError::Memory {
                name: variable.name.to_owned(),
                bytes: variable.bytes,
                source,
            };
            variables
                .memory
                .write(place.address, &image)
                .map_err(refused)?;
        }
        Ok(variables)
    }

    /// The bytes of a variable's initial values.
    fn image(&self, text: &str, variable: &Variable<'_>) -> Result<Vec<u8>, PtxError> {
        let size = variable.ty.bytes().min(8) as usize;
        let mut image = Vec::with_capacity(variable.initial.len() * size);
        for value in &variable.initial {
            let bits = match value {
                Initial::Number(number @ Number::Integer(_)) => number.as_u64(),
                Initial::Number(number) if size == 4 => number.as_u32().into(),
                Initial::Number(number) => number.as_u64(),
                Initial::Address { name, offset } => match self.places.get(*name) {
                    Some(place) => place.address.wrapping_add_signed(*offset),
                    None => {
                        let reason = format!("`{name}` is not a variable");
                        return Err(PtxError::new(text, variable.line, reason));
                    }
                },
            };
            image.extend_from_slice(&bits.to_le_bytes()[..size]);
        }
        Ok(image)
    }
}

impl Drop for Variables {
    fn drop(&mut self) {
        for place in self.places.values() {
            // An address that was allocated here can be freed; there is nobody to tell otherwise.
            let _ = self.memory.free(place.address);
        }
    }
}

/// A kernel's parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Where it lies among the parameters, in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
    /// Its alignment in bytes.
    pub align: usize,
}

/// A kernel.
#[derive(Debug)]
pub struct Kernel {
    name: String,
    params: Vec<Param>,
    max_threads: Option<[u32; 3]>,
    registers: Option<u32>,
    program: Result<Program, PtxError>,
    /// The module's text.
    text: Arc<str>,
    files: Arc<HashMap<u32, String>>,
}

impl Kernel {
    fn new(
        function: &Function<'_>,
        program: Result<Program, PtxError>,
        (text, files): (Arc<str>, Arc<HashMap<u32, String>>),
    ) -> Kernel {
        let mut end = 0usize;
        let params = function.params.iter().map(|param| {
            let (size, align) = (param.bytes as usize, param.align as usize);
            let offset = end.next_multiple_of(align);
            end = offset + size;
            Param {
                offset,
                size,
                align,
            }
        });
        Kernel {
            name: function.name.to_owned(),
            params: params.collect(),
            max_threads: function.max_threads,
            registers: function.registers,
            program,
            text,
            files,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Size of all parameters in bytes.
    pub fn param_bytes(&self) -> usize {
        self.params
            .last()
            .map_or(0, |param| param.offset + param.size)
    }

    /// Shared memory whose size the kernel fixes, in bytes.
    pub fn static_shared(&self) -> u32 {
        self.program
            .as_ref()
            .map_or(0, |program| program.static_shared_end - SHARED_START)
    }

    /// Local memory of a thread, in bytes.
    pub fn local(&self) -> u32 {
        self.program
            .as_ref()
            .map_or(0, |program| program.local_bytes)
    }

    /// Most threads of a block: what the kernel promises, or 1,024.
    pub fn max_threads(&self) -> u32 {
        let product = |[x, y, z]: [u32; 3]| x.saturating_mul(y).saturating_mul(z);
        self.max_threads
            .map_or(1024, |extent| product(extent).min(1024))
    }

    /// 32-bit registers of a thread: what the text passes on from ptxas, or else what the virtual
    /// GPU needs, which is another number than hardware's.
    pub fn registers(&self) -> u32 {
        self.registers.unwrap_or_else(|| {
            let program = self.program.as_ref();
            program.map_or(0, |program| program.columns as u32)
        })
    }

    /// Registers that hardware allots to each warp; none where ptxas' number is not known.
    pub fn registers_of_warp(&self) -> Option<u32> {
        let allotted = |registers: u32| (registers * 32).next_multiple_of(256);
        self.registers.map(allotted)
    }

    /// Why the kernel cannot be launched, if it cannot.
    pub fn unsupported(&self) -> Option<&PtxError> {
        self.program.as_ref().err()
    }

    pub(crate) fn program(&self) -> &Result<Program, PtxError> {
        &self.program
    }

    /// The lines of its text that have instructions, in order, nothing counted.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let Ok(program) = &self.program else {
            return Vec::new();
        };
        let instructions = program.code.iter().zip(&program.origins);
        let counted = instructions.filter(|(inst, _)| inst.counts);
        let lines: BTreeMap<u32, Option<SourceLine>> = counted
            .map(|(_, origin)| (origin.line, origin.source))
            .collect();
        let mut text = self.text.lines().zip(1..);
        let line = |(ptx_line, source): (u32, Option<SourceLine>)| {
            let (text, _) = text.find(|(_, number)| *number == ptx_line)?;
            let source = source.map(|source| Source {
                file: self.file(source.file),
                line: source.line,
            });
            Some(Line::new(ptx_line, text.trim(), source))
        };
        lines.into_iter().filter_map(line).collect()
    }

    /// The path of a `.file` number.
    pub(crate) fn file(&self, number: u32) -> String {
        self.files.get(&number).cloned().unwrap_or_default()
    }
}
