//! NVIDIA's libraries, where a toolkit or PyTorch has put them.

use crate::driver;
use crate::error::Result;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of the packages that PyTorch comes with, below Python's.
const PACKAGES: [&str; 3] = ["nvidia/cu13/lib", "nvidia/cublas/lib", "nvidia/cufft/lib"];

/// Loads a library by its file's name from the library path, the toolkit, or beside PyTorch, so
/// that later searches by its name find it. `None` if it is in none of them.
///
/// # Errors
/// If it is there and does not load.
pub fn preload(file: &str) -> Result<Option<PathBuf>> {
    let path = find(file);
    if let Some(path) = &path {
        driver::preload(path)?;
    }
    Ok(path)
}

fn find(file: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("LD_LIBRARY_PATH")
        .iter()
        .flat_map(env::split_paths)
        .collect();
    folders.extend(
        [
            "/usr/local/cuda/lib64",
            "/usr/local/cuda/targets/x86_64-linux/lib",
        ]
        .map(PathBuf::from),
    );
    let python = Command::new("python3")
        .args(["-c", "import sys; print('\\n'.join(sys.path))"])
        .output();
    let printed = python.map(|output| output.stdout).unwrap_or_default();
    for line in String::from_utf8_lossy(&printed)
        .lines()
        .filter(|line| !line.is_empty())
    {
        folders.extend(PACKAGES.map(|f| Path::new(line).join(f)));
    }
    folders
        .into_iter()
        .map(|f| f.join(file))
        .find(|path| path.is_file())
}
