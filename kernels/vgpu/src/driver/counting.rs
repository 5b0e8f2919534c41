//! Counting what launches do, and handing it out as JSON.
#![allow(unsafe_code)]

use super::DRIVER;
use super::abi::Out;
use super::code::Code;
use super::entry::enter;
use crate::count::{Counters, Coverage, CoveredLine};
use crate::{Fault, Gpu, Kernel, Launch};
use serde::Serialize;
use std::ffi::c_char;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was counted and not taken yet.
#[derive(Default)]
pub(super) struct Counting(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    on: bool,
    launches: Vec<Counters>,
    coverage: Vec<Coverage>,
}

impl Counting {
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a grid, counting if that is on.
    pub(super) fn launch(
        &self,
        gpu: &Gpu,
        kernel: &Arc<Kernel>,
        launch: &Launch<'_>,
    ) -> Result<(), Fault> {
        if !self.lock().on {
            return gpu.launch(kernel, launch).map(drop);
        }
        let counters = gpu.count(kernel, launch)?;
        let mut counted = self.lock();
        counted.coverage_of(kernel).add(&counters);
        counted.launches.push(counters);
        Ok(())
    }
}

impl Counted {
    fn coverage_of(&mut self, kernel: &Arc<Kernel>) -> &mut Coverage {
        let of = |coverage: &Coverage| Arc::ptr_eq(coverage.kernel(), kernel);
        let at = self.coverage.iter().position(of).unwrap_or_else(|| {
            self.coverage.push(Coverage::new(Arc::clone(kernel)));
            self.coverage.len() - 1
        });
        &mut self.coverage[at]
    }
}

/// A kernel's coverage as JSON has it.
#[derive(Serialize)]
struct KernelLines<'a> {
    kernel: &'a str,
    launches: u64,
    lines: Vec<CoveredLine>,
}

/// `CUresult gamutVgpuCount(int on)`: from now on, launches are counted when they run, or not.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuCount(on: std::ffi::c_int) -> Code {
    enter(|driver| {
        driver.counting.lock().on = on != 0;
        Ok(())
    })
}

/// `size_t gamutVgpuTakeCounters(char *buffer, size_t size)`: the
/// [`Counters`](crate::count::Counters) of the launches that ran while counting was on, in their
/// order, as a JSON array.
///
/// Returns how many bytes it takes without the zero behind it. If the buffer is not null and takes
/// them all, writes them there and forgets the launches.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuTakeCounters(buffer: Out<c_char>, size: usize) -> usize {
    take(buffer, size, |counted| {
        (json(&counted.launches), Counted::forget_launches)
    })
}

/// `size_t gamutVgpuTakeCoverage(char *buffer, size_t size)`: for every kernel that is loaded or
/// ran while counting was on, the lines of its PTX that have instructions and how many lanes ran
/// each, as a JSON array. The buffer is as in `gamutVgpuTakeCounters`.
#[unsafe(no_mangle)]
extern "C" fn gamutVgpuTakeCoverage(buffer: Out<c_char>, size: usize) -> usize {
    take(buffer, size, |counted| {
        let kernels: Vec<_> = counted
            .coverage
            .iter()
            .map(|coverage| KernelLines {
                kernel: coverage.kernel().name(),
                launches: coverage.launches(),
                lines: coverage.lines(),
            })
            .collect();
        (json(&kernels), Counted::forget_coverage)
    })
}

impl Counted {
    fn forget_launches(&mut self) {
        self.launches.clear();
    }

    fn forget_coverage(&mut self) {
        self.coverage.clear();
    }
}

/// Numbers and texts always have a JSON form.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Writes what `text` makes, and runs the function that it names once it was written in full.
fn take(
    buffer: Out<c_char>,
    size: usize,
    text: impl FnOnce(&mut Counted) -> (String, fn(&mut Counted)),
) -> usize {
    let Some(driver) = DRIVER.get() else {
        buffer.set_text("[]", size);
        return 2;
    };
    for kernel in driver.state().kernels() {
        driver.counting.lock().coverage_of(&kernel);
    }
    let mut counted = driver.counting.lock();
    let (text, forget) = text(&mut counted);
    buffer.set_text(&text, size);
    if buffer.check().is_ok() && size > text.len() {
        forget(&mut counted);
    }
    text.len()
}
