//! Which checkpoint it was: a digest of its config, its tokenizer and its weights.

use super::benchmark::read;
use crate::error::Error;
use blake3::Hasher;
use gamut_loader::Weights;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of weights that are all hashed.
const MAX_WHOLE: u64 = 8 << 30;
/// Of more, as many pieces of each file are.
const PIECES: u64 = 64;
/// Bytes of a piece.
const PIECE: u64 = 1 << 20;

/// A digest, and what it is of.
#[derive(Debug)]
pub(super) struct Digest {
    pub(super) hash: String,
    pub(super) of: String,
}

/// The digest of a checkpoint directory.
pub(super) fn digest(dir: &Path) -> Result<Digest, Error> {
    digest_up_to(dir, MAX_WHOLE)
}

fn digest_up_to(dir: &Path, max_whole: u64) -> Result<Digest, Error> {
    let mut hasher = Hasher::new();
    for name in ["config.json", "tokenizer.json"] {
        let bytes = read(&dir.join(name))?;
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    let weights = Weights::open(dir, true).map_err(gamut_engine::Error::from)?;
    let mut files: Vec<&Path> = weights.files().collect();
    files.sort();
    let mut sizes = Vec::new();
    for path in &files {
        let found = path.metadata().map_err(|reason| failed(path, reason))?;
        sizes.push(found.len());
    }
    let bytes: u64 = sizes.iter().sum();
    let whole = bytes <= max_whole;
    for (path, size) in files.iter().zip(sizes) {
        hasher.update(&size.to_le_bytes());
        let hashed = match whole {
            true => File::open(path).and_then(|file| hasher.update_reader(file).map(drop)),
            false => hash_pieces(&mut hasher, path, size),
        };
        hashed.map_err(|reason| failed(path, reason))?;
    }
    let count = files.len();
    let files = match (count, whole) {
        (1, true) => "all of 1 weight file".to_owned(),
        (_, true) => format!("all of {count} weight files"),
        (1, false) => format!("{PIECES} pieces of {PIECE} bytes of 1 weight file"),
        (_, false) => format!("{PIECES} pieces of {PIECE} bytes of each of {count} weight files"),
    };
    Ok(Digest {
        hash: hasher.finalize().to_hex().to_string(),
        of: format!("BLAKE3 of config.json, tokenizer.json and {files}"),
    })
}

/// Hashes pieces that lie evenly in a file, the first and the last bytes among them.
fn hash_pieces(hasher: &mut Hasher, path: &Path, size: u64) -> io::Result<()> {
    let mut file = File::open(path)?;
    let last = size.saturating_sub(PIECE);
    for piece in 0..PIECES {
        let at = u128::from(last) * u128::from(piece) / u128::from(PIECES - 1);
        file.seek(SeekFrom::Start(at as u64))?;
        hasher.update_reader((&mut file).take(PIECE))?;
    }
    Ok(())
}

fn failed(path: &Path, reason: io::Error) -> Error {
    Error::Read {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gamut_loader::synthetic::{self, Fill, SyntheticOptions};

    #[test]
    fn other_weights_have_another_digest() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, seed: u64| {
            let dir = home.path().join(name);
            let options = SyntheticOptions {
                fill: Fill::Random { seed },
                ..SyntheticOptions::default()
            };
            synthetic::write(&dir, &options).unwrap();
            dir
        };
        let (one, same, other) = (write("one", 1), write("same", 1), write("other", 2));
        for max_whole in [MAX_WHOLE, 0] {
            let hash = |dir: &Path| digest_up_to(dir, max_whole).unwrap().hash;
            assert_eq!(hash(&one), hash(&same));
            assert_ne!(hash(&one), hash(&other));
        }
        let of = |max_whole: u64| digest_up_to(&one, max_whole).unwrap().of;
        assert!(of(MAX_WHOLE).ends_with("all of 1 weight file"));
        assert!(of(0).ends_with("64 pieces of 1048576 bytes of 1 weight file"));
        std::fs::write(one.join("config.json"), "{}").unwrap();
        assert_ne!(digest(&one).unwrap().hash, digest(&same).unwrap().hash);
    }
}
