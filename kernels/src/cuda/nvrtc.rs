//! NVRTC, CUDA's compiler as a library: found where people have it, loaded, called.
#![allow(unsafe_code)]

use super::library::load_for_good;
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};

/// Names the library.
const NVRTC_PATH: &str = "GAMUT_NVRTC";
/// Files of NVRTC, the newest first.
const FILES: [&str; 2] = ["libnvrtc.so.13", "libnvrtc.so.12"];

/// A program that was compiled.
pub(super) struct Program(sys::nvrtcProgram);

type GetSize = unsafe fn(sys::nvrtcProgram, *mut usize) -> sys::nvrtcResult;
type Get = unsafe fn(sys::nvrtcProgram, *mut c_char) -> sys::nvrtcResult;

impl Program {
    /// Compiles `code`, which includes `headers` by their names.
    ///
    /// # Errors
    /// What the compiler said.
    pub(super) fn compile(
        name: &str,
        code: &str,
        headers: &[(&CStr, &str)],
        options: &[String],
    ) -> Result<Program, String> {
        let text = |text: &str| CString::new(text).map_err(|e| e.to_string());
        let (name, code) = (text(name)?, text(code)?);
        let texts = headers.iter().map(|(_, header)| text(header));
        let texts = texts.collect::<Result<Vec<CString>, String>>()?;
        let pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        let names: Vec<*const c_char> = headers.iter().map(|(name, _)| name.as_ptr()).collect();
        let mut program = std::ptr::null_mut();
        // SAFETY: all pointers are to strings that end in zero, and there are as many headers as
        // names; NVRTC copies them.
        let created = unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program,
                code.as_ptr(),
                name.as_ptr(),
                pointers.len() as c_int,
                pointers.as_ptr(),
                names.as_ptr(),
            )
        };
        created.result().map_err(|e| format!("{e:?}"))?;
        let program = Program(program);
        // SAFETY: the program exists.
        let compiled = unsafe { result::compile_program(program.0, options) };
        compiled.map_err(|e| format!("{e:?}\n{}", program.log()))?;
        Ok(program)
    }

    /// What the compiler said, the assembler's report included.
    pub(super) fn log(&self) -> String {
        // SAFETY: the program exists.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let log: Vec<u8> = log
            .into_iter()
            .map(|c| c as u8)
            .take_while(|c| *c != 0)
            .collect();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Its machine code.
    ///
    /// # Errors
    /// If NVRTC has none.
    pub(super) fn cubin(&self) -> Result<Vec<u8>, String> {
        self.output(sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN)
    }

    /// Its PTX.
    ///
    /// # Errors
    /// If NVRTC has none.
    pub(super) fn ptx(&self) -> Result<Vec<u8>, String> {
        self.output(sys::nvrtcGetPTXSize, sys::nvrtcGetPTX)
    }

    fn output(&self, size: GetSize, get: Get) -> Result<Vec<u8>, String> {
        let failed = |e| format!("{e:?}");
        let mut bytes = 0;
        // SAFETY: the program exists, and `get` writes as many bytes as `size` has said.
        unsafe {
            size(self.0, &raw mut bytes).result().map_err(failed)?;
            let mut code = vec![0u8; bytes];
            get(self.0, code.as_mut_ptr().cast())
                .result()
                .map_err(failed)?;
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
pub(super) fn load() -> Result<(), String> {
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
fn load_file(path: &Path) -> Result<(), String> {
    // It finds its other half only if that is loaded already.
    let folder = path.parent().unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("libnvrtc-builtins.so") {
            // SAFETY: NVIDIA's library; loading it runs only its initialisers.
            unsafe { load_for_good(&entry.path()) }?;
        }
    }
    // SAFETY: as above.
    unsafe { load_for_good(path) }
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

/// The version of the library that was loaded.
pub(super) fn version() -> String {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two integers are written.
    match unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }.result() {
        Ok(()) => format!("{major}.{minor}"),
        Err(_) => "unknown".to_owned(),
    }
}
