//! What the tests that span crates share: clips, and the oracle's golden cases.

pub mod clip;
pub mod golden;
