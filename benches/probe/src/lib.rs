//! Measures a GPU: what its instructions return, its bandwidth, overheads and library ceilings.
//!
//! [`instructions`] is also the virtual GPU's reference: it says which kernels were run on
//! hardware, and on which inputs. [`blas`], [`libraries`], [`process`] and
//! [`report`] serve the suite of the engine's own measurements too.

mod bandwidth;
pub mod blas;
mod chains;
mod compile;
mod cublaslt;
mod device;
mod driver;
mod error;
mod faults;
mod golden;
pub mod instructions;
pub mod libraries;
mod loading;
mod overheads;
mod peers;
pub mod process;
pub mod report;
mod run;
mod sources;
mod summary;
mod tensors;

pub use bandwidth::pinned_upload;
pub use compile::{compile, ptx};
pub use error::{Error, Result};
pub use faults::fault;
pub use run::{run, section};
