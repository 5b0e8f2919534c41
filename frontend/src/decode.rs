//! Packets to mono samples at the file's rate.

use std::ops::Range;
use std::sync::Mutex;

use symphonia::core::audio::conv::IntoSample;
use symphonia::core::audio::sample::Sample;
use symphonia::core::audio::{Audio, AudioBuffer, GenericAudioBufferRef};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};

use crate::demux::{Block, Segment};
use crate::load::lock;
use crate::{Error, SourceInfo};

/// One track's decoders, kept for reuse: some take a millisecond to build.
pub(crate) struct Decoders {
    file: String,
    params: AudioCodecParameters,
    sample_rate: u32,
    channels: usize,
    idle: Mutex<Vec<Decoder>>,
}

impl Decoders {
    pub(crate) fn new(file: String, params: AudioCodecParameters, info: &SourceInfo) -> Self {
        let (sample_rate, channels) = (info.sample_rate, info.channels);
        Decoders {
            file,
            params,
            sample_rate,
            channels,
            idle: Mutex::default(),
        }
    }

    /// A decoder that has seen no packets.
    pub(crate) fn take(&self) -> Result<Decoder, Error> {
        if let Some(mut decoder) = lock(&self.idle).pop() {
            decoder.inner.reset();
            return Ok(decoder);
        }
        let inner = make_decoder(&self.params).map_err(|error| Error::Codec {
            file: self.file.clone(),
            reason: error.to_string(),
        })?;
        Ok(Decoder {
            inner,
            sample_rate: self.sample_rate,
            channels: self.channels,
        })
    }

    /// Takes a decoder back.
    pub(crate) fn put(&self, decoder: Decoder) {
        lock(&self.idle).push(decoder);
    }
}

/// A symphonia decoder that plays whole packets: it is decided here what to trim.
pub(crate) fn make_decoder(
    params: &AudioCodecParameters,
) -> symphonia::core::errors::Result<Box<dyn AudioDecoder>> {
    let options = AudioDecoderOptions::default().gapless(false);
    symphonia::default::get_codecs().make_audio_decoder(params, &options)
}

/// A decoder that averages the channels.
pub(crate) struct Decoder {
    inner: Box<dyn AudioDecoder>,
    sample_rate: u32,
    channels: usize,
}

/// A decoded segment.
pub(crate) struct Decoded {
    /// `[frames]`: the frames kept, averaged over the channels.
    pub(crate) mono: Vec<f32>,
    pub(crate) summary: Summary,
}

/// What remains to be known of a segment once it is resampled.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) packets: usize,
    /// Packets that could not be decoded, and are silent.
    pub(crate) broken: usize,
    /// What the decoder said of the first of them.
    pub(crate) reason: Option<String>,
    /// The first frame, among all that are kept of the stream, that is not a finite number.
    pub(crate) not_finite: Option<(u64, f32)>,
    /// All frames of the last block, for comparing with a decoder that started elsewhere.
    pub(crate) last_block: Vec<f32>,
    /// Whether the stream ends here.
    pub(crate) is_stream_end: bool,
}

impl Decoder {
    /// Decodes `blocks` to get ready for the one behind them. Returns the last one's frames, or
    /// nothing if there is none or it could not be decoded.
    pub(crate) fn warm_up(&mut self, blocks: &[Block]) -> Option<Vec<f32>> {
        let mut mono = Vec::new();
        let mut decoded = false;
        for block in blocks {
            mono.clear();
            decoded = self.decode_block(block, &mut mono).is_ok();
        }
        decoded.then_some(mono)
    }

    /// Decodes `segment`. A block that cannot be decoded becomes silence, so that everything behind
    /// it keeps its time.
    pub(crate) fn decode(&mut self, segment: &Segment) -> Decoded {
        let mut mono = Vec::with_capacity((segment.end - segment.start) as usize);
        let mut summary = Summary {
            is_stream_end: segment.is_last,
            ..Summary::default()
        };
        summary.packets = segment.blocks.len();
        for (index, block) in segment.blocks.iter().enumerate() {
            let start = mono.len();
            if let Err(reason) = self.decode_block(block, &mut mono) {
                summary.broken += 1;
                summary.reason.get_or_insert(reason);
            }
            let is_last = index + 1 == segment.blocks.len();
            if !(is_last && segment.is_last) {
                mono.resize(start + block.frames, 0.0);
            }
            if is_last {
                summary.last_block = mono[start..].to_vec();
            }
            mono.truncate(start + block.keep.end);
            let keep_start = (start + block.keep.start).min(mono.len());
            mono.drain(start..keep_start);
        }
        if !all_finite(&mono) {
            let place = mono
                .iter()
                .position(|sample| !sample.is_finite())
                .unwrap_or(0);
            summary.not_finite = Some((segment.start + place as u64, mono[place]));
        }
        Decoded { mono, summary }
    }

    /// Appends at most `block.frames` mono frames to `mono`, or leaves it as it is.
    fn decode_block(&mut self, block: &Block, mono: &mut Vec<f32>) -> Result<(), String> {
        let buffer = self
            .inner
            .decode(&block.packet)
            .map_err(|error| error.to_string())?;
        let (rate, channels) = (buffer.spec().rate(), buffer.num_planes());
        if (rate, channels) != (self.sample_rate, self.channels) {
            return Err(format!(
                "a packet has {rate} Hz and {channels} channels, expected {} Hz and {}",
                self.sample_rate, self.channels
            ));
        }
        let frames = 0..block.frames.min(buffer.frames());
        match buffer {
            GenericAudioBufferRef::U8(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::U16(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::U24(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::U32(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::S8(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::S16(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::S24(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::S32(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::F32(buffer) => downmix(buffer, frames, mono),
            GenericAudioBufferRef::F64(buffer) => downmix(buffer, frames, mono),
        }
        Ok(())
    }
}

/// Appends the mean of `buffer`'s channels to `mono`.
fn downmix<S>(buffer: &AudioBuffer<S>, frames: Range<usize>, mono: &mut Vec<f32>)
where
    S: Sample + IntoSample<f32>,
{
    let start = mono.len();
    let mut planes = buffer.iter_planes();
    let Some(first) = planes.next() else { return };
    mono.extend(
        first[frames.clone()]
            .iter()
            .map(|&sample| sample.into_sample()),
    );
    let sums = &mut mono[start..];
    for plane in planes {
        for (sum, &sample) in sums.iter_mut().zip(&plane[frames.clone()]) {
            *sum += sample.into_sample();
        }
    }
    let channels = buffer.num_planes();
    if channels > 1 {
        let scale = 1.0 / channels as f32;
        for sum in sums {
            *sum *= scale;
        }
    }
}

/// As `all(is_finite)`, without a branch for each sample.
fn all_finite(samples: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let bad = |sample: &f32| u32::from(sample.to_bits() & EXPONENT == EXPONENT);
    samples.iter().map(bad).fold(0, |any, bad| any | bad) == 0
}
