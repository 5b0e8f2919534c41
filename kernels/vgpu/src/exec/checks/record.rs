//! Who accessed a word, in 64 bits.

/// An access to some bytes of a four-byte word. Zero stands for none.
///
/// From the top: the warp's time at the access (32 bits), the instruction (18), the warp in its
/// block (5), the lane (5) and the bytes (4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record(pub(super) u64);

/// The number that stands for this and all later instructions.
const LAST_PC: u32 = (1 << 18) - 1;

/// Who accesses memory, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor {
    pub(super) time: u32,
    pub(super) pc: u32,
    pub(super) warp: u32,
}

impl Actor {
    /// The record of an access without lane and bytes.
    #[inline]
    pub(super) fn record(self) -> Record {
        let pc = self.pc.min(LAST_PC);
        Record(u64::from(self.time) << 32 | u64::from(pc) << 14 | u64::from(self.warp) << 9)
    }
}

impl Record {
    #[inline]
    pub(super) fn of(self, lane: usize, bytes: u8) -> Record {
        Record(self.0 | (lane as u64) << 4 | u64::from(bytes))
    }

    #[inline]
    pub(super) fn time(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The instruction, unless its number is too high.
    pub(super) fn pc(self) -> Option<u32> {
        let pc = (self.0 >> 14) as u32 & LAST_PC;
        (pc < LAST_PC).then_some(pc)
    }

    #[inline]
    pub(super) fn warp(self) -> u32 {
        (self.0 >> 9) as u32 & 31
    }

    #[inline]
    pub(super) fn lane(self) -> usize {
        (self.0 >> 4) as usize & 31
    }

    /// The same of another warp.
    pub(super) fn with_warp(self, warp: u32) -> Record {
        Record(self.0 & !(31 << 9) | u64::from(warp) << 9)
    }

    /// The same of another lane.
    pub(super) fn with_lane(self, lane: usize) -> Record {
        Record(self.0 & !(31 << 4) | (lane as u64) << 4)
    }

    /// The bytes, a bit each.
    #[inline]
    pub(super) fn bytes(self) -> u8 {
        self.0 as u8 & 15
    }
}

/// The words that `bytes` at `address` touch: each word's address by four, and its touched bytes.
#[inline]
pub(super) fn words(address: u64, bytes: u32) -> impl Iterator<Item = (u64, u8)> {
    let end = address + u64::from(bytes);
    (address / 4..end.div_ceil(4)).map(move |word| {
        let from = address.saturating_sub(word * 4);
        let to = (end - word * 4).min(4);
        (word, (15_u8 << from) & (15 >> (4 - to)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_parts() {
        let actor = Actor {
            time: u32::MAX,
            pc: LAST_PC - 1,
            warp: 31,
        };
        let record = actor.record().of(17, 0b1010);
        assert_eq!(record.time(), u32::MAX);
        assert_eq!(record.pc(), Some(LAST_PC - 1));
        assert_eq!((record.warp(), record.lane()), (31, 17));
        assert_eq!(record.bytes(), 0b1010);
        let far = Actor {
            pc: u32::MAX,
            ..actor
        };
        assert_eq!(far.record().pc(), None);
    }

    #[test]
    fn accesses_touch_words() {
        let touched = |address, bytes| words(address, bytes).collect::<Vec<_>>();
        assert_eq!(touched(8, 4), [(2, 15)]);
        assert_eq!(touched(10, 2), [(2, 0b1100)]);
        assert_eq!(touched(7, 1), [(1, 0b1000)]);
        assert_eq!(touched(16, 16), [(4, 15), (5, 15), (6, 15), (7, 15)]);
        assert_eq!(touched(16, 7), [(4, 15), (5, 0b0111)]);
    }
}
