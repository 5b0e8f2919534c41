//! Weights on the GPU, each once, in the layout that kernels read.
//!
//! A dry run of the work ([`Context::plan`](crate::Context::plan)) notes what it needs, and
//! [`Device::load`](crate::Device::load) puts it there. Matrices have rows of a multiple of 16
//! elements, filled up with zeros; the parts of a stack lie one below the other. Vectors and biases
//! are in f32 whatever the activations are: they cost nothing beside a matrix.

use super::launch::Kernels;
use super::upload::Uploader;
use super::{Cuda, DeviceBlock, Launcher};
use crate::DType;
use crate::error::{Error, Result};
use crate::ops::random::{self, Random};
use crate::weight::{Identity, Linear, Weight};
use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

/// Elements that a row of a matrix is filled up to a multiple of.
const PITCH: usize = 16;
/// Bytes that every weight's start is a multiple of.
const ALIGN: usize = 256;

/// What dry runs need.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) weights: Vec<Need>,
    pub(crate) kernels: Kernels,
    /// Kernels launched so far.
    pub(crate) launches: u64,
    /// Operations of tensor cores in them.
    pub(crate) products: u64,
}

impl Needs {
    /// Bytes of the weights on a GPU for `activations`, each counted once.
    pub(crate) fn bytes(&self, activations: DType) -> usize {
        let mut keys = HashSet::new();
        let new = |need: &&Need| keys.insert(need.key());
        let weights = self.weights.iter().filter(new);
        weights.map(|need| need.bytes(activations)).sum()
    }

    /// Adds another run's.
    pub(crate) fn extend(&mut self, other: &Needs) {
        self.weights.extend(other.weights.iter().cloned());
        let kernels = other.kernels.iter();
        self.kernels
            .extend(kernels.map(|(key, source)| (key.clone(), *source)));
    }
}

/// Something that an operation reads on the GPU beside activations.
#[derive(Clone, Debug)]
pub(crate) enum Need {
    /// A matrix.
    Matrix(Weight),
    /// A vector, in f32.
    Vector(Weight),
    /// The stacked matrices of a linear layer.
    Linear(Linear),
    /// The stacked biases of a linear layer in f32, zeros where a part has none.
    Bias(Linear),
    /// The kernels of a convolution, `[out, in, taps]` turned to `[out, taps, in]`.
    Convolution(Linear, usize),
    /// Words of an operation's own tables.
    Words(Arc<[u32]>),
}

/// Identifies what is loaded: its layout, and for every part which weight it is and of what
/// shape. The store keeps these alive, so no other weight can come to have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    layout: Layout,
    parts: Vec<Option<Part>>,
}

/// Identity, rows, columns and type of a weight.
type Part = (Identity, usize, usize, DType);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Layout {
    /// A matrix alone lies as a stack of one does.
    Matrix,
    Vector,
    Bias,
    Convolution {
        taps: usize,
    },
    Words,
}

fn part(weight: &Weight) -> Part {
    (
        weight.identity(),
        weight.rows(),
        weight.cols(),
        weight.dtype(),
    )
}

impl Key {
    fn weight(layout: Layout, weight: &Weight) -> Key {
        Key {
            layout,
            parts: vec![Some(part(weight))],
        }
    }

    fn linear(layout: Layout, linear: &Linear) -> Key {
        let parts = linear.parts().iter();
        Key {
            layout,
            parts: parts.map(|(weight, _)| Some(part(weight))).collect(),
        }
    }

    fn bias(linear: &Linear) -> Key {
        // Where a part has no bias, its matrix says how many zeros there are.
        let parts = linear.parts().iter();
        let parts = parts.flat_map(|(w, bias)| [bias.as_ref().map(part), Some(part(w))]);
        Key {
            layout: Layout::Bias,
            parts: parts.collect(),
        }
    }

    fn words(words: &Arc<[u32]>) -> Key {
        let address = Identity::Address(words.as_ptr() as usize);
        Key {
            layout: Layout::Words,
            parts: vec![Some((address, 1, words.len(), DType::F32))],
        }
    }
}

