//! Writing tensors as they are computed, so that no checkpoint is too large.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use super::Fill;
use super::fp8::{self, BLOCK};
use super::random::Elements;
use crate::layout::{Role, TensorSpec};
use crate::weights::DType;

/// Elements computed between two writes.
const CHUNK: u64 = 1 << 14;

/// A tensor of a file: that of a specification, or the scales of one in FP8.
pub(super) struct Entry<'a> {
    pub(super) name: String,
    dtype: DType,
    shape: Vec<usize>,
    spec: &'a TensorSpec,
}

impl Entry<'_> {
    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        elements(&self.shape) * self.dtype.size() as u64
    }
}

/// What a tensor is stored as in a checkpoint of a dtype.
pub(super) fn entries(spec: &TensorSpec, dtype: DType) -> Vec<Entry<'_>> {
    let entry = |name: String, dtype, shape| Entry {
        name,
        dtype,
        shape,
        spec,
    };
    let stored = match (dtype, spec.role) {
        (DType::F8E4M3, role) if role != Role::DecoderLinear => DType::BF16,
        _ => dtype,
    };
    let mut entries = vec![entry(spec.name.clone(), stored, spec.shape.clone())];
    if stored == DType::F8E4M3 {
        let blocks = spec.shape.iter().map(|size| size.div_ceil(BLOCK)).collect();
        let name = format!("{}_scale_inv", spec.name);
        entries.push(entry(name, DType::BF16, blocks));
    }
    entries
}

/// The size of a tensor in bytes, its scales included.
pub(super) fn size(spec: &TensorSpec, dtype: DType) -> u64 {
    entries(spec, dtype).iter().map(Entry::size).sum()
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().map(|dim| *dim as u64).product()
}

/// Writes one safetensors file.
pub(super) fn write_safetensors(
    out: &mut BufWriter<File>,
    specs: &[TensorSpec],
    dtype: DType,
    fill: Fill,
) -> io::Result<()> {
    let entries: Vec<_> = specs.iter().flat_map(|spec| entries(spec, dtype)).collect();
    let mut header = header(&entries).to_string().into_bytes();
    // Spaces after the header align the data to 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    match fill {
        // Bytes that a file grows by read as zeros.
        Fill::Zero => {
            let data: u64 = entries.iter().map(Entry::size).sum();
            out.flush()?;
            out.get_ref().set_len((8 + header.len()) as u64 + data)
        }
        Fill::Random { seed } => {
            let mut left = entries.iter();
            while let Some(entry) = left.next() {
                let random = Elements::new(seed, entry.spec);
                let narrow: fn(f32, &mut Vec<u8>) = match entry.dtype {
                    DType::F32 => |x, bytes| bytes.extend(x.to_le_bytes()),
                    DType::F16 => |x, bytes| bytes.extend(f16::from_f32(x).to_le_bytes()),
                    DType::BF16 => |x, bytes| bytes.extend(bf16::from_f32(x).to_le_bytes()),
                    DType::F8E4M3 => {
                        let scales = write_fp8(out, &entry.shape, random)?;
                        out.write_all(&scales)?;
                        // That was the next entry.
                        left.next();
                        continue;
                    }
                };
                write_tensor(out, elements(&entry.shape), random, narrow)?;
            }
            Ok(())
        }
    }
}

fn header(entries: &[Entry<'_>]) -> Value {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({ "format": "pt" }))]);
    let mut begin = 0;
    for entry in entries {
        let (dtype, end) = (entry.dtype.name(), begin + entry.size());
        header.insert(
            entry.name.clone(),
            json!({ "dtype": dtype, "shape": entry.shape, "data_offsets": [begin, end] }),
        );
        begin = end;
    }
    Value::Object(header)
}

fn write_tensor(
    out: &mut impl Write,
    count: u64,
    random: Elements,
    narrow: fn(f32, &mut Vec<u8>),
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for start in (0..count).step_by(CHUNK as usize) {
        bytes.clear();
        for index in start..count.min(start + CHUNK) {
            narrow(random.get(index), &mut bytes);
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Writes the codes of a matrix `[rows, columns]`, and returns the bytes of its scales.
fn write_fp8(out: &mut impl Write, shape: &[usize], random: Elements) -> io::Result<Vec<u8>> {
    let &[rows, cols] = shape else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut scales = Vec::new();
    let mut codes = Vec::new();
    for first in (0..rows).step_by(BLOCK) {
        let band = first..rows.min(first + BLOCK);
        let elements = (band.start * cols) as u64..(band.end * cols) as u64;
        let values: Vec<f32> = elements.map(|index| random.get(index)).collect();
        let mut factors = vec![0f32; cols.div_ceil(BLOCK)];
        for row in values.chunks_exact(cols) {
            for (factor, part) in factors.iter_mut().zip(row.chunks(BLOCK)) {
                *factor = part.iter().fold(*factor, |most, x| most.max(x.abs()));
            }
        }
        for factor in &mut factors {
            let scale = bf16::from_f32(fp8::scale(*factor));
            scales.extend(scale.to_le_bytes());
            *factor = scale.to_f32();
        }
        codes.clear();
        for row in values.chunks_exact(cols) {
            for (factor, part) in factors.iter().zip(row.chunks(BLOCK)) {
                codes.extend(part.iter().map(|x| fp8::encode(x / factor)));
            }
        }
        out.write_all(&codes)?;
    }
    Ok(scales)
}
