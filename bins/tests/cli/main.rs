//! The `gamut` command as a user meets it: a process, its arguments, its output and its exit code.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

mod bad_audio;
mod bad_models;
mod bad_requests;
mod batch;
mod batch_resumed;
mod bench;
mod bundled;
mod commands;
mod conversation;
mod eval;
mod eval_formats;
mod eval_resumed;
mod families;
mod fp8;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(feature = "pull")]
mod pull;
mod real_sizes;
mod support;
mod virtual_gpu;
