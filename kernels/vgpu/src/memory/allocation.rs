//! One allocation.

/// A live piece of memory that the device can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// The address of its first byte.
    pub base: u64,
    /// Its length in bytes, as it was asked for.
    pub bytes: usize,
    /// Whose memory it is.
    pub kind: Kind,
    /// Whether it is known which of its bytes were written: memory of the device that was
    /// allocated while launches are checked, with no launch since that was not.
    pub(crate) tracked: bool,
}

/// Whose memory an allocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The device's.
    Device,
    /// The host's, allocated by the driver.
    Pinned,
    /// The host's, allocated by its owner and registered with the driver.
    Registered,
}

impl Allocation {
    /// The address behind its last byte.
    pub fn end(&self) -> u64 {
        self.base + self.bytes as u64
    }

    /// Whether all of `bytes` from `address` on lie within.
    #[inline]
    pub fn holds(&self, address: u64, bytes: usize) -> bool {
        let offset = address.wrapping_sub(self.base);
        let length = self.bytes as u64;
        offset <= length && bytes as u64 <= length - offset
    }
}
