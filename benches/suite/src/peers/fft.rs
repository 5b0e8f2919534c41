//! cuFFT's transforms of the spectrogram's frames, without what is done before and after them.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::measure::Times;
use crate::rows::noise;
use cudarc::cufft::{result, sys};
use gamut_kernels::{Context, Cuda, Device, Timer};
use std::ptr;
use std::sync::Arc;

/// Points of a frame, samples to the next, and bins of its spectrum.
const POINTS: usize = 400;
const HOP: usize = 160;
const BINS: usize = POINTS / 2 + 1;

/// A plan of the library, destroyed with this.
struct Plan(sys::cufftHandle);

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: the plan was made and is not used after this. A failure would only leak it.
        let _ = unsafe { result::destroy(self.0) };
    }
}

/// The time of `frames` real transforms of overlapping frames.
pub(crate) fn measure(
    device: &Device,
    cuda: &Arc<Cuda>,
    timer: &Timer,
    frames: usize,
) -> Result<Times> {
    gamut_probe::libraries::preload("libcufft.so.12")?;
    // SAFETY: it only tries to load the library.
    if !unsafe { sys::is_culib_present() } {
        let status = "it is not on this machine".to_owned();
        return Err(Error::Fft {
            call: "loading cuFFT",
            status,
        });
    }
    let samples = noise(frames * HOP + POINTS);
    let bytes = 4 * (samples.len() + 2 * BINS * frames) + 4096;
    let cx = Context::new(device, bytes)?;
    let input = cx.upload_f32(&samples, samples.len())?;
    let output = cx.tensor_f32(frames, 2 * BINS)?;
    let failed = |call| {
        move |e: result::CufftError| Error::Fft {
            call,
            status: format!("{e:?}"),
        }
    };
    let [mut points, mut input_size, mut output_size] =
        [POINTS, samples.len(), BINS].map(|n| n as i32);
    // SAFETY: all pointers are to live integers, one for each of the transform's dimensions.
    let plan = unsafe {
        result::plan_many(
            1,
            ptr::from_mut(&mut points),
            ptr::from_mut(&mut input_size),
            1,
            HOP as i32,
            ptr::from_mut(&mut output_size),
            1,
            BINS as i32,
            sys::cufftType::CUFFT_R2C,
            frames as i32,
        )
    };
    let plan = Plan(plan.map_err(failed("cufftPlanMany"))?);
    // SAFETY: the plan and the GPU's stream are alive.
    unsafe { result::set_stream(plan.0, cuda.stream().cast()) }
        .map_err(failed("cufftSetStream"))?;
    let (from, to) = (input.view().address(), output.view().address());
    Times::measure(timer, &mut || {
        // SAFETY: the tensors hold all frames and their spectra, and outlive the work, which the
        // timer waits for.
        let done = unsafe { result::exec_r2c(plan.0, from as *mut _, to as *mut _) };
        done.map_err(failed("cufftExecR2C"))
    })
}
