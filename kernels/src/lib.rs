//! The operations of Gamut's forward pass.
//!
//! Every operation is two files side by side. `ops/NAME.rs` has its contract (formula, shapes,
//! source), the public function that checks every dimension and dispatches on the device, the
//! formula in f64 that it is verified against, the implementation for the host, the launch on a
//! GPU, and the cases that tests and benchmarks draw inputs from; `ops/NAME.cu` has its kernels.
//! [`registry`] lists them all; [`verify()`] runs them on a device.
//!
//! Where a contract names no type, elements are those of the device's activations: f32 on the
//! host, bf16 or f32 on a GPU, where [`ops`] says what is f32 all the same. Every operation can fail, beside what its own documentation says,
//! if an argument is on another device or of another type, or a kernel cannot be compiled or
//! launched; that a launched kernel failed shows where its results are copied to the host.
//!
//! | item | what it is |
//! |---|---|
//! | [`Host`] | the CPU: a pool of threads and an instruction set |
//! | [`Cuda`] | a GPU, or the virtual one, with the weights and kernels that are loaded on it |
//! | [`Context`] | a device and its workspace; or a dry run, which finds sizes and counts work |
//! | [`Tensor`], [`View`], [`ViewMut`] | activations, row-major |
//! | [`Weight`], [`Linear`] | weights as they lie in the checkpoint, f32, f16 or bf16 |
//! | [`KvCache`], [`Batch`] | keys and values of the decoder, in pages of [`PAGE`] tokens; the rows of a step |
//! | [`Graph`] | kernels that were recorded once and are launched together |
//!
//! Results do not depend on company: a row of any operation has the same bits alone or among
//! others; on the host on any number of threads and with any instruction set.

mod arena;
mod batch;
mod case;
mod context;
mod counted;
mod cuda;
mod dtype;
mod error;
mod fp8;
mod host;
mod kv_cache;
pub mod ops;
mod philox;
mod reference;
mod sampling;
mod table;
mod tensor;
mod verify;
mod weight;
mod work;

pub use batch::{Batch, Bucket, Sequence};
pub use case::{Case, Trial};
pub use context::{Context, Device, DeviceChoice, Target};
pub use counted::Counted;
pub use cuda::{
    Assembly, Counters, Counting, CoveredLine, Cuda, Define, Driver, Edit, Executed, Footprint,
    Graph, KernelCoverage, Line, Requests, SourceLine, Timer, TraceEvent, TraceKind, Tracing,
    Wavefronts, assemble,
};
pub use dtype::DType;
pub use error::{Error, Result};
pub use fp8::Fp8Blocks;
pub use host::{Host, Isa};
pub use kv_cache::{KvCache, PAGE};
pub use ops::{Op, registry};
pub use sampling::{History, Sampling};
pub use table::{Indices, Table};
pub use tensor::{Tensor, View, ViewMut};
pub use verify::{Finding, output, verify};
pub use weight::{Linear, Weight};
pub use work::Work;
