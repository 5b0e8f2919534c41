//! The sixteen barriers of a block (`bar`, `barrier`).

/// How many there are.
pub(crate) const BARRIERS: usize = 16;

/// What `Inst::imm` of a barrier instruction holds.
pub(crate) mod action {
    /// Waits.
    pub(crate) const SYNC: u64 = 0;
    /// Only arrives.
    pub(crate) const ARRIVE: u64 = 1;
    /// Waits and counts predicates.
    pub(crate) const COUNT: u64 = 2;
    /// Waits and joins predicates by "and".
    pub(crate) const AND: u64 = 3;
    /// Waits and joins predicates by "or".
    pub(crate) const OR: u64 = 4;
    /// The action itself.
    pub(crate) const MASK: u64 = 7;
    /// Set where all lanes of a warp must arrive as one.
    pub(crate) const ALIGNED: u64 = 8;
    /// Set where the predicate is negated.
    pub(crate) const NEGATED: u64 = 16;
}

/// One barrier.
#[derive(Clone, Copy, Debug, Default)]
struct Barrier {
    /// Threads that arrived in this phase.
    threads: u32,
    /// The same with whole warps counted as 32.
    rounded: u32,
    /// Threads that it waits for; 0 for all of the block.
    expected: u32,
    /// Arrived threads whose predicate held.
    held: u32,
    /// How often it has opened.
    phase: u64,
    /// `threads` and `held` when it last opened.
    last: (u32, u32),
}

/// A block's barriers.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    all: [Barrier; BARRIERS],
    /// Threads of the block that have not exited.
    live: u32,
}

/// Lanes that arrive at a barrier as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) id: usize,
    /// Threads that the barrier waits for; 0 for all.
    pub(crate) expected: u32,
    pub(crate) threads: u32,
    /// Whether they are all that is left of their warp.
    pub(crate) whole_warp: bool,
    /// Threads whose predicate holds.
    pub(crate) held: u32,
}

impl Barriers {
    pub(crate) fn new(threads: u32) -> Barriers {
        Barriers {
            all: Default::default(),
            live: threads,
        }
    }

    /// Takes an arrival; returns the phase to wait out, or what is wrong with it.
    pub(crate) fn arrive(&mut self, arrival: Arrival) -> Result<u64, String> {
        let Some(barrier) = self.all.get_mut(arrival.id) else {
            return Err(format!("barrier {} of {BARRIERS}", arrival.id));
        };
        if !arrival.expected.is_multiple_of(32) {
            let expected = arrival.expected;
            return Err(format!(
                "a thread count of {expected}, not a multiple of 32"
            ));
        }
        if barrier.threads > 0 && barrier.expected != arrival.expected {
            return Err(format!(
                "barrier {} is waiting for {} threads, not {} (0: all)",
                arrival.id, barrier.expected, arrival.expected
            ));
        }
        let phase = barrier.phase;
        barrier.expected = arrival.expected;
        barrier.threads += arrival.threads;
        barrier.rounded += if arrival.whole_warp {
            32
        } else {
            arrival.threads
        };
        barrier.held += arrival.held;
        self.open(arrival.id);
        Ok(phase)
    }

    /// Takes the exit of threads, which no barrier waits for any more.
    pub(crate) fn exit(&mut self, threads: u32) {
        self.live -= threads;
        for id in 0..BARRIERS {
            self.open(id);
        }
    }

    fn open(&mut self, id: usize) {
        let barrier = &mut self.all[id];
        let complete = match barrier.expected {
            0 => barrier.threads >= self.live,
            expected => barrier.rounded >= expected,
        };
        if complete && barrier.threads > 0 {
            let last = (barrier.threads, barrier.held);
            *barrier = Barrier {
                phase: barrier.phase + 1,
                last,
                ..Barrier::default()
            };
        }
    }

    /// The threads that opened the barrier after `phase`, and how many of their predicates held;
    /// none while it is shut.
    pub(crate) fn opened(&self, id: usize, phase: u64) -> Option<(u32, u32)> {
        let barrier = self.all.get(id)?;
        (barrier.phase != phase).then_some(barrier.last)
    }

    /// What each barrier with arrivals is waiting for.
    pub(crate) fn explain(&self) -> String {
        let mut text = String::new();
        for (id, barrier) in self.all.iter().enumerate().filter(|(_, b)| b.threads > 0) {
            let expected = if barrier.expected == 0 {
                self.live
            } else {
                barrier.expected
            };
            text += &format!(
                "; barrier {id} has {} of {expected} threads",
                barrier.threads
            );
        }
        text
    }
}
