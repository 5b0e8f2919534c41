//! The generator behind synthetic weights. It counts: any element can be computed alone, in any
//! language, from the seed, the tensor's name and the element's index.

use crate::layout::{Role, TensorSpec};

/// The increment of splitmix64: 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// splitmix64's output function.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// FNV-1a, 64 bit.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// One tensor's random elements.
pub(super) struct Elements {
    /// Where splitmix64 starts for this tensor.
    state: u64,
    offset: f32,
    scale: f32,
}

impl Elements {
    pub(super) fn new(seed: u64, spec: &TensorSpec) -> Elements {
        let (offset, scale) = offset_and_scale(spec);
        Elements {
            state: mix(seed ^ fnv1a(spec.name.as_bytes())),
            offset,
            scale,
        }
    }

    /// The element at a row-major index.
    pub(super) fn get(&self, index: u64) -> f32 {
        self.offset + self.scale * self.uniform(index)
    }

    /// Uniform in [-1, 1), a multiple of 2^-23.
    fn uniform(&self, index: u64) -> f32 {
        let step = index.wrapping_add(1).wrapping_mul(GOLDEN);
        let bits = mix(self.state.wrapping_add(step)) >> 40;
        // 24 bits fit an f32 exactly, and so does their difference from the middle.
        (bits as f32 - 8_388_608.0) / 8_388_608.0
    }
}

/// Linear layers keep the variance of their input; norms and biases stay near what training starts
/// from; the output layer is wide, so that the likeliest token stands out.
fn offset_and_scale(spec: &TensorSpec) -> (f32, f32) {
    let fan_in: usize = spec.shape.iter().skip(1).product();
    // Division, square root and rounding are exact operations of IEEE 754, the same everywhere.
    let unit_variance = (3.0 / fan_in as f64).sqrt() as f32;
    match spec.role {
        Role::Linear => (0.0, unit_variance),
        Role::Output => (0.0, 2.0 * unit_variance),
        Role::Embedding => (0.0, 1.0),
        Role::Positions => (0.0, 0.1),
        Role::Bias => (0.0, 0.02),
        Role::NormWeight => (1.0, 0.1),
        Role::NormBias => (0.0, 0.05),
    }
}
