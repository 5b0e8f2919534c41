//! What a warp knows of other warps' progress (vector clocks).
//!
//! Times are numbers that a device never gives twice, and rise within a block. A warp takes a new
//! one whenever something that it did so far becomes known to others.

use crate::code::Strength;
use std::collections::HashMap;
use std::sync::Arc;

/// Warps of a block.
pub(super) const WARPS: usize = 32;

/// A time of each warp of a block.
type Times = [u32; WARPS];

/// What is known of other blocks, by their numbers.
type Others = Option<Arc<HashMap<u64, Times>>>;

/// The last time of each warp that is known to be over.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    pub(super) warps: Times,
    others: Others,
}

impl Clock {
    pub(super) fn join(&mut self, other: &Clock) {
        join_times(&mut self.warps, &other.warps);
        join_others(&mut self.others, &other.others);
    }

    /// Whether another block's warp is known to have passed `time`.
    pub(super) fn knows(&self, block: u64, warp: u32, time: u32) -> bool {
        let times = self.others.as_ref().and_then(|others| others.get(&block));
        times.is_some_and(|times| time <= times[warp as usize])
    }
}

fn join_times(to: &mut Times, from: &Times) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = (*to).max(*from);
    }
}

fn join_others(to: &mut Others, from: &Others) {
    let Some(from) = from else {
        return;
    };
    let Some(known) = to else {
        *to = Some(Arc::clone(from));
        return;
    };
    if Arc::ptr_eq(known, from) {
        return;
    }
    let known = Arc::make_mut(known);
    for (&block, times) in from.iter() {
        join_times(known.entry(block).or_default(), times);
    }
}

/// What a warp knows, what it has fenced and what it has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// What happened before all that it does from now on.
    pub(super) now: Clock,
    /// What happened before its last fence towards the block, and towards the device: strong writes
    /// hand it on.
    fenced: [Clock; 2],
    /// What strong reads have seen: a fence makes it part of `now`.
    seen: [Clock; 2],
}

impl Knowledge {
    /// Takes over what another knew, as at a barrier.
    pub(super) fn join(&mut self, other: &Knowledge) {
        self.now.join(&other.now);
        for scope in 0..2 {
            self.fenced[scope].join(&other.fenced[scope]);
            self.seen[scope].join(&other.seen[scope]);
        }
    }

    /// A fence of the warp.
    pub(super) fn fence(&mut self, strength: Strength) {
        let [block, device] = &self.seen;
        self.now.join(block);
        if strength == Strength::Device {
            self.now.join(device);
            self.fenced[1].join(&self.now);
        } else {
            join_times(&mut self.now.warps, &device.warps);
        }
        self.fenced[0].join(&self.now);
    }

    /// Hands on what was fenced, through a strong write of a warp of `block`.
    pub(super) fn publish(&self, block: u64, flag: &mut Flag) {
        let [narrow, wide] = &self.fenced;
        if wide.warps != [0; WARPS] {
            join_others(&mut flag.wide, &wide.others);
            let known = Arc::make_mut(flag.wide.get_or_insert_default());
            join_times(known.entry(block).or_default(), &wide.warps);
        }
        join_times(flag.narrow.entry(block).or_default(), &narrow.warps);
    }

    /// Whether there is anything to hand on.
    pub(super) fn has_fenced(&self) -> bool {
        self.fenced[0].warps != [0; WARPS]
    }

    /// Notes what a strong read by a warp of `block` saw.
    pub(super) fn see(&mut self, block: u64, flag: &Flag) {
        if let Some(times) = flag.narrow.get(&block) {
            join_times(&mut self.seen[0].warps, times);
        }
        if let Some(wide) = &flag.wide {
            if let Some(times) = wide.get(&block) {
                join_times(&mut self.seen[1].warps, times);
            }
            join_others(&mut self.seen[1].others, &flag.wide);
        }
    }
}

/// What strong writes to an address have handed on.
#[derive(Debug, Default)]
pub(super) struct Flag {
    /// By fences towards the block, for each block.
    narrow: HashMap<u64, Times>,
    /// By fences towards the device.
    wide: Others,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(warp: usize, time: u32) -> Knowledge {
        let mut knowledge = Knowledge::default();
        knowledge.now.warps[warp] = time;
        knowledge
    }

    #[test]
    fn a_flag_orders_blocks_only_between_two_fences() {
        let (mut writer, mut flag) = (at(3, 10), Flag::default());
        writer.publish(0, &mut flag);
        let mut reader = at(0, 20);
        reader.see(1, &flag);
        reader.fence(Strength::Device);
        assert!(!reader.now.knows(0, 3, 10), "nothing was fenced");
        writer.fence(Strength::Device);
        writer.publish(0, &mut flag);
        reader.see(1, &flag);
        assert!(!reader.now.knows(0, 3, 10), "nothing was acquired");
        reader.fence(Strength::Device);
        assert!(reader.now.knows(0, 3, 10) && !reader.now.knows(0, 3, 11));
        // What it knows goes on through it.
        let (mut second, mut third) = (Flag::default(), at(0, 30));
        reader.publish(1, &mut second);
        third.see(2, &second);
        third.fence(Strength::Device);
        assert!(third.now.knows(0, 3, 10) && third.now.knows(1, 0, 20));
    }

    #[test]
    fn a_fence_towards_the_block_orders_the_block_alone() {
        let (mut writer, mut flag) = (at(3, 10), Flag::default());
        writer.fence(Strength::Block);
        writer.publish(0, &mut flag);
        let (mut near, mut far) = (at(1, 5), at(1, 5));
        near.see(0, &flag);
        near.fence(Strength::Block);
        far.see(1, &flag);
        far.fence(Strength::Device);
        assert_eq!(near.now.warps[3], 10);
        assert!(!far.now.knows(0, 3, 10));
    }
}
