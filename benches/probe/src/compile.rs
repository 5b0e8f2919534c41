//! Compiles every kernel of the probe with one NVRTC, on a machine without a GPU.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::sources::{Source, trivial};
use crate::{instructions, sources};
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::path::Path;

/// What NVRTC made of one source for one target.
struct Compiled {
    ptx: Vec<u8>,
    /// Empty for a virtual target.
    cubin: Vec<u8>,
}

/// Compiles all modules into `out/<version>/`.
///
/// # Errors
///
/// A library or file that cannot be used; after everything else is compiled, what NVRTC refused.
pub fn compile(nvrtc: &Path, out: &Path) -> Result<()> {
    load(nvrtc)?;
    let out = out.join(version()?);
    fs::create_dir_all(&out).map_err(|e| Error::io(&out, e))?;
    for (target, extension) in trivial::TARGETS {
        let compiled = program(trivial::SOURCE, target)?;
        let bytes = if extension == "ptx" {
            compiled.ptx
        } else {
            compiled.cubin
        };
        write(&out, &format!("trivial_{target}"), extension, &bytes)?;
    }
    let mut refused = Vec::new();
    for Source { name, text } in sources::all() {
        match program(&text, sources::TARGET) {
            Ok(compiled) => {
                eprintln!("{name}: cubin of {} bytes", compiled.cubin.len());
                write(&out, &name, "cubin", &compiled.cubin)?;
                write(&out, &name, "ptx", &compiled.ptx)?;
            }
            Err(error) => refused.extend(refine(&name, &error)),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::Refused {
        count: refused.len(),
        list: refused.join("\n"),
    })
}

/// The PTX of one CUDA source, for the target that the probe runs on.
///
/// # Errors
///
/// A library that cannot be used; NVRTC's messages about the source.
pub fn ptx(nvrtc: &Path, source: &str) -> Result<String> {
    load(nvrtc)?;
    let ptx = program(source, sources::TARGET)?.ptx;
    Ok(String::from_utf8_lossy(&ptx)
        .trim_end_matches('\0')
        .to_owned())
}

/// For a group of instructions, compiles each alone to say which ones were refused.
fn refine(name: &str, error: &Error) -> Vec<String> {
    let group = instructions::groups()
        .into_iter()
        .find(|group| sources::instructions(group.name) == name);
    let Some(group) = group else {
        return vec![format!("{name}: {error}")];
    };
    group
        .rows
        .iter()
        .filter_map(|row| {
            let error = program(&row.source(), sources::TARGET).err()?;
            Some(format!("{}: {error}", row.name))
        })
        .collect()
}

fn write(out: &Path, name: &str, extension: &str, bytes: &[u8]) -> Result<()> {
    let path = out.join(format!("{name}.{extension}"));
    fs::write(&path, bytes).map_err(|e| Error::io(&path, e))
}

/// Loads NVRTC by path, so that cudarc's own search by name finds it already there.
///
/// NVRTC looks for its builtins by name alone, hence they go first.
fn load(nvrtc: &Path) -> Result<()> {
    let folder = nvrtc.parent().unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
    let builtins = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libnvrtc-builtins.so.")
        });
    for library in builtins.chain([nvrtc.to_owned()]) {
        crate::driver::preload(&library)?;
    }
    Ok(())
}

fn version() -> Result<String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are to live integers.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) }
        .result()
        .map_err(|error| Error::nvrtc("nvrtcVersion", error, ""))?;
    Ok(format!("{major}.{minor}"))
}

fn program(text: &str, target: &str) -> Result<Compiled> {
    let source = CString::new(text).map_err(|_| Error::Text("a NUL in a CUDA source".into()))?;
    let program =
        result::create_program(&source, None).map_err(|e| Error::nvrtc("create", e, ""))?;
    let options = [
        format!("--gpu-architecture={target}"),
        "--std=c++17".to_owned(),
        // Results must not depend on what the compiler fuses around the instruction.
        "--fmad=false".to_owned(),
    ];
    // SAFETY: the program was just created, and is destroyed after its last use below.
    let compiled = unsafe { result::compile_program(program, &options) };
    let outcome = match compiled {
        Err(error) => Err(Error::nvrtc("compile", error, &log(program))),
        Ok(()) => take(program, target),
    };
    // SAFETY: as above; nothing refers to the program any more.
    unsafe { result::destroy_program(program) }.map_err(|e| Error::nvrtc("destroy", e, ""))?;
    outcome
}

fn log(program: sys::nvrtcProgram) -> String {
    // SAFETY: the caller's program is alive; the log ends in a NUL that `text` stops at.
    unsafe { result::get_program_log(program) }.map_or_else(|e| e.to_string(), |log| text(&log))
}

fn text(chars: &[c_char]) -> String {
    let bytes: &[u8] = bytemuck::cast_slice(chars);
    CStr::from_bytes_until_nul(bytes)
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn take(program: sys::nvrtcProgram, target: &str) -> Result<Compiled> {
    // SAFETY: the caller's program is alive and was compiled.
    let ptx = unsafe { result::get_ptx(program) }.map_err(|e| Error::nvrtc("PTX", e, ""))?;
    let mut cubin = Vec::new();
    if target.starts_with("sm_") {
        let mut size = 0;
        // SAFETY: the program is alive; `size` is a live integer.
        unsafe { sys::nvrtcGetCUBINSize(program, &mut size) }
            .result()
            .map_err(|e| Error::nvrtc("cubin size", e, ""))?;
        cubin = vec![0; size];
        // SAFETY: the buffer has the size that NVRTC asked for.
        unsafe { sys::nvrtcGetCUBIN(program, cubin.as_mut_ptr().cast()) }
            .result()
            .map_err(|e| Error::nvrtc("cubin", e, ""))?;
    }
    let ptx = bytemuck::cast_slice(&ptx).to_vec();
    Ok(Compiled { ptx, cubin })
}
