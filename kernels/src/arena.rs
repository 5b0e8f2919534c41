//! One block of memory that activations are taken from and given back to.
//!
//! The offsets are a pure function of the sequence of requests, so a dry run of the forward pass
//! ([`Context::plan`](crate::Context::plan)) finds the exact size that the real one needs.
#![allow(unsafe_code)]

use crate::cuda::{Cuda, DeviceBlock};
use crate::error::{Error, Result};
use memmap2::MmapMut;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that every region's start is a multiple of: what a GPU's widest accesses like, and more
/// than a cache line.
const ALIGN: usize = 256;

/// A block of memory with a first-fit allocator.
#[derive(Debug)]
pub(crate) struct Arena {
    storage: Storage,
    free: Mutex<FreeList>,
}

/// Where an arena's memory is.
#[derive(Debug)]
enum Storage {
    /// Nowhere: the arena only counts.
    Counting,
    Host(HostBlock),
    Device(DeviceBlock),
    /// On a GPU, every region in a block of its own.
    Apart(Arc<Cuda>),
}

#[derive(Debug)]
struct FreeList {
    /// Gaps as (offset, length), ascending, never adjacent.
    gaps: Vec<(usize, usize)>,
    capacity: usize,
    in_use: usize,
    peak: usize,
}

impl Arena {
    /// An arena of `capacity` bytes of zeroed host memory.
    pub(crate) fn host(capacity: usize) -> Result<Arc<Arena>> {
        Arena::with(capacity, |bytes| Ok(Storage::Host(HostBlock::new(bytes)?)))
    }

    /// An arena of `capacity` bytes on a GPU.
    pub(crate) fn device(cuda: &Cuda, capacity: usize) -> Result<Arc<Arena>> {
        Arena::with(capacity, |bytes| {
            let block = cuda.allocate(bytes, "the workspace")?;
            Ok(Storage::Device(block))
        })
    }

    /// An arena without bounds on a GPU, where every region is a block of exactly its bytes: a virtual
    /// GPU notices who leaves one, and who reads what nobody wrote.
    pub(crate) fn apart(cuda: &Arc<Cuda>) -> Arc<Arena> {
        Arc::new(Arena {
            storage: Storage::Apart(Arc::clone(cuda)),
            free: FreeList::new(usize::MAX / 2),
        })
    }

    fn with(capacity: usize, storage: impl FnOnce(usize) -> Result<Storage>) -> Result<Arc<Arena>> {
        let no_memory = Error::OutOfMemory {
            what: "the workspace",
            bytes: capacity,
        };
        let capacity = capacity.checked_next_multiple_of(ALIGN).ok_or(no_memory)?;
        Ok(Arc::new(Arena {
            storage: storage(capacity.max(ALIGN))?,
            free: FreeList::new(capacity),
        }))
    }

    /// An arena without memory or bounds, which only records how far it was filled.
    pub(crate) fn counting() -> Arc<Arena> {
        Arc::new(Arena {
            storage: Storage::Counting,
            free: FreeList::new(usize::MAX / 2),
        })
    }

    /// The most bytes that were ever spanned.
    pub(crate) fn peak(&self) -> usize {
        self.lock().peak
    }

    /// A region of `len` bytes with whatever they last held.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Result<Region> {
        let offset = self
            .lock()
            .take(len.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX))?;
        let mut region = Region {
            arena: self.clone(),
            offset,
            len,
            own: None,
        };
        if let Storage::Apart(cuda) = &self.storage {
            region.own = Some((cuda.allocate(len.max(1), "a tensor")?, offset));
        }
        Ok(region)
    }

    fn lock(&self) -> MutexGuard<'_, FreeList> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FreeList {
    fn new(capacity: usize) -> Mutex<FreeList> {
        Mutex::new(FreeList {
            gaps: vec![(0, capacity)],
            capacity,
            in_use: 0,
            peak: 0,
        })
    }

    fn take(&mut self, len: usize) -> Result<usize> {
        if len == 0 {
            return Ok(0);
        }
        let Some(i) = self.gaps.iter().position(|gap| gap.1 >= len) else {
            return Err(Error::Workspace {
                requested: len,
                in_use: self.in_use,
                capacity: self.capacity,
            });
        };
        let (offset, room) = self.gaps[i];
        if room == len {
            self.gaps.remove(i);
        } else {
            self.gaps[i] = (offset + len, room - len);
        }
        self.in_use += len;
        self.peak = self.peak.max(offset + len);
        Ok(offset)
    }

    fn give_back(&mut self, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        self.in_use -= len;
        let i = self.gaps.partition_point(|gap| gap.0 < offset);
        self.gaps.insert(i, (offset, len));
        for left in [i, i.wrapping_sub(1)] {
            if let (Some(&a), Some(&b)) = (self.gaps.get(left), self.gaps.get(left.wrapping_add(1)))
                && a.0 + a.1 == b.0
            {
                self.gaps[left].1 += b.1;
                self.gaps.remove(left + 1);
            }
        }
    }
}

/// Bytes of an arena that belong to one owner until it is dropped.
#[derive(Debug)]
pub(crate) struct Region {
    arena: Arc<Arena>,
    offset: usize,
    len: usize,
    /// Its own block, and the offset in the arena at which that begins.
    own: Option<(DeviceBlock, usize)>,
}

