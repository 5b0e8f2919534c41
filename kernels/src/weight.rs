//! Weights as they lie in a checkpoint: never copied, never widened as a whole, FP8 on the host
//! excepted. Or random ones.

use crate::error::{Error, Result};
use crate::fp8::Fp8Blocks;
use crate::host::simd::{LANES, Simd};
use crate::ops::Random;
use crate::{DType, Target};
use bytes::Bytes;
use half::{bf16, f16};
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A row-major matrix `[rows, cols]` in its stored type. Cloning shares the bytes, which may be a
/// mapped file at any alignment. A vector is a matrix of one row.
#[derive(Clone, Debug)]
pub struct Weight {
    dtype: DType,
    rows: usize,
    cols: usize,
    data: Data,
    /// Where the bytes are mapped from.
    file: Option<(Arc<File>, u64)>,
}

/// Where the elements come from.
#[derive(Clone, Debug)]
enum Data {
    Stored(Bytes),
    Random(Arc<Generated>),
    Blocks(Arc<Widened>),
}

/// Which elements a weight has: those at an address, or those of a random sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    Address(usize),
    Random([u64; 4]),
}

/// Random elements, computed on the host only if it asks for them.
#[derive(Debug)]
struct Generated {
    random: Random,
    bytes: OnceLock<Vec<u8>>,
}

/// A matrix in FP8, widened as a whole only on the host, and there only once.
#[derive(Debug)]
struct Widened {
    blocks: Fp8Blocks,
    bytes: OnceLock<Vec<u8>>,
}

impl Weight {
    /// # Errors
    /// [`Error::WeightBytes`] if `data` does not hold exactly `rows * cols` elements.
    pub fn new(dtype: DType, rows: usize, cols: usize, data: Bytes) -> Result<Weight> {
        let expected = rows.saturating_mul(cols).saturating_mul(dtype.size());
        if data.len() != expected {
            return Err(Error::WeightBytes {
                rows,
                cols,
                dtype,
                expected,
                found: data.len(),
            });
        }
        Ok(Weight {
            dtype,
            rows,
            cols,
            data: Data::Stored(data),
            file: None,
        })
    }

    /// A matrix in bf16 that needs no file: a GPU computes it where it is loaded.
    pub fn random(rows: usize, cols: usize, random: Random) -> Weight {
        let bytes = OnceLock::new();
        Weight {
            dtype: DType::BF16,
            rows,
            cols,
            data: Data::Random(Arc::new(Generated { random, bytes })),
            file: None,
        }
    }

    /// A matrix in FP8, which is computed with as if it were stored in bf16: each code times its
    /// block's scale, rounded. A GPU gets it widened row by row; the host widens it as a whole when
    /// it is first read, or before by [`Host::widen`](crate::Host::widen).
    ///
    /// # Errors
    /// If there are not exactly `rows * cols` codes and as many scales as blocks.
    pub fn fp8(rows: usize, cols: usize, blocks: Fp8Blocks) -> Result<Weight> {
        blocks.check(rows, cols)?;
        let bytes = OnceLock::new();
        Ok(Weight {
            dtype: DType::BF16,
            rows,
            cols,
            data: Data::Blocks(Arc::new(Widened { blocks, bytes })),
            file: None,
        })
    }

