//! Integers that kernels read, such as tokens and page numbers.

use crate::Context;
use crate::error::Result;
use crate::tensor::{Tensor, View};
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Integers on the host and, where operations run on a GPU, in its memory.
#[derive(Debug)]
pub struct Table {
    values: Integers,
    device: Tensor,
}

/// Integers in host memory that comes from a [`Pool`] and goes back there.
#[derive(Debug)]
pub(crate) struct Integers {
    values: Vec<i32>,
    pool: Pool,
}

/// Memory for integers that has been used before, so that a step like the last one allocates none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<i32>>>>);

impl Pool {
    /// No integers yet.
    pub(crate) fn take(&self) -> Integers {
        Integers {
            values: self.lock().pop().unwrap_or_default(),
            pool: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<i32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Integers {
    type Target = Vec<i32>;

    fn deref(&self) -> &Vec<i32> {
        &self.values
    }
}

impl DerefMut for Integers {
    fn deref_mut(&mut self) -> &mut Vec<i32> {
        &mut self.values
    }
}

impl Drop for Integers {
    fn drop(&mut self) {
        let mut values = std::mem::take(&mut self.values);
        values.clear();
        self.pool.lock().push(values);
    }
}

/// A part of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Indices<'a> {
    values: &'a [i32],
    device: View<'a>,
    /// Where in the device's copy they begin, in integers.
    start: usize,
}

impl Table {
    pub(crate) fn new(cx: &Context, values: Integers) -> Result<Table> {
        let mut device = cx.table_memory(values.len())?;
        write(&mut device, &values)?;
        Ok(Table { values, device })
    }

    /// All of them.
    pub fn indices(&self) -> Indices<'_> {
        Indices::new(&self.values, self.device.view())
    }
}

impl<'a> Indices<'a> {
    /// Integers whose copy on the device `device` begins with.
    pub(crate) fn new(values: &'a [i32], device: View<'a>) -> Indices<'a> {
        let start = 0;
        Indices {
            values,
            device,
            start,
        }
    }

    /// Some of them.
    pub(crate) fn part(self, range: Range<usize>) -> Indices<'a> {
        Indices {
            start: self.start + range.start,
            values: &self.values[range],
            device: self.device,
        }
    }

    /// The integers.
    pub(crate) fn values(self) -> &'a [i32] {
        self.values
    }

    /// How many there are.
    pub(crate) fn len(self) -> usize {
        self.values.len()
    }

    /// Where a kernel finds them; 0 for nowhere.
    pub(crate) fn address(self) -> u64 {
        match self.device.address() {
            0 => 0,
            address => address + (self.start * size_of::<i32>()) as u64,
        }
    }

    /// Checks that an operation of `cx` finds them.
    pub(crate) fn check(self, cx: &Context, op: &'static str, what: &str) -> Result<()> {
        cx.check_f32(op, what, self.device)
    }
}

/// Puts integers into the head of a table's memory; on the host there is none.
pub(crate) fn write(device: &mut Tensor, values: &[i32]) -> Result<()> {
    device.write_bytes(bytemuck::cast_slice(values))
}
