//! What the scheduler promises, one promise at a time.

use super::{BLOCK, Job, Limits, Overloaded, PAGE, Plan, Prompt, Scheduler, State};
use crate::prefix::Key;

struct Machine {
    scheduler: Scheduler,
    plan: Plan,
    prompts: u32,
}

impl Machine {
    fn new(pages: usize, max_num_seqs: usize) -> Machine {
        Machine::with_blocks(pages, max_num_seqs, 64)
    }

    fn with_blocks(pages: usize, max_num_seqs: usize, blocks: usize) -> Machine {
        let limits = Limits {
            pages,
            blocks,
            max_num_seqs,
            max_num_batched_tokens: max_num_seqs + 4 * PAGE,
            max_queued: 3,
        };
        Machine {
            scheduler: Scheduler::new(limits),
            plan: Plan::default(),
            prompts: 0,
        }
    }

    /// A prompt like no other.
    fn prompt(&mut self, tokens: usize) -> Prompt {
        self.prompts += 1;
        let page =
            |page: usize| Key::of(&[self.prompts, page as u32].map(u32::to_le_bytes).concat());
        Prompt {
            tokens,
            keys: (0..tokens / PAGE).map(page).collect(),
            wanted: tokens - 1,
            audio: Vec::new(),
            max_tokens: 1000,
        }
    }

    fn submit(&mut self, client: &str, priority: i32) -> Result<usize, Overloaded> {
        let samples = 1;
        self.scheduler.submit(client, Job { priority, samples })
    }

    fn ask(&mut self, client: &str, priority: i32, tokens: usize) -> usize {
        self.ask_about(&[], client, priority, tokens)
    }

    /// Asks behind some audio, each clip as long as a block.
    fn ask_about(&mut self, clips: &[Key], client: &str, priority: i32, tokens: usize) -> usize {
        let job = self.submit(client, priority).unwrap();
        let mut prompt = self.prompt(clips.len() * BLOCK + tokens);
        let ends = clips.iter().zip(1..);
        prompt.audio = ends.map(|(clip, end)| (*clip, end * BLOCK)).collect();
        self.scheduler.start(job, prompt);
        job
    }

    fn step(&mut self) -> &Plan {
        self.scheduler.schedule(&mut self.plan);
        self.scheduler.commit(&self.plan);
        &self.plan
    }

    /// Rows that a step has for a request.
    fn rows(&self, job: usize) -> usize {
        let of_job = self.plan.rows.iter().filter(|rows| {
            let sample = self.scheduler.sample_of(rows.sequence);
            sample.is_some_and(|(other, _)| other == job)
        });
        of_job.map(|rows| rows.rows).sum()
    }

    fn end(&mut self, job: usize) {
        self.scheduler.remove(job);
    }
}

#[test]
fn a_long_prompt_stalls_nobody() {
    let mut machine = Machine::new(200, 2);
    let talks = machine.ask("a", 0, 10);
    machine.step();
    let long = machine.ask("b", 0, 7_500);
    let mut steps = 0;
    let mut computed = 0;
    while computed < 7_500 {
        machine.step();
        assert_eq!(machine.rows(talks), 1);
        let rows = machine.rows(long);
        assert!(rows <= 4 * PAGE + 1, "{rows}");
        computed += rows;
        assert!(computed == 7_500 || rows.is_multiple_of(PAGE));
        steps += 1;
    }
    assert_eq!(steps, 7_500usize.div_ceil(4 * PAGE));
}

#[test]
fn a_song_that_is_heard_stalls_nobody() {
    let mut machine = Machine::new(200, 2);
    let talks = machine.ask("a", 0, 10);
    machine.step();
    let clip = Key::of(b"song");
    let units = 6;
    machine.scheduler.know_clip(clip, BLOCK, units, true);
    let job = machine.ask_about(&[clip], "b", 0, 20);
    // A unit a step, each once and in turn.
    for unit in 0..units {
        machine.step();
        assert_eq!((machine.rows(talks), machine.rows(job)), (1, 0));
        assert_eq!(machine.plan.hearing.unwrap().unit, unit);
    }
    assert_eq!(machine.scheduler.clip_state(&clip), Some(State::Heard));
    machine.step();
    assert_eq!((machine.rows(talks), machine.rows(job)), (1, BLOCK + 20));
    assert_eq!(machine.plan.hearing, None);
}

#[test]
fn a_client_with_many_requests_keeps_nobody_out() {
    let mut machine = Machine::new(100, 1);
    let many: Vec<usize> = (0..2).map(|_| machine.ask("many", 0, 100)).collect();
    machine.step();
    let one = machine.ask("one", 0, 100);
    machine.step();
    assert_eq!((machine.rows(many[0]), machine.rows(one)), (1, 0));
    machine.end(many[0]);
    // It came last, but its client has had nothing.
    machine.step();
    assert_eq!((machine.rows(many[1]), machine.rows(one)), (0, 100));
    machine.end(one);
    machine.step();
    assert_eq!(machine.rows(many[1]), 100);
}

