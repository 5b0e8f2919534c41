//! Serial decoding with symphonia.

use std::time::Instant;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::meta::MetadataOptions;

use crate::{Audio, Error, Options, SAMPLE_RATE, Source, SourceInfo, Timing, resample};

pub(crate) fn load(source: &Source, options: &Options) -> Result<Audio, Error> {
    let start = Instant::now();
    let file = source.name();
    let mut hint = Hint::new();
    if let Some(extension) = source.extension() {
        hint.with_extension(extension);
    }
    let mut reader = symphonia::default::get_probe()
        .probe(
            &hint,
            source.open()?,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|e| Error::Format {
            file: file.clone(),
            reason: e.to_string(),
        })?;
    let no_codec = |reason: &str| Error::Codec {
        file: file.clone(),
        reason: reason.to_owned(),
    };
    let track = reader
        .default_track(TrackType::Audio)
        .ok_or_else(|| no_codec("no audio track"))?;
    let id = track.id;
    let Some(CodecParameters::Audio(params)) = track.codec_params.clone() else {
        return Err(no_codec("no audio track"));
    };
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&params, &AudioDecoderOptions::default().gapless(true))
        .map_err(|e| no_codec(&e.to_string()))?;
    let mut mono = Vec::new();
    let mut interleaved: Vec<f32> = Vec::new();
    let (mut rate, mut channels) = (0, 0);
    while let Ok(Some(packet)) = reader.next_packet() {
        if packet.track_id != id {
            continue;
        }
        let Ok(buffer) = decoder.decode(&packet) else {
            continue;
        };
        rate = buffer.spec().rate();
        channels = buffer.num_planes();
        buffer.copy_to_vec_interleaved(&mut interleaved);
        mono.extend(
            interleaved
                .chunks_exact(channels)
                .map(|f| f.iter().sum::<f32>() / channels as f32),
        );
    }
    if mono.is_empty() {
        return Err(Error::NoSamples { file });
    }
    let frames = mono.len() as u64;
    let decode = start.elapsed();
    let mut samples = resample::resample(&mono, rate).map_err(|reason| Error::Decode {
        file: file.clone(),
        reason,
    })?;
    let position = |seconds: f64| (seconds * f64::from(SAMPLE_RATE)).round() as usize;
    let to = options
        .to
        .map_or(samples.len(), position)
        .min(samples.len());
    let from = options.from.map_or(0, position).min(to);
    samples.truncate(to);
    samples.drain(..from);
    let found = samples.len() as f64 / f64::from(SAMPLE_RATE);
    if found > options.max_seconds {
        if !options.truncate {
            let max_seconds = options.max_seconds;
            return Err(Error::TooLong {
                file,
                found,
                at_least: false,
                max_seconds,
            });
        }
        samples.truncate(position(options.max_seconds));
    }
    let wall = start.elapsed();
    let source = SourceInfo {
        format: reader.format_info().short_name,
        codec: decoder.codec_info().short_name,
        sample_rate: rate,
        channels,
        frames,
    };
    Ok(Audio {
        samples,
        source,
        timing: Timing {
            wall,
            decode,
            ..Timing::default()
        },
    })
}
