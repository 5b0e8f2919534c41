//! Every row of [`rows`](crate::rows) once, counted: what the virtual GPU knows of a launch instead
//! of its time.

use crate::error::Result;
use crate::ops::{Planned, plan};
use crate::options::{Options, recorded};
use crate::row::Bench;
use gamut_kernels::{Context, Counted, Counters, Counting};
use gamut_probe::report::Report;
use serde_json::{Value, json};

/// Counts one run.
struct Counts<'a> {
    counting: &'a Counting,
    launches: Vec<Counters>,
}

impl Bench for Counts<'_> {
    fn run(&mut self, _: &Context, operation: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        // What made the inputs is forgotten.
        self.counting.take()?;
        operation()?;
        self.launches = self.counting.take()?;
        Ok(())
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let device = options.open()?;
    let planned = plan(options, &device)?;
    let counting = Counting::start(&device)?;
    for Planned { row, plan, work } in &planned {
        let count = || -> Result<Value> {
            let cx = Context::new(&device, plan.workspace_peak())?;
            let mut counts = Counts {
                counting: &counting,
                launches: Vec::new(),
            };
            (row.body)(&cx, &mut counts)?;
            Ok(json_of(&Counted::new(&counts.launches, *work)))
        };
        report.add(&row.id, recorded(count()))?;
    }
    Ok(())
}

fn json_of(counted: &Counted) -> Value {
    let lanes = counted.instructions.values().map(|executed| executed.lanes);
    json!({
        "launches": counted.launches, "lane_instructions": lanes.sum::<u64>(),
        "barriers": counted.barriers, "matrix_operations": counted.matrix_operations,
        "moved_bytes": counted.global.moved(), "touched_bytes": counted.footprint.moved(),
        "operations": counted.work.operations, "bytes": counted.work.bytes,
        "products": counted.products(), "moved": counted.moved(), "touched": counted.touched(),
        "sectors": counted.sectors(), "wavefronts": counted.wavefronts(),
    })
}
