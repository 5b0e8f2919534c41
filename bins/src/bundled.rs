//! The model that comes with the command: a GaMMA in miniature, trained by `tests/demo-model`.

use crate::digest::digest;
use crate::error::Error;
use crate::output;
use std::io;
use std::path::{Path, PathBuf};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../model/", $name)))),*]
    };
}

/// Its files.
const FILES: &[(&str, &[u8])] = files![
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// The directory where it is kept, so that weights can be mapped; writes it there the first time.
pub(crate) fn checkpoint() -> Result<PathBuf, Error> {
    output::note(
        "No --model given: using the small bundled one. It knows songs that a program made, and no others.\n",
    );
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    kept_in(&cache.join("gamut"))
}

fn kept_in(parent: &Path) -> Result<PathBuf, Error> {
    // Commands with other models may share the cache.
    let digests: String = FILES
        .iter()
        .map(|(_, bytes)| format!("{:032x}", digest(bytes)))
        .collect();
    let dir = parent.join(format!("bundled-{:016x}", digest(digests.as_bytes()) >> 64));
    if is_whole(&dir) {
        return Ok(dir);
    }
    let failed = |e: io::Error| Error::BundledModel {
        dir: dir.clone(),
        reason: e.to_string(),
    };
    // Written aside and renamed: another process may be doing the same.
    let aside = parent.join(format!("bundled-{}.partial", std::process::id()));
    write(&aside).map_err(failed)?;
    if dir.exists() {
        // With parts missing.
        std::fs::remove_dir_all(&dir).map_err(failed)?;
    }
    if let Err(e) = std::fs::rename(&aside, &dir) {
        std::fs::remove_dir_all(&aside).map_err(failed)?;
        if !is_whole(&dir) {
            return Err(failed(e));
        }
    }
    Ok(dir)
}

/// Whether every file is there with all its bytes.
fn is_whole(dir: &Path) -> bool {
    FILES.iter().all(|(name, bytes)| {
        let found = dir.join(name).metadata();
        found.is_ok_and(|found| found.len() == bytes.len() as u64)
    })
}

fn write(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    FILES
        .iter()
        .try_for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_torn_is_written_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = kept_in(home.path()).unwrap();
        assert!(is_whole(&dir));
        std::fs::write(dir.join("config.json"), "{").unwrap();
        std::fs::remove_file(dir.join("tokenizer.json")).unwrap();
        assert_eq!(kept_in(home.path()).unwrap(), dir);
        assert!(is_whole(&dir));
        let entries = std::fs::read_dir(home.path()).unwrap();
        assert_eq!(entries.count(), 1, "nothing else is left behind");
    }
}
