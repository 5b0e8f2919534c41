//! Compiled kernels, kept on disk between runs.
//!
//! A file's name is a hash of everything that its content depends on; the file begins with all of
//! that, so that a collision is noticed, and ends with a hash of the code, so that damage is.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// Names another folder than the user's cache.
const CACHE_PATH: &str = "GAMUT_KERNEL_CACHE";

/// A folder of compiled kernels.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The user's, if there is a place for one.
    pub(super) fn open() -> Option<Cache> {
        let user = || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
            Some(cache.join("gamut").join("kernels"))
        };
        let folder = std::env::var_os(CACHE_PATH)
            .map(PathBuf::from)
            .or_else(user)?;
        Some(Cache { folder })
    }

    /// What was stored under `key`.
    pub(super) fn get(&self, name: &str, key: &str) -> Option<Vec<u8>> {
        let stored = std::fs::read(self.path(name, key)).ok()?;
        let (stored, digest) = stored.split_last_chunk()?;
        let code = stored.strip_prefix(key.as_bytes())?;
        (hash(code).to_le_bytes() == *digest).then(|| code.to_vec())
    }

    /// Stores `code` under `key`. That it could not be stored costs only time.
    pub(super) fn put(&self, name: &str, key: &str, code: &[u8]) {
        let path = self.path(name, key);
        if let Err(e) = self.write(
            &path,
            &[key.as_bytes(), code, &hash(code).to_le_bytes()].concat(),
        ) {
            tracing::debug!("compiled kernels are not kept: {}: {e}", path.display());
        }
    }

    /// Written aside and renamed: others may be doing the same.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        std::fs::create_dir_all(&self.folder)?;
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let (process, thread) = (std::process::id(), std::thread::current().id());
        let aside = format!("{}.{process}.{thread:?}", name.to_string_lossy());
        let aside = self.folder.join(aside);
        std::fs::write(&aside, bytes)?;
        std::fs::rename(&aside, path)
    }

    fn path(&self, name: &str, key: &str) -> PathBuf {
        self.folder
            .join(format!("{name}-{:016x}", hash(key.as_bytes())))
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_comes_back_under_its_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache {
            folder: folder.path().join("kernels"),
        };
        assert_eq!(cache.get("gemm", "a"), None);
        cache.put("gemm", "a", b"code");
        assert_eq!(cache.get("gemm", "a").unwrap(), b"code");
        assert_eq!(cache.get("gemm", "b"), None);
        // As after a collision.
        std::fs::rename(cache.path("gemm", "a"), cache.path("gemm", "b")).unwrap();
        assert_eq!(cache.get("gemm", "b"), None);
        // As after a loss of power.
        cache.put("gemm", "a", b"code");
        std::fs::write(cache.path("gemm", "a"), b"aco").unwrap();
        assert_eq!(cache.get("gemm", "a"), None);
        std::fs::write(cache.path("gemm", "a"), b"acode12345678").unwrap();
        assert_eq!(cache.get("gemm", "a"), None);
    }
}
