//! What a golden file holds, and what was found, stage by stage.

use gamut_engine::{DType, DeviceChoice};
use safetensors::SafeTensors;
use std::path::Path;

/// Frames of a window of log-mel.
const FRAMES: usize = 3000;

/// What a device has to come up to.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The device.
    pub device: DeviceChoice,
    /// What it computes in.
    pub dtype: DType,
    /// Greatest relative L2 error of a stage, unless stock PyTorch's own f32 error is over a third.
    pub tolerance: f64,
}

/// The CPU.
pub const HOST: Target = Target {
    device: DeviceChoice::Host,
    dtype: DType::F32,
    tolerance: 1e-5,
};
/// The virtual GPU at its sharpest.
pub const VIRTUAL_F32: Target = Target {
    device: DeviceChoice::Virtual,
    dtype: DType::F32,
    tolerance: 1e-4,
};
/// The virtual GPU as GPUs are used.
pub const VIRTUAL_BF16: Target = Target {
    device: DeviceChoice::Virtual,
    dtype: DType::BF16,
    tolerance: 2e-2,
};

/// A golden file: its keys are in `golden/README.md`.
#[derive(Debug)]
pub struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    /// Reads it.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn open(path: &Path) -> Golden {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Golden { bytes }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap_or_else(|e| panic!("a golden file: {e}"))
    }

    fn values<T, const N: usize>(&self, key: &str, from: fn([u8; N]) -> T) -> Vec<T> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
        tensor
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| from(*bytes))
            .collect()
    }

    /// The elements of an f32 tensor.
    ///
    /// # Panics
    /// If there is no such tensor.
    pub fn f32s(&self, key: &str) -> Vec<f32> {
        self.values(key, f32::from_le_bytes)
    }

    /// The elements of an i64 tensor; panics as [`Golden::f32s`].
    pub fn i64s(&self, key: &str) -> Vec<i64> {
        self.values(key, i64::from_le_bytes)
    }

    /// The digest of an input, in the metadata.
    ///
    /// # Panics
    /// If it is not there.
    pub fn digest(&self, of: &str) -> u64 {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap_or_else(|e| panic!("{e}"));
        let digest = header
            .metadata()
            .as_ref()
            .and_then(|digests| digests.get(of));
        let digest = digest.and_then(|digest| u64::from_str_radix(digest, 16).ok());
        digest.unwrap_or_else(|| panic!("no digest of the {of}"))
    }

    /// The names of its stages, logits apart.
    pub fn stages(&self) -> Vec<String> {
        let names = self
            .tensors()
            .names()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let stages = names.iter().filter_map(|name| name.strip_suffix(".rows"));
        stages.map(str::to_owned).collect()
    }

    /// Three times PyTorch's own f32 error of a stage, at least the target's tolerance.
    fn tolerance(&self, stage: &str, target: Target) -> f64 {
        let errors = self.values(&format!("{stage}.f32_error"), f64::from_le_bytes);
        errors
            .into_iter()
            .fold(target.tolerance, |most, error| most.max(3.0 * error))
    }

    /// Compares the rows of a stage that are in the file, and the norm of all of it.
    ///
    /// # Panics
    /// If they are too far from what they should be.
    pub fn check_stage(
        &self,
        case: &str,
        stage: &str,
        shape: &[usize],
        values: &[f32],
        target: Target,
    ) {
        let picked = rows(stage, shape, values, &self.i64s(&format!("{stage}.rows")));
        self.check(case, stage, &picked, target);
        let squares = values.iter().map(|v| f64::from(*v).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        let expected = self.values(&format!("{stage}.norm"), f64::from_le_bytes)[0];
        let off = (norm / expected - 1.0).abs();
        assert!(
            off <= self.tolerance(stage, target),
            "{case} {stage}: norm {norm}, not {expected}"
        );
    }

    /// Compares values with those of the file.
    ///
    /// # Panics
    /// As [`Golden::check_stage`].
    pub fn check(&self, case: &str, key: &str, found: &[f32], target: Target) {
        let error = relative_l2(found, &self.f32s(key));
        let tolerance = self.tolerance(key, target);
        println!("{case:18} {key:9} {error:.1e} (at most {tolerance:.1e})");
        assert!(
            error <= tolerance,
            "{case} {key}: {error:e} over {tolerance:e}"
        );
    }
}

/// The L2 norm of the error over that of what is expected.
///
/// # Panics
/// If there are more of the one than of the other.
pub fn relative_l2(found: &[f32], expected: &[f32]) -> f64 {
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
