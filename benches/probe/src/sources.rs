//! All modules that the probe loads.

use crate::{chains, instructions};

/// Where everything but the loading tests runs.
pub(crate) const TARGET: &str = "sm_90a";

/// A module's name and CUDA text.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The module of a group of instructions.
pub(crate) fn instructions(group: &str) -> String {
    format!("instructions_{group}")
}

/// Every module but the trivial ones.
pub(crate) fn all() -> Vec<Source> {
    let named = |name: &str, text: &str| Source {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let mut sources: Vec<Source> = instructions::groups()
        .iter()
        .map(|group| Source {
            name: instructions(group.name),
            text: group.source(),
        })
        .collect();
    sources.push(named("chains", &chains::source::source()));
    sources.push(named("measure", include_str!("kernels/measure.cu")));
    sources.push(named("faults", include_str!("kernels/faults.cu")));
    sources
}

/// One kernel for several targets, to see which of them a driver takes.
pub(crate) mod trivial {
    /// `store_index` writes each thread's index.
    pub(crate) const SOURCE: &str = "extern \"C\" __global__ void store_index(unsigned* out) \
        { out[threadIdx.x] = threadIdx.x * 3 + 1; }";

    /// Targets, and whether the module is a cubin or PTX.
    pub(crate) const TARGETS: [(&str, &str); 6] = [
        ("sm_80", "cubin"),
        ("sm_90", "cubin"),
        ("sm_90a", "cubin"),
        ("compute_80", "ptx"),
        ("compute_90", "ptx"),
        ("compute_90a", "ptx"),
    ];
}
