//! Containers to segments: runs of packets that know where their samples belong.

use std::io::ErrorKind::UnexpectedEof;
use std::ops::Range;
use std::sync::Arc;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_VORBIS,
};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{
    FORMAT_ID_FLAC, FORMAT_ID_ISOMP4, FORMAT_ID_MP3, FORMAT_ID_OGG, FORMAT_ID_WAVE,
};
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, Track, TrackType};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;

use crate::decode::{Decoders, make_decoder};
use crate::{Error, Source, SourceInfo, mp3, mp4};

const MIN_RATE: u32 = 1_000;
const MAX_RATE: u32 = 768_000;
const MAX_CHANNELS: usize = 64;
/// The most frames that one packet may declare; FLAC's limit is 65,535.
const MAX_PACKET_FRAMES: u64 = 1 << 20;
/// What symphonia's decoder makes of every AAC packet, whatever the container says.
const AAC_FRAMES: u64 = 1024;

/// One packet and the frames that it decodes to.
pub(crate) struct Block {
    pub(crate) packet: Packet,
    /// Frames that the packet decodes to.
    pub(crate) frames: usize,
    /// Those that are meant to be heard.
    pub(crate) keep: Range<usize>,
}

/// A run of neighbouring packets.
pub(crate) struct Segment {
    /// Its frames' place among all frames that are kept.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Whether the stream ends here.
    pub(crate) is_last: bool,
    pub(crate) blocks: Arc<Vec<Block>>,
}

/// How a codec can be decoded from the middle of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Packets stand alone.
    Anywhere,
    /// The bit reservoir and overlapping frames need a warm-up.
    Mp3,
    /// Each packet overlaps the one before.
    Vorbis,
    /// Decoder state may reach back to the start.
    Start,
}

impl Entry {
    /// The last of `earlier` blocks that must be decoded before the one behind them. What the last
    /// of these decodes to is already right, so that it can be checked. Nothing when `earlier` does
    /// not reach back far enough.
    pub(crate) fn warm_up(self, earlier: &[Block]) -> Option<&[Block]> {
        let count = match self {
            Entry::Anywhere => Some(0),
            Entry::Mp3 => mp3::warm_up(|i| Some(&*earlier.iter().rev().nth(i)?.packet.data)),
            Entry::Vorbis => Some(2),
            Entry::Start => None,
        }?;
        earlier.get(earlier.len().checked_sub(count)?..)
    }
}

/// The frames of a whole stream that encoders added, counted as decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trim {
    /// Frames before the first one to be heard.
    start: u64,
    /// Frames behind the last one to be heard. An MP3 stream may go on after its padding, where
    /// files have been strung together.
    end: Range<u64>,
}

impl Default for Trim {
    /// Everything is to be heard.
    fn default() -> Self {
        Trim {
            start: 0,
            end: u64::MAX..u64::MAX,
        }
    }
}

impl Trim {
    fn from_edit(edit: Option<mp4::Edit>) -> Self {
        let Some(mp4::Edit { start, length }) = edit else {
            return Self::default();
        };
        let end = length.map_or(u64::MAX, |length| start.saturating_add(length));
        Trim {
            start,
            end: end..u64::MAX,
        }
    }

    /// The encoder's delay and padding, as the LAME tag of an MP3 stream tells them.
    fn from_lame_tag(track: &Track) -> Self {
        let (Some(delay), Some(padding)) = (track.delay, track.padding) else {
            return Self::default();
        };
        let start = u64::from(delay);
        let end = match track.num_frames {
            Some(frames) => {
                let end = start.saturating_add(frames);
                end..end.saturating_add(u64::from(padding))
            }
            None => u64::MAX..u64::MAX,
        };
        Trim { start, end }
    }

    /// The part to keep of a packet's `frames` frames from frame `at` on.
    fn keep(&self, at: u64, frames: u64) -> Range<u64> {
        let mut keep = self.start.saturating_sub(at).min(frames)..frames;
        if self.end.contains(&at) {
            keep.start = (self.end.end - at).min(frames);
        } else if at < self.end.start {
            keep.end = (self.end.start - at).min(frames);
        }
        keep.start.min(keep.end)..keep.end
    }
}

