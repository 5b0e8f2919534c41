//! Address space without memory: a page costs something once it is touched.
//!
//! Raw, since a reference to all the bytes would say that nobody else writes them.
#![allow(unsafe_code)]

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

/// Reserves bytes that read as zeros, if the system has the address space.
pub(super) fn reserve(bytes: usize) -> Option<MmapRaw> {
    let mut options = MmapOptions::new();
    options.len(bytes);
    // Miri does not know it.
    if !cfg!(miri) {
        options.no_reserve_swap();
    }
    options.map_anon().ok().map(MmapRaw::from)
}

/// Gives the memory of pages back, which read as zeros then. A system that refuses merely keeps it.
///
/// # Safety
/// Nobody may hold a reference to these bytes, or rely on what they are.
pub(super) unsafe fn drop_pages(mapping: &MmapRaw, offset: usize, bytes: usize) {
    if cfg!(miri) {
        return;
    }
    // SAFETY: the caller's.
    let _ = unsafe { mapping.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, bytes) };
}
