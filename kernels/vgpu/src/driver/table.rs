//! Handles, and what they stand for.

use super::code::Code;
use std::collections::HashMap;

/// What the C interface passes around as a pointer to an opaque structure.
pub(super) type Handle = usize;

/// Objects of one kind by their handles.
///
/// No handle is used twice, and no two tables share one, so a destroyed, foreign or random handle
/// is always told apart from a live one. They are far from zero and from any mapped address.
pub(super) struct Table<T> {
    entries: HashMap<Handle, T>,
    next: Handle,
}

impl<T> Table<T> {
    /// A table whose handles carry `tag`, which must be its own.
    pub(super) fn new(tag: usize) -> Table<T> {
        Table {
            entries: HashMap::new(),
            next: tag << 56 | 16,
        }
    }

    pub(super) fn insert(&mut self, value: T) -> Handle {
        let handle = self.next;
        self.next += 16;
        self.entries.insert(handle, value);
        handle
    }

    /// The object behind `handle`, or `missing`.
    pub(super) fn get(&self, handle: Handle, missing: Code) -> Result<&T, Code> {
        self.entries.get(&handle).ok_or(missing)
    }

    pub(super) fn get_mut(&mut self, handle: Handle, missing: Code) -> Result<&mut T, Code> {
        self.entries.get_mut(&handle).ok_or(missing)
    }

    pub(super) fn remove(&mut self, handle: Handle, missing: Code) -> Result<T, Code> {
        self.entries.remove(&handle).ok_or(missing)
    }

    /// Removes and returns all that `doomed` picks.
    pub(super) fn remove_where(&mut self, mut doomed: impl FnMut(&T) -> bool) -> Vec<T> {
        let entries = self.entries.extract_if(|_, value| doomed(value));
        entries.map(|(_, value)| value).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.entries.iter().map(|(&handle, value)| (handle, value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values()
    }
}

/// The number that a handle stands for in queries that want a small integer.
pub(super) fn serial(handle: Handle) -> u64 {
    (handle as u64 & ((1 << 56) - 1)) / 16
}
