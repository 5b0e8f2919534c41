//! Work of an operation, from which floors and rooflines follow.

use std::ops::Add;

/// Operations done, the fewest bytes moved, and what a GPU launches for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Arithmetic operations; a multiply-add counts two.
    pub operations: u64,
    /// Bytes of inputs read once and outputs written once, in the types that the device holds them
    /// in.
    pub bytes: u64,
    /// Kernels launched; none on the host.
    pub launches: u64,
    /// Operations of tensor cores that the launches' blocks make, those for the padding of tiles and,
    /// in f32, for the parts of split operands among them; none on the host.
    pub products: u64,
}

impl Work {
    pub(crate) fn new(operations: usize, bytes: usize) -> Work {
        Work {
            operations: operations as u64,
            bytes: bytes as u64,
            launches: 0,
            products: 0,
        }
    }
}

impl Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            operations: self.operations + other.operations,
            bytes: self.bytes + other.bytes,
            launches: self.launches + other.launches,
            products: self.products + other.products,
        }
    }
}
