//! Exact counts of what a launch did.
//!
//! [`Gpu::count`](crate::Gpu::count) runs a grid as [`Gpu::launch`](crate::Gpu::launch) does and
//! gives its [`Counters`]: instructions by [`Class`], requests to global memory in sectors
//! ([`Requests`]), requests to shared memory in wavefronts ([`Wavefronts`]), operations of matrix
//! products by [`Product`], and barriers; of the launch and of every line of the PTX text.
//! [`Coverage`] adds launches up to the lines of a kernel that ran and those that did not.
//!
//! Everything is counted by address and by lane, and all sums are of integers, so counts are the
//! same whatever the number of threads. There are no caches and there is no clock.

mod banks;
mod class;
mod coverage;
mod report;
mod sectors;
mod tally;

pub use banks::Wavefronts;
pub(crate) use class::Kind;
pub use class::{Class, Product};
pub use coverage::{Coverage, CoveredLine};
pub use report::{Counters, Footprints, Line, Source};
pub use sectors::Requests;
pub use tally::Executed;
pub(crate) use tally::Tally;

/// Makes a structure of counts one that others can be added to.
macro_rules! merge {
    ($T:ty: $($field:ident),*) => {
        impl std::ops::AddAssign for $T {
            fn add_assign(&mut self, other: $T) {
                $(self.$field += other.$field;)*
            }
        }
    };
}
use merge;
