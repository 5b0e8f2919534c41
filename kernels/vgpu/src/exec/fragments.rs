//! A warp's lanes as fragments: groups that share a program counter.
//!
//! The fragment with the lowest program counter runs, and fragments that meet at one merge, so
//! lanes join again where their paths do. A fragment that has used up its turn lets the others run
//! ahead, which keeps a lane that spins from starving the lane that it waits for.

/// What a fragment is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Ready to run.
    Ready,
    /// Waiting at an instruction for other lanes of the warp.
    Together,
    /// Waiting for a barrier of the block to leave `phase`.
    Barrier { id: usize, phase: u64 },
}

/// Lanes that share a program counter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment {
    pub(crate) pc: u32,
    pub(crate) mask: u32,
    pub(crate) state: State,
}

/// The fragments that are not running.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    parked: Vec<Fragment>,
}

impl Fragments {
    /// Starts with one fragment at the first instruction.
    pub(crate) fn restart(&mut self, mask: u32) {
        self.parked.clear();
        self.park(0, mask, State::Ready);
    }

    pub(crate) fn park(&mut self, pc: u32, mask: u32, state: State) {
        if mask != 0 {
            self.parked.push(Fragment { pc, mask, state });
        }
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Fragment> {
        self.parked.iter_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fragment> {
        self.parked.iter()
    }

    /// Takes the fragment to run: the lowest ready one that lies at `from` or above, or else the
    /// lowest. Those at the same place join it.
    pub(crate) fn pick(&mut self, from: u32) -> Option<Fragment> {
        let ready = |f: &&Fragment| f.state == State::Ready;
        let ahead = self
            .parked
            .iter()
            .filter(ready)
            .map(|f| f.pc)
            .filter(|&pc| pc >= from)
            .min();
        let pc = ahead.or_else(|| self.parked.iter().filter(ready).map(|f| f.pc).min())?;
        Some(Fragment {
            pc,
            mask: self.join(pc),
            state: State::Ready,
        })
    }

    /// Takes all lanes that are ready or waiting for others at `pc`.
    pub(crate) fn join(&mut self, pc: u32) -> u32 {
        let mut mask = 0;
        self.parked.retain(|f| {
            let joins = f.pc == pc && !matches!(f.state, State::Barrier { .. });
            mask |= if joins { f.mask } else { 0 };
            !joins
        });
        mask
    }

    /// The lowest program counter at which a running fragment must look around.
    pub(crate) fn next_stop(&self) -> u32 {
        let waits = self
            .parked
            .iter()
            .filter(|f| !matches!(f.state, State::Barrier { .. }));
        waits.map(|f| f.pc).min().unwrap_or(u32::MAX)
    }
}
