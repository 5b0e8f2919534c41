//! The operations, one file each, and their registry.

use crate::case::Case;

mod gemm;

pub use gemm::{gemm, gemm_add, gemm_gate, gemm_gelu, gemm_swiglu};

/// An operation, as the registry lists it.
pub struct Op {
    /// Its name, that of its public function.
    pub name: &'static str,
    /// The inputs on which it is verified.
    pub cases: fn() -> Vec<Case>,
}

/// Every operation.
pub fn registry() -> Vec<Op> {
    vec![
        gemm::GEMM,
        gemm::GEMM_GELU,
        gemm::GEMM_ADD,
        gemm::GEMM_SWIGLU,
        gemm::GEMM_GATE,
    ]
}
