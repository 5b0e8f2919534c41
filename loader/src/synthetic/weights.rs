//! Writing tensors as they are computed, so that no checkpoint is too large.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use super::Fill;
use super::random::Elements;
use crate::layout::TensorSpec;
use crate::weights::DType;

/// Elements computed between two writes.
const CHUNK: u64 = 1 << 14;

/// The size of a tensor in bytes.
pub(super) fn size(spec: &TensorSpec, dtype: DType) -> u64 {
    elements(spec) * dtype.size() as u64
}

fn elements(spec: &TensorSpec) -> u64 {
    spec.shape.iter().map(|dim| *dim as u64).product()
}

/// Writes one safetensors file.
pub(super) fn write_safetensors(
    out: &mut BufWriter<File>,
    specs: &[TensorSpec],
    dtype: DType,
    fill: Fill,
) -> io::Result<()> {
    let mut header = header(specs, dtype).to_string().into_bytes();
    // Spaces after the header align the data to 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    match fill {
        // Bytes that a file grows by read as zeros.
        Fill::Zero => {
            let data: u64 = specs.iter().map(|spec| size(spec, dtype)).sum();
            out.flush()?;
            out.get_ref().set_len((8 + header.len()) as u64 + data)
        }
        Fill::Random { seed } => specs
            .iter()
            .try_for_each(|spec| write_tensor(out, spec, dtype, seed)),
    }
}

fn header(specs: &[TensorSpec], dtype: DType) -> Value {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({ "format": "pt" }))]);
    let mut begin = 0;
    for spec in specs {
        let end = begin + size(spec, dtype);
        header.insert(
            spec.name.clone(),
            json!({ "dtype": dtype.name(), "shape": spec.shape, "data_offsets": [begin, end] }),
        );
        begin = end;
    }
    Value::Object(header)
}

fn write_tensor(
    out: &mut impl Write,
    spec: &TensorSpec,
    dtype: DType,
    seed: u64,
) -> io::Result<()> {
    let (random, count) = (Elements::new(seed, spec), elements(spec));
    let mut bytes = Vec::new();
    for start in (0..count).step_by(CHUNK as usize) {
        let values = (start..count.min(start + CHUNK)).map(|index| random.get(index));
        bytes.clear();
        match dtype {
            DType::F32 => bytes.extend(values.flat_map(f32::to_le_bytes)),
            DType::F16 => bytes.extend(values.flat_map(|x| f16::from_f32(x).to_le_bytes())),
            DType::BF16 => bytes.extend(values.flat_map(|x| bf16::from_f32(x).to_le_bytes())),
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}
