//! `processor_config.json` and `preprocessor_config.json`: how transformers prepares audio.
//!
//! The engine prepares audio in one way, Whisper's. A checkpoint that says something else was trained
//! on other input, and would answer nonsense.

use std::path::Path;

use crate::config::AudioConfig;
use crate::error::Error;
use crate::json::{self, Section};

/// The largest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The longest clip that a processor may take: an hour.
const MAX_SECONDS: usize = 3600;

/// Checks what the files of a directory say, if there are any, and takes the longest clip from them.
pub(crate) fn apply(dir: &Path, audio: &mut AudioConfig) -> Result<(), Error> {
    for (name, nested) in [
        // Up to transformers 4 a file for the feature extractor alone, from 5 on a part of the other.
        ("preprocessor_config.json", None),
        ("processor_config.json", Some("feature_extractor")),
    ] {
        let path = dir.join(name);
        if !path.try_exists().map_err(Error::io(&path, "open"))? {
            continue;
        }
        let value = json::read(&path, MAX_FILE)?;
        let root = Section::root(&path, &value)?;
        match nested {
            None => check(&root, audio)?,
            Some(key) if root.optional(key).is_some() => check(&root.section(key)?, audio)?,
            Some(_) => {}
        }
        let seconds = root.optional_size("max_audio_len", 1..=MAX_SECONDS)?;
        audio.max_seconds = seconds.unwrap_or(audio.max_seconds);
    }
    Ok(())
}

/// Checks a feature extractor's parameters; those that are absent are Whisper's.
fn check(section: &Section<'_>, audio: &AudioConfig) -> Result<(), Error> {
    let bins = audio.encoder.num_mel_bins();
    for (key, expected) in [
        ("feature_size", bins),
        ("sampling_rate", 16_000),
        ("n_fft", 400),
        ("hop_length", 160),
        ("chunk_length", 30),
    ] {
        section.optional_size(key, expected..=expected)?;
    }
    Ok(())
}
