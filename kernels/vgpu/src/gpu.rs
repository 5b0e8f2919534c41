//! The device: properties, memory and launches.

use crate::code::Program;
use crate::count::{Counters, Tally};
use crate::exec::checks::{GridChecks, Times};
use crate::exec::{self, Broken, Grid, Ran};
use crate::fault::{Fault, FaultKind, Party};
use crate::memory::Memory;
use crate::module::Kernel;
use crate::options::{Options, Schedule};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// What the device says of itself, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Its name.
    pub name: String,
    /// Major and minor compute capability.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Most threads of a block.
    pub max_threads: u32,
    /// Most threads along each side of a block.
    pub max_block: [u32; 3],
    /// Most blocks along each side of a grid.
    pub max_grid: [u32; 3],
    /// Registers of a multiprocessor, which a block may have for itself.
    pub registers: u32,
    /// Most shared memory of a block that opts in, in bytes.
    pub max_shared: u32,
    /// Size of the device memory, in bytes.
    pub memory_bytes: usize,
    /// Warp instructions that a block may run before the launch is given up.
    pub step_limit: u64,
}

impl Properties {
    /// Those of an H100 SXM (compute capability 9.0; CUDA C++ Programming Guide, "Compute
    /// Capabilities"), with 16 GiB of memory.
    pub fn h100() -> Properties {
        Properties {
            name: "Gamut virtual GPU (sm_90)".to_owned(),
            compute_capability: (9, 0),
            multiprocessors: 132,
            max_threads: 1024,
            max_block: [1024, 1024, 64],
            max_grid: [i32::MAX as u32, 65_535, 65_535],
            registers: 65_536,
            max_shared: 227 * 1024,
            memory_bytes: 16 << 30,
            step_limit: 1 << 33,
        }
    }
}

/// A virtual GPU.
#[derive(Debug)]
pub struct Gpu {
    properties: Properties,
    memory: Arc<Memory>,
    options: Mutex<Options>,
    /// Gives the checks' warps their times.
    times: Times,
    /// The worker threads, started by the first launch; none where the system refuses threads.
    workers: OnceLock<Option<ThreadPool>>,
}

/// A grid to run.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub dynamic_shared: u32,
    /// The parameters' bytes, laid out as [`Kernel::params`] says.
    pub params: &'a [u8],
}

/// What a launch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Instructions, counted once for each lane that ran them.
    pub instructions: u64,
    /// Instructions, counted once a warp.
    pub warp_instructions: u64,
}

impl Gpu {
    /// A device with the given properties and the default options.
    pub fn new(properties: Properties) -> Gpu {
        let memory = Arc::new(Memory::new(properties.memory_bytes));
        let gpu = Gpu {
            properties,
            memory,
            options: Mutex::default(),
            times: Times::new(),
            workers: OnceLock::new(),
        };
        gpu.configure(Options::default());
        gpu
    }

