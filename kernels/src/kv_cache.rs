//! Keys and values of the decoder, in pages.
/// x
pub const PAGE: usize = 64;
/// x
pub struct KvCache;
