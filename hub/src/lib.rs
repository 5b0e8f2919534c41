//! Checkpoints from a Hugging Face hub: the files that Gamut reads, and no others, downloaded into
//! the cache that `huggingface_hub` and transformers use too. What one of them has downloaded, the
//! others find.
//!
//! ```no_run
//! use gamut_hub::{ModelRef, Options, pull};
//!
//! # fn main() -> Result<(), gamut_hub::Error> {
//! let options = Options::from_env(|name| std::env::var_os(name))?;
//! let model = ModelRef::new("org/name", "main")?;
//! let dir = pull(&model, &options, &mut |_| {})?;
//! println!("{}", dir.display());
//! # Ok(())
//! # }
//! ```
//!
//! # The cache
//!
//! | path | holds |
//! |---|---|
//! | `models--ORG--NAME/blobs/CHECKSUM` | a file's bytes, under the sha256 (large files) or the git blob id (small ones) that the hub gives |
//! | `models--ORG--NAME/blobs/CHECKSUM.incomplete` | the beginning of one |
//! | `models--ORG--NAME/snapshots/COMMIT/FILE` | a link to the blob |
//! | `models--ORG--NAME/refs/REVISION` | the commit that a branch or tag was at |
//! | `.locks/models--ORG--NAME/CHECKSUM.lock` | what a process locks while it downloads the blob |
//!
//! # What can be relied on
//!
//! - A blob has its name only once its size and checksum are the hub's. Bytes that do not match are
//!   deleted.
//! - A download that was interrupted in whatever way goes on where it was. One that stalls is tried
//!   again, a few times; then it is an error.
//! - Processes that pull the same model at once wait for each other, file by file.
//! - The hub is not trusted: names are checked before they become paths, answers are read up to a
//!   limit, and the token goes to the hub's own scheme, host and port alone.
//! - Every [`Error`] is one line that says what failed and where.
//!
//! Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`, ...), TLS roots those of Mozilla.

mod cache;
mod checksum;
mod client;
mod download;
mod error;
mod files;
mod model_ref;
mod options;
mod pull;
mod remote;

pub use error::Error;
pub use model_ref::ModelRef;
pub use options::Options;
pub use pull::{Event, pull};
