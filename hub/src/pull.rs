//! A checkpoint from its name to its directory.

use crate::cache::ModelCache;
use crate::client::Client;
use crate::download::download;
use crate::files::{self, CONFIG, INDEX, SINGLE_FILE, SMALL, TOKENIZER};
use crate::remote::{self, Listing, RemoteFile};
use crate::{Error, ModelRef, Options};
use std::path::PathBuf;

/// What goes on in a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Bytes of a file are there.
    Bytes {
        /// The file.
        file: &'a str,
        /// Bytes of all files that are there, of those that were missing at the beginning.
        done: u64,
        /// Bytes of these files. Grows once, when the index of the shards is there.
        total: u64,
    },
    /// Another process downloads a file: waiting for it.
    Waiting {
        /// The file.
        file: &'a str,
    },
}

/// Downloads what the cache lacks of a checkpoint; gives its directory, for `Checkpoint::open` of
/// gamut-loader. Blocks, and calls `report` meanwhile.
///
/// Of the weights, `model.safetensors` is taken, or where there is none the index and its shards.
/// A file that the cache has is not asked for again: its checksum was its name when it was written.
///
/// # Errors
/// See [`Error`]. What has been downloaded by then stays for the next pull.
pub fn pull(
    model: &ModelRef,
    options: &Options,
    report: &mut dyn FnMut(Event<'_>),
) -> Result<PathBuf, Error> {
    let cache = ModelCache::new(model, options);
    if options.offline {
        return find(model, options, &cache);
    }
    let client = Client::new(model, options)?;
    let listing = remote::list(&client)?;
    for file in [CONFIG, TOKENIZER] {
        if !listing.has(file) {
            let model = model.clone();
            return Err(Error::MissingFile { model, file });
        }
    }
    let small = SMALL.iter().filter(|name| listing.has(name));
    let mut names: Vec<String> = small.map(|name| (*name).to_owned()).collect();
    let snapshot = cache.snapshot(&listing.commit);
    let mut pull = Pull {
        client,
        cache,
        report,
        done: 0,
        total: 0,
    };
    if listing.has(SINGLE_FILE) {
        names.push(SINGLE_FILE.to_owned());
    } else if listing.has(INDEX) {
        pull.bring(&listing, &[INDEX.to_owned()])?;
        let shards = files::shards(&snapshot.join(INDEX))?;
        if let Some(shard) = shards.iter().find(|shard| !listing.has(shard)) {
            return Err(Error::MissingShard {
                model: model.clone(),
                shard: shard.clone(),
            });
        }
        names.extend(shards);
    } else {
        return Err(Error::NoWeights {
            model: model.clone(),
        });
    }
    pull.bring(&listing, &names)?;
    // Last, so that offline a revision stays at the commit that is here as a whole.
    pull.cache.note(model.revision(), &listing.commit)?;
    Ok(snapshot)
}

struct Pull<'a> {
    client: Client<'a>,
    cache: ModelCache,
    report: &'a mut dyn FnMut(Event<'_>),
    /// Bytes of files that are there by now.
    done: u64,
    /// Bytes of files to bring.
    total: u64,
}

impl Pull<'_> {
    /// Brings those files that the snapshot lacks.
    fn bring(&mut self, listing: &Listing, names: &[String]) -> Result<(), Error> {
        let snapshot = self.cache.snapshot(&listing.commit);
        let missing = names.iter().filter(|name| !snapshot.join(name).exists());
        let files = missing
            .map(|name| remote::file(&self.client, &listing.commit, name))
            .collect::<Result<Vec<RemoteFile>, Error>>()?;
        let sizes = files.iter().map(|file| file.size);
        self.total = sizes.fold(self.total, u64::saturating_add);
        for file in files {
            self.bring_blob(&file)?;
            self.cache
                .point(&listing.commit, &file.name, &file.checksum)?;
            self.done = self.done.saturating_add(file.size);
        }
        Ok(())
    }

    fn bring_blob(&mut self, file: &RemoteFile) -> Result<(), Error> {
        let blob = self.cache.blob(&file.checksum);
        let name = file.name.as_str();
        let patience = self.client.options.lock_timeout;
        let waiting = || (self.report)(Event::Waiting { file: name });
        let _lock = self.cache.lock(name, &file.checksum, patience, waiting)?;
        let (done, total) = (self.done, self.total);
        let mut arrived = |bytes: u64| {
            (self.report)(Event::Bytes {
                file: name,
                done: done.saturating_add(bytes),
                total,
            });
        };
        if blob.exists() {
            arrived(file.size);
            return Ok(());
        }
        download(&self.client, file, &blob, &mut arrived)
    }
}

/// The directory of a checkpoint that is in the cache as a whole.
fn find(model: &ModelRef, options: &Options, cache: &ModelCache) -> Result<PathBuf, Error> {
    let commit = cache.commit(model.revision())?;
    let snapshot = commit.map(|commit| cache.snapshot(&commit));
    let Some(snapshot) = snapshot.filter(|snapshot| snapshot.is_dir()) else {
        return Err(Error::NotCached {
            model: model.clone(),
            cache: options.cache.clone(),
        });
    };
    let has = |name: &str| snapshot.join(name).exists();
    let mut names = vec![CONFIG.to_owned(), TOKENIZER.to_owned()];
    match has(INDEX) && !has(SINGLE_FILE) {
        true => names.extend(files::shards(&snapshot.join(INDEX))?),
        false => names.push(SINGLE_FILE.to_owned()),
    }
    match names.into_iter().find(|name| !has(name)) {
        Some(file) => Err(Error::FileNotCached {
            model: model.clone(),
            file,
            snapshot,
        }),
        None => Ok(snapshot),
    }
}
