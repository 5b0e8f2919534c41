//! What can go wrong, each error naming the file and both values.

/// Why audio could not be loaded. Every message starts with the file's path, `<bytes>` or `<stdin>`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("{file}: cannot be read: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The path is a directory.
    #[error("{file}: is a directory, expected an audio file")]
    Directory {
        /// The file.
        file: String,
    },
    /// The file has no bytes.
    #[error("{file}: is empty (0 bytes), expected an audio file")]
    Empty {
        /// The file.
        file: String,
    },
    /// A stream went past its byte limit.
    #[error("{file}: holds more than the limit of {max_bytes} bytes")]
    TooManyBytes {
        /// The file.
        file: String,
        /// The limit.
        max_bytes: u64,
    },
    /// No supported container was recognised, or its header is broken.
    #[error(
        "{file}: not a readable audio file ({reason}); expected mp3, flac, ogg vorbis, m4a/aac or wav"
    )]
    Format {
        /// The file.
        file: String,
        /// What the demuxer said.
        reason: String,
    },
    /// The container holds no audio track, or none with a codec that is supported here.
    #[error("{file}: no audio track with a supported codec: {reason}")]
    Codec {
        /// The file.
        file: String,
        /// What was found.
        reason: String,
    },
    /// The sample rate is outside 1 kHz to 768 kHz.
    #[error("{file}: sample rate is {found} Hz, expected {min} to {max} Hz")]
    SampleRate {
        /// The file.
        file: String,
        /// The declared rate in Hz.
        found: u32,
        /// The lowest rate accepted, in Hz.
        min: u32,
        /// The highest rate accepted, in Hz.
        max: u32,
    },
    /// The number of channels is outside 1 to 64.
    #[error("{file}: {found} channels, expected 1 to {max}")]
    Channels {
        /// The file.
        file: String,
        /// The number of channels found.
        found: usize,
        /// The most channels accepted.
        max: usize,
    },
    /// `from` and `to` do not select anything that makes sense.
    #[error("{file}: range from {from} s to {to} s is not valid: {reason}")]
    Range {
        /// The file.
        file: String,
        /// The first second asked for.
        from: f64,
        /// The second to end at; infinite when none was given.
        to: f64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The range starts at or behind the end of the audio.
    #[error("{file}: range starts at {from} s, but the audio ends at {length:.3} s")]
    BeyondEnd {
        /// The file.
        file: String,
        /// The first second asked for.
        from: f64,
        /// The audio's length in seconds.
        length: f64,
    },
    /// The selected audio is longer than the cap.
    #[error("{file}: the audio selected lasts {found:.3} s, the limit is {max_seconds} s")]
    TooLong {
        /// The file.
        file: String,
        /// Its length in seconds; a lower bound where the file does not declare one.
        found: f64,
        /// The cap in seconds.
        max_seconds: f64,
    },
    /// The file holds no samples at all.
    #[error("{file}: holds 0 samples, expected at least 1")]
    NoSamples {
        /// The file.
        file: String,
    },
    /// A sample of a floating-point file is NaN or infinite.
    #[error("{file}: sample {frame} is {value}, expected a finite number")]
    NotFinite {
        /// The file.
        file: String,
        /// The sample's index in its channel, at the file's own rate.
        frame: u64,
        /// The value, averaged over the channels.
        value: f32,
    },
    /// Most packets could not be decoded.
    #[error(
        "{file}: {broken} of {packets} packets cannot be decoded ({reason}), expected at most half"
    )]
    Decode {
        /// The file.
        file: String,
        /// Packets that the decoder refused.
        broken: usize,
        /// Packets that were decoded or refused.
        packets: usize,
        /// What the decoder said first.
        reason: String,
    },
}
