//! The operations of Gamut's forward pass.
//!
//! Every operation is one file in [`ops`]: its contract (formula, shapes, source), the public
//! function that checks every dimension and dispatches on the device, the formula in f64 that it
//! is verified against, the implementation for the host, and the cases that tests and benchmarks
//! draw inputs from. [`registry`] lists them all; [`verify`] runs them on a device.
//!
//! | item | what it is |
//! |---|---|
//! | [`Host`] | the CPU: a pool of threads and an instruction set |
//! | [`Context`] | a device and its workspace; or a dry run, which finds sizes and counts work |
//! | [`Tensor`], [`View`], [`ViewMut`] | activations, f32, row-major |
//! | [`Weight`], [`Linear`] | weights as they lie in the checkpoint, f32, f16 or bf16 |
//! | [`KvCache`] | keys and values of the decoder, in pages of [`PAGE`] tokens |
//!
//! Results do not depend on company: a row of any operation has the same bits alone or among
//! others, on any number of threads, and with any instruction set.

mod arena;
mod case;
mod context;
mod cuda;
mod dtype;
mod error;
mod host;
mod kv_cache;
pub mod ops;
mod philox;
mod reference;
mod sampling;
mod tensor;
mod verify;
mod weight;
mod work;

pub use case::{Case, Trial};
pub use context::{Context, Device, DeviceChoice, Target};
pub use cuda::{Assembly, Cuda, Driver, assemble};
pub use dtype::DType;
pub use error::{Error, Result};
pub use host::{Host, Isa};
pub use kv_cache::{Batch, KvCache, PAGE, Sequence};
pub use ops::{Op, registry};
pub use sampling::{History, Sampling};
pub use tensor::{Tensor, View, ViewMut};
pub use verify::{Finding, verify};
pub use weight::{Linear, Weight};
pub use work::Work;
