//! The CPU: threads, vector instructions, and the loops that host implementations share.

pub(crate) mod cut;
pub(crate) mod fft;
pub(crate) mod math;
pub(crate) mod product;
pub(crate) mod simd;
pub(crate) mod softmax;
pub(crate) mod threads;
pub(crate) mod tiles;

pub use simd::Isa;

use crate::error::{Result, ensure};
use crate::weight::Weight;
use rayon::prelude::*;
use threads::Threads;

/// The host device: a pool of threads of its own and the widest vectors that the processor has.
#[derive(Debug)]
pub struct Host {
    threads: Threads,
    isa: Isa,
}

impl Host {
    /// A pool of `threads` threads, joined when the device is dropped; 0 takes one a core.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn new(threads: usize) -> Result<Host> {
        let fastest = Isa::available().into_iter().next().unwrap_or(Isa::Portable);
        Host::with_isa(threads, fastest)
    }

    /// As [`Host::new`], with one of [`Isa::available`]: the results are the same bits.
    ///
    /// # Errors
    /// If the processor does not have `isa`, or the threads cannot be started.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Host> {
        let available = Isa::available();
        let expected = format_args!("one of {available:?}");
        let found = format_args!("{isa:?}");
        ensure(
            "host",
            available.contains(&isa),
            "instruction set",
            found,
            expected,
        )?;
        Ok(Host {
            threads: Threads::start(threads)?,
            isa,
        })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads of the pool.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// Widens those of the weights that are in FP8, on all threads, rather than each when it is first
    /// read.
    pub fn widen(&self, weights: &[Weight]) {
        self.install(|| weights.par_iter().for_each(Weight::widen));
    }

    /// Runs `work` in the pool, so that its parallel iterators use these threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.install(work)
    }
}
