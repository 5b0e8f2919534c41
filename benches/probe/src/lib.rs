//! Measures a GPU: what its instructions return, its bandwidth, overheads and library ceilings.
//!
//! [`instructions`] is also the virtual GPU's reference: it says which kernels were run on
//! hardware, and on which inputs.

mod bandwidth;
mod chains;
mod compile;
mod cublaslt;
mod device;
mod driver;
mod error;
mod faults;
mod golden;
pub mod instructions;
mod loading;
mod overheads;
mod peers;
mod report;
mod run;
mod sources;
mod summary;
mod tensors;

pub use compile::{compile, ptx};
pub use error::Error;
pub use faults::fault;
pub use run::{run, section};
