//! Audio files to mono samples at 16 kHz, and no further.
//!
//! [`load`] takes any common audio file (mp3, flac, ogg vorbis, m4a/aac, wav) at any common rate and
//! channel count, averages its channels and resamples it:
//!
//! ```no_run
//! use gamut_frontend::{Options, Source, load};
//!
//! let audio = load(&Source::Path("song.mp3".into()), &Options::default())?;
//! println!("{} samples at 16 kHz", audio.samples.len());
//! # Ok::<(), gamut_frontend::Error>(())
//! ```
//!
//! - **Accurate to the sample**: encoder delay and padding are removed (LAME tag, Ogg granule
//!   positions, MP4 edit list or `iTunSMPB`); `frames` at `rate` Hz give
//!   `ceil(frames * 16000 / rate)` samples without any delay.
//! - **Parallel**: mp3, flac, vorbis and wav are decoded in segments on the current rayon pool, aac
//!   by one thread. The number of threads does not change a bit of the result.
//! - **Ranges**: a range gives the same bits as that slice of the whole file.
//! - **Distrustful**: lengths that files declare are not believed; the cap counts decoded packets. A
//!   packet that cannot be decoded becomes silence, unless that is more than half of them. A file
//!   cut short ends where it was cut; of chained ogg streams only the first is loaded.
//!
//! The way of a file: `source` opens it, `demux` finds the track and cuts its packets into segments
//! (with `mp3` and `mp4` for what these formats hide), `decode` turns a segment into mono frames,
//! `resample` into samples (with `simd` for its inner loop), and `load` runs all of this at once.

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
