//! Modules: PTX that was loaded.
#![allow(unsafe_code)]

use super::abi::{In, Out, Text};
use super::code::Code;
use super::entry::enter;
use super::function::Function;
use super::table::Handle;
use super::{Driver, State};
use crate::{Kernel, LoadError, Module};
use std::collections::HashMap;
use std::ffi::{OsStr, c_char, c_int, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The options of a load that have a meaning here (`CU_JIT_…`). The others steer a compiler.
mod option {
    pub(super) const WALL_TIME: u32 = 2;
    pub(super) const INFO_LOG_BYTES: u32 = 4;
    pub(super) const ERROR_LOG: u32 = 5;
    pub(super) const ERROR_LOG_BYTES: u32 = 6;
}

/// How images begin that hold machine code, and what they are.
const BINARIES: [([u8; 4], &str); 3] = [
    (*b"\x7fELF", "a cubin"),
    (0xba55_ed50_u32.to_le_bytes(), "a fat binary"),
    (0x4662_43b1_u32.to_le_bytes(), "a fat binary's wrapper"),
];

/// A module and the handles of the functions that were asked for.
pub(super) struct LoadedModule {
    pub(super) context: Handle,
    module: Module,
    functions: HashMap<String, Handle>,
}

/// Why an image was not loaded.
struct Refusal {
    code: Code,
    text: String,
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Refusal {
        let code = match error {
            LoadError::Memory { .. } => Code::OutOfMemory,
            LoadError::Ptx(_) => Code::InvalidPtx,
            LoadError::Target { .. } => Code::NoBinaryForGpu,
        };
        Refusal {
            code,
            text: error.to_string(),
        }
    }
}

/// The PTX in an image, which ends at its first zero byte.
fn source(image: In<u8>) -> Result<String, Refusal> {
    let refuse = |code, text| Refusal { code, text };
    let missing = |code| refuse(code, String::from("no image"));
    for (magic, name) in BINARIES {
        let mut same = true;
        for (i, &byte) in magic.iter().enumerate() {
            // Up to the first difference, so that a short text is not read past its end.
            same = same && image.get(i).map_err(missing)? == byte;
        }
        if same {
            let text = format!("{name}: the virtual GPU runs PTX only");
            return Err(refuse(Code::NoBinaryForGpu, text));
        }
    }
    let text = Text::new(image);
    let text = text.get().map_err(missing)?.to_str().map_err(|error| {
        let place = error.valid_up_to();
        refuse(
            Code::InvalidImage,
            format!("not PTX: byte {place} is not UTF-8"),
        )
    })?;
    if text.trim().is_empty() {
        return Err(refuse(Code::InvalidImage, String::from("an empty image")));
    }
    Ok(text.to_owned())
}

impl State {
    /// The kernels of all modules.
    pub(super) fn kernels(&self) -> Vec<Arc<Kernel>> {
        let modules = self.modules.values();
        modules
            .flat_map(|loaded| loaded.module.kernels().cloned())
            .collect()
    }
}

impl Driver {
    fn load(&self, image: In<u8>) -> Result<Handle, Refusal> {
        let context = self.current().map_err(|code| Refusal {
            code,
            text: String::from("no usable context"),
        })?;
        let mut state = self.state();
        state.grant_memory().map_err(|code| Refusal {
            code,
            text: state.last_fault.clone(),
        })?;
        drop(state);
        let module = Module::load(&source(image)?, &self.gpu)?;
        let functions = HashMap::new();
        Ok(self.state().modules.insert(LoadedModule {
            context,
            module,
            functions,
        }))
    }

    /// As [`load`](Self::load); the reason of a failure is kept for `gamutVgpuGetLastFault`.
    fn load_or_record(&self, image: In<u8>) -> Result<Handle, Refusal> {
        self.load(image)
            .inspect_err(|refusal| self.state().last_fault = refusal.text.clone())
    }

    /// The handle of a kernel, which is the same at every call.
    fn function(&self, handle: Handle, name: &str) -> Result<Handle, Code> {
        let mut state = self.state();
        let loaded = state.modules.get(handle, Code::InvalidHandle)?;
        if let Some(&function) = loaded.functions.get(name) {
            return Ok(function);
        }
        let kernel = loaded.module.kernel(name).ok_or(Code::NotFound)?;
        let function = Function::new(loaded.context, handle, kernel)?;
        let function = state.functions.insert(function);
        let loaded = state.modules.get_mut(handle, Code::InvalidHandle)?;
        loaded.functions.insert(name.to_owned(), function);
        Ok(function)
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadData(module: Out<Handle>, image: In<u8>) -> Code {
    cuModuleLoadDataEx(module, image, 0, In::null(), Out::from_address(0))
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadDataEx(
    module: Out<Handle>,
    image: In<u8>,
    count: c_uint,
    options: In<c_uint>,
    values: Out<usize>,
) -> Code {
    enter(|driver| {
        module.check()?;
        let mut log = (Out::<c_char>::from_address(0), 0);
        let start = std::time::Instant::now();
        for i in 0..count as usize {
            match options.get(i)? {
                option::ERROR_LOG => log.0 = Out::from_address(values.at(i).get()?),
                // The integer itself lies in the place of the pointer.
                option::ERROR_LOG_BYTES => log.1 = values.at(i).get()? as u32 as usize,
                _ => {}
            }
        }
        let outcome = driver.load_or_record(image);
        let text = outcome.as_ref().err().map_or("", |refusal| &refusal.text);
        log.0.set_text(text, log.1);
        for i in 0..count as usize {
            match options.get(i)? {
                option::ERROR_LOG_BYTES => values.at(i).set(text.len().min(log.1))?,
                option::INFO_LOG_BYTES => values.at(i).set(0)?,
                option::WALL_TIME => {
                    let milliseconds = start.elapsed().as_secs_f32() * 1e3;
                    values.at(i).set(milliseconds.to_bits() as usize)?;
                }
                _ => {}
            }
        }
        module.set(outcome.map_err(|refusal| refusal.code)?)
    })
}

/// A fat binary holds machine code, perhaps beside compressed PTX: neither is run here.
#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadFatBinary(module: Out<Handle>, image: In<u8>) -> Code {
    cuModuleLoadData(module, image)
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleLoad(module: Out<Handle>, path: Text) -> Code {
    enter(|driver| {
        module.check()?;
        let path = OsStr::from_bytes(path.get()?.to_bytes());
        let mut image = std::fs::read(path).map_err(|_| Code::FileNotFound)?;
        image.push(0);
        let image = In::from_address(image.as_ptr().expose_provenance());
        module.set(
            driver
                .load_or_record(image)
                .map_err(|refusal| refusal.code)?,
        )
    })
}

/// Waits for the context's work first, which may use the module's kernels and variables.
#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(module: Handle) -> Code {
    enter(|driver| {
        let context = {
            let state = driver.state();
            state.modules.get(module, Code::InvalidHandle)?.context
        };
        driver.refuse_unsafe()?;
        let _running = driver.settle(context);
        let mut state = driver.state();
        state.modules.remove(module, Code::InvalidHandle)?;
        state.functions.remove_where(|each| each.module == module);
        state.healthy(context)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleGetFunction(function: Out<Handle>, module: Handle, name: Text) -> Code {
    enter(|driver| {
        driver.current()?;
        function.check()?;
        function.set(driver.function(module, name.name()?)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleGetFunctionCount(count: Out<c_uint>, module: Handle) -> Code {
    enter(|driver| {
        let state = driver.state();
        let loaded = state.modules.get(module, Code::InvalidHandle)?;
        count.set(loaded.module.kernels().count() as c_uint)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleEnumerateFunctions(
    functions: Out<Handle>,
    count: c_uint,
    module: Handle,
) -> Code {
    enter(|driver| {
        let names: Vec<String> = {
            let state = driver.state();
            let loaded = state.modules.get(module, Code::InvalidHandle)?;
            let kernels = loaded.module.kernels();
            kernels.map(|kernel| kernel.name().to_owned()).collect()
        };
        for (i, name) in names.iter().take(count as usize).enumerate() {
            functions.check()?;
            functions.at(i).set(driver.function(module, name)?)?;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleGetGlobal_v2(
    address: Out<u64>,
    bytes: Out<usize>,
    module: Handle,
    name: Text,
) -> Code {
    enter(|driver| {
        let state = driver.state();
        let loaded = state.modules.get(module, Code::InvalidHandle)?;
        let found = loaded.module.global(name.name()?).ok_or(Code::NotFound)?;
        address.set_if_wanted(found.0);
        bytes.set_if_wanted(found.1);
        Ok(())
    })
}

/// Everything is loaded at once (`CU_MODULE_EAGER_LOADING`).
#[unsafe(no_mangle)]
extern "C" fn cuModuleGetLoadingMode(mode: Out<c_int>) -> Code {
    enter(|_| mode.set(1))
}
