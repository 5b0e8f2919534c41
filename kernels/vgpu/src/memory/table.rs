//! The live allocations by address, and the last ones that were freed.

use super::{Allocation, Kind, MemoryError};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many freed allocations are remembered for explanations.
const REMEMBERED: usize = 4096;

/// Live allocations, ascending and without overlap, shared with the snapshots of running launches.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    live: Arc<Vec<Allocation>>,
    freed: Arc<VecDeque<Allocation>>,
}

impl Table {
    /// The live allocations, ascending.
    pub(super) fn live(&self) -> &[Allocation] {
        &self.live
    }

    pub(super) fn find(&self, address: u64) -> Option<Allocation> {
        let below = self.live.partition_point(|a| a.base <= address);
        let last = *self.live.get(below.checked_sub(1)?)?;
        last.holds(address, 1).then_some(last)
    }

    pub(super) fn insert(&mut self, new: Allocation) -> Result<(), MemoryError> {
        let at = self.live.partition_point(|a| a.base < new.base);
        let before = at.checked_sub(1).and_then(|i| self.live.get(i));
        let clash = before
            .filter(|a| a.end() > new.base)
            .or_else(|| self.live.get(at).filter(|a| a.base < new.end()));
        if let Some(other) = clash {
            return Err(MemoryError::Registered {
                base: new.base,
                bytes: new.bytes,
                other: other.base,
                other_bytes: other.bytes,
            });
        }
        Arc::make_mut(&mut self.live).insert(at, new);
        Ok(())
    }

    pub(super) fn remove(&mut self, base: u64, kind: Kind) -> Result<Allocation, MemoryError> {
        let at = self
            .live
            .binary_search_by_key(&base, |a| a.base)
            .ok()
            .filter(|&at| self.live.get(at).is_some_and(|a| a.kind == kind));
        let Some(at) = at else {
            return Err(MemoryError::NotAllocated {
                address: base,
                what: self.explain(base),
            });
        };
        let removed = Arc::make_mut(&mut self.live).remove(at);
        let freed = Arc::make_mut(&mut self.freed);
        if freed.len() == REMEMBERED {
            freed.pop_front();
        }
        freed.push_back(removed);
        Ok(removed)
    }

    /// Forgets which bytes were written.
    pub(super) fn lose_track(&mut self) {
        if self.live.iter().any(|a| a.tracked) {
            let live = Arc::make_mut(&mut self.live);
            live.iter_mut().for_each(|a| a.tracked = false);
        }
    }

    /// Where `address` lies, in words.
    pub(super) fn explain(&self, address: u64) -> String {
        if let Some(a) = self.find(address) {
            return format!("{} bytes into {}", grouped(address - a.base), describe(&a));
        }
        let gone = self.freed.iter().rev().find(|a| a.holds(address, 1));
        if let Some(a) = gone {
            let offset = grouped(address - a.base);
            return format!("{offset} bytes into {}, which was freed", describe(a));
        }
        let above = self.live.partition_point(|a| a.base <= address);
        let before = above.checked_sub(1).and_then(|i| self.live.get(i));
        let before = before.map(|a| (address - a.end(), "past the end", a));
        let after = self.live.get(above);
        let after = after.map(|a| (a.base - address, "before the start", a));
        let nearest = before.into_iter().chain(after);
        match nearest.min_by_key(|(distance, ..)| *distance) {
            Some((0, side, a)) => format!("just {side} of {}", describe(a)),
            Some((distance, side, a)) => {
                format!("{} bytes {side} of {}", grouped(distance), describe(a))
            }
            None => String::from("nothing is allocated"),
        }
    }
}

fn describe(a: &Allocation) -> String {
    let kind = match a.kind {
        Kind::Device => "an allocation",
        Kind::Pinned => "a pinned allocation",
        Kind::Registered => "a registered range",
    };
    let bytes = grouped(a.bytes as u64);
    format!("{kind} of {bytes} bytes at {:#x}", a.base)
}

/// A number with a comma before every third digit from the right.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
