//! The operations, one file each, and their registry.
//!
//! A GPU in bf16 rounds what tensor cores take: matrices of weights, their inputs, queries, keys and
//! values. Residual streams are f32 on every device, and so is all that is not such an input:
//! products before a further step, vectors of weights, logits. On the host, and on a GPU in f32, all
//! is f32.

use crate::case::Case;
use crate::cuda::{CudaSource, whole_text};

mod attention;
mod attention_paged;
mod avg_pool;
mod conv_stem;
mod copy_pages;
mod embed;
mod gather;
mod gemm;
mod layer_norm;
mod log_mel;
pub(crate) mod random;
mod rms_norm;
mod rope_kv;
mod rotate_time;
mod sample;

pub use attention::{Qkv, attention};
pub use attention_paged::attention_paged;
pub use avg_pool::avg_pool;
pub use conv_stem::{ConvStem, TAPS, conv_stem};
pub use copy_pages::copy_pages;
pub use embed::{Source, embed};
pub use gather::gather;
pub use gemm::{gemm, gemm_add, gemm_f32, gemm_gate, gemm_gelu, gemm_swiglu};
pub use layer_norm::{LayerNorm, layer_norm, layer_norm_f32, layer_norm_into};
pub use log_mel::{MelBank, log_mel};
pub use random::{Distribution, Random, random, random_f32};
pub use rms_norm::{RmsNorm, rms_norm};
pub use rope_kv::{QkNorm, Rope, rope_kv};
pub use rotate_time::{TimeRotation, rotate_time};
pub use sample::{Draw, MOST_ALTERNATIVES, PendingTokens, Sampled, sample, start_sampling};

/// An operation, as the registry lists it.
pub struct Op {
    /// Its name, that of its public function.
    pub name: &'static str,
    pub(crate) cuda: &'static CudaSource,
    /// The inputs on which it is verified.
    pub cases: fn() -> Vec<Case>,
}

impl Op {
    /// The file of its kernels, which other operations may share.
    pub fn cuda_file(&self) -> &'static str {
        self.cuda.file
    }

    /// All that its kernels are compiled from: their file, and the headers that it includes.
    pub fn cuda_text(&self) -> String {
        whole_text(self.cuda)
    }
}

/// Every operation, in the order of the forward pass; what makes up inputs last.
pub fn registry() -> Vec<Op> {
    vec![
        log_mel::LOG_MEL,
        conv_stem::CONV_STEM,
        layer_norm::LAYER_NORM,
        gemm::GEMM,
        gemm::GEMM_GELU,
        gemm::GEMM_ADD,
        attention::ATTENTION,
        avg_pool::AVG_POOL,
        rotate_time::ROTATE_TIME,
        gemm::GEMM_GATE,
        embed::EMBED,
        rms_norm::RMS_NORM,
        rope_kv::ROPE_KV,
        attention_paged::ATTENTION_PAGED,
        gemm::GEMM_SWIGLU,
        gather::GATHER,
        gemm::GEMM_F32,
        sample::SAMPLE,
        copy_pages::COPY_PAGES,
        random::RANDOM,
    ]
}

#[cfg(test)]
mod tests {
    use super::registry;

    /// Every file of this folder is an operation in the registry, or defines one that is.
    #[test]
    fn no_operation_is_left_out() {
        let names: Vec<&str> = registry().iter().map(|op| op.name).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops");
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let stem = file.trim_end_matches(".rs").trim_end_matches(".cu");
            assert!(
                stem == "mod" || names.contains(&stem),
                "{file} is not in the registry"
            );
            let paired = |extension| {
                std::path::Path::new(folder)
                    .join(format!("{stem}.{extension}"))
                    .exists()
            };
            assert!(
                stem == "mod" || (paired("rs") && paired("cu")),
                "{stem} has no twin"
            );
        }
        for op in registry() {
            assert!(!(op.cases)().is_empty(), "{} has no cases", op.name);
        }
    }
}
