//! The generator behind synthetic weights. It counts: any element can be computed alone, in any
//! language, from the seed, the tensor's name and the element's index.

use crate::layout::{Role, TensorSpec};
use half::bf16;

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elements {
    /// Where splitmix64 starts for this tensor.
    pub state: u64,
    /// The mean.
    pub offset: f32,
    /// The greatest distance from it.
    pub scale: f32,
}

impl Elements {
    pub(crate) fn new(seed: u64, spec: &TensorSpec) -> Elements {
        let (offset, scale) = offset_and_scale(spec);
        Elements {
            state: mix(seed ^ fnv1a(spec.name.as_bytes())),
            offset,
            scale,
        }
    }

    /// The first `count` elements in bf16.
    pub(crate) fn bytes(&self, count: u64) -> Vec<u8> {
        let element = |index| bf16::from_f32(self.get(index)).to_le_bytes();
        (0..count).flat_map(element).collect()
    }

    /// The element at a row-major index.
    pub fn get(&self, index: u64) -> f32 {
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
        Role::Linear | Role::DecoderLinear => (0.0, unit_variance),
        Role::Output => (0.0, 2.0 * unit_variance),
        Role::Embedding => (0.0, 1.0),
        Role::Positions => (0.0, 0.1),
        Role::Bias => (0.0, 0.02),
        Role::NormWeight => (1.0, 0.1),
        Role::NormBias => (0.0, 0.05),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_published_generators() {
        assert_eq!(fnv1a(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xAF63_DC4C_8601_EC8C);
        // The first output of splitmix64 from state 0.
        assert_eq!(mix(GOLDEN), 0xE220_A839_7B1D_CDAF);
    }

    #[test]
    fn equals_an_independent_implementation() {
        // Bits computed in Python from the description in the module's documentation.
        let cases: &[(&str, &[usize], Role, u64, u32)] = &[
            (
                "temporal_expert.conv1.weight",
                &[64, 128, 3],
                Role::Linear,
                0,
                0x3C23_9D8F,
            ),
            (
                "temporal_expert.conv1.weight",
                &[64, 128, 3],
                Role::Linear,
                24575,
                0x3D38_5747,
            ),
            (
                "fusion.gate.weight",
                &[64, 128],
                Role::Linear,
                100,
                0xBD85_4B19,
            ),
            ("fusion.gate.bias", &[64], Role::Bias, 1, 0x3A22_463D),
            (
                "language_model.model.norm.weight",
                &[128],
                Role::NormWeight,
                127,
                0x3F85_07FA,
            ),
            (
                "language_model.model.embed_tokens.weight",
                &[576, 128],
                Role::Embedding,
                5,
                0xBEC1_D268,
            ),
            (
                "language_model.lm_head.weight",
                &[576, 128],
                Role::Output,
                6,
                0x3E67_1D10,
            ),
            (
                "global_expert.embed_positions.weight",
                &[1500, 64],
                Role::Positions,
                95999,
                0xBD3E_B243,
            ),
            (
                "global_expert.layer_norm.bias",
                &[64],
                Role::NormBias,
                2,
                0xBC93_9E2D,
            ),
        ];
        for (name, shape, role, index, bits) in cases {
            let spec = TensorSpec {
                name: (*name).to_owned(),
                shape: shape.to_vec(),
                role: *role,
            };
            assert_eq!(
                Elements::new(7, &spec).get(*index).to_bits(),
                *bits,
                "{name}[{index}]"
            );
        }
    }

    #[test]
    fn linear_layers_have_the_variance_of_their_fan_in() {
        let spec = TensorSpec {
            name: "w".to_owned(),
            shape: vec![64, 256],
            role: Role::Linear,
        };
        let elements = Elements::new(1, &spec);
        let squares: f64 = (0..64 * 256)
            .map(|i| f64::from(elements.get(i)).powi(2))
            .sum();
        let variance = squares / (64.0 * 256.0);
        assert!(
            (variance * 256.0 - 1.0).abs() < 0.05,
            "variance {variance}, expected 1/256"
        );
    }
}
