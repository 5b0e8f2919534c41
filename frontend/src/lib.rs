//! Audio files to mono samples at 16 kHz, and no further.
//!
//! [`load`] takes any common audio file (mp3, flac, ogg vorbis, m4a/aac, wav) at any common rate
//! and channel count, averages its channels and resamples it.

mod decode;
mod demux;
mod error;
mod load;
mod mp3;
mod mp4;
mod resample;
mod simd;
mod source;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use crate::error::Error;
pub use crate::source::{MAX_STREAM_BYTES, Source};

/// The rate of [`Audio::samples`], in Hz.
pub const SAMPLE_RATE: u32 = 16_000;

/// Which part of the file to load, and how much at most.
#[derive(Clone, Debug)]
pub struct Options {
    /// The second to start at; the file's start when absent. Rounded to a 16 kHz sample.
    pub from: Option<f64>,
    /// The second to end at; the file's end when absent or behind it. Rounded to a 16 kHz sample.
    pub to: Option<f64>,
    /// The longest selection accepted, in seconds. Enforced while decoding.
    pub max_seconds: f64,
    /// Cut a longer selection to `max_seconds` instead of refusing it.
    pub truncate: bool,
}

impl Default for Options {
    /// The whole file, of at most 300 s.
    fn default() -> Self {
        Options {
            from: None,
            to: None,
            max_seconds: 300.0,
            truncate: false,
        }
    }
}

/// Loaded audio.
#[derive(Clone, Debug)]
pub struct Audio {
    /// `[samples]`: mono at [`SAMPLE_RATE`], the mean of the file's channels.
    pub samples: Vec<f32>,
    /// What the file held.
    pub source: SourceInfo,
    /// Where the time went.
    pub timing: Timing,
}

/// What an audio file held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceInfo {
    /// The container's short name, such as `mp3` or `wave`.
    pub format: &'static str,
    /// The codec's short name, such as `mp3` or `pcm_s16le`.
    pub codec: &'static str,
    /// The file's sample rate in Hz.
    pub sample_rate: u32,
    /// The file's number of channels.
    pub channels: usize,
    /// Sample frames at the file's rate, as far as the file was read.
    pub frames: u64,
}

/// Where the time of one [`load`] went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From start to end, on the clock.
    pub wall: Duration,
    /// Reading the file and splitting it into packets.
    pub read: Duration,
    /// Decoding and downmixing, added up over all threads.
    pub decode: Duration,
    /// Resampling, added up over all threads.
    pub resample: Duration,
}

/// Loads `source` as mono samples at [`SAMPLE_RATE`], on the current rayon pool.
///
/// # Errors
/// See [`Error`]; each message names the file.
pub fn load(source: &Source, options: &Options) -> Result<Audio, Error> {
    load::load(source, options, load::Plan::default())
}
