//! NVRTC and the disassembler for the tests, of fixed versions.

use crate::pypi::Packages;
use std::path::PathBuf;

/// The newest version that tests run with, where the CUDA device looks for it.
pub const NEWEST: Version = Version(Packages {
    folder: "nvrtc",
    packages: &[
        "nvidia-cuda-nvrtc==13.5.37",
        "nvidia-cuda-nvdisasm==13.5.37",
    ],
});
/// The version whose PTX and cubins every driver of CUDA 13 takes.
pub const OLDEST: Version = Version(Packages {
    folder: "nvrtc-13.0",
    packages: &["nvidia-cuda-nvrtc==13.0.88"],
});

/// NVIDIA's packages of one version.
#[derive(Clone, Copy, Debug)]
pub struct Version(Packages);

impl Version {
    /// The path of NVRTC; panics as [`Packages::root`].
    pub fn nvrtc(self) -> PathBuf {
        self.0.root().join("nvidia/cu13/lib/libnvrtc.so.13")
    }

    /// The path of the disassembler, which comes with [`NEWEST`] alone; panics as
    /// [`Packages::root`].
    pub fn nvdisasm(self) -> PathBuf {
        self.0.root().join("nvidia/cu13/bin/nvdisasm")
    }
}
