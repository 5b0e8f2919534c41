//! FP8 of the kind E4M3 with a scale for each block of a matrix.

use crate::error::{Error, Result};
use bytes::Bytes;
use half::bf16;

/// The codes of a matrix in FP8 and the scales of its blocks.
#[derive(Clone, Debug)]
pub struct Fp8Blocks {
    /// `[rows, cols]` codes of the kind E4M3: a sign, four exponent bits of bias 7, three fraction
    /// bits; no infinities, NaN where all others are set.
    pub codes: Bytes,
    /// `[ceil(rows / block[0]), ceil(cols / block[1])]`: what the codes' values are multiplied with.
    pub scales: Vec<f32>,
    /// Rows and columns of a block; the last ones may be smaller.
    pub block: [usize; 2],
}

impl Fp8Blocks {
    /// Whether there are as many codes and scales as a matrix needs.
    pub(crate) fn check(&self, rows: usize, cols: usize) -> Result<()> {
        let argument = |what: &str, expected: usize, found: usize| Error::Argument {
            op: "linear",
            what: what.to_owned(),
            expected: expected.to_string(),
            found: found.to_string(),
        };
        let codes = rows.saturating_mul(cols);
        if self.codes.len() != codes {
            return Err(argument("codes in FP8", codes, self.codes.len()));
        }
        let [height, width] = self.block;
        if height == 0 || width == 0 {
            return Err(argument("least size of a block in FP8", 1, 0));
        }
        let scales = rows.div_ceil(height).saturating_mul(cols.div_ceil(width));
        if self.scales.len() != scales {
            return Err(argument("scales in FP8", scales, self.scales.len()));
        }
        Ok(())
    }

    /// The bf16 of a row of `cols` elements, little-endian: each code's value times its block's
    /// scale in f32, rounded to the nearest, ties to even.
    pub(crate) fn widen_row(&self, row: usize, cols: usize, to: &mut [u8]) {
        let [height, width] = self.block;
        let codes = self.codes[row * cols..][..cols].chunks(width);
        let scales = &self.scales[row / height * cols.div_ceil(width)..];
        let parts = to.chunks_mut(width.saturating_mul(size_of::<bf16>()));
        for ((codes, scale), part) in codes.zip(scales).zip(parts) {
            let (to, _) = part.as_chunks_mut();
            for (code, to) in codes.iter().zip(to) {
                *to = bf16::from_f32(VALUES[usize::from(*code)] * scale).to_le_bytes();
            }
        }
    }
}

/// The value of every code.
static VALUES: [f32; 256] = values();

const fn values() -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = value(code as u8);
        code += 1;
    }
    values
}

const fn value(code: u8) -> f32 {
    let sign = (code as u32 >> 7) << 31;
    let (exponent, fraction) = (code as u32 >> 3 & 15, code as u32 & 7);
    match (exponent, fraction) {
        (15, 7) => f32::NAN,
        // The fraction is in units of 2^-9.
        (0, fraction) => {
            let magnitude = fraction as f32 / 512.0;
            f32::from_bits(magnitude.to_bits() | sign)
        }
        // f32 has the bias 127 and twenty more fraction bits.
        _ => f32::from_bits(sign | (exponent + 120) << 23 | fraction << 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weight;

    /// The definition, in the words of the format's paper (arXiv 2209.05433, table 1).
    #[test]
    fn codes_have_their_values() {
        for code in 0..=255u8 {
            let (exponent, fraction) = (i32::from(code >> 3 & 15), f64::from(code & 7) / 8.0);
            let magnitude = match exponent {
                0 => fraction * 2f64.powi(-6),
                _ => (1.0 + fraction) * 2f64.powi(exponent - 7),
            };
            let found = VALUES[usize::from(code)];
            if code & 0x7F == 0x7F {
                assert!(found.is_nan(), "{code:#x}");
                continue;
            }
            assert_eq!(f64::from(found.abs()), magnitude, "{code:#x}");
            assert_eq!(found.is_sign_negative(), code >= 0x80, "{code:#x}");
        }
        assert_eq!(VALUES[0x7E], 448.0);
        assert_eq!(VALUES[1], 1.0 / 512.0);
    }

    /// 5 x 7 in blocks of 2 x 3, of which the last ones are smaller.
    #[test]
    fn each_block_has_its_scale() {
        let (rows, cols) = (5, 7);
        let codes: Vec<u8> = (0..35).map(|i| 0x20 + i).collect();
        let scales: Vec<f32> = (0..9).map(|i| 1.0 + i as f32 / 64.0).collect();
        let blocks = Fp8Blocks {
            codes: codes.clone().into(),
            scales: scales.clone(),
            block: [2, 3],
        };
        let weight = Weight::fp8(rows, cols, blocks).unwrap();
        for row in 0..rows {
            let mut read = vec![0; cols * 2];
            weight.read_row(row, &mut read).unwrap();
            for col in 0..cols {
                let scale = scales[row / 2 * 3 + col / 3];
                let exact = VALUES[usize::from(codes[row * cols + col])] * scale;
                let expected = bf16::from_f32(exact);
                assert_eq!(weight.get(row, col), expected.to_f32(), "{row}, {col}");
                assert_eq!(read[2 * col..][..2], expected.to_le_bytes());
            }
        }
    }

    #[test]
    fn too_few_or_many_are_refused() {
        let refused = |codes: usize, scales: usize, block| {
            let blocks = Fp8Blocks {
                codes: vec![0; codes].into(),
                scales: vec![1.0; scales],
                block,
            };
            Weight::fp8(4, 6, blocks).unwrap_err().to_string()
        };
        for (message, parts) in [
            (refused(23, 6, [2, 2]), ["24", "23"]),
            (refused(24, 5, [2, 2]), ["6", "5"]),
            (refused(24, 6, [0, 2]), ["1", "0"]),
        ] {
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
