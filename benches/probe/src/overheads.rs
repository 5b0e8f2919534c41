//! What launches, graphs, events and allocations cost besides the work.

use crate::driver::{Buffer, Device, Event, Function, Launch, Module, Stream, median, time};
use crate::error::{Error, Result};
use crate::report::Report;
use crate::sources;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;

const LAUNCHES: usize = 10_000;
const NODES: usize = 1_000;

pub(crate) fn run(modules: &Path, report: &mut Report) -> Result<()> {
    let device = Device::open()?;
    let module = Module::open(modules, "measure")?;
    let stream = Stream::new()?;
    let one = Launch::new(1, 32);
    let full = Launch::new(132, 1024);
    report.add("launch, 1 block of 32", launches(&module, &stream, one))?;
    report.add(
        "launch, 132 blocks of 1024",
        launches(&module, &stream, full),
    )?;
    report.add(
        "launch, 3 arguments",
        launches_with_arguments(&module, &stream),
    )?;
    report.add("launch and synchronize", round_trips(&module, &stream))?;
    report.add("graph of 1,000 kernels", graph(&module, &stream, false))?;
    report.add(
        "graph of 1,000 dependent launches",
        graph(&module, &stream, true),
    )?;
    report.add(
        "stream of 1,000 dependent launches",
        dependent_stream(&module, &stream),
    )?;
    report.add("graph of 1 kernel", small_graph(&module, &stream))?;
    report.add("events", events(&stream))?;
    let synchronize = each("us per call", 10_000, || stream.synchronize());
    report.add("synchronize an idle stream", synchronize)?;
    let synchronize = each("us per call", 1_000, || device.synchronize());
    report.add("synchronize an idle context", synchronize)?;
    let word = Buffer::new(4)?;
    report.add(
        "upload 4 bytes",
        each("us per call", 2_000, || word.upload(&[1, 2, 3, 4])),
    )?;
    let download = each("us per call", 2_000, || word.download::<u32>(1).map(drop));
    report.add("download 4 bytes", download)?;
    let path = modules.join(format!("trivial_{}.cubin", sources::TARGET));
    let image = fs::read(&path).map_err(|e| Error::io(&path, e))?;
    let load = each("us per load and unload", 100, || {
        Module::load(&image).map(drop)
    });
    report.add("load a small cubin", load)?;
    for kibibytes in [4, 1024, 262_144] {
        let bytes = kibibytes << 10;
        let pair = each("us per pair", 100, || Buffer::new(bytes).map(drop));
        report.add(&format!("allocate and free {kibibytes} KiB"), pair)?;
    }
    Ok(())
}

/// Microseconds of wall time a call.
fn each(unit: &str, calls: usize, mut call: impl FnMut() -> Result<()>) -> Result<Value> {
    call()?;
    let start = Instant::now();
    for _ in 0..calls {
        call()?;
    }
    Ok(json!({ unit: start.elapsed().as_secs_f64() * 1e6 / calls as f64 }))
}

/// CPU time of queueing, and GPU time of kernels back to back.
fn launches(module: &Module, stream: &Stream, at: Launch) -> Result<Value> {
    let empty = module.function("empty")?;
    let batch = 500;
    let (mut queueing, mut passed) = (Vec::new(), Vec::new());
    for _ in 0..LAUNCHES / batch {
        let (start, end) = (Event::new()?, Event::new()?);
        start.record(stream)?;
        let clock = Instant::now();
        for _ in 0..batch {
            empty.launch(at, stream, &[])?;
        }
        queueing.push(clock.elapsed().as_secs_f32() * 1e6 / batch as f32);
        end.record(stream)?;
        stream.synchronize()?;
        passed.push(end.since(&start)? * 1e3 / batch as f32);
    }
    Ok(json!({ "CPU us": median(&queueing), "GPU us": median(&passed) }))
}

