//! The weights of a checkpoint: every tensor by name, none copied.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};
use serde::Deserialize;

use crate::config::QuantizationConfig;
use crate::error::Error;
use crate::file;
use crate::layout::TensorSpec;
use crate::safetensors::{SafetensorsFile, TensorInfo, TensorMap};
use crate::synthetic::Elements;

/// The weights in one file.
const SINGLE_FILE: &str = "model.safetensors";
/// The table that says which shard holds which tensor.
const INDEX_FILE: &str = "model.safetensors.index.json";
/// The largest index read, in bytes.
const MAX_INDEX: u64 = 100_000_000;

/// The element type of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    BF16,
    /// FP8 of four exponent and three fraction bits without infinities, times a factor for each block
    /// of a matrix.
    F8E4M3,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::F8E4M3 => 1,
        }
    }

    /// The name in a safetensors header.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            DType::F8E4M3 => "F8_E4M3",
        }
    }

    fn from_name(name: &str) -> Option<DType> {
        [DType::F32, DType::F16, DType::BF16, DType::F8E4M3]
            .into_iter()
            .find(|dtype| dtype.name() == name)
    }
}

impl Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One weight: a name, a shape, and bytes that it shares with the file it came from.
#[derive(Clone)]
pub struct Tensor {
    /// The full name in the checkpoint.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The dimensions, slowest first (row-major).
    pub shape: Vec<usize>,
    /// The elements, little-endian, at any alignment. A view into the mapped file: cloning it
    /// copies nothing, and it keeps the file mapped.
    pub data: Bytes,
    /// The file that `data` is mapped from and the offset of its first byte there: reading it copies
    /// faster than touching the pages. None if the file was read into memory.
    pub source: Option<(Arc<File>, u64)>,
    /// Of a matrix in FP8, the factors of its blocks.
    pub scales: Option<BlockScales>,
}

/// What the elements of an FP8 matrix are to be multiplied with.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockScales {
    /// Rows and columns of a block; the last ones may be smaller.
    pub block: [usize; 2],
    /// `[ceil(rows / block rows), ceil(columns / block columns)]`: finite factors, row-major.
    pub values: Vec<f32>,
}

impl fmt::Debug for Tensor {
    /// All but the data, which may be gigabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {:?}", self.name, self.dtype, self.shape)
    }
}

/// What a checkpoint holds under one name, whether or not the engine can compute with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorSummary<'w> {
    /// The full name.
    pub name: &'w str,
    /// The dtype as the file spells it.
    pub dtype: &'w str,
    /// The dimensions, slowest first.
    pub shape: &'w [usize],
    /// The size in bytes.
    pub bytes: usize,
}

/// The tensors of a checkpoint, in one file, in shards, or random and in none.
pub struct Weights {
    /// The file that lists all tensors: the single file or the index.
    path: PathBuf,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Located>,
    /// Of random weights, which no shard holds: what computes each tensor.
    random: BTreeMap<String, Elements>,
    /// Rows and columns of the blocks of FP8 matrices, if the config tells them.
    block: Option<[usize; 2]>,
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

struct Shard {
    path: PathBuf,
    data: Bytes,
    source: Option<(Arc<File>, u64)>,
}

struct Located {
    /// Index into `Weights::shards`.
    shard: usize,
    info: TensorInfo,
}

impl Weights {
    /// Opens the weights of a checkpoint directory: `model.safetensors` if it is there, else the
    /// shards that `model.safetensors.index.json` names. With `mmap` the files are mapped, without
    /// they are read into memory.
    pub fn open(dir: &Path, mmap: bool) -> Result<Weights, Error> {
        let single = dir.join(SINGLE_FILE);
        if exists(&single)? {
            return Weights::open_single(single, mmap);
        }
        let index = dir.join(INDEX_FILE);
        if exists(&index)? {
            return Weights::open_sharded(dir, index, mmap);
        }
        Err(Error::NoWeights {
            path: dir.to_owned(),
        })
    }

    fn open_single(path: PathBuf, mmap: bool) -> Result<Weights, Error> {
        let SafetensorsFile {
            tensors,
            data,
            source,
        } = SafetensorsFile::open(&path, mmap)?;
        let tensors = tensors
            .into_iter()
            .map(|(name, info)| (name, Located { shard: 0, info }))
            .collect();
        Ok(Weights {
            shards: vec![Shard {
                path: path.clone(),
                data,
                source,
            }],
            path,
            tensors,
            random: BTreeMap::new(),
            block: None,
        })
    }

    /// The same weights, whose FP8 matrices are stored as a config says.
    #[must_use]
    pub fn quantized(mut self, config: Option<&QuantizationConfig>) -> Weights {
        self.block = config.map(|config| config.weight_block_size);
        self
    }

