//! The device's memory: allocations with red zones between them and a quarantine behind them.
//!
//! Device memory and pinned host memory are cut from one big reserved mapping, so a device address
//! is a host address and translating one costs no more than a bounds check. Host memory that its
//! owner registers joins the same table, which makes addressing unified as on 64-bit hardware.
//!
//! All accesses to the mapping go through relaxed atomics, since nothing stops two kernels or two
//! host threads from racing on it.
#![allow(unsafe_code)]

mod allocation;
mod atomic;
mod error;
mod range;
mod reserve;
mod shadow;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use allocation::{Allocation, Kind};
pub use error::MemoryError;
pub(crate) use shadow::{Cell, Shadow};
pub use snapshot::Snapshot;

use range::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;

/// The memory of one device, with the host memory that the device can reach.
///
/// Any thread may call any method. Copies that race with a kernel see some mixture of old and new
/// bytes, as on hardware.
#[derive(Debug)]
pub struct Memory {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    range: Range,
    table: Table,
    /// What is known of the bytes, once launches are checked.
    shadow: Option<Arc<Shadow>>,
    /// Bytes of device allocations, each rounded up to [`GRANULE`].
    in_use: usize,
}

/// What a device allocation's size is rounded up to when it is counted, in bytes.
const GRANULE: usize = 512;

impl Memory {
    /// Memory of a device that pretends to have `capacity` bytes.
    ///
    /// Only address space is taken at first: a page costs something once it is touched. Where even
    /// that is refused, every allocation will fail with [`MemoryError::OutOfMemory`].
    pub fn new(capacity: usize) -> Memory {
        Memory {
            capacity,
            state: Mutex::new(State {
                range: Range::reserve(capacity),
                table: Table::default(),
                shadow: None,
                in_use: 0,
            }),
        }
    }

    /// The bytes that the device pretends to have.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The bytes that are not allocated.
    pub fn available(&self) -> usize {
        self.capacity - self.lock().in_use
    }

    /// Allocates `bytes` of device memory, whose content is unspecified.
    ///
    /// The address is a multiple of 512 (in truth of 65,536), and one that was freed is not handed
    /// out again before the reserved address space has been used up.
    ///
    /// # Errors
    /// [`MemoryError::Empty`] for no bytes, [`MemoryError::OutOfMemory`] for more than are left.
    pub fn allocate(&self, bytes: usize) -> Result<u64, MemoryError> {
        let mut state = self.lock();
        let available = self.capacity - state.in_use;
        let counted = counted(bytes);
        if counted > available {
            return Err(MemoryError::OutOfMemory { bytes, available });
        }
        let base = state.take(bytes, Kind::Device, available)?;
        state.in_use += counted;
        Ok(base)
    }

    /// Allocates `bytes` of pinned host memory, which has the same address on both sides.
    ///
    /// # Errors
    /// [`MemoryError::Empty`] for no bytes, [`MemoryError::OutOfMemory`] without address space.
    pub fn allocate_host(&self, bytes: usize) -> Result<u64, MemoryError> {
        let mut state = self.lock();
        let available = state.range.available();
        state.take(bytes, Kind::Pinned, available)
    }

    /// Frees what [`allocate`](Self::allocate) returned.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] where `address` starts no device allocation.
    pub fn free(&self, address: u64) -> Result<(), MemoryError> {
        let mut state = self.lock();
        let freed = state.give_back(address, Kind::Device)?;
        state.in_use -= counted(freed.bytes);
        Ok(())
    }

    /// Frees what [`allocate_host`](Self::allocate_host) returned.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] where `address` starts no pinned allocation.
    pub fn free_host(&self, address: u64) -> Result<(), MemoryError> {
        self.lock().give_back(address, Kind::Pinned).map(drop)
    }

    /// Lets the device reach `bytes` of the caller's memory at `pointer`.
    ///
    /// # Safety
    /// The memory must stay valid for reads and writes until it is unregistered and no
    /// [`Snapshot`] from before that is in use.
    ///
    /// # Errors
    /// [`MemoryError::Empty`] for no bytes, [`MemoryError::Registered`] where a byte of it already
    /// belongs to this memory.
    pub unsafe fn register_host(&self, pointer: usize, bytes: usize) -> Result<(), MemoryError> {
        let allocation = Allocation {
            base: pointer as u64,
            bytes,
            kind: Kind::Registered,
            tracked: false,
        };
        if bytes == 0 {
            return Err(MemoryError::Empty);
        }
        if pointer.checked_add(bytes).is_none() {
            return Err(MemoryError::OutOfMemory {
                bytes,
                available: usize::MAX - pointer,
            });
        }
        self.lock().table.insert(allocation)
    }

