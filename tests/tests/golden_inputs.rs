//! The golden files were made from the very clips and weights that the tests make.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_loader::{Checkpoint, OpenOptions};
use gamut_tests::clip::clip;
use gamut_tests::golden::compare::Golden;
use gamut_tests::golden::{Case, cases, fnv1a, weights_digest};

fn digest(case: &Case, of: &str) -> u64 {
    Golden::open(&case.golden_file()).digest(of)
}

#[test]
fn clips_are_the_oracles() {
    for case in cases() {
        let clips = case.clips.iter();
        let samples = clips.flat_map(|c| clip(c.seed, c.samples));
        let found = fnv1a(samples.flat_map(|sample| sample.to_le_bytes()));
        assert_eq!(found, digest(&case, "clip"), "{}", case.name);
    }
}

#[test]
fn weights_are_the_oracles() {
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        case.write_checkpoint(dir.path()).unwrap();
        let checkpoint = Checkpoint::open(dir.path(), &OpenOptions::default()).unwrap();
        let found = weights_digest(checkpoint.weights()).unwrap();
        assert_eq!(found, digest(&case, "weights"), "{}", case.name);
    }
}

#[test]
fn clips_have_silence_and_loud_parts() {
    let samples = clip(7, 200_000);
    assert!(samples[114_000..122_000].iter().all(|sample| *sample == 0));
    let peak = |second: usize| {
        let part = &samples[second * 16_000..][..16_000];
        part.iter()
            .map(|sample| sample.unsigned_abs())
            .max()
            .unwrap()
    };
    assert!(
        peak(4) > 20_000 && peak(5) < 16_000,
        "{} {}",
        peak(4),
        peak(5)
    );
}
