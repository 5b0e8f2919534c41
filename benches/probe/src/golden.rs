//! Runs the table of instructions and records what they return.

use crate::driver::{Argument, Buffer, Device, Function, Launch, Module, Stream};
use crate::error::Result;
use crate::instructions::{Group, Instruction, WARP};
use crate::report::Report;
use crate::sources;
use crate::tensors::Tensors;
use safetensors::Dtype;
use serde_json::json;
use std::path::Path;

/// Runs one group; its tensors go to `out/instructions_GROUP.safetensors`.
pub(crate) fn run(group: &Group, modules: &Path, out: &Path, report: &mut Report) -> Result<()> {
    let device = Device::open()?;
    let name = sources::instructions(group.name);
    let module = Module::open(modules, &name)?;
    let stream = Stream::new()?;
    let mut tensors = Tensors::of(&device)?;
    let mut failed = Vec::new();
    for row in &group.rows {
        let run = module
            .function(&row.name)
            .and_then(|kernel| outputs(row, &kernel, &stream));
        match run {
            Ok(outputs) => record(row, &outputs, &mut tensors),
            Err(error) => failed.push(format!("{}: {error}", row.name)),
        }
    }
    report.add("rows", Ok(json!(group.rows.len())))?;
    report.add("failed", Ok(json!(failed)))?;
    tensors.write(&out.join(format!("{name}.safetensors")))
}

fn outputs(row: &Instruction, kernel: &Function, stream: &Stream) -> Result<Vec<u32>> {
    let inputs = Buffer::from_slice(&row.inputs())?;
    let outputs = Buffer::new(4 * row.outputs * row.lanes())?;
    let scratch = Buffer::new(8 * row.lanes())?;
    // A word that no instruction writes would show.
    outputs.fill(0xcd, stream)?;
    let blocks = (row.lanes() / WARP) as u32;
    let arguments: [Argument; 3] = [(&inputs).into(), (&outputs).into(), (&scratch).into()];
    kernel.launch(Launch::new(blocks, WARP as u32), stream, &arguments)?;
    stream.synchronize()?;
    outputs.download(row.outputs * row.lanes())
}

fn record(row: &Instruction, outputs: &[u32], tensors: &mut Tensors) {
    let kept = row.recorded(outputs);
    let shape = [row.outputs, kept.len() / row.outputs];
    tensors.add(&row.name, Dtype::U32, &shape, &kept);
    if row.is_exhaustive() {
        let digests = row.digests(outputs);
        let shape = [row.outputs, digests.len() / row.outputs];
        tensors.add(
            &format!("{}.digests", row.name),
            Dtype::U64,
            &shape,
            &digests,
        );
    }
}
