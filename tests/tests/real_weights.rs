//! Whisper base's real weights on a real song, against transformers. Random weights hide what trained
//! ones have: here one channel is sixteen times as wide as most.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{EngineOptions, Inspection, Model, OpenOptions};
use gamut_loader::Message;
use gamut_tests::golden::compare::{Golden, HOST, Target, VIRTUAL_BF16, VIRTUAL_F32};
use gamut_tests::golden::{FOLDER, fnv1a, weights_digest};
use gamut_tests::nvrtc;
use gamut_tests::whisper::Part;
use std::path::Path;

fn check(part: Part, targets: &[Target]) {
    let name = format!("whisper_{}", part.name());
    let golden = Golden::open(&Path::new(FOLDER).join(format!("{name}.safetensors")));
    let dir = tempfile::tempdir().unwrap();
    part.write_checkpoint(dir.path());
    let model = Model::open(dir.path(), &OpenOptions::default()).unwrap();
    let weights = weights_digest(model.checkpoint().weights()).unwrap();
    assert_eq!(weights, golden.digest("weights"), "other weights");
    let song = part.song();
    let bytes = song.iter().flat_map(|sample| sample.to_le_bytes());
    assert_eq!(fnv1a(bytes), golden.digest("clip"), "other samples");

    let samples: Vec<f32> = song.iter().map(|s| f32::from(*s) / 32768.0).collect();
    for target in targets {
        let options = EngineOptions {
            device: target.device,
            dtype: Some(target.dtype),
            ..EngineOptions::default()
        };
        let messages = vec![Message::audio("user", "When?")];
        let found = Inspection::run(
            &model,
            &options,
            &[&samples],
            messages,
            1,
            &mut |_, _, _| {},
        )
        .unwrap();
        let mut left = golden.stages();
        for (stage, shape, values) in &found.stages {
            if let Some(at) = left.iter().position(|left| left == stage.name()) {
                left.remove(at);
                golden.check_stage(&name, stage.name(), shape, values, *target);
            }
        }
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_real_song_is_heard_as_transformers_hears_it() {
    check(Part::Expert, &[HOST]);
    check(Part::Tower, &[HOST]);
}

#[test]
fn a_real_song_is_heard_as_transformers_hears_it_on_the_virtual_gpu() {
    nvrtc::NEWEST.nvrtc();
    check(Part::Tower, &[VIRTUAL_BF16, VIRTUAL_F32]);
}

/// `cargo test --release -p gamut-tests --test real_weights -- --ignored`
#[test]
#[ignore = "takes some minutes"]
fn whole_windows_are_heard_on_the_virtual_gpu() {
    nvrtc::NEWEST.nvrtc();
    check(Part::Expert, &[VIRTUAL_BF16]);
}
