//! The engine against the PyTorch oracle, on every golden case, on the host and on the virtual GPU.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{DType, EngineOptions, Inspection, Model, OpenOptions};
use gamut_tests::clip::clip;
use gamut_tests::golden::compare::{Golden, HOST, Target, VIRTUAL_BF16, VIRTUAL_F32, relative_l2};
use gamut_tests::golden::{Case, Clip, cases};
use gamut_tests::nvrtc;

/// Tokens are compared up to the first margin below this.
const MARGIN: f32 = 1e-3;

fn compare(case: &Case, target: Target, found: &Inspection, golden: &Golden) {
    let stages = golden.stages();
    assert_eq!(found.stages.len(), stages.len(), "{}", case.name);
    for (stage, shape, values) in &found.stages {
        golden.check_stage(&case.name, stage.name(), shape, values, target);
    }
    golden.check(&case.name, "logits", &found.logits, target);

    let mut prompt = found.prompt_tokens.clone();
    // The last first, since what is before it stays in its place.
    for run in golden.i64s("prompt_audio").rchunks(2) {
        let (start, len) = (run[0] as usize, run[1] as usize);
        let placeholder = prompt[start];
        let run: Vec<i64> = prompt.drain(start + 1..start + len).collect();
        assert!(
            run.iter().all(|id| *id == placeholder),
            "{}: the audio is no run",
            case.name
        );
    }
    assert_eq!(prompt, golden.i64s("prompt_tokens"), "{}", case.name);

    let margins = golden.f32s("margins");
    let sure = match target.dtype {
        DType::F32 => margins
            .iter()
            .take_while(|margin| **margin >= MARGIN)
            .count(),
        // The first token alone, if it leads by more than the errors of the logits.
        _ => {
            let logits = golden.f32s("logits");
            let squares: f32 = logits.iter().map(|x| x * x).sum();
            let error = relative_l2(&found.logits, &logits) as f32;
            let error = error * (squares / logits.len() as f32).sqrt();
            usize::from(margins[0] > 4.0 * error)
        }
    };
    let expected = golden.i64s("tokens");
    assert_eq!(found.tokens.len(), expected.len(), "{}", case.name);
    assert_eq!(found.tokens[..sure], expected[..sure], "{}", case.name);
    let says = target.dtype != DType::F32 || sure > 0;
    assert!(says, "{}: the oracle is sure of no token", case.name);
}

#[test]
fn every_stage_is_the_oracles() {
    check(HOST, &cases());
}

/// The case that takes the virtual GPU some minutes.
const LONG: &str = "five_minutes";

#[test]
fn every_stage_is_the_oracles_on_the_virtual_gpu() {
    check_virtual(|name| name != LONG);
}

/// `cargo test --release -p gamut-tests --test golden -- --ignored`
#[test]
#[ignore = "takes some minutes"]
fn a_song_of_five_minutes_is_the_oracles_on_the_virtual_gpu() {
    check_virtual(|name| name == LONG);
}

/// One type after the other: the virtual GPU uses every core.
fn check_virtual(wanted: impl Fn(&str) -> bool) {
    nvrtc::NEWEST.nvrtc();
    let mut cases = cases();
    cases.retain(|case| wanted(&case.name));
    check(VIRTUAL_F32, &cases);
    check(VIRTUAL_BF16, &cases);
}

fn check(target: Target, cases: &[Case]) {
    for case in cases {
        let dir = tempfile::tempdir().unwrap();
        case.write_checkpoint(dir.path()).unwrap();
        let model = Model::open(dir.path(), &OpenOptions::default()).unwrap();
        let options = EngineOptions {
            device: target.device,
            dtype: Some(target.dtype),
            ..EngineOptions::default()
        };
        let samples = |c: &Clip| {
            let samples = clip(c.seed, c.samples).into_iter();
            samples
                .map(|s| f32::from(s) / 32768.0)
                .collect::<Vec<f32>>()
        };
        let clips: Vec<Vec<f32>> = case.clips.iter().map(samples).collect();
        let clips: Vec<&[f32]> = clips.iter().map(|clip| &**clip).collect();
        let found = Inspection::run(
            &model,
            &options,
            &clips,
            case.messages.clone(),
            case.tokens,
            &mut |_, _, _| {},
        )
        .unwrap();
        compare(case, target, &found, &Golden::open(&case.golden_file()));
    }
}
