//! Loading a shared library so that cudarc finds it by its name.
#![allow(unsafe_code)]

use libloading::Library;
use std::error::Error;
use std::path::Path;

/// Loads the library at `path` for the rest of the process: whoever asks for its name gets it.
///
/// # Safety
/// The library's initialisers must be sound to run.
///
/// # Errors
/// With the path, and what the system's loader has to say.
pub(super) unsafe fn load_for_good(path: &Path) -> Result<(), String> {
    // SAFETY: the caller's promise.
    let library = unsafe { Library::new(path) }.map_err(|e| {
        let cause = e
            .source()
            .map_or_else(|| e.to_string(), ToString::to_string);
        format!("{} cannot be loaded: {cause}", path.display())
    })?;
    std::mem::forget(library);
    Ok(())
}