impl Region {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where in the arena it begins.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Keeps `len` bytes from the arena's `offset` on, which a region was taken at, and gives back
    /// the rest.
    pub(crate) fn narrow(&mut self, offset: usize, len: usize) {
        let (end, old_end) = (offset + len.next_multiple_of(ALIGN), self.offset + self.len);
        debug_assert!(self.offset <= offset && end <= old_end.next_multiple_of(ALIGN));
        let mut free = self.arena.lock();
        free.give_back(self.offset, offset - self.offset);
        free.give_back(end, old_end.next_multiple_of(ALIGN) - end);
        drop(free);
        (self.offset, self.len) = (offset, len);
    }

    /// The elements, on the host; empty elsewhere.
    pub(crate) fn data(&self) -> &[f32] {
        match &self.arena.storage {
            // SAFETY: the region lies inside the block (`take` checked it), the block is
            // initialised, aligned and outlives the region, and no other region overlaps it.
            Storage::Host(block) => unsafe {
                let start = block.start.as_ptr().add(self.offset);
                std::slice::from_raw_parts(start.cast(), self.len / size_of::<f32>())
            },
            _ => &[],
        }
    }

    /// The elements, to write, on the host; empty elsewhere.
    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        match &self.arena.storage {
            // SAFETY: as in `data`, and `&mut self` makes the access exclusive.
            Storage::Host(block) => unsafe {
                let start = block.start.as_ptr().add(self.offset);
                std::slice::from_raw_parts_mut(start.cast(), self.len / size_of::<f32>())
            },
            _ => &mut [],
        }
    }

    /// Whether the region is in host memory.
    pub(crate) fn is_on_host(&self) -> bool {
        matches!(self.arena.storage, Storage::Host(_))
    }

    /// Whether a copy from the other region stays on one device. What only counts is on any.
    pub(crate) fn is_beside(&self, other: &Region) -> bool {
        let counts = |region: &Region| matches!(region.arena.storage, Storage::Counting);
        match (self.device(), other.device()) {
            (Some((here, _)), Some((there, _))) => here.is_beside(there),
            (None, None) => true,
            _ => counts(self) || counts(other),
        }
    }

    /// The block on a GPU that the region is a part of, and where in it it begins.
    pub(crate) fn device(&self) -> Option<(&DeviceBlock, usize)> {
        match (&self.arena.storage, &self.own) {
            (Storage::Device(block), _) => Some((block, self.offset)),
            (_, Some((block, start))) => Some((block, self.offset - start)),
            _ => None,
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.arena
            .lock()
            .give_back(self.offset, self.len.next_multiple_of(ALIGN));
    }
}

/// A zeroed block of host memory on a page's boundary.
#[derive(Debug)]
struct HostBlock {
    start: NonNull<u8>,
    /// Keeps the block mapped.
    _map: MmapMut,
}

// SAFETY: the block is plain memory; regions, which borrow it, follow the borrowing rules.
unsafe impl Send for HostBlock {}
// SAFETY: as above.
unsafe impl Sync for HostBlock {}

impl HostBlock {
    fn new(bytes: usize) -> Result<HostBlock> {
        let no_memory = |_| Error::OutOfMemory {
            what: "the workspace",
            bytes,
        };
        let mut map = MmapMut::map_anon(bytes).map_err(no_memory)?;
        // With pages of 4 KiB, large products wait for address translation.
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Err(e) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!("no huge pages for the workspace: {e}");
        }
        let start = NonNull::from(map.as_mut()).cast();
        Ok(HostBlock { start, _map: map })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_apart_and_come_back() {
        let arena = Arena::host(4 * ALIGN).unwrap();
        let mut a = arena.take(40).unwrap();
        let mut b = arena.take(ALIGN).unwrap();
        a.data_mut().fill(1.0);
        b.data_mut().fill(2.0);
        assert_eq!(a.data(), [1.0; 10]);
        assert!(matches!(
            arena.take(2 * ALIGN + 1),
            Err(Error::Workspace { in_use, .. }) if in_use == 2 * ALIGN
        ));
        drop(a);
        drop(b);
        assert_eq!(arena.take(4 * ALIGN).unwrap().len(), 4 * ALIGN);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let arena = Arena::host(64).unwrap();
        assert!(matches!(
            arena.take(usize::MAX),
            Err(Error::Workspace { .. })
        ));
        assert!(matches!(
            Arena::host(usize::MAX),
            Err(Error::OutOfMemory { .. })
        ));
    }

    #[test]
    fn counting_finds_the_size_that_the_real_run_needs() {
        let run = |arena: &Arc<Arena>| -> Result<()> {
            let a = arena.take(1000)?;
            let b = arena.take(500)?;
            drop(a);
            let _c = arena.take(1200)?;
            let _d = arena.take(900)?;
            drop(b);
            Ok(())
        };
        let counting = Arena::counting();
        run(&counting).unwrap();
        assert!(run(&Arena::host(counting.peak()).unwrap()).is_ok());
        assert!(run(&Arena::host(counting.peak() - ALIGN).unwrap()).is_err());
    }
}
