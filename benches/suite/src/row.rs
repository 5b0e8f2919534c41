//! An operation at one size, and what it is timed beside.

use crate::error::Result;
use gamut_kernels::Context;
use serde_json::Value;

/// What a row does with a context: it makes its inputs and hands over the operation.
type Body = dyn Fn(&Context, &mut dyn Bench) -> Result<()>;

/// Runs an operation whose inputs are there.
pub(crate) trait Bench {
    /// Runs it, as often as it takes.
    fn run(&mut self, cx: &Context, operation: &mut dyn FnMut() -> Result<()>) -> Result<()>;
}

/// An operation at one size.
pub(crate) struct Row {
    /// Its name, sizes and place in the model.
    pub(crate) id: String,
    pub(crate) body: Box<Body>,
    pub(crate) peer: Peer,
}

/// What a user would call otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Peer {
    /// A product of cuBLASLt.
    Blas(BlasPeer),
    /// Fourier transforms of so many frames by cuFFT, and PyTorch's way to the spectrogram.
    Fft(usize, Value),
    /// An operation of PyTorch, as the script of the peers takes it.
    Torch(Value),
}

/// A product of cuBLASLt, with as much behind it as it can fuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlasPeer {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) bias: bool,
    pub(crate) then: Then,
}

/// What becomes of the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Store,
    F32,
    Gelu,
    Add,
}

impl Row {
    pub(crate) fn new(
        id: String,
        peer: Peer,
        body: impl Fn(&Context, &mut dyn Bench) -> Result<()> + 'static,
    ) -> Row {
        let body = Box::new(body);
        Row { id, body, peer }
    }
}
