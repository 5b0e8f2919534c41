//! Kernels compiled for a GPU.

use super::Driver;
use super::cache::Cache;
use super::launch::{CudaSource, Define};
use super::nvrtc::{self, Program};
use crate::error::{Error, Result};
use crate::{DType, registry};
use std::ffi::CStr;

/// Headers that kernels include, by name.
const HEADERS: [(&CStr, &str); 4] = [
    (c"attention.cuh", include_str!("attention.cuh")),
    (c"common.cuh", include_str!("common.cuh")),
    (c"fft.cuh", include_str!("fft.cuh")),
    (c"mma.cuh", include_str!("mma.cuh")),
];

/// Compiles kernels for one GPU, and keeps what it compiled.
#[derive(Debug)]
pub(super) struct Compiler {
    architecture: String,
    driver: Driver,
    version: String,
    cache: Option<Cache>,
}

impl Compiler {
    /// A compiler for a compute capability.
    ///
    /// # Errors
    /// If there is no NVRTC, saying how to come by it.
    pub(super) fn new(
        driver: Driver,
        (major, minor): (i32, i32),
    ) -> std::result::Result<Compiler, String> {
        nvrtc::load()?;
        // Hopper's own instructions are in the architecture-specific set alone.
        let suffix = if major == 9 { "a" } else { "" };
        Ok(Compiler {
            architecture: format!("sm_{major}{minor}{suffix}"),
            driver,
            version: nvrtc::version(),
            cache: Cache::open(),
        })
    }

    /// The architecture that it compiles for, such as `sm_90a`.
    pub(super) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// NVRTC's version.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Code that the driver loads: a cubin for hardware, PTX for the virtual GPU.
    pub(super) fn code(
        &self,
        source: &CudaSource,
        dtype: DType,
        defines: &[Define],
    ) -> Result<Vec<u8>> {
        let options = options(&self.architecture, dtype, defines);
        let mut key = format!(
            "NVRTC {} {:?} {}\n",
            self.version,
            self.driver,
            options.join(" ")
        );
        for (name, text) in HEADERS {
            key += &format!("{}\n{text}\n", name.to_string_lossy());
        }
        key += source.text;
        let cached = self
            .cache
            .as_ref()
            .and_then(|cache| cache.get(source.file, &key));
        if let Some(code) = cached {
            return Ok(code);
        }
        let code = compile(source, &self.architecture, &options, |program| {
            match self.driver {
                Driver::Hardware => program.cubin(),
                Driver::Virtual => program.ptx(),
            }
        })?;
        if let Some(cache) = &self.cache {
            cache.put(source.file, &key, &code);
        }
        Ok(code)
    }
}

/// The options of NVRTC for an architecture and a type.
/// A line of an operation's source or of a header, trimmed.
pub(super) fn source_line(file: &str, line: u32) -> Option<&'static str> {
    let ops = registry()
        .into_iter()
        .map(|op| (op.cuda.file, op.cuda.text));
    let mut all = ops.chain(HEADERS.map(|(name, text)| (name.to_str().unwrap_or_default(), text)));
    let (_, text) = all.find(|(name, _)| file == *name)?;
    let line = text.lines().nth(line.checked_sub(1)? as usize)?;
    Some(line.trim())
}

fn options(architecture: &str, dtype: DType, defines: &[Define]) -> Vec<String> {
    let mut options = vec![
        format!("--gpu-architecture={architecture}"),
        "-std=c++17".to_owned(),
        "-lineinfo".to_owned(),
        // Else the assembler fuses what PTX leaves apart, and the virtual GPU rounds otherwise.
        "--fmad=false".to_owned(),
        format!("-DELEMENT_BF16={}", u8::from(dtype == DType::BF16)),
    ];
    options.extend(
        defines
            .iter()
            .map(|(name, value)| format!("-D{name}={value}")),
    );
    options
}

fn compile<T>(
    source: &CudaSource,
    architecture: &str,
    options: &[String],
    output: impl FnOnce(&Program) -> std::result::Result<T, String>,
) -> Result<T> {
    let program = Program::compile(source.file, source.text, &HEADERS, options);
    program
        .and_then(|program| output(&program))
        .map_err(|log| Error::Compile {
            source_file: source.file,
            architecture: architecture.to_owned(),
            nvrtc: nvrtc::version(),
            log,
        })
}

/// What the assembler made of a source.
#[derive(Clone, Debug)]
pub struct Assembly {
    /// The source's file.
    pub file: &'static str,
    /// The type and the macros that it was compiled with.
    pub variant: String,
    /// The machine code, an ELF file.
    pub cubin: Vec<u8>,
    /// The assembler's report: for every kernel its registers, shared memory and spills.
    pub report: String,
}

/// Assembles the kernels of every registered operation for an architecture, such as `sm_90a`, in
/// bf16 and in f32, and calls `look` with each result. Needs NVRTC, but no GPU.
///
/// # Errors
/// If there is no NVRTC, or a source does not compile.
pub fn assemble(architecture: &str, mut look: impl FnMut(Assembly)) -> Result<()> {
    nvrtc::load().map_err(|reason| Error::NoDevice {
        device: "cuda",
        reason,
    })?;
    let mut files = Vec::new();
    for source in registry().into_iter().map(|op| op.cuda) {
        if files.contains(&source.file) {
            continue;
        }
        files.push(source.file);
        for dtype in [DType::BF16, DType::F32] {
            for defines in source.variants {
                let mut options = options(architecture, dtype, defines);
                options.push("--ptxas-options=-v".to_owned());
                let (cubin, report) = compile(source, architecture, &options, |program| {
                    Ok((program.cubin()?, program.log()))
                })?;
                look(Assembly {
                    file: source.file,
                    variant: format!("{dtype} {defines:?}"),
                    cubin,
                    report,
                });
            }
        }
    }
    Ok(())
}
