//! What the tests that span crates share: chance, clips and other sounds, the oracle's golden cases, a
//! hub, a layer on a device, packages from PyPI (CUDA's compiler, a real vocabulary, real weights, real
//! music), and mutants of kernels.

pub mod chance;
pub mod clip;
pub mod golden;
pub mod hub;
pub mod layer;
pub mod mutants;
pub mod nvrtc;
pub mod pypi;
pub mod sounds;
pub mod tiktoken;
pub mod whisper;

use gamut_kernels::{Cuda, DType, Device, Driver};

/// The virtual GPU, with NVRTC brought if it is not there.
///
/// # Panics
/// If it cannot be opened.
pub fn virtual_gpu(dtype: DType) -> Device {
    nvrtc::NEWEST.nvrtc();
    Device::Cuda(Cuda::open(Driver::Virtual, dtype).expect("the virtual GPU"))
}