    /// How launches are run from now on.
    ///
    /// Reads of bytes that nobody wrote are found in memory that is allocated while checks are on,
    /// and no more once a launch ran without them.
    pub fn configure(&self, options: Options) {
        if options.checks {
            self.memory.track();
        }
        *self.options.lock().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// How launches are run.
    pub fn options(&self) -> Options {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn shared_memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// What the device says of itself.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Runs a grid to its end, as the [options](Self::options) say.
    ///
    /// # Errors
    /// A [`Fault`] for a launch that the device refuses, an instruction that it does not support,
    /// or the first broken rule that was met. Memory then holds whatever was written by then.
    pub fn launch(&self, kernel: &Kernel, launch: &Launch<'_>) -> Result<Report, Fault> {
        let (ran, _) = self.run(kernel, program(kernel)?, launch, None)?;
        Ok(Report {
            instructions: ran.lanes,
            warp_instructions: ran.warps,
        })
    }

    /// As [`launch`](Self::launch), counting what the grid does, at some cost in time.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    pub fn count(&self, kernel: &Kernel, launch: &Launch<'_>) -> Result<Counters, Fault> {
        let program = program(kernel)?;
        let tally = Mutex::new(Tally::new(program.code.len()));
        let (_, tally) = self.run(kernel, program, launch, Some(tally))?;
        let tally = tally.unwrap_or_default().into_inner();
        let tally = tally.unwrap_or_else(PoisonError::into_inner);
        Ok(Counters::new(kernel, program, launch, &tally))
    }

    fn run(
        &self,
        kernel: &Kernel,
        program: &Program,
        launch: &Launch<'_>,
        tally: Option<Mutex<Tally>>,
    ) -> Result<(Ran, Option<Mutex<Tally>>), Fault> {
        let shared_end = self
            .check(kernel, program, launch)
            .map_err(|why| refusal(kernel, FaultKind::InvalidLaunch, why))?;
        self.check_registers(kernel, launch)
            .map_err(|why| refusal(kernel, FaultKind::OutOfResources, why))?;
        let options = self.options();
        if !options.checks {
            self.memory.lose_track();
        }
        let memory = self.memory.snapshot();
        let first = self.times.begin(|| {
            if let Some(shadow) = memory.shadow() {
                shadow.forget_cells();
            }
        });
        let grid = Grid {
            program,
            memory,
            params: launch.params,
            grid: launch.grid,
            block: launch.block,
            shared_end,
            dynamic_shared: launch.dynamic_shared,
            multiprocessors: self.properties.multiprocessors,
            step_limit: options.steps.map_or(self.properties.step_limit, |most| {
                most.min(self.properties.step_limit)
            }),
            start: Instant::now(),
            watched: options.checks || tally.is_some(),
            checks: options.checks.then(|| GridChecks::new(&self.times, first)),
            tally,
        };
        let run = || exec::run(&grid, options.schedule);
        let pool = self
            .workers
            .get_or_init(|| ThreadPoolBuilder::new().build().ok());
        let ran = match (pool, options.schedule) {
            (Some(pool), Schedule::Forward | Schedule::Reversed) => pool.install(run),
            _ => run(),
        };
        let ran = ran.map_err(|broken| fault(kernel, &grid, broken))?;
        Ok((ran, grid.tally))
    }

    /// Refuses blocks that need more registers than there are.
    fn check_registers(&self, kernel: &Kernel, launch: &Launch<'_>) -> Result<(), String> {
        let threads: u32 = launch.block.iter().product();
        let warps = threads.div_ceil(32);
        let (most, each) = (self.properties.registers, kernel.registers_of_warp());
        match each.map(|each| each * warps) {
            Some(needed) if needed > most => Err(format!(
                "{} registers a thread are {needed} for {threads} threads, at most {most}",
                kernel.registers()
            )),
            _ => Ok(()),
        }
    }

    /// Where shared memory ends, if the launch is within the device's limits.
    fn check(
        &self,
        kernel: &Kernel,
        program: &Program,
        launch: &Launch<'_>,
    ) -> Result<u32, String> {
        let limits = &self.properties;
        let sides = |extent: [u32; 3], limit: [u32; 3]| {
            extent
                .iter()
                .zip(limit)
                .all(|(&side, limit)| side > 0 && side <= limit)
        };
        let Launch {
            grid,
            block,
            dynamic_shared,
            params,
        } = *launch;
        if !sides(grid, limits.max_grid) {
            return Err(format!(
                "a grid of {grid:?} blocks, at most {:?}",
                limits.max_grid
            ));
        }
        if !sides(block, limits.max_block) {
            return Err(format!(
                "a block of {block:?} threads, at most {:?}",
                limits.max_block
            ));
        }
        let threads = block.iter().map(|&side| u64::from(side)).product::<u64>();
        let most = limits.max_threads.min(kernel.max_threads());
        if threads > most.into() {
            return Err(format!("{threads} threads in a block, at most {most}"));
        }
        if params.len() < kernel.param_bytes() {
            let (found, wanted) = (params.len(), kernel.param_bytes());
            return Err(format!("{found} bytes of parameters, not {wanted}"));
        }
        let start = u64::from(program.static_shared_end);
        let start = if dynamic_shared > 0 {
            start.next_multiple_of(u64::from(program.dynamic_align))
        } else {
            start
        };
        let end = start + u64::from(dynamic_shared);
        let used = u64::from(kernel.static_shared()) + u64::from(dynamic_shared);
        if used > limits.max_shared.into() {
            return Err(format!(
                "{used} bytes of shared memory, at most {}",
                limits.max_shared
            ));
        }
        Ok(end as u32)
    }
}

/// The kernel's program, or why it has none.
fn program(kernel: &Kernel) -> Result<&Program, Fault> {
    kernel.program().as_ref().map_err(|why| Fault {
        ptx_line: why.line,
        ..refusal(kernel, FaultKind::IllegalInstruction, why.to_string())
    })
}

fn refusal(kernel: &Kernel, kind: FaultKind, detail: String) -> Fault {
    Fault {
        kind,
        kernel: kernel.name().to_owned(),
        ptx_line: 0,
        cuda_source: None,
        block: [0; 3],
        thread: [0; 3],
        detail,
        other: None,
    }
}

fn fault(kernel: &Kernel, grid: &Grid<'_>, broken: Broken) -> Fault {
    let origin = |pc: u32| grid.program.origins.get(pc as usize);
    let line = |pc: u32| origin(pc).map_or(0, |origin| origin.line);
    let source = |pc: u32| {
        let source = origin(pc)?.source?;
        Some((kernel.file(source.file), source.line))
    };
    let [x, y, _] = grid.block;
    let thread = |number: u32| [number % x, number / x % y, number / x / y];
    let trouble = broken.trouble;
    let other = trouble.other.map(|other| {
        Box::new(Party {
            ptx_line: other.pc.map_or(0, line),
            cuda_source: other.pc.and_then(source),
            block: grid.position(other.block),
            thread: thread(other.thread),
        })
    });
    Fault {
        ptx_line: line(broken.pc),
        cuda_source: source(broken.pc),
        block: broken.block,
        thread: thread(broken.thread),
        other,
        ..refusal(kernel, trouble.kind, trouble.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Module;

    /// Blocks of 64 threads that copy a word each, through shared memory with conflicts in pairs.
    const TEXT: &str = "
        .version 9.0
        .target sm_90a
        .address_size 64
        .visible .entry k(.param .u64 out)
        {
            .reg .b32 %i, %b, %s;
            .reg .b64 %out, %at, %x;
            .shared .align 128 .b8 memory[512];
            ld.param.u64 %out, [out];
            mov.u32 %i, %tid.x;
            mov.u32 %b, %ctaid.x;
            mad.lo.u32 %b, %b, 64, %i;
            mad.wide.u32 %at, %b, 8, %out;
            ld.global.u64 %x, [%at];
            mov.u32 %s, memory;
            mad.lo.u32 %s, %i, 8, %s;
            st.shared.u32 [%s], %b;
            bar.sync 0;
            st.global.u64 [%at], %x;
            ret;
        }";

    #[test]
    fn counts_do_not_depend_on_the_number_of_threads() {
        let counts = [1, 2, 7].map(|threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            let gpu = Gpu {
                workers: OnceLock::from(pool.ok()),
                ..Gpu::new(Properties::h100())
            };
            gpu.configure(Options {
                checks: false,
                ..Options::default()
            });
            let module = Module::load(TEXT, &gpu).expect("a module");
            let kernel = module.kernel("k").expect("a kernel");
            let out = gpu.memory().allocate(96 * 64 * 8).expect("memory");
            let launch = Launch {
                grid: [96, 1, 1],
                block: [64, 1, 1],
                dynamic_shared: 0,
                params: &out.to_le_bytes(),
            };
            let counters = gpu.count(&kernel, &launch).expect("a launch");
            assert_eq!(counters.loads.sectors, 96 * 2 * 8);
            assert_eq!(counters.footprint.read_sectors, 96 * 16);
            assert_eq!(counters.shared.wavefronts, 96 * 2 * 2);
            assert_eq!(counters.barriers, 96 * 2);
            serde_json::to_string(&counters).expect("JSON")
        });
        assert_eq!(counts[0], counts[1]);
        assert_eq!(counts[0], counts[2]);
    }
}
