//! Kernels compiled for a GPU.

use super::Driver;
use super::cache::Cache;
use super::launch::{CudaSource, Define};
use super::nvrtc::{self, Program};
use crate::error::{Error, Result};
use crate::{DType, registry};
use std::collections::HashMap;
use std::ffi::CStr;

/// Headers that kernels include, by name.
const HEADERS: [(&CStr, &str); 4] = [
    (c"attention.cuh", include_str!("attention.cuh")),
    (c"common.cuh", include_str!("common.cuh")),
    (c"fft.cuh", include_str!("fft.cuh")),
    (c"mma.cuh", include_str!("mma.cuh")),
];

/// Changes PTX before the virtual GPU loads it: called with the name of the source's file, the macros
/// that it was compiled with, and the text.
pub type Edit = dyn Fn(&'static str, &[Define], String) -> String + Send + Sync;

/// Compiles kernels for one GPU, and keeps what it compiled.
pub(super) struct Compiler {
    architecture: String,
    driver: Driver,
    version: String,
    cache: Option<Cache>,
    edit: Option<Box<Edit>>,
}

impl Compiler {
    /// A compiler for a compute capability.
    ///
    /// # Errors
    /// If there is no NVRTC, saying how to come by it.
    pub(super) fn new(
        driver: Driver,
        (major, minor): (i32, i32),
        edit: Option<Box<Edit>>,
    ) -> std::result::Result<Compiler, String> {
        nvrtc::load()?;
        // Hopper's own instructions are in the architecture-specific set alone.
        let suffix = if major == 9 { "a" } else { "" };
        Ok(Compiler {
            architecture: format!("sm_{major}{minor}{suffix}"),
            driver,
            version: nvrtc::version(),
            cache: Cache::open(),
            edit,
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
        let Some(edit) = &self.edit else {
            let options = options(&self.architecture, dtype, defines);
            return self.compiled(source, &options);
        };
        let mut options = options(&self.architecture, dtype, defines);
        options.push("-DMARK_GUARDS=1".to_owned());
        let ptx = String::from_utf8_lossy(&self.compiled(source, &options)?).into_owned();
        Ok(edit(source.file, defines, ptx).into_bytes())
    }

    fn compiled(&self, source: &CudaSource, options: &[String]) -> Result<Vec<u8>> {
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
        let code = compile(source, &self.architecture, options, |program| {
            match self.driver {
                Driver::Hardware => program.cubin(),
                Driver::Virtual => Ok(with_registers(program.ptx()?, &program.log())),
            }
        })?;
        if let Some(cache) = &self.cache {
            cache.put(source.file, &key, &code);
        }
        Ok(code)
    }
}

/// PTX with the assembler's count of each kernel's registers, which the virtual GPU takes for its
/// limits: `.pragma "gamut registers N";`, the first line of the kernel's body.
fn with_registers(ptx: Vec<u8>, report: &str) -> Vec<u8> {
    let Ok(ptx) = String::from_utf8(ptx) else {
        return Vec::new(); // No PTX: the driver will say so.
    };
    let mut registers = HashMap::new();
    let mut kernel = None;
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            kernel = rest.split('\'').next();
        } else if let Some((_, rest)) = line.split_once("Used ") {
            let count = rest.split(' ').next().and_then(|n| n.parse::<u32>().ok());
            registers.extend(kernel.zip(count));
        }
    }
    let mut out = String::with_capacity(ptx.len());
    let mut count = None;
    for line in ptx.lines() {
        out.push_str(line);
        out.push('\n');
        if let Some((_, rest)) = line.split_once(".entry ") {
            count = registers.get(rest.split('(').next().unwrap_or(rest));
        } else if line == "{"
            && let Some(count) = count.take()
        {
            out.push_str(&format!("\t.pragma \"gamut registers {count}\";\n"));
        }
    }
    out.into_bytes()
}

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

/// The text of a source with those of the headers that it includes, directly or not.
pub(crate) fn whole_text(source: &CudaSource) -> String {
    let mut included: Vec<&str> = Vec::new();
    let mut whole = String::new();
    let mut texts = vec![source.text];
    while let Some(text) = texts.pop() {
        whole += text;
        for (name, header) in HEADERS {
            let name = name.to_str().unwrap_or_default();
            if !included.contains(&name) && text.contains(&format!("#include \"{name}\"")) {
                included.push(name);
                texts.push(header);
            }
        }
    }
    whole
}

/// The options of NVRTC for an architecture and a type.
fn options(architecture: &str, dtype: DType, defines: &[Define]) -> Vec<String> {
    let mut options = vec![
        format!("--gpu-architecture={architecture}"),
        "-std=c++17".to_owned(),
        "-lineinfo".to_owned(),
        // Else the assembler fuses what PTX leaves apart, and the virtual GPU rounds otherwise.
        "--fmad=false".to_owned(),
        // The assembler's report goes to the log.
        "--ptxas-options=-v".to_owned(),
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
                let options = options(architecture, dtype, defines);
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

#[cfg(test)]
mod tests {
    use super::with_registers;

    #[test]
    fn registers_go_to_the_kernel_that_has_them() {
        let ptx = ".func helper()\n{\n}\n.visible .entry first(\n\t.param .u64 a\n)\n.maxntid 128\n{\n\tret;\n}\n\
            .visible .entry second()\n{\n\t{\n\t}\n}\n";
        let report = "ptxas info    : 40 bytes gmem\n\
            ptxas info    : Compiling entry function 'second' for 'sm_90a'\n\
            ptxas info    : Used 64 registers, used 1 barriers, 35632 bytes smem\n\
            ptxas info    : Compiling entry function 'first' for 'sm_90a'\n\
            ptxas info    : Used 17 registers\n";
        let found = String::from_utf8(with_registers(ptx.into(), report)).unwrap();
        let first =
            "(\n\t.param .u64 a\n)\n.maxntid 128\n{\n\t.pragma \"gamut registers 17\";\n\tret;";
        assert!(found.contains(first), "{found}");
        let second = "second()\n{\n\t.pragma \"gamut registers 64\";\n\t{\n\t}\n}";
        assert!(found.contains(second), "{found}");
        assert_eq!(found.matches("pragma").count(), 2);
    }
}