fn launches_with_arguments(module: &Module, stream: &Stream) -> Result<Value> {
    let (input, output) = (Buffer::new(16)?, Buffer::new(16)?);
    let copy = module.function("copy")?;
    let count = crate::driver::Argument::Wide(1);
    let arguments = [(&input).into(), (&output).into(), count];
    let value = each("CPU us", 500, || {
        copy.launch(Launch::new(1, 32), stream, &arguments)
    });
    stream.synchronize()?;
    value
}

fn round_trips(module: &Module, stream: &Stream) -> Result<Value> {
    let empty = module.function("empty")?;
    each("us", 1_000, || {
        empty.launch(Launch::new(1, 32), stream, &[])?;
        stream.synchronize()
    })
}

/// A thousand launches of a kernel that does nothing.
#[derive(Clone, Copy)]
struct Nodes {
    kernel: Function,
    dependent: bool,
}

impl Nodes {
    /// Runs them once too: a kernel that is not yet loaded cannot be captured.
    fn new(module: &Module, stream: &Stream, dependent: bool) -> Result<Nodes> {
        let name = if dependent {
            "empty_dependent"
        } else {
            "empty"
        };
        let nodes = Nodes {
            kernel: module.function(name)?,
            dependent,
        };
        nodes.queue(stream)?;
        stream.synchronize()?;
        Ok(nodes)
    }

    fn queue(self, stream: &Stream) -> Result<()> {
        let at = Launch::new(1, 32);
        (0..NODES).try_for_each(|_| {
            if self.dependent {
                self.kernel.launch_dependent(at, stream)
            } else {
                self.kernel.launch(at, stream, &[])
            }
        })
    }
}

fn graph(module: &Module, stream: &Stream, dependent: bool) -> Result<Value> {
    let nodes = Nodes::new(module, stream, dependent)?;
    let clock = Instant::now();
    let graph = stream.capture(|| nodes.queue(stream))?;
    let capture = clock.elapsed().as_secs_f64() * 1e3;
    graph.launch(stream)?;
    stream.synchronize()?;
    let mut calls = Vec::new();
    let times = time(stream, 20, |_| {
        let clock = Instant::now();
        graph.launch(stream)?;
        calls.push(clock.elapsed().as_secs_f32() * 1e6);
        Ok(())
    })?;
    Ok(json!({
        "capture and instantiate ms": capture,
        "launch call us": median(&calls),
        "GPU us per node": median(&times) * 1e3 / NODES as f32,
    }))
}

fn dependent_stream(module: &Module, stream: &Stream) -> Result<Value> {
    let nodes = Nodes::new(module, stream, true)?;
    let times = time(stream, 10, |_| nodes.queue(stream))?;
    Ok(json!({ "GPU us per kernel": median(&times) * 1e3 / NODES as f32 }))
}

fn small_graph(module: &Module, stream: &Stream) -> Result<Value> {
    let empty = module.function("empty")?;
    let graph = stream.capture(|| empty.launch(Launch::new(1, 32), stream, &[]))?;
    let call = each("launch call us", 500, || graph.launch(stream))?;
    stream.synchronize()?;
    let trip = each("us", 500, || {
        graph.launch(stream)?;
        stream.synchronize()
    })?;
    Ok(json!({ "launch call us": call["launch call us"], "launch and synchronize us": trip["us"] }))
}

/// The least difference of two events in a row, and what recording costs.
fn events(stream: &Stream) -> Result<Value> {
    let gaps = time(stream, 200, |_| Ok(()))?;
    let event = Event::new()?;
    let record = each("us", 1_000, || event.record(stream))?;
    stream.synchronize()?;
    let mut distinct: Vec<f32> = gaps.clone();
    distinct.sort_by(f32::total_cmp);
    distinct.dedup();
    Ok(json!({
        "record us": record["us"],
        "median gap us": median(&gaps) * 1e3,
        "distinct gaps us": distinct.iter().take(12).map(|ms| ms * 1e3).collect::<Vec<_>>(),
    }))
}
