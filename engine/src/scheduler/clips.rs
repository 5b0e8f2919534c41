//! Which audio the model has heard: its rows among the decoder's embeddings, in a pool of blocks.

use crate::prefix::Key;
use gamut_kernels::PAGE;
use std::collections::{BTreeSet, HashMap};

/// Rows of a block of the pool.
pub(crate) const BLOCK: usize = PAGE;

/// Clips of which no more than the length is kept.
const MOST_KNOWN: usize = 4096;

/// What is known of clips, and which blocks hold their rows.
#[derive(Debug)]
pub(crate) struct Clips {
    clips: HashMap<Key, Clip>,
    /// Blocks that hold nothing.
    free: Vec<u32>,
    clock: u64,
}

/// A clip.
#[derive(Debug)]
pub(crate) struct Clip {
    /// Rows of audio.
    pub(crate) rows: usize,
    /// Units of the work to hear it.
    pub(crate) units: usize,
    pub(crate) state: State,
    /// Blocks of the pool, once it is being heard.
    pub(crate) blocks: Vec<u32>,
    /// Who needs the blocks to stay.
    pins: usize,
    used: u64,
}

/// How far a clip is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Only its length is known.
    Known,
    /// Its samples are on their way.
    Loading,
    /// Its samples are there.
    Loaded,
    /// So many units of the work are done or under way.
    Hearing(usize),
    /// Its rows are in the pool.
    Heard,
}

impl Clips {
    /// A pool of so many blocks.
    pub(crate) fn new(blocks: usize) -> Clips {
        Clips {
            clips: HashMap::new(),
            free: (0..blocks as u32).rev().collect(),
            clock: 0,
        }
    }

    pub(crate) fn get(&self, clip: &Key) -> Option<&Clip> {
        self.clips.get(clip)
    }

    pub(crate) fn is_heard(&self, clip: &Key) -> bool {
        self.state(clip) == Some(State::Heard)
    }

    pub(crate) fn state(&self, clip: &Key) -> Option<State> {
        self.clips.get(clip).map(|clip| clip.state)
    }

    /// Blocks that all of some clips take, each counted once.
    pub(crate) fn blocks_of<'a>(&self, clips: impl IntoIterator<Item = &'a Key>) -> usize {
        let clips: BTreeSet<&Key> = clips.into_iter().collect();
        let clips = clips.into_iter().filter_map(|clip| self.get(clip));
        clips.map(|clip| clip.rows.div_ceil(BLOCK)).sum()
    }

    /// Notes a clip; whether its samples are there.
    pub(crate) fn insert(&mut self, key: Key, rows: usize, units: usize, loaded: bool) {
        self.clock += 1;
        let clock = self.clock;
        let clip = self.clips.entry(key).or_insert_with(|| Clip {
            rows,
            units,
            state: State::Known,
            blocks: Vec::new(),
            pins: 0,
            used: clock,
        });
        clip.used = clock;
        if loaded && matches!(clip.state, State::Known | State::Loading) {
            clip.state = State::Loaded;
        }
    }

    /// Whether so many are known that one should be forgotten.
    pub(crate) fn are_many(&self) -> bool {
        self.clips.len() > MOST_KNOWN
    }

    pub(crate) fn set(&mut self, clip: &Key, state: State) {
        if let Some(clip) = self.clips.get_mut(clip) {
            clip.state = state;
        }
    }

    /// Gives a clip its blocks, at the cost of clips that nobody has pinned or `keeps`, the least
    /// recently used first. False if there is no room.
    pub(crate) fn make_room(&mut self, clip: &Key, keeps: impl Fn(&Key) -> bool) -> bool {
        let Some(rows) = self.get(clip).map(|clip| clip.rows) else {
            return false;
        };
        let needed = rows.div_ceil(BLOCK);
        let idle = |(key, clip): &(&Key, &Clip)| {
            clip.state == State::Heard && clip.pins == 0 && !keeps(key)
        };
        let blocks = self
            .clips
            .iter()
            .filter(idle)
            .map(|(_, clip)| clip.blocks.len());
        if self.free.len() + blocks.sum::<usize>() < needed {
            return false;
        }
        while self.free.len() < needed {
            let oldest = self
                .clips
                .iter()
                .filter(idle)
                .min_by_key(|(_, clip)| clip.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                return false;
            };
            self.give_back(&oldest, State::Known);
        }
        let blocks = self.free.split_off(self.free.len() - needed);
        if let Some(clip) = self.clips.get_mut(clip) {
            clip.blocks = blocks;
        }
        true
    }

    /// Frees a clip's blocks; what is left of it is `state`.
    pub(crate) fn give_back(&mut self, clip: &Key, state: State) {
        if let Some(clip) = self.clips.get_mut(clip) {
            self.free.append(&mut clip.blocks);
            clip.state = state;
        }
    }

    /// Keeps a heard clip's rows, until it is unpinned as often.
    pub(crate) fn pin(&mut self, clip: &Key) {
        self.clock += 1;
        if let Some(clip) = self.clips.get_mut(clip) {
            clip.pins += 1;
            clip.used = self.clock;
        }
    }

    pub(crate) fn unpin(&mut self, clip: &Key) {
        if let Some(clip) = self.clips.get_mut(clip) {
            clip.pins -= 1;
        }
    }

    /// Forgets what was heard: the model would hear it otherwise now. Who has pinned a clip has to have
    /// it heard again.
    pub(crate) fn forget_all(&mut self) {
        for clip in self.clips.values_mut() {
            self.free.append(&mut clip.blocks);
            if matches!(clip.state, State::Hearing(_) | State::Heard) {
                clip.state = State::Known;
            }
        }
    }

    /// Blocks that hold something.
    pub(crate) fn used(&self) -> usize {
        self.clips.values().map(|clip| clip.blocks.len()).sum()
    }

    /// Forgets the clip used longest ago of those of which no more is known than the length, and
    /// that are not `wanted`.
    pub(crate) fn forget_one(&mut self, wanted: impl Fn(&Key) -> bool) {
        let known = |(key, clip): &(&Key, &Clip)| {
            clip.state == State::Known && clip.pins == 0 && !wanted(key)
        };
        let clips = self.clips.iter().filter(known);
        let oldest = clips.min_by_key(|(_, clip)| clip.used).map(|(key, _)| *key);
        if let Some(key) = oldest {
            self.clips.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_used_longest_ago_makes_room() {
        let mut clips = Clips::new(4);
        let [a, b, c, long] = [b"a", b"b", b"c", b"d"].map(|name| Key::of(name));
        let hear = |clips: &mut Clips, key: &Key, rows| {
            clips.insert(*key, rows, 3, true);
            let room = clips.make_room(key, |_| false);
            if room {
                clips.set(key, State::Heard);
            }
            room
        };
        assert!(hear(&mut clips, &a, 2 * BLOCK));
        assert!(hear(&mut clips, &b, BLOCK + 1));
        clips.pin(&a);
        // Nobody loses anything for what does not fit anyway.
        assert!(!hear(&mut clips, &long, 4 * BLOCK) && clips.is_heard(&b));
        assert!(hear(&mut clips, &c, 2 * BLOCK));
        assert_eq!(clips.state(&b), Some(State::Known));
        clips.unpin(&a);
        assert!(!clips.make_room(&b, |_| true));
        assert!(clips.make_room(&b, |key| *key == c));
        assert!(clips.is_heard(&c) && !clips.is_heard(&a));
        assert_eq!(clips.used(), 4);
    }
}
