//! Kernels in PTX, run by the interpreter without the driver.

mod control;
mod conversions;
mod counters;
mod faults;
mod floats;
mod halves;
mod integers;
mod matrices;
mod programs;
mod support;
