//! A virtual GPU: a CUDA driver library that runs PTX on the CPU.
//!
//! [`Gpu`] owns the device memory and the worker threads, [`Module`] holds kernels lowered from PTX
//! text, and [`Gpu::launch`] runs one grid to completion. Every access is checked; a broken rule is
//! a [`Fault`] that names the kernel, the line, the block and the thread. It is a tool for tests
//! and for looking at kernels, never a way to serve.
//!
//! [`Options`] choose the order in which blocks and warps run, and whether races, copies that were
//! not waited for and reads of bytes that nobody wrote are looked for, which by default they are. A
//! program of the driver API sets them by `GAMUT_VGPU_OPTIONS`, such as
//! `checks=on schedule=random:7`, or by `gamutVgpuConfigure`.
//!
//! - [`ptx`] reads PTX text into a syntax tree.
//! - `code` lowers a kernel to decoded instructions with allocated registers.
//! - `exec` runs them, a warp at a time.
//! - [`memory`] is the device's memory.
//! - [`count`] counts what a launch did.
//! - `driver` exports the CUDA driver API.

mod code;
pub mod count;
mod driver;
mod exec;
mod fault;
mod gpu;
pub mod memory;
mod module;
mod options;
pub mod ptx;

pub use fault::{Fault, FaultKind, Party};
pub use gpu::{Gpu, Launch, Properties, Report};
pub use module::{Kernel, LoadError, Module, Param};
pub use options::{Options, Schedule, UnknownOption};
