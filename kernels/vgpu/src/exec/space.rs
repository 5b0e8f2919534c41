//! Windows of the generic address space. Global memory has the host's own addresses, which on
//! 64-bit systems lie far above.

/// Generic address of a block's shared memory.
pub(crate) const SHARED_WINDOW: u64 = 0x1_0000_0000;

/// Generic address of a thread's local memory.
pub(crate) const LOCAL_WINDOW: u64 = 0x2_0000_0000;

/// Generic address of the kernel's parameters.
pub(crate) const PARAM_WINDOW: u64 = 0x3_0000_0000;

/// Size of each window.
pub(crate) const WINDOW_BYTES: u64 = 0x1_0000_0000;

/// First byte of shared memory that a kernel may use: the system keeps 1 KiB for itself on
/// compute capability 9.0.
pub(crate) const SHARED_START: u32 = 1024;

/// Whether `address` lies in the window that starts at `window`.
#[inline(always)]
pub(crate) fn inside(window: u64, address: u64) -> bool {
    address.wrapping_sub(window) < WINDOW_BYTES
}
