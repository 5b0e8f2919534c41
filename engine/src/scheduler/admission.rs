//! Who has pages: whom the scheduler lets run, and who loses its pages to others.

use super::{Plan, Scheduler};
use crate::prefix::Key;
use gamut_kernels::PAGE;

/// What became of the attempt to admit a sequence.
enum Admission {
    Admitted,
    /// Another computes its prefix.
    Held,
    /// Its audio is not there.
    Deaf,
    /// There is no room.
    Full,
}

impl Scheduler {
    /// A page for a sequence, at the cost of one that ranks behind it.
    pub(super) fn take_page(&mut self, id: usize, plan: &mut Plan) -> Option<u32> {
        loop {
            // What is copied from in this step must not be copied to in the same.
            let mut sources = Vec::new();
            let page = loop {
                match self.pages.take() {
                    Some(page) if plan.copies.iter().any(|(from, _)| *from == page) => {
                        sources.push(page);
                    }
                    page => break page,
                }
            };
            sources
                .into_iter()
                .for_each(|page| self.pages.release(page));
            if page.is_some() {
                return page;
            }
            let victim = self
                .last_holder(None)
                .or_else(|| self.running_behind(id, false))?;
            self.preempt(victim, plan);
        }
    }

    /// The last of the waiting sequences that have pages, if `other` may have them: a paused one, or
    /// one whose turn comes later.
    fn last_holder(&self, other: Option<usize>) -> Option<usize> {
        let turn = other.map(|id| self.turn(id));
        let holds = |id: &&usize| !self.sequences[**id].pages.is_empty();
        let yields =
            |id: &&usize| self.is_paused(**id) || turn.is_none_or(|turn| self.turn(**id) > turn);
        let waiting = self.waiting.iter().filter(holds).filter(yields);
        waiting.max_by_key(|id| self.rank(**id)).copied()
    }

    /// The running sequence that another may displace: an idle one, or the last of those that rank
    /// behind it, or have a lower priority.
    fn running_behind(&self, other: usize, lower_priority: bool) -> Option<usize> {
        let rank = self.rank(other);
        let behind = |id: &&usize| match lower_priority {
            true => self.rank(**id).0 > rank.0,
            false => self.rank(**id) > rank,
        };
        let idle = |id: &&usize| self.is_idle(**id) && **id != other;
        let last =
            |wanted: &dyn Fn(&&usize) -> bool| self.running.iter().rev().find(|id| wanted(id));
        last(&idle).or_else(|| last(&behind)).copied()
    }

    /// Whether a running sequence does nothing: of who waits for its reader, the prompt is computed
    /// all the same.
    fn is_idle(&self, id: usize) -> bool {
        let sequence = &self.sequences[id];
        self.is_paused(id) && sequence.computed >= self.jobs[sequence.job].prompt.tokens
    }

    /// Takes a sequence's pages, and its place among the running ones.
    pub(super) fn preempt(&mut self, id: usize, plan: &mut Plan) {
        plan.drop_sequence(id, &self.sequences[id].pages);
        self.give_up_pages(id);
        let sequence = &mut self.sequences[id];
        if std::mem::take(&mut sequence.running) {
            self.running.retain(|other| *other != id);
            self.waiting.push(id);
            self.preemptions += 1;
        }
    }

    /// Gives a sequence's pages and audio back.
    pub(super) fn give_up_pages(&mut self, id: usize) {
        let sequence = &mut self.sequences[id];
        sequence.computed = 0;
        // The last first, since a prefix is of use without what follows it.
        while let Some(page) = sequence.pages.pop() {
            self.pages.release(page);
        }
        let entry = &self.jobs[sequence.job];
        if std::mem::take(&mut sequence.pinned) {
            for (clip, _) in &entry.prompt.audio {
                self.clips.unpin(clip);
            }
        }
        if sequence.running {
            for key in &entry.prompt.keys {
                if self.pending.get(key) == Some(&id) {
                    self.pending.remove(key);
                }
            }
        }
    }

    /// Lets waiting sequences run while there is room.
    pub(super) fn admit(&mut self, plan: &mut Plan) {
        self.deaf.clear();
        if self.waiting.is_empty() {
            return;
        }
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(self.waiting.iter().map(|id| (self.turn(*id), *id)));
        order.sort_unstable();
        let mut full = false;
        for (_, id) in &order {
            // Who waits for its reader would only wait elsewhere.
            let later = self.closed && self.sequences[*id].admission == 0;
            if later || self.is_paused(*id) {
                continue;
            }
            match self.try_admit(*id, full, plan) {
                Admission::Admitted => plan.admitted = true,
                Admission::Held => {}
                Admission::Deaf => self.deaf.push(*id),
                // Nobody overtakes it, or it might never find room.
                Admission::Full => full = true,
            }
        }
        self.order = order;
    }

