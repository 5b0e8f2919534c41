//! The counters of a launch.

use super::tally::Direction;
use super::{Class, Executed, Product, Requests, Tally, Wavefronts};
use crate::code::Program;
use crate::gpu::Launch;
use crate::module::Kernel;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a launch did.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// The kernel's name.
    pub kernel: String,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub dynamic_shared: u32,
    /// PTX instructions by class; classes that did not run are left out.
    pub instructions: BTreeMap<Class, Executed>,
    /// Operations of matrix products, 2 m n k for each warp's `mma`, by the operands' type.
    pub matrix_operations: BTreeMap<Product, u64>,
    /// Arrivals of warps at barriers of their block.
    pub barriers: u64,
    /// Loads from global memory, `cp.async` among them.
    pub loads: Requests,
    /// Stores to global memory.
    pub stores: Requests,
    /// Atomics on global memory.
    pub atomics: Requests,
    /// The global memory that was touched at all.
    pub footprint: Footprints,
    /// Accesses to shared memory of all kinds.
    pub shared: Wavefronts,
    /// By line of the PTX text, for the lines that ran.
    pub lines: Vec<Line>,
}

/// Sectors of 32 bytes that a launch touched, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Footprints {
    /// By loads or atomics.
    pub read_sectors: u64,
    /// By stores or atomics.
    pub written_sectors: u64,
}

/// The counts of a line of PTX.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// Line of the PTX text, from 1.
    pub ptx_line: u32,
    /// The line itself, trimmed.
    pub text: String,
    /// The CUDA source line.
    pub source: Option<Source>,
    /// How often its instructions ran.
    pub executed: Executed,
    /// Its requests to global memory.
    #[serde(skip_serializing_if = "is_default")]
    pub global: Requests,
    /// Its requests to shared memory.
    #[serde(skip_serializing_if = "is_default")]
    pub shared: Wavefronts,
}

/// Whether nothing was counted.
fn is_default<T: Default + PartialEq>(counts: &T) -> bool {
    *counts == T::default()
}

/// A line of the CUDA source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The file's path, as the compiler was told it.
    pub file: String,
    /// Line from 1.
    pub line: u32,
}

impl Line {
    /// A line of which nothing was counted.
    pub(crate) fn new(ptx_line: u32, text: &str, source: Option<Source>) -> Line {
        Line {
            ptx_line,
            text: text.to_owned(),
            source,
            executed: Executed::default(),
            global: Requests::default(),
            shared: Wavefronts::default(),
        }
    }
}

impl Counters {
    pub(crate) fn new(
        kernel: &Kernel,
        program: &Program,
        launch: &Launch<'_>,
        tally: &Tally,
    ) -> Counters {
        let mut all = Counters {
            kernel: kernel.name().to_owned(),
            grid: launch.grid,
            block: launch.block,
            dynamic_shared: launch.dynamic_shared,
            instructions: BTreeMap::new(),
            matrix_operations: BTreeMap::new(),
            barriers: 0,
            loads: Requests::default(),
            stores: Requests::default(),
            atomics: Requests::default(),
            footprint: Footprints {
                read_sectors: tally.read.sectors(),
                written_sectors: tally.written.sectors(),
            },
            shared: Wavefronts::default(),
            lines: kernel.lines(),
        };
        let origins = program.origins.iter().zip(&program.code);
        for ((origin, inst), entry) in origins.zip(&tally.entries) {
            let kind = origin.kind;
            if entry.executed.warps > 0 {
                *all.instructions.entry(kind.class).or_default() += entry.executed;
                if kind.class == Class::Barrier {
                    all.barriers += entry.executed.warps;
                }
                // Lanes: a product whose guard keeps the warp out does nothing.
                if let Some((product, operations)) = kind.product {
                    let warps = entry.executed.lanes / 32;
                    *all.matrix_operations.entry(product).or_default() +=
                        warps * u64::from(operations);
                }
            }
            match entry.direction {
                Some(Direction::Load) => all.loads += entry.global,
                Some(Direction::Store) => all.stores += entry.global,
                Some(Direction::Atomic) => all.atomics += entry.global,
                None => {}
            }
            all.shared += entry.shared;
            let found = all.lines.binary_search_by_key(&origin.line, |l| l.ptx_line);
            if let Some(line) = found.ok().and_then(|at| all.lines.get_mut(at)) {
                if inst.counts {
                    line.executed += entry.executed;
                }
                line.global += entry.global;
                line.shared += entry.shared;
            }
        }
        all.lines.retain(|line| line.executed.warps > 0);
        all
    }
}