    /// Random weights in bf16; `path` is only named in errors.
    pub(crate) fn random(path: &Path, specs: &[TensorSpec], seed: u64) -> Weights {
        let dtype = DType::BF16;
        let located = |spec: &TensorSpec| {
            let bytes = spec.shape.iter().product::<usize>() * dtype.size();
            let info = TensorInfo {
                dtype: dtype.name().to_owned(),
                shape: spec.shape.clone(),
                offsets: (0, bytes),
            };
            (spec.name.clone(), Located { shard: 0, info })
        };
        let elements = |spec: &TensorSpec| (spec.name.clone(), Elements::new(seed, spec));
        Weights {
            path: path.to_owned(),
            shards: Vec::new(),
            tensors: specs.iter().map(located).collect(),
            random: specs.iter().map(elements).collect(),
            block: None,
        }
    }

    fn open_sharded(dir: &Path, path: PathBuf, mmap: bool) -> Result<Weights, Error> {
        let mut shards = Vec::new();
        let mut tensors = BTreeMap::new();
        for (shard_name, names) in read_index(&path)? {
            let shard_path = dir.join(&shard_name);
            let mut shard = SafetensorsFile::open(&shard_path, mmap)?;
            for name in names {
                let Some(info) = shard.tensors.remove(&name) else {
                    let problem = format!("it is not in {shard_name}, where the index says it is");
                    return Err(Error::TensorEntry {
                        path,
                        tensor: name,
                        problem,
                    });
                };
                tensors.insert(
                    name,
                    Located {
                        shard: shards.len(),
                        info,
                    },
                );
            }
            if !shard.tensors.is_empty() {
                let unlisted = shard.tensors.len();
                tracing::debug!(file = %shard_path.display(), unlisted, "tensors not in the index");
            }
            shards.push(Shard {
                path: shard_path,
                data: shard.data,
                source: shard.source,
            });
        }
        Ok(Weights {
            path,
            shards,
            tensors,
            random: BTreeMap::new(),
            block: None,
        })
    }

    /// The tensor `name`, which must have the shape `expected`. A random one is computed; one in FP8
    /// comes with the scales of its blocks.
    ///
    /// Fails if it is missing, has another shape, or is not stored as F32, F16, BF16 or F8_E4M3; or
    /// if it is in FP8 and no matrix, or has no scales for the blocks that the config says.
    pub fn get(&self, name: &str, expected: &[usize]) -> Result<Tensor, Error> {
        let (located, dtype) = self.find(name, expected)?;
        let scales = match dtype {
            DType::F8E4M3 => Some(self.scales(name, located)?),
            _ => None,
        };
        Ok(Tensor {
            scales,
            ..self.stored(name, located, dtype)
        })
    }

    /// The factors of an FP8 matrix, `weight_scale_inv` beside its `weight`: despite the name they
    /// are multiplied with.
    fn scales(&self, name: &str, located: &Located) -> Result<BlockScales, Error> {
        let entry = |path: &Path, tensor: &str, problem| Error::TensorEntry {
            path: path.to_owned(),
            tensor: tensor.to_owned(),
            problem,
        };
        let path = self.file_of(located);
        let (&[rows, cols], Some(block)) = (&located.info.shape[..], self.block) else {
            let problem = match self.block {
                Some(_) => format!(
                    "F8_E4M3 of shape {:?}, expected a matrix",
                    located.info.shape
                ),
                None => "F8_E4M3, but config.json has no quantization_config".to_owned(),
            };
            return Err(entry(path, name, problem));
        };
        let name = format!("{name}_scale_inv");
        let shape = [rows.div_ceil(block[0]), cols.div_ceil(block[1])];
        let (located, dtype) = self.find(&name, &shape)?;
        let data = self.stored(&name, located, dtype).data;
        let values: Vec<f32> = match dtype {
            DType::F32 => words(&data, f32::from_le_bytes),
            DType::F16 => words(&data, |bytes| f16::from_le_bytes(bytes).to_f32()),
            DType::BF16 => words(&data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            DType::F8E4M3 => {
                let problem = "a scale in F8_E4M3, expected F32, F16 or BF16".to_owned();
                return Err(entry(self.file_of(located), &name, problem));
            }
        };
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => {
                let problem = format!("a scale is {value}, expected a finite one");
                Err(entry(self.file_of(located), &name, problem))
            }
            None => Ok(BlockScales { block, values }),
        }
    }