    /// The same, whose bytes are mapped from `offset` of `file`. A GPU gets them by reading it.
    pub fn in_file(mut self, file: Arc<File>, offset: u64) -> Weight {
        self.file = Some((file, offset));
        self
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of the matrix.
    pub fn bytes(&self) -> usize {
        self.rows * self.row_bytes()
    }

    /// Bytes of the matrix as a device holds it: a GPU in the type of its activations.
    pub(crate) fn bytes_on(&self, target: Target) -> usize {
        match target {
            Target::Host { .. } => self.bytes(),
            Target::Cuda { dtype } => self.rows * self.cols * dtype.size(),
        }
    }

    /// As [`Weight::bytes_on`], of a vector, which a GPU holds in f32.
    pub(crate) fn vector_bytes_on(&self, target: Target) -> usize {
        match target {
            Target::Host { .. } => self.bytes(),
            Target::Cuda { .. } => self.rows * self.cols * size_of::<f32>(),
        }
    }

    /// What tells this weight's elements from all others' as long as it lives.
    pub(crate) fn identity(&self) -> Identity {
        match &self.data {
            Data::Stored(bytes) => Identity::Address(bytes.as_ptr() as usize),
            Data::Random(generated) => Identity::Random(generated.random.bits()),
            Data::Blocks(widened) => Identity::Address(widened.blocks.codes.as_ptr() as usize),
        }
    }

    /// The numbers that it is made of, if no file holds them.
    pub(crate) fn generator(&self) -> Option<Random> {
        match &self.data {
            Data::Stored(_) | Data::Blocks(_) => None,
            Data::Random(generated) => Some(generated.random),
        }
    }

    fn data(&self) -> &[u8] {
        match &self.data {
            Data::Stored(bytes) => bytes,
            Data::Random(generated) => generated.bytes.get_or_init(|| {
                let elements = (self.rows * self.cols) as u64;
                let values: Vec<f32> = (0..elements).map(|i| generated.random.get(i)).collect();
                let mut bytes = Vec::new();
                self.dtype.narrow(&values, &mut bytes);
                bytes
            }),
            Data::Blocks(widened) => widened.bytes.get_or_init(|| {
                let mut bytes = vec![0; self.bytes()];
                for (row, bytes) in bytes.chunks_exact_mut(self.row_bytes().max(1)).enumerate() {
                    widened.blocks.widen_row(row, self.cols, bytes);
                }
                bytes
            }),
        }
    }

    /// Does now what the host would do when it first reads a matrix in FP8.
    pub(crate) fn widen(&self) {
        if let Data::Blocks(_) = self.data {
            self.data();
        }
    }

    /// Copies the bytes of a row, out of the file if there is one.
    pub(crate) fn read_row(&self, row: usize, to: &mut [u8]) -> std::io::Result<()> {
        if let Data::Blocks(widened) = &self.data {
            widened.blocks.widen_row(row, self.cols, to);
            return Ok(());
        }
        #[cfg(unix)]
        if let Some((file, start)) = &self.file {
            use std::os::unix::fs::FileExt;
            return file.read_exact_at(to, start + (row * self.row_bytes()) as u64);
        }
        to.copy_from_slice(self.row(row));
        Ok(())
    }

    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.cols * self.dtype.size()
    }

    /// The bytes of one row.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let bytes = self.row_bytes();
        &self.data()[row * bytes..(row + 1) * bytes]
    }

    /// One element, widened.
    pub(crate) fn get(&self, row: usize, col: usize) -> f32 {
        let at = (row * self.cols + col) * self.dtype.size();
        let b = &self.data()[at..at + self.dtype.size()];
        match self.dtype {
            DType::F32 => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            DType::F16 => f16::from_le_bytes([b[0], b[1]]).to_f32(),
            DType::BF16 => bf16::from_le_bytes([b[0], b[1]]).to_f32(),
        }
    }

    /// Widens one row into `out`, which is as long.
    pub(crate) fn widen_row(&self, row: usize, out: &mut [f32]) {
        for (col, out) in out.iter_mut().enumerate() {
            *out = self.get(row, col);
        }
    }

    /// Up to sixteen elements of a row from `col` on, widened; zero past the row's end.
    #[inline(always)]
    pub(crate) fn lanes<S: Simd>(&self, s: S, row: usize, col: usize) -> S::V {
        let row = self.row(row);
        match self.dtype {
            DType::F32 => F32::widen_from(s, row, col),
            DType::F16 => F16::widen_from(s, row, col),
            DType::BF16 => Bf16::widen_from(s, row, col),
        }
    }
}

/// A stored type, for kernels that are compiled once for each.
pub(crate) trait Element {
    /// Sixteen elements.
    type Block;

    /// The whole blocks of a row.
    fn blocks(row: &[u8]) -> &[Self::Block];

    /// Sixteen elements, widened.
    fn widen<S: Simd>(s: S, block: &Self::Block) -> S::V;

    /// Up to sixteen elements of a row from `col` on, widened; zero past its end.
    fn widen_from<S: Simd>(s: S, row: &[u8], col: usize) -> S::V;
}

