//! A hub with a small model, and a cache for each test.

use gamut_hub::{Error, Event, ModelRef, Options, pull};
use gamut_tests::hub::{COMMIT, Hub, MODEL, Seen, blob_name};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The model of [`single`] and [`sharded`] but for the weights.
pub(crate) const SMALL: [(&str, &str); 4] = [
    ("config.json", r#"{"architectures": ["Qwen3ForCausalLM"]}"#),
    ("tokenizer.json", "{}"),
    ("tokenizer_config.json", r#"{"eos_token": "x"}"#),
    ("chat_template.jinja", "{{ messages }}"),
];
/// What no checkpoint for Gamut needs.
const REST: [&str; 7] = [
    "README.md",
    ".gitattributes",
    "pytorch_model.bin",
    "model.gguf",
    "consolidated.safetensors",
    "original/consolidated.00.pth",
    "../../escape.json",
];
pub(crate) const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

/// So many bytes, which say nothing.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u64 | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn hub(weights: Vec<(&str, Vec<u8>)>) -> Hub {
    let small = SMALL.map(|(name, text)| (name, text.as_bytes().to_vec()));
    let rest = REST.map(|name| (name, b"not to be downloaded".to_vec()));
    Hub::new(small.into_iter().chain(rest).chain(weights))
}

/// A model whose weights are one file of 300,000 bytes.
pub(crate) fn single() -> Hub {
    hub(vec![("model.safetensors", noise(300_000))])
}

/// A model of two shards.
pub(crate) fn sharded() -> Hub {
    let index = format!(
        r#"{{"weight_map": {{"a": "{}", "b": "{}"}}}}"#,
        SHARDS[1], SHARDS[0]
    );
    hub(vec![
        ("model.safetensors.index.json", index.into_bytes()),
        (SHARDS[0], noise(50_000)),
        (SHARDS[1], noise(60_000)),
    ])
}

/// An empty cache, and options that try once and wait for a moment.
pub(crate) struct Cache {
    dir: TempDir,
    pub(crate) options: Options,
}

impl Cache {
    pub(crate) fn for_hub(hub: &Hub) -> Cache {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path());
        options.endpoint = hub.endpoint();
        options.timeout = Duration::from_secs(2);
        options.backoff = Duration::from_millis(1);
        options.retries = 0;
        Cache { dir, options }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.path().join("models--org--name")
    }

    pub(crate) fn snapshot(&self) -> PathBuf {
        self.model().join("snapshots").join(COMMIT)
    }

    pub(crate) fn blob(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.model().join("blobs").join(blob_name(name, bytes))
    }

    pub(crate) fn partial(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.blob(name, bytes).with_extension("incomplete")
    }

    pub(crate) fn pull(&self) -> Result<PathBuf, Error> {
        self.pull_revision("main")
    }

    pub(crate) fn pull_revision(&self, revision: &str) -> Result<PathBuf, Error> {
        self.pull_with(revision, &mut |_| {})
    }

    pub(crate) fn pull_with(
        &self,
        revision: &str,
        report: &mut dyn FnMut(Event<'_>),
    ) -> Result<PathBuf, Error> {
        let model = ModelRef::new(MODEL, revision).unwrap();
        pull(&model, &self.options, report)
    }

    /// Pulls what must fail with one line that has all of `parts`.
    #[track_caller]
    pub(crate) fn refuses(&self, parts: &[&str]) {
        let error = self.pull().unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in `{error}`");
        }
        assert!(!error.contains("signature"), "{error}");
    }

    /// Asserts that every blob in the cache is what its name says.
    #[track_caller]
    pub(crate) fn is_sound(&self) {
        let Ok(blobs) = fs::read_dir(self.model().join("blobs")) else {
            return;
        };
        for blob in blobs {
            let path = blob.unwrap().path();
            if path.extension().is_some() {
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap();
            let kind = if name.len() == 64 {
                "x.safetensors"
            } else {
                "x"
            };
            assert_eq!(blob_name(kind, &fs::read(&path).unwrap()), name);
        }
    }
}

/// The requests for the bytes of a file.
pub(crate) fn gets<'s>(seen: &'s [Seen], name: &str) -> Vec<&'s Seen> {
    let mut of = Vec::new();
    for request in seen {
        let path = request.path.split('?').next().unwrap();
        // A large file is asked for twice: the hub only says where it is.
        let elsewhere = path.starts_with("/large/") || !name.ends_with(".safetensors");
        if request.method == "GET" && path.ends_with(&format!("/{name}")) && elsewhere {
            of.push(request);
        }
    }
    of
}
