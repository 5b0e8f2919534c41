//! The part of the cache that belongs to one model.

use crate::checksum::Checksum;
use crate::model_ref::is_commit;
use crate::{Error, ModelRef, Options};
use hf_hub::{Cache, CacheRepo, Repo};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

/// How often a lock is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// The folders of a model.
pub(crate) struct ModelCache {
    repo: CacheRepo,
    /// `models--ORG--NAME` in the cache.
    dir: PathBuf,
    /// The same among the locks.
    locks: PathBuf,
}

impl ModelCache {
    pub(crate) fn new(model: &ModelRef, options: &Options) -> ModelCache {
        let repo = Repo::model(model.id().to_owned());
        let folder = repo.folder_name();
        ModelCache {
            repo: Cache::new(options.cache.clone()).repo(repo),
            dir: options.cache.join(&folder),
            locks: options.cache.join(".locks").join(&folder),
        }
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo.pointer_path(commit)
    }

    pub(crate) fn blob(&self, checksum: &Checksum) -> PathBuf {
        self.repo.blob_path(checksum.hex())
    }

    /// The commit that a revision was at, if it is known.
    pub(crate) fn commit(&self, revision: &str) -> Result<Option<String>, Error> {
        if is_commit(revision) {
            return Ok(Some(revision.to_owned()));
        }
        let path = self.dir.join("refs").join(revision);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|commit| is_commit(commit))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(&path, "read")(e)),
        }
    }

    /// Notes the commit that a revision is at.
    pub(crate) fn note(&self, revision: &str, commit: &str) -> Result<(), Error> {
        if is_commit(revision) || self.commit(revision)?.as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.dir.join("refs").join(revision);
        place(&path, |new| fs::write(new, commit))
    }

    /// Puts a blob into a snapshot, under a file's name.
    pub(crate) fn point(&self, commit: &str, name: &str, checksum: &Checksum) -> Result<(), Error> {
        let blob = self.blob(checksum);
        place(&self.snapshot(commit).join(name), |new| link(&blob, new))
    }

    /// Waits until no other process downloads the blob, and keeps others from it while the answer
    /// lives. `waiting` is called if it takes time.
    pub(crate) fn lock(
        &self,
        name: &str,
        checksum: &Checksum,
        patience: Duration,
        waiting: impl FnOnce(),
    ) -> Result<File, Error> {
        create_dir(&self.locks)?;
        let path = self.locks.join(format!("{}.lock", checksum.hex()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(&path, "open"))?;
        let mut waiting = Some(waiting);
        let (mut since, mut seen) = (Instant::now(), None);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                // Then all write the same bytes to the same places.
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {
                    return Ok(file);
                }
                Err(TryLockError::Error(e)) => return Err(Error::io(&path, "lock")(e)),
                Err(TryLockError::WouldBlock) => {}
            }
            let here = self.downloaded(checksum);
            if seen.replace(here) != Some(here) {
                since = Instant::now();
            }
            if since.elapsed() >= patience {
                return Err(Error::InUse {
                    file: name.to_owned(),
                    lock: path,
                    seconds: patience.as_secs(),
                });
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            thread::sleep(LOCK_INTERVAL);
        }
    }

    /// Bytes that are there of a blob. huggingface_hub adds letters of its own to the name.
    fn downloaded(&self, checksum: &Checksum) -> u64 {
        let entries = fs::read_dir(self.dir.join("blobs")).into_iter().flatten();
        let parts = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes()
                .starts_with(checksum.hex().as_bytes())
        });
        parts
            .flat_map(|part| part.metadata())
            .map(|m| m.len())
            .sum()
    }
}

pub(crate) fn create_dir(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io(path, "create"))
}

/// Makes what is new beside the path and then puts it there in one step, whatever was there.
fn place(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::io(path, "create")(
            io::ErrorKind::InvalidInput.into(),
        ));
    };
    create_dir(dir)?;
    // A name that no other thread of any process uses.
    let thread = thread::current().id();
    let new = dir.join(format!(".{}.{}.{thread:?}", name.display(), process::id()));
    make(&new)
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| {
            let _ = fs::remove_file(&new);
            Error::io(path, "create")(error)
        })
}

/// A link from a snapshot, which is two folders below the model's, so that the cache can be moved.
#[cfg(unix)]
fn link(blob: &Path, new: &Path) -> io::Result<()> {
    let name = blob.file_name().unwrap_or_default();
    std::os::unix::fs::symlink(Path::new("../../blobs").join(name), new)
}

/// Elsewhere symbolic links are a privilege.
#[cfg(not(unix))]
fn link(blob: &Path, new: &Path) -> io::Result<()> {
    fs::hard_link(blob, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";

    fn cache(dir: &Path) -> ModelCache {
        let model = ModelRef::new("org/name", "main").unwrap();
        ModelCache::new(&model, &Options::new(dir))
    }

    #[test]
    fn revisions_are_noted_and_nonsense_in_their_place_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        assert_eq!(cache.commit("refs/pr/1").unwrap(), None);
        cache.note("refs/pr/1", SHA).unwrap();
        cache.note("refs/pr/1", SHA).unwrap();
        assert_eq!(cache.commit("refs/pr/1").unwrap().as_deref(), Some(SHA));
        assert_eq!(cache.commit(SHA).unwrap().as_deref(), Some(SHA));
        let path = dir.path().join("models--org--name/refs/refs/pr/1");
        assert_eq!(fs::read_to_string(&path).unwrap(), SHA);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::write(&path, "../../etc").unwrap();
        assert_eq!(cache.commit("refs/pr/1").unwrap(), None);
    }

    #[test]
    fn a_link_takes_the_place_of_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let checksum = Checksum::from_etag(SHA).unwrap();
        let file = cache.snapshot(SHA).join("config.json");
        for text in ["one", "two"] {
            cache.point(SHA, "config.json", &checksum).unwrap();
            assert!(!file.exists());
            create_dir(cache.blob(&checksum).parent().unwrap()).unwrap();
            fs::write(cache.blob(&checksum), text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            fs::remove_file(cache.blob(&checksum)).unwrap();
        }
    }

    #[test]
    fn a_lock_is_waited_for_while_its_owner_moves() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, checksum) = (cache(dir.path()), Checksum::from_etag(SHA).unwrap());
        let (short, long) = (Duration::from_millis(200), Duration::from_secs(2));
        let held = cache
            .lock("f", &checksum, short, || panic!("nobody has it"))
            .unwrap();
        let error = cache
            .lock("f", &checksum, short, || {})
            .unwrap_err()
            .to_string();
        for part in ["f:", &format!("{SHA}.lock"), "another process"] {
            assert!(error.contains(part), "{error}");
        }
        create_dir(cache.blob(&checksum).parent().unwrap()).unwrap();
        let partial = cache.blob(&checksum).with_extension("incomplete");
        thread::scope(|scope| {
            let waiter = scope.spawn(|| cache.lock("f", &checksum, long, || {}).map(|_| ()));
            for length in 1..25 {
                fs::write(&partial, vec![0; length]).unwrap();
                thread::sleep(Duration::from_millis(100));
            }
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }
}
