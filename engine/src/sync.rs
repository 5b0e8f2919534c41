//! What threads meet by. A model checker has its own in their place.

pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
