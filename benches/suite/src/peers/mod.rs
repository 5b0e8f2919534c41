//! The libraries that a user would call otherwise.

pub(crate) mod blas;
pub(crate) mod fft;
pub(crate) mod torch;
