//! `quantization_config`: how matrices are stored in FP8, as Qwen3's FP8 checkpoints are.

use serde_json::Value;

use super::MAX_WIDTH;
use crate::error::Error;
use crate::json::Section;

/// Matrices in FP8 (E4M3), each block of which has a factor of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantizationConfig {
    /// Rows and columns of a block; the last ones may be smaller.
    pub weight_block_size: [usize; 2],
}

impl QuantizationConfig {
    /// Reads the key of a model or of its decoder. Which tensors are in FP8 is said by their files.
    ///
    /// # Errors
    /// If it is another method or another kind of this one.
    pub(super) fn read(section: &Section<'_>) -> Result<Option<QuantizationConfig>, Error> {
        let key = "quantization_config";
        let Some(value) = section.optional(key) else {
            return Ok(None);
        };
        let wrong = |name: &str, found: &Value, expected: &str| {
            Err(section.invalid(&format!("{key}.{name}"), found, expected))
        };
        let found = |name: &str| value.get(name).unwrap_or(&Value::Null);
        if found("quant_method") != "fp8" {
            let method = found("quant_method");
            return wrong("quant_method", method, "\"fp8\", the only method supported");
        }
        for (name, only) in [("fmt", "e4m3"), ("activation_scheme", "dynamic")] {
            if !found(name).is_null() && found(name) != only {
                let expected = format!("\"{only}\", the only kind supported");
                return wrong(name, found(name), &expected);
            }
        }
        let blocks = found("weight_block_size");
        let size = |size: &Value| usize::try_from(size.as_u64()?).ok();
        let sizes: Option<Vec<usize>> = blocks
            .as_array()
            .and_then(|blocks| blocks.iter().map(size).collect());
        match sizes.as_deref() {
            Some(&[rows, cols]) if [rows, cols].iter().all(|n| (1..=MAX_WIDTH).contains(n)) => {
                let weight_block_size = [rows, cols];
                Ok(Some(QuantizationConfig { weight_block_size }))
            }
            _ => {
                let expected = format!("two integers from 1 to {MAX_WIDTH}, such as [128, 128]");
                wrong("weight_block_size", blocks, &expected)
            }
        }
    }
}
