//! What a virtual GPU counted of some launches, beside what their contracts say.

use crate::Work;
use crate::cuda::{Counters, Executed, Footprint, Requests, Wavefronts};
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Counters of several launches in sum, and the work that contracts name for them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Counted {
    /// Kernels launched.
    pub launches: u64,
    /// PTX instructions by class.
    pub instructions: BTreeMap<String, Executed>,
    /// Operations of matrix products.
    pub matrix_operations: u64,
    /// Arrivals of warps at barriers.
    pub barriers: u64,
    /// Requests to global memory.
    pub global: Requests,
    /// Global memory touched, each sector once a launch.
    pub footprint: Footprint,
    /// Requests to shared memory.
    pub shared: Wavefronts,
    /// What the contracts say.
    pub work: Work,
}

impl Counted {
    /// Of these launches, for this work.
    pub fn new(launches: &[Counters], work: Work) -> Counted {
        let mut counted = Counted {
            work,
            ..Counted::default()
        };
        for launch in launches {
            counted.launches += 1;
            counted.add_instructions(&launch.instructions);
            counted.matrix_operations += launch.matrix_operations.values().sum::<u64>();
            counted.barriers += launch.barriers;
            counted.global += launch.global();
            counted.footprint += launch.footprint;
            counted.shared += launch.shared;
        }
        counted
    }

    fn add_instructions(&mut self, instructions: &BTreeMap<String, Executed>) {
        for (class, executed) in instructions {
            *self.instructions.entry(class.clone()).or_default() += *executed;
        }
    }

    /// Bytes moved between multiprocessors and cache for each byte of the contracts.
    pub fn moved(&self) -> Option<f64> {
        ratio(self.global.moved(), self.work.bytes)
    }

    /// Bytes touched, each once a launch, for each byte of the contracts.
    pub fn touched(&self) -> Option<f64> {
        ratio(self.footprint.moved(), self.work.bytes)
    }

    /// Sectors of global memory for each that requests need at least.
    pub fn sectors(&self) -> Option<f64> {
        self.global.ratio()
    }

    /// Wavefronts of shared memory for each that requests need at least.
    pub fn wavefronts(&self) -> Option<f64> {
        self.shared.ratio()
    }

    /// Operations of matrix products for each operation of the contracts, if there are any.
    pub fn products(&self) -> Option<f64> {
        let made = self.matrix_operations > 0;
        ratio(self.matrix_operations, self.work.operations).filter(|_| made)
    }
}

impl AddAssign<&Counted> for Counted {
    fn add_assign(&mut self, other: &Counted) {
        self.launches += other.launches;
        self.add_instructions(&other.instructions);
        self.matrix_operations += other.matrix_operations;
        self.barriers += other.barriers;
        self.global += other.global;
        self.footprint += other.footprint;
        self.shared += other.shared;
        self.work = self.work + other.work;
    }
}

/// `found` for each `of`, if there are any.
pub(crate) fn ratio(found: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| found as f64 / of as f64)
}
