//! The pages of the key-value cache: who owns them, and which contents can be found again.

use crate::prefix::Key;
use std::collections::HashMap;

/// Pages of a cache, counted. A page has any number of owners. One whose content was published stays
/// when the last owner leaves, to be found by its key, until another page is needed: of those, the
/// one left longest ago goes first.
#[derive(Debug)]
pub(crate) struct Pages {
    slots: Vec<Slot>,
    /// Pages that hold nothing, the next to be taken last.
    free: Vec<u32>,
    index: HashMap<Key, u32>,
    /// Ends of the list of pages that only the index knows, by when they were left.
    first_left: Option<u32>,
    last_left: Option<u32>,
    left: usize,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    owners: u32,
    key: Option<Key>,
    /// Neighbours in the list of left pages.
    before: Option<u32>,
    after: Option<u32>,
}

impl Pages {
    pub(crate) fn new(pages: usize) -> Pages {
        Pages {
            slots: vec![Slot::default(); pages],
            free: (0..pages as u32).rev().collect(),
            index: HashMap::with_capacity(pages),
            first_left: None,
            last_left: None,
            left: 0,
        }
    }

    /// Pages that nobody owns.
    pub(crate) fn available(&self) -> usize {
        self.free.len() + self.left
    }

    /// All pages.
    pub(crate) fn total(&self) -> usize {
        self.slots.len()
    }

    /// Pages whose content can be found.
    pub(crate) fn published(&self) -> usize {
        self.index.len()
    }

    /// A page of one's own, whose content is lost if it had one.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let page = match self.free.pop() {
            Some(page) => page,
            None => {
                let page = self.first_left?;
                self.unlink(page);
                self.forget(page);
                page
            }
        };
        self.slots[page as usize].owners = 1;
        Some(page)
    }

    /// Whether a page of this content is there.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.index.contains_key(key)
    }

    /// Becomes an owner of the page of this content.
    pub(crate) fn find(&mut self, key: &Key) -> Option<u32> {
        let page = *self.index.get(key)?;
        self.share(page);
        Some(page)
    }

    /// Whether nobody owns the page of this content, so that owning it makes one page fewer available.
    pub(crate) fn is_left(&self, key: &Key) -> bool {
        let owners = |page: &u32| self.slots[*page as usize].owners;
        self.index.get(key).map(owners) == Some(0)
    }

    /// One owner more.
    pub(crate) fn share(&mut self, page: u32) {
        if self.slots[page as usize].owners == 0 {
            self.unlink(page);
        }
        self.slots[page as usize].owners += 1;
    }

    /// Whether others own it too.
    pub(crate) fn is_shared(&self, page: u32) -> bool {
        self.slots[page as usize].owners > 1
    }

    /// One owner fewer.
    pub(crate) fn release(&mut self, page: u32) {
        let slot = &mut self.slots[page as usize];
        slot.owners -= 1;
        match (slot.owners, slot.key) {
            (0, Some(_)) => self.link(page),
            (0, None) => self.free.push(page),
            _ => {}
        }
    }

    /// Makes an owned page's content known. Of two with the same content the first is found.
    pub(crate) fn publish(&mut self, page: u32, key: Key) {
        let slot = &mut self.slots[page as usize];
        if slot.key.is_none() && !self.index.contains_key(&key) {
            slot.key = Some(key);
            self.index.insert(key, page);
        }
    }

    /// Forgets all contents: they are no longer what the model would compute.
    pub(crate) fn forget_all(&mut self) {
        self.index.clear();
        for slot in &mut self.slots {
            slot.key = None;
        }
        while let Some(page) = self.first_left {
            self.unlink(page);
            self.free.push(page);
        }
    }

    fn forget(&mut self, page: u32) {
        if let Some(key) = self.slots[page as usize].key.take() {
            self.index.remove(&key);
        }
    }

    /// Puts a page at the end of those left.
    fn link(&mut self, page: u32) {
        let before = self.last_left.replace(page);
        match before {
            Some(before) => self.slots[before as usize].after = Some(page),
            None => self.first_left = Some(page),
        }
        let slot = &mut self.slots[page as usize];
        (slot.before, slot.after) = (before, None);
        self.left += 1;
    }

    fn unlink(&mut self, page: u32) {
        let slot = &mut self.slots[page as usize];
        let (before, after) = (slot.before.take(), slot.after.take());
        match before {
            Some(before) => self.slots[before as usize].after = after,
            None => self.first_left = after,
        }
        match after {
            Some(after) => self.slots[after as usize].before = before,
            None => self.last_left = before,
        }
        self.left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u32) -> Key {
        Key::of(&n.to_le_bytes())
    }

    #[test]
    fn pages_are_found_until_they_are_needed() {
        let mut pages = Pages::new(3);
        let taken = [(); 3].map(|()| pages.take().unwrap());
        assert_eq!((taken, pages.take()), ([0, 1, 2], None));
        pages.publish(0, key(0));
        pages.publish(1, key(1));
        // The second of one content is not found, and holds nothing when it is left.
        pages.publish(2, key(1));
        assert_eq!(pages.find(&key(1)), Some(1));
        assert!(pages.is_shared(1));
        for page in [1, 2, 1, 0] {
            pages.release(page);
        }
        assert_eq!((pages.available(), pages.published()), (3, 2));
        // Found again: no longer the one left longest ago.
        assert!(pages.is_left(&key(1)));
        assert_eq!(pages.find(&key(1)), Some(1));
        pages.release(1);
        assert_eq!([(); 2].map(|()| pages.take()), [Some(2), Some(0)]);
        assert!(!pages.holds(&key(0)) && pages.holds(&key(1)));
        pages.forget_all();
        assert_eq!((pages.find(&key(1)), pages.available()), (None, 1));
    }

    proptest! {
        /// Any use of them leaves a page free, left or owned, and never two of these.
        #[test]
        fn pages_are_in_one_place(steps in prop::collection::vec((0u8..5, 0u32..8), 1..200)) {
            let mut pages = Pages::new(8);
            let mut owned: Vec<u32> = Vec::new();
            for (step, n) in steps {
                match step {
                    0 => owned.extend(pages.take()),
                    1 => owned.extend(pages.find(&key(n))),
                    2 if !owned.is_empty() => {
                        let page = owned.swap_remove(n as usize % owned.len());
                        pages.release(page);
                    }
                    3 if !owned.is_empty() => pages.publish(owned[n as usize % owned.len()], key(n)),
                    4 if n == 0 => pages.forget_all(),
                    _ => {}
                }
                let mut distinct = owned.clone();
                distinct.sort_unstable();
                distinct.dedup();
                prop_assert_eq!(pages.available(), 8 - distinct.len());
                prop_assert!(owned.iter().all(|page| !pages.free.contains(page)));
            }
            owned.into_iter().for_each(|page| pages.release(page));
            prop_assert_eq!([(); 9].map(|()| pages.take()).iter().flatten().count(), 8);
        }
    }
}
