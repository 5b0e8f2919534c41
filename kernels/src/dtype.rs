//! Types of weights and activations.

use half::{bf16, f16};
use std::fmt;

/// The type of a weight's or an activation's elements, little endian in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    BF16,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
        }
    }

    /// Appends `values`, rounded to this type, to `bytes`.
    pub(crate) fn narrow(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            DType::F32 => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            DType::F16 => bytes.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes())),
            DType::BF16 => {
                bytes.extend(values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()));
            }
        }
    }

    /// The values that `bytes` hold in this type.
    pub(crate) fn widen(self, bytes: &[u8]) -> Vec<f32> {
        let halves = || bytes.as_chunks().0.iter().copied();
        match self {
            DType::F32 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            DType::F16 => halves().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            DType::BF16 => halves().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        }
    }

    /// `value`, rounded to this type.
    pub(crate) fn round(self, value: f32) -> f32 {
        match self {
            DType::F32 => value,
            DType::F16 => f16::from_f32(value).to_f32(),
            DType::BF16 => bf16::from_f32(value).to_f32(),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
        })
    }
}
