//! Pulling from a hub on this machine, which notes what it is asked and fails on request.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

mod errors;
mod offline;
mod plain;
mod resumed;
mod support;
mod together;
