//! Kernels without one of their barriers, waits, fences or guards, and the cases that notice.
//!
//! A mutant is a kernel's PTX with every copy of one [`Site`] removed: no recompiling, so nothing
//! else differs. The virtual GPU runs it on the operations' own cases; it is noticed where a check
//! reports a fault or the output has other bits. A process runs one mutant at a time: all of them
//! share the virtual GPU.

mod record;
mod site;
mod survey;
mod trial;

pub use record::{Record, digest};
pub use site::{Kind, Site};
pub use survey::Survey;
pub use trial::Verdict;

use gamut_kernels::{DType, registry};

/// The types that kernels are compiled for.
pub const DTYPES: [DType; 2] = [DType::BF16, DType::F32];

/// The files of kernels, in the order of the registry.
pub fn files() -> Vec<&'static str> {
    let mut files = Vec::new();
    for op in registry() {
        if !files.contains(&op.cuda_file()) {
            files.push(op.cuda_file());
        }
    }
    files
}

/// `count` of `items`, as the seed draws them; all if there are no more.
pub fn draw<T>(mut items: Vec<T>, seed: u64, count: usize) -> Vec<T> {
    let mut state = seed;
    let mut drawn = Vec::new();
    while drawn.len() < count && !items.is_empty() {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let at = (z ^ (z >> 31)) % items.len() as u64;
        drawn.push(items.swap_remove(at as usize));
    }
    drawn
}
