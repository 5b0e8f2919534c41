//! Names for what a page of keys and values holds.
//!
//! Keys and values at a position depend on that position and all before it. So the key of a page is
//! a hash of its tokens, the audio among them, and the key of the page before.

use gamut_frontend::Source;
use std::fmt;
use std::fs::File;

/// The content of a page with all before it: a BLAKE3 hash, since requests of different clients meet
/// in one cache, and nobody may construct another's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// The key of an encoded file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn of_source(source: &Source) -> Result<Key, gamut_frontend::Error> {
        let mut hasher = blake3::Hasher::new();
        match source {
            Source::Bytes { data, .. } => hasher.update(data),
            Source::Path(path) => {
                let file = File::open(path);
                let hashed = file.and_then(|file| hasher.update_reader(file));
                hashed.map_err(|error| gamut_frontend::Error::Read {
                    file: source.name(),
                    source: error,
                })?
            }
        };
        Ok(Key(hasher.finalize().into()))
    }

    /// The key of f32 values.
    pub(crate) fn of_samples(samples: &[f32]) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key("gamut samples");
        let mut bytes = [0; 4096];
        for samples in samples.chunks(bytes.len() / size_of::<f32>()) {
            let bytes = &mut bytes[..size_of_val(samples)];
            for (four, sample) in bytes.chunks_exact_mut(size_of::<f32>()).zip(samples) {
                four.copy_from_slice(&sample.to_le_bytes());
            }
            hasher.update(bytes);
        }
        Key(hasher.finalize().into())
    }

    /// This content, and more that tells it apart.
    pub(crate) fn with(&self, more: &[u8]) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(more);
        Key(hasher.finalize().into())
    }

    /// The key of a page of `tokens` after the page of `before`. `audio` is the audio at some of its
    /// positions.
    pub(crate) fn page<'a>(
        before: Option<&Key>,
        tokens: &[u32],
        audio: impl Iterator<Item = PageAudio<'a>>,
    ) -> Key {
        let mut hasher = match before {
            Some(Key(key)) => blake3::Hasher::new_keyed(key),
            None => blake3::Hasher::new_derive_key("gamut page"),
        };
        for token in tokens {
            hasher.update(&token.to_le_bytes());
        }
        for PageAudio {
            clip,
            at,
            row,
            rows,
        } in audio
        {
            hasher.update(&clip.0);
            for number in [at, row, rows] {
                hasher.update(&(number as u64).to_le_bytes());
            }
        }
        Key(hasher.finalize().into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// Audio at some positions of a page.
pub(crate) struct PageAudio<'a> {
    /// Which audio.
    pub(crate) clip: &'a Key,
    /// The first of the positions, in the page.
    pub(crate) at: usize,
    /// The audio's row there.
    pub(crate) row: usize,
    /// How many rows.
    pub(crate) rows: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Key {
        /// The key of some bytes.
        pub(crate) fn of(bytes: &[u8]) -> Key {
            Key(blake3::hash(bytes).into())
        }
    }

    #[test]
    fn keys_tell_contents_and_places_apart() {
        let clips = [Key::of(b"a"), Key::of(b"b")];
        let audio = |clip: usize, at, row| {
            let clip = &clips[clip];
            let rows = 2;
            [PageAudio {
                clip,
                at,
                row,
                rows,
            }]
            .into_iter()
        };
        let none = || std::iter::empty();
        let first = Key::page(None, &[1, 2, 3], none());
        let keys = [
            first,
            Key::page(None, &[1, 2, 4], none()),
            Key::page(Some(&first), &[1, 2, 3], none()),
            Key::page(None, &[1, 2, 3], audio(0, 0, 0)),
            Key::page(None, &[1, 2, 3], audio(1, 0, 0)),
            Key::page(None, &[1, 2, 3], audio(0, 1, 0)),
            Key::page(None, &[1, 2, 3], audio(0, 0, 1)),
            first.with(b"session"),
            Key::of_samples(&[0.0; 3]),
            Key::of_samples(&[-0.0; 3]),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{i}");
        }
        assert_eq!(first, Key::page(None, &[1, 2, 3], none()));
        // Longer than the buffer, and no multiple of it.
        let samples: Vec<f32> = (0..5000).map(|i| i as f32).collect();
        let mut other = samples.clone();
        other[4999] += 1.0;
        assert_ne!(Key::of_samples(&samples), Key::of_samples(&other));
    }
}
