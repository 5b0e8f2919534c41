//! One step of the scheduler.

use super::clips::State;
use super::{Plan, Rows, Scheduler, Sequence, Unit};
use crate::prefix::Key;
use gamut_kernels::PAGE;

/// Rows of a step that a unit of hearing counts as.
const HEARING_ROWS: usize = 4 * PAGE;

/// What a step has left to give.
struct Budget {
    rows: usize,
    wanted: usize,
}

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
    /// Puts the next step into `plan`, and takes it for done: the positions of its rows count as
    /// computed from here on, and its draws as known tokens. [`Scheduler::commit`] follows when it
    /// really is.
    pub(crate) fn schedule(&mut self, plan: &mut Plan) {
        plan.clear();
        let mut left = Budget {
            rows: self.limits.max_num_batched_tokens,
            wanted: self.limits.max_wanted(),
        };
        self.schedule_generated(plan, &mut left);
        self.admit(plan);
        self.schedule_hearing(plan, &mut left);
        self.schedule_prompts(plan, &mut left);
        self.advance(plan);
    }

    /// A row for each newest token, then what preempted answers have to compute again.
    fn schedule_generated(&mut self, plan: &mut Plan, left: &mut Budget) {
        for again in [false, true] {
            let mut next = 0;
            while let Some(id) = self.running.get(next).copied() {
                next += 1;
                let pending = self.pending_rows(id);
                let room = if again {
                    left.rows.saturating_sub(PAGE)
                } else {
                    1
                };
                let rows = pending.min(room);
                if rows == 0 || (pending > 1) != again {
                    continue;
                }
                if !self.make_room(id, rows, plan) {
                    // It is no longer in this list, perhaps with others before it.
                    next = self
                        .running
                        .partition_point(|other| self.rank(*other) < self.rank(id));
                    continue;
                }
                next = 1 + self
                    .running
                    .iter()
                    .position(|other| *other == id)
                    .unwrap_or(next);
                let draws = usize::from(rows == pending);
                self.push_rows(plan, id, rows, draws);
                left.rows -= rows;
                left.wanted -= draws;
            }
        }
    }

    /// Generated rows of a running sequence that are not computed, if it may go on.
    fn pending_rows(&self, id: usize) -> usize {
        let sequence = &self.sequences[id];
        let entry = &self.jobs[sequence.job];
        let prompting = sequence.computed < entry.prompt.tokens;
        if prompting || entry.paused || sequence.known >= entry.most() {
            return 0;
        }
        sequence.known - sequence.computed
    }

    /// Adds rows behind those computed; the last `wanted` have logits, and the last of all draws if
    /// it is the newest position.
    fn push_rows(&mut self, plan: &mut Plan, id: usize, rows: usize, wanted: usize) {
        let sequence = &self.sequences[id];
        let prompt = self.jobs[sequence.job].prompt.tokens;
        plan.rows.push(Rows {
            sequence: id,
            start: sequence.computed,
            rows,
            generated: sequence.computed >= prompt,
            wanted,
            draws: 0..0,
            admission: sequence.admission,
        });
    }

    /// Gives a running sequence pages of its own for `rows` more positions. False if it has lost its
    /// pages instead.
    fn make_room(&mut self, id: usize, rows: usize, plan: &mut Plan) -> bool {
        let first = self.sequences[id].computed;
        for index in first / PAGE..(first + rows).div_ceil(PAGE) {
            let old = self.sequences[id].pages.get(index).copied();
            if old.is_some_and(|page| !self.pages.is_shared(page)) {
                continue;
            }
            let Some(page) = self.take_page(id, plan) else {
                self.preempt(id, plan);
                return false;
            };
            match old {
                Some(old) => {
                    plan.copies.push((old, page));
                    self.pages.release(old);
                    self.sequences[id].pages[index] = page;
                }
                None => self.sequences[id].pages.push(page),
            }
        }
        true
    }

    /// A page for a sequence, at the cost of one that ranks behind it.
    fn take_page(&mut self, id: usize, plan: &mut Plan) -> Option<u32> {
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

    /// The last of the waiting sequences that have pages, `after` another whose turn it is.
    fn last_holder(&self, after: Option<usize>) -> Option<usize> {
        let turn = after.map(|id| self.turn(id));
        let holds = |id: &&usize| !self.sequences[**id].pages.is_empty();
        let later = |id: &&usize| turn.is_none_or(|turn| self.turn(**id) > turn);
        let waiting = self.waiting.iter().filter(holds).filter(later);
        waiting.max_by_key(|id| self.rank(**id)).copied()
    }

    /// The running sequence that another may displace: a paused one, or the last of those that rank
    /// behind it, or have a lower priority.
    fn running_behind(&self, other: usize, lower_priority: bool) -> Option<usize> {
        let rank = self.rank(other);
        let behind = |id: &&usize| match lower_priority {
            true => self.rank(**id).0 > rank.0,
            false => self.rank(**id) > rank,
        };
        let paused = |id: &&usize| self.is_paused(**id) && **id != other;
        let last =
            |wanted: &dyn Fn(&&usize) -> bool| self.running.iter().rev().find(|id| wanted(id));
        last(&paused).or_else(|| last(&behind)).copied()
    }

    /// Whether a running sequence waits for its reader.
    fn is_paused(&self, id: usize) -> bool {
        let sequence = &self.sequences[id];
        let entry = &self.jobs[sequence.job];
        entry.paused && sequence.computed >= entry.prompt.tokens
    }

    /// Takes a sequence's pages, and its place among the running ones.
    fn preempt(&mut self, id: usize, plan: &mut Plan) {
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
    fn admit(&mut self, plan: &mut Plan) {
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
            let sequence = &self.sequences[*id];
            // Who waits for its reader would only wait elsewhere.
            let later = self.closed && sequence.admission == 0;
            if later || self.jobs[sequence.job].paused {
                continue;
            }
            match self.try_admit(*id, full, plan) {
                Admission::Admitted | Admission::Held => {}
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

    /// A unit of hearing for the first that lacks its audio.
    fn schedule_hearing(&mut self, plan: &mut Plan, left: &mut Budget) {
        if self.hearing.is_none() {
            self.hearing = self.next_to_hear();
        }
        let Some(clip) = self.hearing else { return };
        let Some(State::Hearing(unit)) = self.clips.state(&clip) else {
            return;
        };
        let units = self.clips.get(&clip).map_or(0, |clip| clip.units);
        if unit == units {
            // The last one is under way.
            return;
        }
        self.clips.set(&clip, State::Hearing(unit + 1));
        plan.hearing = Some(Unit { clip, unit, units });
        left.rows = left
            .rows
            .saturating_sub(HEARING_ROWS)
            .max(PAGE.min(left.rows));
    }

    /// The first clip that somebody lacks, if its samples are there and it finds room in the pool
    /// without taking the place of one that is needed before it.
    fn next_to_hear(&mut self) -> Option<Key> {
        let audio = |id: &usize| {
            let sequence = self.sequences.get(*id);
            sequence.map_or(&[][..], |sequence| &self.jobs[sequence.job].prompt.audio)
        };
        for id in &self.deaf {
            let loaded = |(clip, _): &&(Key, usize)| self.clips.state(clip) == Some(State::Loaded);
            let Some((clip, _)) = audio(id).iter().find(loaded) else {
                continue;
            };
            let clip = *clip;
            let turn = self.turn(*id);
            let before: Vec<Key> = (self
                .waiting
                .iter()
                .filter(|other| self.turn(**other) <= turn))
            .flat_map(audio)
            .map(|(clip, _)| *clip)
            .collect();
            if !self.clips.make_room(&clip, |clip| before.contains(clip)) {
                return None;
            }
            self.clips.set(&clip, State::Hearing(0));
            return Some(clip);
        }
        None
    }

    /// What is left of the step, for prompts in whole pages.
    fn schedule_prompts(&mut self, plan: &mut Plan, left: &mut Budget) {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        for id in &self.running {
            let Sequence { job, computed, .. } = self.sequences[*id];
            if computed < self.jobs[job].prompt.tokens {
                order.push((self.turn(*id), *id));
            }
        }
        order.sort_unstable();
        for (_, id) in &order {
            let sequence = &self.sequences[*id];
            let entry = &self.jobs[sequence.job];
            let (start, end) = (sequence.computed, entry.prompt.tokens);
            // What an answer has drawn it does not draw again.
            let again = sequence.known > end;
            let first_wanted = if again {
                end
            } else {
                entry.prompt.wanted.max(start)
            };
            let wanted = |to: usize| to.saturating_sub(first_wanted);
            let draws = match (again, entry.prompt.max_tokens) {
                (true, _) | (_, 0) => 0,
                _ => entry.job.samples,
            };
            // All draw from the logits of one row.
            let more = draws.saturating_sub(1);
            let mut to = end.min(start + left.rows);
            if wanted(to) > left.wanted || to == end && wanted(to) + more > left.wanted {
                to = to.min(first_wanted + left.wanted).min(end - 1);
            }
            if to < end {
                to = to / PAGE * PAGE;
            }
            if to <= start {
                continue;
            }
            let (rows, wanted) = (to - start, wanted(to));
            left.rows -= rows;
            left.wanted -= wanted + if to == end { more } else { 0 };
            self.push_rows(plan, *id, rows, wanted);
        }
        self.order = order;
    }

    /// Takes the plan for done.
    fn advance(&mut self, plan: &mut Plan) {
        for index in 0..plan.rows.len() {
            let Rows {
                sequence: id,
                rows,
                generated,
                ..
            } = plan.rows[index];
            let sequence = &mut self.sequences[id];
            let entry = &mut self.jobs[sequence.job];
            sequence.computed += rows;
            self.clients.charge(entry.client, rows, generated);
            let heard = entry
                .prompt
                .audio
                .last()
                .is_none_or(|(_, end)| *end <= sequence.computed);
            if heard && std::mem::take(&mut sequence.pinned) {
                for (clip, _) in &entry.prompt.audio {
                    self.clips.unpin(clip);
                }
            }
            let first = plan.draws.len();
            if sequence.computed == sequence.known && entry.prompt.max_tokens > 0 {
                sequence.known += 1;
                plan.draws.push(id);
                if !std::mem::replace(&mut entry.forked, true) {
                    self.fork(id, plan);
                }
            }
            plan.rows[index].draws = first..plan.draws.len();
        }
    }

    /// Makes a sequence of each further answer. They share the pages of the prompt.
    fn fork(&mut self, id: usize, plan: &mut Plan) {
        let job = self.sequences[id].job;
        for sample in 1..self.jobs[job].job.samples {
            let first = &self.sequences[id];
            let mut pages = Vec::with_capacity(first.pages.capacity());
            pages.extend_from_slice(&first.pages);
            pages.iter().for_each(|page| self.pages.share(*page));
            let running = self.running.len() < self.limits.max_num_seqs;
            self.admissions += 1;
            let sequence = Sequence {
                job,
                sample,
                known: first.known,
                computed: first.computed,
                pages,
                running,
                held: None,
                pinned: false,
                admission: self.admissions,
            };
            let new = self.sequences.insert(sequence);
            self.jobs[job].sequences.push(new);
            plan.draws.push(new);
            if running {
                let rank = self.rank(new);
                let place = self
                    .running
                    .partition_point(|other| self.rank(*other) < rank);
                self.running.insert(place, new);
            } else {
                self.waiting.push(new);
            }
        }
    }
}
