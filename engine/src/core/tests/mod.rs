//! Random traces on a runner that hashes what it is given.

mod fake;
mod steady;
mod traces;