    fn try_admit(&mut self, id: usize, full: bool, plan: &mut Plan) -> Admission {
        let sequence = &self.sequences[id];
        let entry = &self.jobs[sequence.job];
        let job = sequence.job;
        if sequence
            .held
            .is_some_and(|key| self.pending.contains_key(&key))
        {
            return Admission::Held;
        }
        let lacks = |(clip, end): &(Key, usize)| {
            // Audio in pages that are there is not needed.
            let pages = entry.reusable();
            let last = end
                .div_ceil(PAGE)
                .checked_sub(1)
                .and_then(|last| pages.get(last));
            !self.clips.is_heard(clip) && !last.is_some_and(|key| self.pages.holds(key))
        };
        if sequence.pages.is_empty() && entry.prompt.audio.iter().any(lacks) {
            return Admission::Deaf;
        }
        if entry.prompt.tokens == 0 {
            if !plan.heard.contains(&job) {
                plan.heard.push(job);
            }
            return Admission::Held;
        }
        if full {
            return Admission::Full;
        }
        let mut known = 0;
        if sequence.pages.is_empty() {
            let keys = entry.reusable();
            known = keys.iter().take_while(|key| self.pages.holds(key)).count();
            if let Some(key) = keys.get(known)
                && let Some(owner) = self.pending.get(key)
                && self.rank(*owner).0 <= self.rank(id).0
            {
                self.sequences[id].held = Some(*key);
                return Admission::Held;
            }
            let lacks =
                |(clip, end): &(Key, usize)| *end > known * PAGE && !self.clips.is_heard(clip);
            if entry.prompt.audio.iter().any(lacks) {
                return Admission::Deaf;
            }
        }
        if !self.find_room(id, known, plan) {
            return Admission::Full;
        }
        self.start_running(id, known);
        Admission::Admitted
    }

    /// Makes a place among the running ones, and the pages that a sequence lacks, available.
    fn find_room(&mut self, id: usize, known: usize, plan: &mut Plan) -> bool {
        loop {
            let sequence = &self.sequences[id];
            let keys = &self.jobs[sequence.job].prompt.keys[..known];
            if !keys.iter().all(|key| self.pages.holds(key)) {
                return false;
            }
            let left = keys.iter().filter(|key| self.pages.is_left(key)).count();
            let needed = sequence.known.div_ceil(PAGE) - sequence.pages.len() - known + left;
            // Those who run may each need a page soon.
            let pages = self.pages.available() >= needed + self.running.len();
            if pages && self.running.len() < self.limits.max_num_seqs {
                return true;
            }
            let holding = if pages {
                None
            } else {
                self.last_holder(Some(id))
            };
            match holding.or_else(|| self.running_behind(id, true)) {
                Some(victim) => self.preempt(victim, plan),
                None => return false,
            }
        }
    }

    /// Gives a sequence its pages, of which `known` are in the cache.
    fn start_running(&mut self, id: usize, known: usize) {
        self.waiting.retain(|other| *other != id);
        self.admissions += 1;
        let sequence = &mut self.sequences[id];
        let entry = &self.jobs[sequence.job];
        sequence.held = None;
        sequence.running = true;
        sequence.admission = self.admissions;
        if sequence.pages.is_empty() {
            let found = entry.prompt.keys[..known].iter();
            sequence
                .pages
                .extend(found.filter_map(|key| self.pages.find(key)));
            sequence.computed = known * PAGE;
            let more = sequence.known.div_ceil(PAGE) - known;
            sequence
                .pages
                .extend((0..more).filter_map(|_| self.pages.take()));
            for key in &entry.prompt.keys[known..] {
                self.pending.entry(*key).or_insert(id);
            }
            let last = entry.prompt.audio.last().map_or(0, |(_, end)| *end);
            sequence.pinned = last > sequence.computed;
            if sequence.pinned {
                for (clip, _) in &entry.prompt.audio {
                    self.clips.pin(clip);
                }
            }
        }
        let rank = self.rank(id);
        let place = self
            .running
            .partition_point(|other| self.rank(*other) < rank);
        self.running.insert(place, id);
    }
}
