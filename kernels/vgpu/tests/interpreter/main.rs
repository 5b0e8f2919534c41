//! Kernels in PTX, run by the interpreter without the driver.

mod control;
mod faults;
mod floats;
mod integers;
mod matrices;
mod programs;
mod support;