pub(crate) struct F32;
pub(crate) struct F16;
pub(crate) struct Bf16;

macro_rules! element {
    ($name:ident, $size:literal, $load:ident) => {
        impl Element for $name {
            type Block = [u8; $size * LANES];

            #[inline(always)]
            fn blocks(row: &[u8]) -> &[Self::Block] {
                row.as_chunks().0
            }

            #[inline(always)]
            fn widen<S: Simd>(s: S, block: &Self::Block) -> S::V {
                s.$load(block)
            }

            #[inline(always)]
            fn widen_from<S: Simd>(s: S, row: &[u8], col: usize) -> S::V {
                let bytes = &row[col * $size..];
                if let Some(block) = bytes.first_chunk() {
                    return s.$load(block);
                }
                let mut block = [0; $size * LANES];
                block[..bytes.len()].copy_from_slice(bytes);
                s.$load(&block)
            }
        }
    };
}
element!(F32, 4, load_f32);
element!(F16, 2, load_f16);
element!(Bf16, 2, load_bf16);

/// Weights of a linear layer: matrices stacked along their rows, each with or without a bias, such
/// as q, k and v. `y = x W^T + b` has a column for every row of the stack.
#[derive(Clone, Debug)]
pub struct Linear {
    parts: Vec<(Weight, Option<Weight>)>,
}

impl Linear {
    /// One matrix `[out, in]` with an optional bias `[out]`.
    ///
    /// # Errors
    /// If the bias is not one row of `out` elements.
    pub fn new(weight: Weight, bias: Option<Weight>) -> Result<Linear> {
        Linear::stack(vec![(weight, bias)])
    }

    /// Several matrices `[out_i, in]` that read the same input.
    ///
    /// # Errors
    /// If there is none, if their widths differ, or if a bias does not fit its matrix.
    pub fn stack(parts: Vec<(Weight, Option<Weight>)>) -> Result<Linear> {
        let width = parts.first().map_or(0, |(w, _)| w.cols);
        let bad = |what: &str, found, expected: usize| Error::Argument {
            op: "linear",
            what: what.to_owned(),
            expected: expected.to_string(),
            found: format!("{found:?}"),
        };
        if width == 0 {
            return Err(bad("width of the weight", width, 1));
        }
        for (weight, bias) in &parts {
            if weight.cols != width {
                return Err(bad("width of a stacked weight", weight.cols, width));
            }
            if let Some(bias) = bias
                && (bias.rows != 1 || bias.cols != weight.rows)
            {
                return Err(bad("bias", bias.cols, weight.rows));
            }
        }
        Ok(Linear { parts })
    }

    /// Columns of the input.
    pub fn inputs(&self) -> usize {
        self.parts[0].0.cols
    }

    /// Columns of the output: rows of all parts.
    pub fn outputs(&self) -> usize {
        self.parts.iter().map(|(w, _)| w.rows).sum()
    }

    /// Bytes of weights and biases as a device holds them.
    pub(crate) fn bytes_on(&self, target: Target) -> usize {
        let part = |(weight, bias): &(Weight, Option<Weight>)| {
            let bias = bias.as_ref().map_or(0, |bias| bias.vector_bytes_on(target));
            weight.bytes_on(target) + bias
        };
        self.parts.iter().map(part).sum()
    }

    /// The biases of some columns of the output, zero where there is none, into the head of `out`.
    pub(crate) fn bias(&self, cols: Range<usize>, out: &mut [f32]) {
        let mut first = 0;
        for (weight, bias) in &self.parts {
            let part = first..first + weight.rows;
            for col in cols.start.max(part.start)..cols.end.min(part.end) {
                out[col - cols.start] = bias.as_ref().map_or(0.0, |b| b.get(0, col - first));
            }
            first = part.end;
        }
    }

    /// The part that a row of the stack is in, and which row of it.
    pub(crate) fn part(&self, mut row: usize) -> Option<(&Weight, usize)> {
        for (weight, _) in &self.parts {
            if row < weight.rows {
                return Some((weight, row));
            }
            row -= weight.rows;
        }
        None
    }

    pub(crate) fn parts(&self) -> &[(Weight, Option<Weight>)] {
        &self.parts
    }
}
