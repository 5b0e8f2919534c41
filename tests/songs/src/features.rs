//! What a model hears of a piece: the engine's own log-mel, so that training and inference agree.

use gamut_kernels::ops::{MelBank, log_mel};
use gamut_kernels::{Context, Device, Host, Result};
use half::f16;
use std::sync::Arc;

/// Bands of a frame.
const MEL_BINS: usize = 128;
/// Frames of a window of 30 s.
const FRAMES: usize = 3000;

/// Windows of so many samples.
pub fn windows(samples: usize) -> usize {
    samples.div_ceil(480_000)
}

/// Log-mel of all windows, `[windows, MEL_BINS, FRAMES]`, on the calling thread.
///
/// # Errors
/// If there are no samples.
pub fn features(samples: &[f32]) -> Result<Vec<f16>> {
    let device = Device::Host(Arc::new(Host::new(1)?));
    let bytes = (windows(samples.len()) * MEL_BINS * FRAMES + samples.len()) * size_of::<f32>();
    let cx = Context::new(&device, 2 * bytes)?;
    let mel = log_mel(&cx, samples, &MelBank::new(MEL_BINS)?)?;
    Ok(mel.to_vec()?.into_iter().map(f16::from_f32).collect())
}
