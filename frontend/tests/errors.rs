//! Bad input: every error names the file and both values.

use std::io::Write;

use gamut_frontend::{Error, Options, Source, load};

/// A wave file: `tag` 1 is integers, 3 is floats.
fn wave(tag: u16, bits: u16, channels: u16, rate: u32, data: &[u8]) -> Vec<u8> {
    let align = channels.wrapping_mul(bits.div_ceil(8));
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(tag.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate.wrapping_mul(u32::from(align))).to_le_bytes());
    file.extend(align.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn float_wave(rate: u32, samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    wave(3, 32, 1, rate, &data)
}

fn load_bytes(bytes: Vec<u8>, options: &Options) -> Result<Vec<f32>, Error> {
    load(&Source::from_bytes(bytes), options).map(|audio| audio.samples)
}

fn message(bytes: Vec<u8>, options: &Options) -> String {
    load_bytes(bytes, options)
        .expect_err("the input is bad")
        .to_string()
}

#[test]
fn files_that_are_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| Source::Path(directory.path().join(name));
    let error = load(&path("missing.mp3"), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
    assert!(
        error.to_string().contains("missing.mp3: cannot be read"),
        "{error}"
    );
    let error = load(&path(""), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error}");
    std::fs::File::create(directory.path().join("empty.flac")).unwrap();
    let error = load(&path("empty.flac"), &Options::default()).unwrap_err();
    assert!(
        error.to_string().contains("empty.flac: is empty"),
        "{error}"
    );
    let mut text = std::fs::File::create(directory.path().join("text.mp3")).unwrap();
    text.write_all(&b"These are words, not music. ".repeat(1000))
        .unwrap();
    let error = load(&path("text.mp3"), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
}

#[test]
fn headers_out_of_bounds() {
    let file = |channels, rate| wave(1, 16, channels, rate, &[0; 1 << 12]);
    assert_eq!(
        message(file(1, 999), &Options::default()),
        "<bytes>: sample rate is 999 Hz, expected 1000 to 768000 Hz"
    );
    assert!(message(file(1, 1_000_000), &Options::default()).contains("1000000 Hz"));
    assert!(load_bytes(file(1, 768_000), &Options::default()).is_ok());
    assert!(load_bytes(file(1, 767_999), &Options::default()).is_ok());
    for channels in [0, 65, 1000, 65_535] {
        assert!(
            load_bytes(file(channels, 16_000), &Options::default()).is_err(),
            "{channels}"
        );
    }
    // A stream's writer did not know the length, and put 4 GiB.
    let mut lying = file(1, 16_000);
    lying[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    lying[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        load_bytes(lying, &Options::default()).unwrap().len(),
        1 << 11
    );
}

#[test]
fn no_samples() {
    let error = load_bytes(wave(1, 16, 1, 16_000, &[]), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::NoSamples { .. }), "{error}");
}

#[test]
fn numbers_that_are_none() {
    for (bad, word) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let mut samples = vec![0.25; 40_000];
        samples[31_234] = bad;
        let file = float_wave(44_100, &samples);
        assert_eq!(
            message(file.clone(), &Options::default()),
            format!("<bytes>: sample 31234 is {word}, expected a finite number")
        );
        let before = Options {
            to: Some(0.5),
            ..Options::default()
        };
        assert_eq!(load_bytes(file, &before).unwrap().len(), 8_000);
    }
}

#[test]
fn channels_are_averaged() {
    let data: Vec<u8> = [1.0f32, 0.5, -0.75]
        .iter()
        .flat_map(|s| s.to_le_bytes())
        .collect();
    let samples = load_bytes(
        wave(3, 32, 3, 16_000, &data.repeat(100)),
        &Options::default(),
    );
    assert_eq!(samples.unwrap(), [0.25; 100]);
}

#[test]
fn the_cap() {
    let second = float_wave(16_000, &[0.5; 16_000]);
    let capped = |max_seconds, truncate| Options {
        max_seconds,
        truncate,
        ..Options::default()
    };
    assert_eq!(
        message(second.clone(), &capped(0.75, false)),
        "<bytes>: the audio selected lasts 1.000 s, the limit is 0.75 s"
    );
    assert_eq!(
        load_bytes(second.clone(), &capped(0.75, true))
            .unwrap()
            .len(),
        12_000
    );
    assert_eq!(
        load_bytes(second.clone(), &capped(1.0, false))
            .unwrap()
            .len(),
        16_000
    );
    // It counts for the range alone.
    let range = Options {
        from: Some(0.5),
        ..capped(0.5, false)
    };
    assert_eq!(load_bytes(second.clone(), &range).unwrap().len(), 8_000);
    let range = Options {
        from: Some(0.25),
        to: Some(0.9),
        ..capped(0.5, false)
    };
    assert_eq!(
        message(second.clone(), &range),
        "<bytes>: the audio selected lasts 0.650 s, the limit is 0.5 s"
    );
    for nonsense in [0.0, -1.0, f64::NAN] {
        assert!(
            load_bytes(second.clone(), &capped(nonsense, true)).is_err(),
            "{nonsense}"
        );
    }
    assert!(load_bytes(second, &capped(f64::INFINITY, false)).is_ok());
}

#[test]
fn ranges() {
    let second = float_wave(16_000, &[0.5; 16_000]);
    let range = |from, to| Options {
        from,
        to,
        ..Options::default()
    };
    let length = |from, to| load_bytes(second.clone(), &range(from, to)).map(|s| s.len());
    assert_eq!(length(Some(0.25), Some(0.5)).unwrap(), 4_000);
    assert_eq!(
        length(Some(0.25), Some(77.0)).unwrap(),
        12_000,
        "cut at the end"
    );
    assert_eq!(length(None, Some(f64::INFINITY)).unwrap(), 16_000);
    for (from, to) in [
        (Some(0.5), Some(0.5)),
        (Some(0.6), Some(0.5)),
        (Some(-0.1), None),
        (None, Some(-0.1)),
        (Some(f64::NAN), None),
        (None, Some(f64::NAN)),
        (Some(f64::INFINITY), None),
        (Some(0.5), Some(0.5 + 1e-9)),
    ] {
        let error = length(from, to).unwrap_err();
        assert!(
            matches!(error, Error::Range { .. }),
            "{from:?} to {to:?}: {error}"
        );
    }
    assert_eq!(
        message(second.clone(), &range(Some(1.0), None)),
        "<bytes>: range starts at 1 s, but the audio ends at 1.000 s"
    );
    assert!(message(second.clone(), &range(Some(1e9), None)).contains("1000000000 s"));
}

#[test]
fn streams() {
    let file = float_wave(16_000, &[0.5; 100]);
    let source = Source::from_reader("<stdin>", &file[..], 1 << 20).unwrap();
    assert_eq!(
        load(&source, &Options::default()).unwrap().samples,
        [0.5; 100]
    );
    let error = Source::from_reader("<stdin>", &file[..], 10).unwrap_err();
    assert_eq!(
        error.to_string(),
        "<stdin>: holds more than the limit of 10 bytes"
    );
}

#[test]
fn a_wave_file_cut_within_a_sample_keeps_the_whole_ones() {
    let mut file = float_wave(16_000, &[0.5; 5_000]);
    file.truncate(44 + 4 * 3_000 + 2);
    assert_eq!(load_bytes(file, &Options::default()).unwrap().len(), 3_000);
}