impl Need {
    fn key(&self) -> Key {
        match self {
            Need::Matrix(w) => Key::weight(Layout::Matrix, w),
            Need::Vector(w) => Key::weight(Layout::Vector, w),
            Need::Linear(l) => Key::linear(Layout::Matrix, l),
            Need::Bias(l) => Key::bias(l),
            Need::Convolution(l, taps) => Key::linear(Layout::Convolution { taps: *taps }, l),
            Need::Words(words) => Key::words(words),
        }
    }

    /// Rows and columns.
    fn shape(&self) -> (usize, usize) {
        match self {
            Need::Matrix(w) | Need::Vector(w) => (w.rows(), w.cols()),
            Need::Linear(l) | Need::Convolution(l, _) => (l.outputs(), l.inputs()),
            Need::Bias(l) => (1, l.outputs()),
            Need::Words(words) => (1, words.len()),
        }
    }

    /// The random numbers that it is made of, if it is made of nothing else.
    fn generated(&self) -> Option<Vec<Generated>> {
        let pitch = self.pitch();
        let part = |weight: &Weight, start, taps| {
            Some(Generated {
                random: weight.generator()?,
                start,
                shape: (weight.rows(), weight.cols(), taps),
            })
        };
        let stacked = |linear: &Linear, taps| {
            let starts = linear.parts().iter().scan(0, |row, (weight, _)| {
                let start = *row * pitch;
                *row += weight.rows();
                Some((weight, start))
            });
            starts
                .map(|(weight, start)| part(weight, start, taps))
                .collect()
        };
        match self {
            Need::Matrix(w) | Need::Vector(w) => Some(vec![part(w, 0, 1)?]),
            Need::Linear(l) => stacked(l, 1),
            Need::Convolution(l, taps) => stacked(l, *taps),
            Need::Bias(l) => {
                let starts = l.parts().iter().scan(0, |start, (weight, bias)| {
                    let first = *start;
                    *start += weight.rows();
                    Some(bias.as_ref().map(|bias| part(bias, first, 1)))
                });
                starts.flatten().collect()
            }
            Need::Words(_) => None,
        }
    }

    fn dtype(&self, activations: DType) -> DType {
        match self {
            // Words are as wide.
            Need::Vector(_) | Need::Bias(_) | Need::Words(_) => DType::F32,
            Need::Matrix(_) | Need::Linear(_) | Need::Convolution(..) => activations,
        }
    }

    fn pitch(&self) -> usize {
        self.shape().1.next_multiple_of(PITCH)
    }

    /// Bytes that it takes on a GPU for `activations`.
    pub(crate) fn bytes(&self, activations: DType) -> usize {
        let row = self.pitch() * self.dtype(activations).size();
        (self.shape().0 * row).next_multiple_of(ALIGN)
    }

    /// Rows as they lie on a GPU for `activations`.
    fn read(&self, rows: Range<usize>, activations: DType, to: &mut [u8]) -> io::Result<()> {
        if let Need::Words(words) = self {
            to.fill(0);
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            to.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            return Ok(());
        }
        let dtype = self.dtype(activations);
        let row_bytes = self.pitch() * dtype.size();
        if row_bytes == 0 {
            return Ok(());
        }
        let mut scratch = Scratch::default();
        for (row, to) in rows.zip(to.chunks_exact_mut(row_bytes)) {
            match self {
                Need::Matrix(w) | Need::Vector(w) => scratch.copy(w, row, dtype, to)?,
                Need::Linear(l) => {
                    let (weight, row) = l.part(row).ok_or(io::ErrorKind::UnexpectedEof)?;
                    scratch.copy(weight, row, dtype, to)?;
                }
                Need::Convolution(l, taps) => {
                    let (weight, row) = l.part(row).ok_or(io::ErrorKind::UnexpectedEof)?;
                    let straight = scratch.widen(weight, row)?;
                    let channels = straight.len() / taps;
                    let turned = (0..straight.len()).map(|i| {
                        let (tap, channel) = (i / channels, i % channels);
                        straight[channel * taps + tap]
                    });
                    narrow(turned.collect(), dtype, to);
                }
                Need::Bias(l) => {
                    let mut bias = vec![0.0; l.outputs()];
                    l.bias(0..l.outputs(), &mut bias);
                    narrow(bias, dtype, to);
                }
                Need::Words(_) => {}
            }
        }
        Ok(())
    }
}

