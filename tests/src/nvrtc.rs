//! NVRTC and the disassembler for the tests, of fixed versions, in the build folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The newest version that tests run with, where the CUDA device looks for it.
pub const NEWEST: Version = Version {
    folder: "nvrtc",
    packages: &[
        "nvidia-cuda-nvrtc==13.5.37",
        "nvidia-cuda-nvdisasm==13.5.37",
    ],
};
/// The version whose PTX and cubins every driver of CUDA 13 takes.
pub const OLDEST: Version = Version {
    folder: "nvrtc-13.0",
    packages: &["nvidia-cuda-nvrtc==13.0.88"],
};

/// Packages of NVIDIA's on PyPI, and the folder for them in the build folder.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    folder: &'static str,
    packages: &'static [&'static str],
}

impl Version {
    /// The path of NVRTC, fetched with pip if it is not there.
    ///
    /// # Panics
    /// If it cannot be fetched: tests must not pass without it.
    pub fn nvrtc(self) -> PathBuf {
        self.root().join("nvidia/cu13/lib/libnvrtc.so.13")
    }

    /// The path of the disassembler, which comes with [`NEWEST`] alone.
    ///
    /// # Panics
    /// As [`Version::nvrtc`].
    pub fn nvdisasm(self) -> PathBuf {
        self.root().join("nvidia/cu13/bin/nvdisasm")
    }

    fn root(self) -> PathBuf {
        static FETCH: Mutex<()> = Mutex::new(());
        let _one_at_a_time = FETCH.lock().unwrap_or_else(PoisonError::into_inner);
        let root = build_folder().join(self.folder);
        if !root.is_dir() {
            self.fetch(&root);
        }
        root
    }

    /// Fetches aside and renames: another test may be doing the same.
    fn fetch(self, root: &Path) {
        let aside = root.with_extension(std::process::id().to_string());
        let status = Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--root-user-action=ignore",
                "--no-deps",
            ])
            .arg("--target")
            .arg(&aside)
            .args(self.packages)
            .status()
            .unwrap_or_else(|e| panic!("python3: {e}"));
        assert!(
            status.success(),
            "pip cannot install {:?}: {status}",
            self.packages
        );
        if let Err(e) = std::fs::rename(&aside, root) {
            std::fs::remove_dir_all(&aside).unwrap_or_else(|e| panic!("{}: {e}", aside.display()));
            assert!(root.is_dir(), "{}: {e}", root.display());
        }
    }
}

/// Cargo's target folder: that of this test is `target/PROFILE/deps`.
fn build_folder() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_else(|e| panic!("where is this test? {e}"));
    let folder = exe.ancestors().nth(3);
    folder
        .unwrap_or_else(|| panic!("{} is in no build folder", exe.display()))
        .to_owned()
}