/// An opened container and its audio track.
pub(crate) struct Demuxer {
    file: String,
    reader: Box<dyn FormatReader>,
    track: Track,
    params: AudioCodecParameters,
    entry: Entry,
    info: SourceInfo,
    trim: Trim,
    segment_frames: u64,
    /// Frames of all packets read so far, and those of them that are kept.
    decoded: u64,
    kept: u64,
    /// The packet after the last one handed out, to know the last one when it comes.
    ahead: Option<Packet>,
    /// An MP3 stream's first packet, to notice a change of format.
    first: Option<Box<[u8]>>,
    irregular: bool,
}

impl Demuxer {
    /// Recognises the container and chooses its audio track. A segment ends with the packet that
    /// brings it to `segment_frames`.
    pub(crate) fn open(source: &Source, segment_frames: u64) -> Result<Self, Error> {
        let file = source.name();
        let mut hint = Hint::new();
        if let Some(extension) = source.extension() {
            hint.with_extension(extension);
        }
        let reader = symphonia::default::get_probe()
            .probe(
                &hint,
                source.open()?,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
            .map_err(|error| Error::Format {
                file: file.clone(),
                reason: error.to_string(),
            })?;
        let no_codec = |reason: String| Error::Codec {
            file: file.clone(),
            reason,
        };
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or_else(|| no_codec("found no audio track".to_owned()))?
            .clone();
        let Some(CodecParameters::Audio(params)) = track.codec_params.clone() else {
            return Err(no_codec("found no audio track".to_owned()));
        };
        // The decoder knows better than the container what it will put out.
        let decoder = make_decoder(&params).map_err(|error| no_codec(error.to_string()))?;
        let missing = |what: &str| no_codec(format!("{what} is not declared"));
        let sample_rate = decoder
            .codec_params()
            .sample_rate
            .ok_or_else(|| missing("sample rate"))?;
        let channels = decoder
            .codec_params()
            .channels
            .as_ref()
            .map(|channels| channels.count());
        let channels = channels.ok_or_else(|| missing("number of channels"))?;
        let codec = decoder.codec_info().short_name;
        drop(decoder);
        if !(MIN_RATE..=MAX_RATE).contains(&sample_rate) {
            return Err(Error::SampleRate {
                file,
                found: sample_rate,
                min: MIN_RATE,
                max: MAX_RATE,
            });
        }
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(Error::Channels {
                file,
                found: channels,
                max: MAX_CHANNELS,
            });
        }
        let format = reader.format_info();
        let trim = if format.format == FORMAT_ID_ISOMP4 {
            let edit = mp4::read_edit(&mut source.open()?, track.id, sample_rate);
            Trim::from_edit(edit.map_err(|source| Error::Read {
                file: file.clone(),
                source,
            })?)
        } else if params.codec == CODEC_ID_MP3 {
            Trim::from_lame_tag(&track)
        } else {
            Trim::default()
        };
        let entry = match (format.format, params.codec) {
            (FORMAT_ID_MP3, CODEC_ID_MP3) => Entry::Mp3,
            (FORMAT_ID_OGG, CODEC_ID_VORBIS) => Entry::Vorbis,
            (FORMAT_ID_FLAC, CODEC_ID_FLAC) | (FORMAT_ID_WAVE, _) => Entry::Anywhere,
            _ => Entry::Start,
        };
        let info = SourceInfo {
            format: format.short_name,
            codec,
            sample_rate,
            channels,
            frames: 0,
        };
        let mut demuxer = Demuxer {
            file,
            reader,
            track,
            params,
            entry,
            info,
            trim,
            segment_frames,
            decoded: 0,
            kept: 0,
            ahead: None,
            first: None,
            irregular: false,
        };
        demuxer.ahead = demuxer.read_packet()?;
        if entry == Entry::Mp3 {
            demuxer.first = demuxer.ahead.as_ref().map(|packet| packet.data.clone());
        }
        Ok(demuxer)
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn entry(&self) -> Entry {
        self.entry
    }

    /// What the file holds; `frames` counts those of the segments read so far.
    pub(crate) fn info(&self) -> SourceInfo {
        SourceInfo {
            frames: self.kept,
            ..self.info.clone()
        }
    }

    /// The length in seconds that the container declares, which may be wrong.
    pub(crate) fn declared_seconds(&self) -> f64 {
        self.track.num_frames.unwrap_or(0) as f64 / f64::from(self.info.sample_rate)
    }

    /// Whether the packets so far only make sense to one decoder that has seen all of them.
    pub(crate) fn is_irregular(&self) -> bool {
        self.irregular
    }

    /// Decoders for the track.
    pub(crate) fn decoders(&self) -> Decoders {
        Decoders::new(self.file.clone(), self.params.clone(), &self.info)
    }

    /// Skips to the packet that holds frame `frame`, where that takes no reading: wave files.
    pub(crate) fn skip_to(&mut self, frame: u64) -> Result<(), Error> {
        let Ok(target) = i64::try_from(frame) else {
            return Ok(());
        };
        if self.reader.format_info().format != FORMAT_ID_WAVE || frame == 0 {
            return Ok(());
        }
        let to = SeekTo::Timestamp {
            ts: Timestamp::new(target),
            track_id: self.track.id,
        };
        // A target behind the end is noticed by reading up to it.
        if let Ok(reached) = self.reader.seek(SeekMode::Accurate, to) {
            self.decoded = u64::try_from(reached.actual_ts.get()).unwrap_or(0);
            self.kept = self.decoded;
            self.ahead = self.read_packet()?;
        }
        Ok(())
    }

    /// The next run of packets, or nothing at the stream's end.
    pub(crate) fn next_segment(&mut self) -> Result<Option<Segment>, Error> {
        let start = self.kept;
        let mut blocks = Vec::new();
        while self.kept - start < self.segment_frames {
            let Some(packet) = self.ahead.take() else {
                break;
            };
            self.ahead = self.read_packet()?;
            if let Some(first) = &self.first {
                self.irregular |= !mp3::same_format(first, &packet.data);
            }
            let frames = self.packet_frames(&packet)?;
            let keep = self.kept_frames(&packet, frames);
            self.decoded += frames;
            self.kept += keep.end - keep.start;
            let keep = keep.start as usize..keep.end as usize;
            blocks.push(Block {
                packet,
                frames: frames as usize,
                keep,
            });
        }
        if blocks.is_empty() {
            return Ok(None);
        }
        let is_last = self.ahead.is_none();
        Ok(Some(Segment {
            start,
            end: self.kept,
            is_last,
            blocks: Arc::new(blocks),
        }))
    }

    /// The frames that `packet` decodes to.
    fn packet_frames(&self, packet: &Packet) -> Result<u64, Error> {
        if self.params.codec == CODEC_ID_AAC {
            return Ok(AAC_FRAMES);
        }
        let ticks = if self.entry == Entry::Mp3 {
            // Symphonia counts the trimmed frames of an MP3 packet twice in its block duration.
            packet.dur
        } else {
            packet.block_dur()
        };
        let ticks = u128::from(ticks.get());
        let (numer, denom) = match self.track.time_base {
            Some(base) => (u128::from(base.numer.get()), u128::from(base.denom.get())),
            None => (1, u128::from(self.info.sample_rate)),
        };
        // The default keeps an overflow above the limit.
        let frames = ticks.checked_mul(numer * u128::from(self.info.sample_rate));
        let frames = frames.map_or(u128::MAX, |scaled| scaled / denom);
        match u64::try_from(frames) {
            Ok(frames) if frames <= MAX_PACKET_FRAMES => Ok(frames),
            _ => Err(Error::Format {
                file: self.file.clone(),
                reason: format!(
                    "a packet declares {frames} samples, expected at most {MAX_PACKET_FRAMES}"
                ),
            }),
        }
    }

    /// The part of `packet`'s frames that is meant to be heard.
    fn kept_frames(&self, packet: &Packet, frames: u64) -> Range<u64> {
        let keep = self.trim.keep(self.decoded, frames);
        if self.params.codec == CODEC_ID_MP3 {
            // Symphonia takes an estimated length for a known one, and cuts there.
            return keep;
        }
        let start = keep.start.max(packet.trim_start.get().min(frames));
        let end = keep.end.min(frames - packet.trim_end.get().min(frames));
        start.min(end)..end
    }

    /// The track's next packet. A broken stream ends at the break.
    fn read_packet(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track.id => return Ok(Some(packet)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(SymphoniaError::IoError(source)) if source.kind() != UnexpectedEof => {
                    return Err(Error::Read {
                        file: self.file.clone(),
                        source,
                    });
                }
                Err(error) => {
                    tracing::warn!(file = self.file, %error, "the audio stream breaks off");
                    return Ok(None);
                }
            }
        }
    }
}