/// A part of a need that is computed where it is wanted.
struct Generated {
    random: Random,
    /// Elements before it.
    start: usize,
    /// Rows, columns, and taps of a convolution, else 1.
    shape: (usize, usize, usize),
}

/// Memory for one row.
#[derive(Default)]
struct Scratch(Vec<u8>);

impl Scratch {
    /// A row of a weight to `to`, in another type and filled up with zeros.
    fn copy(&mut self, weight: &Weight, row: usize, dtype: DType, to: &mut [u8]) -> io::Result<()> {
        if weight.dtype() != dtype {
            narrow(self.widen(weight, row)?, dtype, to);
            return Ok(());
        }
        let bytes = weight.row_bytes();
        weight.read_row(row, &mut to[..bytes])?;
        to[bytes..].fill(0);
        Ok(())
    }

    fn widen(&mut self, weight: &Weight, row: usize) -> io::Result<Vec<f32>> {
        self.0.resize(weight.row_bytes(), 0);
        weight.read_row(row, &mut self.0)?;
        Ok(weight.dtype().widen(&self.0))
    }
}

/// Values in a type, filled up with zeros.
fn narrow(values: Vec<f32>, dtype: DType, to: &mut [u8]) {
    let mut bytes = Vec::with_capacity(to.len());
    dtype.narrow(&values, &mut bytes);
    bytes.resize(to.len(), 0);
    to.copy_from_slice(&bytes);
}

/// Where a weight is on the GPU.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    address: u64,
    /// Elements from one row to the next.
    pitch: usize,
}

/// A weight on the GPU.
#[derive(Debug)]
pub(super) struct Loaded {
    place: Place,
    /// Keeps the memory, and the bytes that the key names.
    _held: Arc<(DeviceBlock, Vec<Need>)>,
}

impl Cuda {
    /// Loads the weights and compiles the kernels that are not there yet.
    ///
    /// # Errors
    /// If the memory or a copy fails, or a kernel does not compile.
    pub(crate) fn load_needs(&self, needs: &Needs) -> Result<()> {
        self.load_weights(&needs.weights)?;
        self.load_kernels(&needs.kernels)
    }

    /// Forgets all weights.
    pub(crate) fn unload(&self) {
        let mut weights = self.weights.write().unwrap_or_else(PoisonError::into_inner);
        weights.clear();
    }

