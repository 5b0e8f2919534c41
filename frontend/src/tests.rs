//! Whole files through the crate: against ffmpeg, against themselves, and broken.

use std::path::PathBuf;

use proptest::prelude::*;
use rayon::ThreadPoolBuilder;

use crate::demux::Demuxer;
use crate::load::{Plan, is_regular, load as load_planned};
use crate::{Audio, Error, Options, Source, load};

/// The files under `tests/fixtures`, and how far ffmpeg's decoder may be from ours.
const FIXTURES: &[(&str, f32)] = &[
    ("stereo-320k.mp3", 1e-5),
    ("joint-128k.mp3", 1e-5),
    ("vbr.mp3", 1e-5),
    ("mono-32k.mp3", 1e-5),
    ("untagged.mp3", 1e-5),
    ("stereo.flac", 1e-6),
    ("mono-24bit.flac", 1e-6),
    ("stereo.ogg", 1e-5),
    ("mono.ogg", 1e-5),
    ("stereo.m4a", 1e-4),
    ("mono.m4a", 1e-4),
    ("stereo.aac", 1e-4),
    ("u8.wav", 1e-6),
    ("s16.wav", 1e-6),
    ("s24-6ch.wav", 1e-6),
    ("s32.wav", 1e-6),
    ("f32.wav", 1e-6),
    ("f64.wav", 1e-6),
];

fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn fixture(name: &str) -> Source {
    Source::Path(fixture_path(name))
}

fn fixture_bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture_path(name)).unwrap()
}

fn serially(source: &Source, options: &Options) -> Result<Audio, Error> {
    load_planned(
        source,
        options,
        Plan {
            serial: true,
            ..Plan::default()
        },
    )
}

fn bits(samples: &[f32]) -> Vec<u32> {
    samples.iter().map(|sample| sample.to_bits()).collect()
}

/// A file's frames at its own rate, averaged over the channels.
fn mono(source: &Source) -> Vec<f32> {
    let mut demuxer = Demuxer::open(source, 1000).unwrap();
    let mut decoder = demuxer.decoders().take().unwrap();
    let mut mono = Vec::new();
    while let Some(segment) = demuxer.next_segment().unwrap() {
        mono.extend(decoder.decode(&segment).mono);
    }
    mono
}

#[test]
fn files_decode_as_in_ffmpeg() {
    for &(name, tolerance) in FIXTURES {
        let reference = fixture_bytes(&format!("{name}.ref"));
        let (length, values) = reference.split_first_chunk().unwrap();
        let mono = mono(&fixture(name));
        assert_eq!(
            mono.len() as u64,
            u64::from_le_bytes(*length),
            "{name}: length"
        );
        let mut worst = 0.0f32;
        for (ours, theirs) in mono.iter().step_by(61).zip(values.as_chunks().0) {
            worst = worst.max((ours - f32::from_le_bytes(*theirs)).abs());
        }
        assert!(
            worst <= tolerance,
            "{name}: off by {worst}, allowed {tolerance}"
        );
        let audio = load(&fixture(name), &Options::default()).unwrap();
        let exact = mono.len() as f64 * 16_000.0 / f64::from(audio.source.sample_rate);
        assert_eq!(audio.samples.len(), exact.ceil() as usize, "{name}");
        assert_eq!(audio.source.frames, mono.len() as u64, "{name}");
    }
}

#[test]
fn segments_and_threads_make_no_difference() {
    for &(name, _) in FIXTURES {
        let source = fixture(name);
        let expected = serially(&source, &Options::default()).unwrap();
        // Twelve packets and more, so that warm-ups find what they need.
        for segment_frames in [14_000, 20_000, 33_333] {
            let plan = Plan {
                serial: false,
                segment_frames,
            };
            assert!(
                is_regular(&source, plan).unwrap(),
                "{name}, segments of {segment_frames}"
            );
            for threads in [1, 2, 5] {
                let pool = ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let audio = pool
                    .install(|| load_planned(&source, &Options::default(), plan))
                    .unwrap();
                assert!(
                    bits(&audio.samples) == bits(&expected.samples),
                    "{name}, segments of {segment_frames}, {threads} threads"
                );
                assert_eq!(audio.source, expected.source, "{name}");
            }
        }
    }
}

#[test]
fn bytes_and_paths_give_the_same() {
    for &(name, _) in FIXTURES {
        let path = load(&fixture(name), &Options::default()).unwrap();
        let bytes = Source::from_bytes(fixture_bytes(name));
        let bytes = load(&bytes, &Options::default()).unwrap();
        assert_eq!(bits(&path.samples), bits(&bytes.samples), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_range_is_a_slice_of_the_whole(
        index in 0..FIXTURES.len(),
        a in 0u32..40_000,
        b in 0u32..40_000,
        segment_frames in 14_000u64..40_000,
    ) {
        let source = fixture(FIXTURES[index].0);
        let whole = load(&source, &Options::default()).unwrap().samples;
        let (from, to) = (a.min(b) as usize, a.max(b) as usize + 1);
        let seconds = |sample: usize| Some(sample as f64 / 16_000.0);
        let options = Options { from: seconds(from), to: seconds(to), ..Options::default() };
        let part = load_planned(&source, &options, Plan { serial: false, segment_frames });
        if from < whole.len() {
            prop_assert_eq!(bits(&part.unwrap().samples), bits(&whole[from..to.min(whole.len())]));
        } else {
            prop_assert!(matches!(part, Err(Error::BeyondEnd { .. })), "{:?}", part);
        }
    }

    #[test]
    fn broken_files_end_in_samples_or_an_error(
        index in 0..FIXTURES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        segment_frames in 2_000u64..40_000,
    ) {
        let name = FIXTURES[index].0;
        let mut bytes = fixture_bytes(name);
        for (place, value) in &changes {
            let place = place.index(bytes.len());
            bytes[place] = *value;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()) + 1);
        }
        let source = Source::from_bytes(bytes);
        let options = Options { truncate: true, max_seconds: 10.0, ..Options::default() };
        let plan = Plan { serial: false, segment_frames };
        match (load_planned(&source, &options, plan), serially(&source, &options)) {
            (Ok(parallel), Ok(serial)) => {
                prop_assert!(parallel.samples.iter().all(|sample| sample.is_finite()));
                prop_assert_eq!(bits(&parallel.samples), bits(&serial.samples), "{}", name);
            }
            (Err(parallel), Err(serial)) => {
                prop_assert!(parallel.to_string().starts_with("<bytes>: "), "{}", parallel);
                prop_assert_eq!(parallel.to_string(), serial.to_string());
            }
            (parallel, serial) => prop_assert!(
                false,
                "{}: parallel {:?}, serial {:?}",
                name,
                parallel.map(|audio| audio.source),
                serial.map(|audio| audio.source)
            ),
        }
    }
}
