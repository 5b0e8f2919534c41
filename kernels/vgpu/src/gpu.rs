//! The device: properties, memory and launches.

use crate::code::Program;
use crate::count::{Counters, Tally};
use crate::exec::{Block, Broken, Grid, Ran};
use crate::fault::{Fault, FaultKind};
use crate::memory::Memory;
use crate::module::Kernel;
use rayon::prelude::*;
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
    /// A device with the given properties.
    pub fn new(properties: Properties) -> Gpu {
        let memory = Arc::new(Memory::new(properties.memory_bytes));
        Gpu {
            properties,
            memory,
            workers: OnceLock::new(),
        }
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

    /// Runs a grid to its end, blocks in parallel.
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
        let grid = Grid {
            program,
            memory: self.memory.snapshot(),
            params: launch.params,
            grid: launch.grid,
            block: launch.block,
            shared_end,
            dynamic_shared: launch.dynamic_shared,
            multiprocessors: self.properties.multiprocessors,
            step_limit: self.properties.step_limit,
            start: Instant::now(),
            watched: tally.is_some(),
            tally,
        };
        let ran = match self
            .workers
            .get_or_init(|| ThreadPoolBuilder::new().build().ok())
        {
            Some(pool) => pool.install(|| run(&grid)),
            None => run(&grid),
        };
        let ran = ran.map_err(|broken| fault(kernel, program, launch, broken))?;
        Ok((ran, grid.tally))
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

/// Runs all blocks on the current pool.
fn run(grid: &Grid<'_>) -> Result<Ran, Broken> {
    let [x, y, z] = grid.grid.map(u64::from);
    let position = |i: u64| [(i % x) as u32, (i / x % y) as u32, (i / x / y) as u32];
    (0..x * y * z)
        .into_par_iter()
        .map_init(Block::new, |block, i| block.run(grid, position(i)))
        .try_reduce(Ran::default, |a, b| {
            Ok(Ran {
                lanes: a.lanes + b.lanes,
                warps: a.warps + b.warps,
            })
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
    }
}

fn fault(kernel: &Kernel, program: &Program, launch: &Launch<'_>, broken: Broken) -> Fault {
    let origin = program.origins.get(broken.pc as usize);
    let [x, y, _] = launch.block;
    let thread = broken.thread;
    Fault {
        ptx_line: origin.map_or(0, |origin| origin.line),
        cuda_source: origin
            .and_then(|origin| origin.source)
            .map(|source| (kernel.file(source.file), source.line)),
        block: broken.block,
        thread: [thread % x, thread / x % y, thread / x / y],
        ..refusal(kernel, broken.trouble.kind, broken.trouble.detail)
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