    /// Puts what is not yet there of `needs` on the GPU, in one block.
    ///
    /// # Errors
    /// If the memory or a copy fails.
    fn load_weights(&self, needs: &[Need]) -> Result<()> {
        let mut weights = self.weights.write().unwrap_or_else(PoisonError::into_inner);
        let mut missing: Vec<Need> = Vec::new();
        let mut keys = HashSet::new();
        for need in needs {
            let known = weights.contains_key(&need.key());
            if !known && keys.insert(need.key()) {
                missing.push(need.clone());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let bytes = missing.iter().map(|need| need.bytes(self.dtype)).sum();
        let bytes = Ord::max(bytes, ALIGN);
        let stored = missing.iter().filter(|need| need.generated().is_none());
        let stored = stored.map(|need| need.bytes(self.dtype)).sum();
        let block = self.allocate(bytes, "the weights")?;
        let mut uploader = Uploader::new(self, stored)?;
        let mut offset = 0;
        let mut places = Vec::new();
        for need in &missing {
            match need.generated() {
                Some(parts) => self.generate(need, &parts, &block, offset)?,
                None => {
                    let row_bytes = need.pitch() * need.dtype(self.dtype).size();
                    uploader.send((&block, offset), need.shape().0, row_bytes, |rows, to| {
                        need.read(rows, self.dtype, to)
                    })?;
                }
            }
            let place = Place {
                address: block.address() + offset as u64,
                pitch: need.pitch(),
            };
            places.push((need.key(), place));
            offset += need.bytes(self.dtype);
        }
        drop(uploader);
        self.synchronize()?;
        let held = Arc::new((block, missing));
        for (key, place) in places {
            let _held = held.clone();
            weights.insert(key, Loaded { place, _held });
        }
        Ok(())
    }

    /// Computes the random parts of a need at `offset` of `block`; what is none of theirs is zero.
    fn generate(
        &self,
        need: &Need,
        parts: &[Generated],
        block: &DeviceBlock,
        offset: usize,
    ) -> Result<()> {
        block.fill(offset, need.bytes(self.dtype), 0)?;
        let base = block.address() + offset as u64;
        let dtype = need.dtype(self.dtype);
        let gpu = Launcher::Gpu(self);
        for part in parts {
            let address = base + (part.start * dtype.size()) as u64;
            let to = (address, need.pitch(), dtype);
            random::launch(&gpu, part.random, to, part.shape)?;
        }
        Ok(())
    }

    fn place(&self, key: &Key) -> Result<Place> {
        let weights = self.weights.read().unwrap_or_else(PoisonError::into_inner);
        let missing = || Error::Cuda {
            what: format!("a weight of {:?}", key.parts),
            reason: "was not loaded".to_owned(),
        };
        Ok(weights.get(key).ok_or_else(missing)?.place)
    }
}

impl Launcher<'_> {
    /// The address of a vector, in f32.
    pub(crate) fn vector(&self, weight: &Weight) -> Result<u64> {
        let key = Key::weight(Layout::Vector, weight);
        Ok(self.find(key, || Need::Vector(weight.clone()))?.address)
    }

    /// The address and pitch of a matrix.
    pub(crate) fn matrix(&self, weight: &Weight) -> Result<(u64, usize)> {
        let key = Key::weight(Layout::Matrix, weight);
        let place = self.find(key, || Need::Matrix(weight.clone()))?;
        Ok((place.address, place.pitch))
    }

    /// The address and pitch of the stacked matrices, and the address of their biases in f32, 0 if
    /// no part has one.
    pub(crate) fn linear(&self, linear: &Linear) -> Result<(u64, usize, u64)> {
        let key = Key::linear(Layout::Matrix, linear);
        let place = self.find(key, || Need::Linear(linear.clone()))?;
        Ok((place.address, place.pitch, self.bias(linear)?))
    }

    /// As [`Launcher::linear`], for a convolution of so many taps.
    pub(crate) fn convolution(&self, linear: &Linear, taps: usize) -> Result<(u64, usize, u64)> {
        let key = Key::linear(Layout::Convolution { taps }, linear);
        let place = self.find(key, || Need::Convolution(linear.clone(), taps))?;
        Ok((place.address, place.pitch, self.bias(linear)?))
    }

    /// The address of an operation's own tables.
    pub(crate) fn words(&self, words: &Arc<[u32]>) -> Result<u64> {
        let place = self.find(Key::words(words), || Need::Words(words.clone()))?;
        Ok(place.address)
    }

    fn bias(&self, linear: &Linear) -> Result<u64> {
        if linear.parts().iter().all(|(_, bias)| bias.is_none()) {
            return Ok(0);
        }
        let key = Key::bias(linear);
        Ok(self.find(key, || Need::Bias(linear.clone()))?.address)
    }

    /// Where a weight is. On a dry run it is noted.
    fn find(&self, key: Key, need: impl FnOnce() -> Need) -> Result<Place> {
        match self {
            Launcher::Gpu(cuda) => cuda.place(&key),
            Launcher::Plan { needs, .. } => {
                let mut needs = needs.lock().unwrap_or_else(PoisonError::into_inner);
                needs.weights.push(need());
                Ok(Place::default())
            }
        }
    }
}
