//! NVRTC, CUDA's compiler as a library: found where people have it, loaded, called.
#![allow(unsafe_code)]

use super::Driver;
use super::cache::Cache;
use super::launch::{Define, Source};
use crate::DType;
use crate::error::{Error, Result};
use cudarc::nvrtc::{result, sys};
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};

/// Names the library.
const NVRTC_PATH: &str = "GAMUT_NVRTC";
/// Files of NVRTC, the newest first.
const FILES: [&str; 2] = ["libnvrtc.so.13", "libnvrtc.so.12"];
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
    pub(super) fn new(
        driver: Driver,
        (major, minor): (i32, i32),
    ) -> std::result::Result<Compiler, String> {
        // Hopper's own instructions are in the architecture-specific set alone.
        let suffix = if major == 9 { "a" } else { "" };
        load()?;
        Ok(Compiler {
            architecture: format!("sm_{major}{minor}{suffix}"),
            driver,
            version: loaded_version(),
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
        source: &Source,
        dtype: DType,
        defines: &[Define],
    ) -> Result<Vec<u8>> {
        let mut options = vec![
            format!("--gpu-architecture={}", self.architecture),
            "-std=c++17".to_owned(),
            "-lineinfo".to_owned(),
            // Else ptxas fuses what PTX leaves apart, and the virtual GPU rounds otherwise.
            "--fmad=false".to_owned(),
            format!("-DELEMENT_BF16={}", u8::from(dtype == DType::BF16)),
        ];
        options.extend(
            defines
                .iter()
                .map(|(name, value)| format!("-D{name}={value}")),
        );
        let mut key = format!(
            "NVRTC {} {:?} {}\n",
            self.version(),
            self.driver,
            options.join(" ")
        );
        for (name, text) in HEADERS {
            key += &format!("{}\n{text}\n", name.to_string_lossy());
        }
        key += source.text;
        if let Some(code) = self
            .cache
            .as_ref()
            .and_then(|cache| cache.get(source.file, &key))
        {
            return Ok(code);
        }
        let code = self.compile(source, &options)?;
        if let Some(cache) = &self.cache {
            cache.put(source.file, &key, &code);
        }
        Ok(code)
    }

    fn compile(&self, source: &Source, options: &[String]) -> Result<Vec<u8>> {
        let refused = |log: String| Error::Compile {
            source_file: source.file,
            architecture: self.architecture.clone(),
            nvrtc: self.version().to_owned(),
            log,
        };
        let text = |text: &str| CString::new(text).map_err(|e| refused(e.to_string()));
        let (code, name) = (text(source.text)?, text(source.file)?);
        let headers = HEADERS
            .iter()
            .map(|(_, header)| text(header))
            .collect::<Result<Vec<CString>>>()?;
        let program = Program::new(&code, &name, &headers).map_err(refused)?;
        // SAFETY: the program lives until the end of this function.
        let compiled = unsafe { result::compile_program(program.0, options) };
        compiled.map_err(|e| refused(format!("{e:?}\n{}", program.log())))?;
        let got = match self.driver {
            Driver::Hardware => program.output(sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN),
            Driver::Virtual => program.output(sys::nvrtcGetPTXSize, sys::nvrtcGetPTX),
        };
        got.map_err(refused)
    }
}

/// A program of NVRTC's.
struct Program(sys::nvrtcProgram);

type GetSize = unsafe fn(sys::nvrtcProgram, *mut usize) -> sys::nvrtcResult;
type Get = unsafe fn(sys::nvrtcProgram, *mut c_char) -> sys::nvrtcResult;

impl Program {
    fn new(code: &CStr, name: &CStr, headers: &[CString]) -> std::result::Result<Program, String> {
        let texts: Vec<*const c_char> = headers.iter().map(|text| text.as_ptr()).collect();
        let names = HEADERS.map(|(name, _)| name.as_ptr());
        let mut program = std::ptr::null_mut();
        // SAFETY: all pointers are to strings that end in zero, and there are as many headers as
        // names; NVRTC copies them.
        let created = unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program,
                code.as_ptr(),
                name.as_ptr(),
                texts.len() as c_int,
                texts.as_ptr(),
                names.as_ptr(),
            )
        };
        created.result().map_err(|e| format!("{e:?}"))?;
        Ok(Program(program))
    }

    fn log(&self) -> String {
        // SAFETY: the program exists.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let log: Vec<u8> = log
            .into_iter()
            .map(|c| c as u8)
            .take_while(|c| *c != 0)
            .collect();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn output(&self, size: GetSize, get: Get) -> std::result::Result<Vec<u8>, String> {
        let mut bytes = 0;
        // SAFETY: the program exists, and `get` writes as many bytes as `size` has said.
        unsafe {
            size(self.0, &raw mut bytes)
                .result()
                .map_err(|e| format!("{e:?}"))?;
            let mut code = vec![0u8; bytes];
            get(self.0, code.as_mut_ptr().cast())
                .result()
                .map_err(|e| format!("{e:?}"))?;
            Ok(code)
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program exists and is not used again. There is nobody to tell of an error.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// Loads the library; the first one that is loaded serves the whole process.
fn load() -> std::result::Result<(), String> {
    let named = std::env::var_os(NVRTC_PATH).map(PathBuf::from);
    if let Some(path) = &named {
        load_file(path)?;
    } else if !present() {
        let places = places();
        let found = places
            .iter()
            .flat_map(|folder| FILES.map(|file| folder.join(file)))
            .find(|path| path.is_file());
        match found {
            Some(path) => load_file(&path)?,
            None => {
                let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
                return Err(format!(
                    "no NVRTC, CUDA's compiler, which makes the kernels. Any of these brings it: \
                    `pip install nvidia-cuda-nvrtc` in an active environment; a CUDA toolkit; \
                    {NVRTC_PATH} with the path of libnvrtc.so.13. Looked on the library path and in {}",
                    places.join(", ")
                ));
            }
        }
    }
    if present() {
        return Ok(());
    }
    Err("NVRTC was found but does not load by its name".to_owned())
}

fn present() -> bool {
    // SAFETY: this loads a library by the system's rules.
    unsafe { sys::is_culib_present() }
}

/// Loads NVRTC from a file, so that it is found by its name.
fn load_file(path: &Path) -> std::result::Result<(), String> {
    let failed = |path: &Path, e: libloading::Error| format!("{}: {e}", path.display());
    // It finds its other half only if that is loaded already.
    let folder = path.parent().unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("libnvrtc-builtins.so") {
            // SAFETY: NVIDIA's library; loading it runs only its initialisers.
            let builtins = unsafe { Library::new(entry.path()) };
            std::mem::forget(builtins.map_err(|e| failed(&entry.path(), e))?);
        }
    }
    // SAFETY: as above.
    let library = unsafe { Library::new(path) }.map_err(|e| failed(path, e))?;
    // It has to stay: cudarc finds it by its name among the libraries that are loaded.
    std::mem::forget(library);
    Ok(())
}

/// Folders in which toolkits and Python's packages put NVRTC.
fn places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    // Beside this program, where the tests' own copy is.
    if let Ok(exe) = std::env::current_exe() {
        let folders = exe.ancestors().skip(1).take(3);
        places.extend(folders.map(|folder| folder.join("nvrtc/nvidia/cu13/lib")));
    }
    for variable in ["CUDA_HOME", "CUDA_PATH"] {
        places.extend(std::env::var_os(variable).map(|root| Path::new(&root).join("lib64")));
    }
    places.push(PathBuf::from("/usr/local/cuda/lib64"));
    let mut prefixes: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .into_iter()
        .filter_map(|variable| std::env::var_os(variable).map(PathBuf::from))
        .collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let python = std::env::split_paths(&path).find(|bin| bin.join("python3").is_file());
    prefixes.extend(python.and_then(|bin| Some(bin.parent()?.to_owned())));
    for prefix in prefixes {
        let libraries = std::fs::read_dir(prefix.join("lib"))
            .into_iter()
            .flatten()
            .flatten();
        for library in libraries {
            if library.file_name().to_string_lossy().starts_with("python3") {
                for packages in ["site-packages", "dist-packages"] {
                    let nvidia = library.path().join(packages).join("nvidia");
                    places.extend(
                        ["cu13", "cuda_nvrtc"].map(|package| nvidia.join(package).join("lib")),
                    );
                }
            }
        }
    }
    places
}

fn loaded_version() -> String {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two integers are written.
    match unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }.result() {
        Ok(()) => format!("{major}.{minor}"),
        Err(_) => "unknown".to_owned(),
    }
}