#[test]
fn a_higher_priority_goes_first_and_takes_pages() {
    let mut machine = Machine::new(4, 2);
    let low = machine.ask("a", 0, 2 * PAGE + 1);
    let waits = machine.ask("a", 0, 2 * PAGE);
    machine.step();
    assert_eq!((machine.rows(low), machine.rows(waits)), (2 * PAGE + 1, 0));
    let high = machine.ask("b", 1, 3 * PAGE);
    machine.step();
    assert_eq!((machine.rows(low), machine.rows(high)), (0, 3 * PAGE));
    let stats = machine.scheduler.add_to(Default::default());
    assert_eq!((stats.preemptions, stats.running, stats.waiting), (1, 1, 2));
    machine.end(high);
    // The one that lost its pages goes on before the one that never had any: what is lost of its
    // prompt, which is not the first page, and then the token that it had drawn.
    machine.step();
    assert_eq!((machine.rows(low), machine.rows(waits)), (PAGE + 1, 0));
    assert!(machine.plan.draws.is_empty());
    machine.step();
    assert_eq!((machine.rows(low), machine.plan.draws.len()), (1, 1));
}

#[test]
fn too_many_requests_are_refused_until_some_have_begun() {
    let mut machine = Machine::new(100, 1);
    machine.ask("a", 0, 10);
    machine.step();
    for _ in 0..3 {
        machine.ask("a", 0, 10);
    }
    let (queued, most) = (3, 3);
    assert_eq!(machine.submit("b", 9), Err(Overloaded { queued, most }));
    let first = machine.scheduler.sample_of(machine.plan.rows[0].sequence);
    machine.end(first.unwrap().0);
    machine.step();
    assert!(machine.submit("b", 9).is_ok());
}

/// Readers may be slow for as long as they like, and may wait for others meanwhile.
#[test]
fn who_waits_for_a_reader_keeps_no_pages_from_others() {
    let mut machine = Machine::new(4, 2);
    // Two answers, of which there is room for one beside another's.
    let (client, priority, samples) = ("a", 0, 3);
    let job = Job { priority, samples };
    let paused = machine.scheduler.submit(client, job).unwrap();
    let prompt = machine.prompt(2 * PAGE);
    machine.scheduler.start(paused, prompt);
    machine.step();
    assert_eq!(machine.plan.draws.len(), 3);
    machine.scheduler.pause(paused, true);
    let other = machine.ask("b", 0, 4 * PAGE - 1);
    machine.step();
    assert_eq!(
        (machine.rows(paused), machine.rows(other)),
        (0, 4 * PAGE - 1)
    );
    machine.end(other);
    machine.scheduler.pause(paused, false);
    for _ in 0..3 {
        machine.step();
    }
    assert!(machine.rows(paused) > 0);
}

#[test]
fn who_waits_for_a_reader_keeps_no_room_for_audio_from_others() {
    let mut machine = Machine::with_blocks(8, 1, 1);
    let [first, second] = [b"1", b"2"].map(|name| Key::of(name));
    for clip in [first, second] {
        machine.scheduler.know_clip(clip, BLOCK, 1, true);
    }
    let paused = machine.ask_about(&[first], "a", 0, 1);
    machine.step();
    machine.step();
    assert_eq!(machine.rows(paused), BLOCK + 1);
    machine.scheduler.pause(paused, true);
    // It loses its pages, but would need its audio to compute them again.
    let high = machine.ask("b", 1, 8 * PAGE - 1);
    machine.step();
    assert_eq!(machine.rows(high), 4 * PAGE);
    machine.end(high);
    let other = machine.ask_about(&[second], "c", 0, 1);
    machine.step();
    assert_eq!(machine.plan.hearing.map(|unit| unit.clip), Some(second));
    machine.step();
    assert_eq!(machine.rows(other), BLOCK + 1);
    assert_eq!(machine.scheduler.clip_state(&first), Some(State::Known));
}

#[test]
fn a_clip_that_a_request_has_is_not_forgotten() {
    let mut machine = Machine::new(8, 1);
    let clip = Key::of(b"song");
    machine.scheduler.know_clip(clip, BLOCK, 1, false);
    let job = machine.ask_about(&[clip], "a", 0, 1);
    for other in 0..5_000u32 {
        let other = Key::of(&other.to_le_bytes());
        machine.scheduler.know_clip(other, BLOCK, 1, false);
    }
    let [oldest, newest] = [0u32, 4_999].map(|other| Key::of(&other.to_le_bytes()));
    assert_eq!(machine.scheduler.clip_state(&oldest), None);
    assert_eq!(machine.scheduler.clip_state(&newest), Some(State::Known));
    machine.step();
    assert_eq!(machine.scheduler.next_load(), Some((job, Some(clip))));
}
