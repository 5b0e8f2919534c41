//! Copies between the device's memory and the host's slices in relaxed atomic accesses.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

const WORD: usize = size_of::<u64>();

/// Copies `to.len()` bytes that start at `from`.
///
/// # Safety
/// The bytes must be valid for reads, and every concurrent write to them atomic.
pub(super) unsafe fn load_bytes(from: *mut u8, to: &mut [u8]) {
    let head = from.align_offset(WORD).min(to.len());
    let (head, rest) = to.split_at_mut(head);
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    let mut at = from;
    // SAFETY: `at` runs over the range that the caller vouches for, and is aligned where it is
    // read as a word.
    unsafe {
        for byte in head {
            *byte = AtomicU8::from_ptr(at).load(Relaxed);
            at = at.add(1);
        }
        for word in words {
            *word = AtomicU64::from_ptr(at.cast()).load(Relaxed).to_ne_bytes();
            at = at.add(WORD);
        }
        for byte in tail {
            *byte = AtomicU8::from_ptr(at).load(Relaxed);
            at = at.add(1);
        }
    }
}

/// Copies `from` to the bytes that start at `to`.
///
/// # Safety
/// The bytes must be valid for writes, and every concurrent access to them atomic.
pub(super) unsafe fn store_bytes(to: *mut u8, from: &[u8]) {
    let (head, rest) = from.split_at(to.align_offset(WORD).min(from.len()));
    let (words, tail) = rest.as_chunks::<WORD>();
    let mut at = to;
    // SAFETY: `at` runs over the range that the caller vouches for, and is aligned where it is
    // written as a word.
    unsafe {
        for &byte in head {
            AtomicU8::from_ptr(at).store(byte, Relaxed);
            at = at.add(1);
        }
        for &word in words {
            AtomicU64::from_ptr(at.cast()).store(u64::from_ne_bytes(word), Relaxed);
            at = at.add(WORD);
        }
        for &byte in tail {
            AtomicU8::from_ptr(at).store(byte, Relaxed);
            at = at.add(1);
        }
    }
}
