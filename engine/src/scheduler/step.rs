//! What a step computes.

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
            // Who waits for a reader keeps nothing from others.
            let goes_before =
                |other: &&usize| !self.is_paused(**other) && self.turn(**other) <= turn;
            let before: Vec<Key> = (self.waiting.iter().filter(goes_before))
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