    /// Ends what [`register_host`](Self::register_host) began.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] where nothing was registered at `pointer`.
    pub fn unregister_host(&self, pointer: usize) -> Result<(), MemoryError> {
        let mut state = self.lock();
        state.table.remove(pointer as u64, Kind::Registered)?;
        Ok(())
    }

    /// The live allocation that `address` lies in.
    pub fn find(&self, address: u64) -> Option<Allocation> {
        self.lock().table.find(address)
    }

    /// Whether `address` is this memory's, allocated or not: then it is nobody else's.
    pub fn owns(&self, address: u64) -> bool {
        self.lock().range.contains(address)
    }

    /// The table of live allocations as it is now, for a launch to read without a lock.
    ///
    /// Whoever launches must see to it that nothing is freed while the launch runs.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot::new(&state.table, &state.range, state.shadow.clone())
    }

    /// Keeps track from now on of which bytes are written in allocations that are yet to come, as
    /// far as the system has address space for it.
    pub(crate) fn track(&self) {
        let mut state = self.lock();
        if state.shadow.is_none() {
            state.shadow = Shadow::of(&state.range).map(Arc::new);
        }
    }

    /// Forgets which bytes of the present allocations were written, since somebody is about to
    /// write without saying so.
    pub(crate) fn lose_track(&self) {
        self.lock().table.lose_track();
    }

    /// Copies bytes from `address` on into `to`.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless one allocation holds them all.
    pub fn read(&self, address: u64, to: &mut [u8]) -> Result<(), MemoryError> {
        let from = self.snapshot().check(address, to.len())?;
        // SAFETY: the check says that one live allocation holds the bytes; see `Snapshot::check`.
        unsafe { atomic::load_bytes(from, to) };
        Ok(())
    }

    /// Copies the bytes of `from` to `address` on.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless one allocation holds them all.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), MemoryError> {
        let snapshot = self.snapshot();
        let to = snapshot.check(address, from.len())?;
        // SAFETY: as in `read`.
        unsafe { atomic::store_bytes(to, from) };
        snapshot.mark(address, from.len());
        Ok(())
    }

    /// Copies `bytes` from one address to another. Ranges that overlap give unspecified bytes.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless one allocation holds each range; nothing is copied then.
    pub fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), MemoryError> {
        let snapshot = self.snapshot();
        let places = (to, from);
        let (to, from) = (snapshot.check(to, bytes)?, snapshot.check(from, bytes)?);
        let mut buffer = [0; 4096];
        for start in (0..bytes).step_by(buffer.len()) {
            let piece = &mut buffer[..(bytes - start).min(4096)];
            // SAFETY: as in `read`; the piece lies within both ranges.
            unsafe {
                atomic::load_bytes(from.add(start), piece);
                atomic::store_bytes(to.add(start), piece);
            }
        }
        snapshot.mark_copy(places, bytes);
        Ok(())
    }

    /// Writes `pattern` `count` times from `address` on.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless one allocation holds it all; nothing is written then.
    pub fn fill(&self, address: u64, pattern: &[u8], count: usize) -> Result<(), MemoryError> {
        let bytes = pattern.len().saturating_mul(count);
        let snapshot = self.snapshot();
        let to = snapshot.check(address, bytes)?;
        if bytes == 0 {
            return Ok(());
        }
        let repeats = (4096 / pattern.len()).clamp(1, count);
        let block = pattern.repeat(repeats);
        for start in (0..bytes).step_by(block.len()) {
            // SAFETY: as in `read`; the piece lies within the range.
            unsafe {
                atomic::store_bytes(to.add(start), &block[..(bytes - start).min(block.len())])
            };
        }
        snapshot.mark(address, bytes);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, bytes: usize, kind: Kind, available: usize) -> Result<u64, MemoryError> {
        if bytes == 0 {
            return Err(MemoryError::Empty);
        }
        let no_room = MemoryError::OutOfMemory { bytes, available };
        let base = self.range.take(bytes).ok_or(no_room)?;
        self.table.insert(Allocation {
            base,
            bytes,
            kind,
            tracked: kind == Kind::Device && self.shadow.is_some(),
        })?;
        Ok(base)
    }

    fn give_back(&mut self, address: u64, kind: Kind) -> Result<Allocation, MemoryError> {
        let freed = self.table.remove(address, kind)?;
        let pages = self.range.give_back(freed.base, freed.bytes);
        if let Some(shadow) = &self.shadow {
            shadow.forget(freed.base, pages);
        }
        Ok(freed)
    }
}

/// What an allocation of `bytes` counts for.
fn counted(bytes: usize) -> usize {
    bytes
        .checked_next_multiple_of(GRANULE)
        .unwrap_or(usize::MAX)
}
