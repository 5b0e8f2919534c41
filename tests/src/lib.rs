//! What the tests that span crates share: clips, the oracle's golden cases, and CUDA's compiler.

pub mod clip;
pub mod golden;
pub mod nvrtc;