    fn stored(&self, name: &str, located: &Located, dtype: DType) -> Tensor {
        let Located { shard, info } = located;
        let (begin, end) = info.offsets;
        let (data, source) = match self.shards.get(*shard) {
            Some(shard) => {
                let source = shard.source.as_ref();
                let source = source.map(|(file, start)| (file.clone(), start + begin as u64));
                (shard.data.slice(begin..end), source)
            }
            None => {
                let elements = self.random.get(name);
                let bytes = elements.map(|elements| elements.bytes((end / dtype.size()) as u64));
                (bytes.unwrap_or_default().into(), None)
            }
        };
        Tensor {
            name: name.to_owned(),
            dtype,
            shape: info.shape.clone(),
            data,
            source,
            scales: None,
        }
    }

    /// The file that a tensor is in.
    fn file_of(&self, located: &Located) -> &Path {
        self.shards
            .get(located.shard)
            .map_or(&self.path, |shard| &shard.path)
    }

    /// What computes the tensor `name`, which must have the shape `expected`, if it is a random
    /// one: in bf16, for whoever does it better than [`Weights::get`].
    ///
    /// Fails as that does.
    pub fn elements(&self, name: &str, expected: &[usize]) -> Result<Option<Elements>, Error> {
        self.find(name, expected)?;
        Ok(self.random.get(name).copied())
    }

    fn find(&self, name: &str, expected: &[usize]) -> Result<(&Located, DType), Error> {
        let Some(located) = self.tensors.get(name) else {
            return Err(Error::MissingTensor {
                path: self.path.clone(),
                tensor: name.to_owned(),
            });
        };
        let info = &located.info;
        let path = self.file_of(located);
        let dtype = DType::from_name(&info.dtype).ok_or_else(|| Error::UnsupportedDtype {
            path: path.to_owned(),
            tensor: name.to_owned(),
            found: info.dtype.clone(),
        })?;
        if info.shape != expected {
            return Err(Error::Shape {
                path: path.to_owned(),
                tensor: name.to_owned(),
                found: info.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        Ok((located, dtype))
    }

    /// The tensors whose names begin with `prefix` and a dot; of an empty one, all.
    pub fn scope(&self, prefix: impl Display) -> Scope<'_> {
        Scope {
            weights: self,
            prefix: prefix.to_string(),
        }
    }

    /// Every tensor, in the order of the names.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorSummary<'_>> {
        self.tensors
            .iter()
            .map(|(name, Located { info, .. })| TensorSummary {
                name,
                dtype: &info.dtype,
                shape: &info.shape,
                bytes: info.offsets.1 - info.offsets.0,
            })
    }

    /// The size of all tensors together, in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.tensors().map(|tensor| tensor.bytes as u64).sum()
    }

    /// The files that hold the weights.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.shards.iter().map(|shard| shard.path.as_path())
    }
}

/// A place in the tree of tensor names, followed like `cd`:
/// `weights.scope("temporal_expert").scope("layers").scope(3).tensor("fc1.weight", &[ffn, d])`.
#[derive(Clone)]
pub struct Scope<'w> {
    weights: &'w Weights,
    /// Empty at the root.
    prefix: String,
}

impl<'w> Scope<'w> {
    /// One level down; numbers name layers.
    pub fn scope(&self, name: impl Display) -> Scope<'w> {
        Scope {
            weights: self.weights,
            prefix: self.full(name),
        }
    }

    /// The tensor `name` under this scope; errors as [`Weights::get`].
    pub fn tensor(&self, name: &str, expected: &[usize]) -> Result<Tensor, Error> {
        self.weights.get(&self.full(name), expected)
    }

    /// What computes the tensor `name` under this scope; as [`Weights::elements`].
    pub fn elements(&self, name: &str, expected: &[usize]) -> Result<Option<Elements>, Error> {
        self.weights.elements(&self.full(name), expected)
    }

    fn full(&self, name: impl Display) -> String {
        match &*self.prefix {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        }
    }
}

/// Little-endian numbers of `N` bytes each.
fn words<const N: usize>(data: &[u8], from: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks()
        .0
        .iter()
        .map(|bytes| from(*bytes))
        .collect()
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(Error::io(path, "open"))
}

/// The tensors that each shard should hold, by the shard's file name.
fn read_index(path: &Path) -> Result<BTreeMap<String, Vec<String>>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: TensorMap<String>,
    }

    let bytes = file::read_small(path, MAX_INDEX)?;
    let Index {
        weight_map: TensorMap(weight_map),
    } = serde_json::from_slice(&bytes).map_err(|cause| Error::Json {
        path: path.to_owned(),
        cause,
    })?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in weight_map {
        // Shards lie beside the index: a name that leads elsewhere is not followed.
        if shard.contains(['/', '\\']) || shard == ".." || shard == "." || shard.is_empty() {
            let problem = format!("the index maps it to {shard:?}, expected a plain file name");
            return Err(Error::TensorEntry {
                path: path.to_owned(),
                tensor,
                problem,
            });
        }
        shards.entry(shard).or_default().push(tensor);
    }
    Ok(shards)
}
