//! The engine against the PyTorch oracle, on every golden case, on the host and on the virtual GPU.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{DType, DeviceChoice, EngineOptions, Inspection, Model, OpenOptions};
use gamut_tests::clip::clip;
use gamut_tests::golden::{Case, Clip, cases};
use gamut_tests::nvrtc;
use safetensors::SafeTensors;

/// Tokens are compared up to the first margin below this.
const MARGIN: f32 = 1e-3;
const FRAMES: usize = 3000;

/// What a device has to come up to.
#[derive(Clone, Copy)]
struct Target {
    device: DeviceChoice,
    dtype: DType,
    /// Greatest relative L2 error of a stage, unless stock PyTorch's own f32 error is over a third.
    tolerance: f64,
}

const HOST: Target = Target {
    device: DeviceChoice::Host,
    dtype: DType::F32,
    tolerance: 1e-5,
};
const VIRTUAL_F32: Target = Target {
    device: DeviceChoice::Virtual,
    dtype: DType::F32,
    tolerance: 1e-4,
};
const VIRTUAL_BF16: Target = Target {
    device: DeviceChoice::Virtual,
    dtype: DType::BF16,
    tolerance: 2e-2,
};

/// A golden file.
struct Golden<'a>(SafeTensors<'a>);

impl Golden<'_> {
    fn values<T, const N: usize>(&self, key: &str, from: fn([u8; N]) -> T) -> Vec<T> {
        let tensor = self.0.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
        tensor
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| from(*bytes))
            .collect()
    }

    fn f32s(&self, key: &str) -> Vec<f32> {
        self.values(key, f32::from_le_bytes)
    }

    fn i64s(&self, key: &str) -> Vec<i64> {
        self.values(key, i64::from_le_bytes)
    }

    /// Three times PyTorch's own f32 error of a stage, at least the target's tolerance.
    fn tolerance(&self, stage: &str, target: Target) -> f64 {
        let errors = self.values(&format!("{stage}.f32_error"), f64::from_le_bytes);
        errors
            .into_iter()
            .fold(target.tolerance, |most, error| most.max(3.0 * error))
    }
}

fn relative_l2(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found
        .iter()
        .zip(expected)
        .map(|(f, e)| (f64::from(*f), f64::from(*e)));
    let (error, norm) = pairs.fold((0.0, 0.0), |(error, norm), (f, e)| {
        (error + (f - e) * (f - e), norm + e * e)
    });
    (error / norm).sqrt()
}

/// The rows of a stage that the golden file holds; of mel, a row is a frame.
fn rows(stage: &str, shape: &[usize], values: &[f32], wanted: &[i64]) -> Vec<f32> {
    let mut picked = Vec::new();
    for row in wanted.iter().map(|row| *row as usize) {
        if stage == "mel" {
            let (window, frame, bins) = (row / FRAMES, row % FRAMES, shape[1]);
            picked.extend((0..bins).map(|bin| values[(window * bins + bin) * FRAMES + frame]));
        } else {
            picked.extend(&values[row * shape[1]..(row + 1) * shape[1]]);
        }
    }
    picked
}

fn compare(case: &Case, target: Target, found: &Inspection, golden: &Golden<'_>) {
    let check = |stage: &str, found: &[f32], expected: &[f32]| {
        let (error, tolerance) = (
            relative_l2(found, expected),
            golden.tolerance(stage, target),
        );
        println!(
            "{:18} {stage:9} {error:.1e} (at most {tolerance:.1e})",
            case.name
        );
        assert!(
            error <= tolerance,
            "{} {stage}: {error:e} over {tolerance:e}",
            case.name
        );
    };
    let names = golden.0.names();
    let stages = names.iter().filter(|name| name.ends_with(".rows"));
    assert_eq!(found.stages.len(), stages.count(), "{}", case.name);
    for (stage, shape, values) in &found.stages {
        let stage = stage.name();
        let picked = rows(stage, shape, values, &golden.i64s(&format!("{stage}.rows")));
        check(stage, &picked, &golden.f32s(stage));
        let norm = values
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        let expected = golden.values(&format!("{stage}.norm"), f64::from_le_bytes)[0];
        let off = (norm / expected - 1.0).abs();
        assert!(
            off <= golden.tolerance(stage, target),
            "{} {stage}: norm {norm}, not {expected}",
            case.name
        );
    }
    check("logits", &found.logits, &golden.f32s("logits"));

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
        let bytes = std::fs::read(case.golden_file()).unwrap();
        let golden = Golden(SafeTensors::deserialize(&bytes).unwrap());
        compare(case, target, &found, &golden);
    }
}
