//! No barrier, wait, fence or guard of a kernel can go unnoticed: `tests/mutants.json` records what
//! became of each. All mutants of kernels that have changed since are tried, and some of the others.
//!
//! `cargo run --release -p gamut-tests --example mutants` tries all and renews the record.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_tests::golden::fnv1a;
use gamut_tests::mutants::{DTYPES, Record, Survey, digest, draw, files};
use gamut_tests::nvrtc;

/// Of so many files in a type, so many mutants each are tried although nothing has changed.
const FILES: usize = 3;
const MUTANTS: usize = 4;

#[test]
fn mutants_are_noticed() {
    nvrtc::NEWEST.nvrtc();
    let record = Record::read();
    let all: Vec<_> = DTYPES
        .into_iter()
        .flat_map(|dtype| files().into_iter().map(move |file| (dtype, file)))
        .collect();
    // Other mutants after each change of a kernel.
    let digests: String = files().into_iter().map(digest).collect();
    let seed = fnv1a(digests.bytes());
    println!("seed {seed}");
    let (same, changed): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(dtype, file)| record.is_current(*dtype, file));

    for (dtype, file) in draw(same, seed, FILES) {
        let survey = Survey::new(dtype, file).unwrap();
        let known = record.survivors(dtype, file);
        for site in draw(survey.sites(), seed, MUTANTS) {
            let verdict = survey.try_without(site).unwrap();
            println!("{file} in {dtype}: {site}: {verdict}");
            let expected = !known.contains(&site.to_string());
            assert_eq!(verdict.is_dead(), expected, "{file} in {dtype}: {site}");
        }
    }
    for (dtype, file) in changed {
        let survey = Survey::new(dtype, file).unwrap();
        let tried = survey.sites().into_iter();
        let tried = tried.map(|site| (site, survey.try_without(site).unwrap()));
        let alive: Vec<String> = tried
            .filter(|(_, verdict)| !verdict.is_dead())
            .map(|(site, verdict)| format!("{site}: {verdict}"))
            .collect();
        let known = record.survivors(dtype, file);
        assert!(
            alive.len() <= known.len(),
            "{file} in {dtype} has changed. Alive now: {alive:#?}, before: {known:#?}"
        );
    }
}
