//! The cases of `golden/cases.json`: random checkpoints with a clip and a question each, which the
//! PyTorch oracle answered (`golden/README.md`).

pub mod compare;

use std::path::{Path, PathBuf};

use gamut_loader::synthetic::{self, Fill, SyntheticOptions};
use gamut_loader::{DType, Error, Message, Weights};
use serde::Deserialize;

/// The folder of the golden files.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name of the case, of its checkpoint's directory and of its golden file.
    pub name: String,
    /// What the case is there for.
    pub about: String,
    /// The dtype of every weight.
    #[serde(with = "DTypeName")]
    pub dtype: DType,
    /// The number of weight files.
    pub shards: usize,
    /// The seed of the weights.
    pub seed: u64,
    /// The clips, in the order of their places.
    pub clips: Vec<Clip>,
    /// The conversation.
    pub messages: Vec<Message>,
    /// How many tokens to generate.
    pub tokens: usize,
    /// `config.json`, but for the ids of the audio's tokens.
    pub config: serde_json::Value,
}

/// The arguments of [`clip`](crate::clip::clip).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// The seed.
    pub seed: u64,
    /// The length at 16 kHz.
    pub samples: usize,
}

/// How `cases.json` spells a dtype.
#[derive(Deserialize)]
#[serde(remote = "DType", rename_all = "lowercase")]
enum DTypeName {
    F32,
    F16,
    BF16,
    #[serde(rename = "fp8")]
    F8E4M3,
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let path = Path::new(FOLDER).join("cases.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Case {
    /// Writes the case's checkpoint into `dir`, which must be new or empty.
    pub fn write_checkpoint(&self, dir: &Path) -> Result<(), Error> {
        let options = SyntheticOptions {
            config: self.config.clone(),
            dtype: self.dtype,
            fill: Fill::Random { seed: self.seed },
            shards: self.shards,
        };
        synthetic::write(dir, &options)
    }

    /// What the oracle computed.
    pub fn golden_file(&self) -> PathBuf {
        Path::new(FOLDER).join(format!("{}.safetensors", self.name))
    }
}

/// FNV-1a, 64 bit, as golden files give the digests of their inputs.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// The digest of all weights: every tensor's name and bytes, in the order of the names.
pub fn weights_digest(weights: &Weights) -> Result<u64, Error> {
    let mut bytes = Vec::new();
    for summary in weights.tensors() {
        bytes.extend_from_slice(summary.name.as_bytes());
        bytes.extend_from_slice(&weights.get(summary.name, summary.shape)?.data);
    }
    Ok(fnv1a(bytes))
}
