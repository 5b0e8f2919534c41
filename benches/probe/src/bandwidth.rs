//! Bytes a second: on the device, and between it and the host.

use crate::driver::{
    Argument, Buffer, Device, Event, Function, Launch, Module, Pinned, Stream, median, time,
};
use crate::error::Result;
use crate::report::Report;
use cudarc::driver::sys::CUdevice_attribute;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

const GIB: usize = 1 << 30;
const HOST_BYTES: usize = 256 << 20;
const REPETITIONS: usize = 9;

/// What the device measurements share.
struct Bench {
    stream: Stream,
    read_once: Function,
    read_again: Function,
    copy: Function,
    multiprocessors: u32,
    sink: Buffer,
}

pub(crate) fn run(modules: &Path, report: &mut Report) -> Result<()> {
    let device = Device::open()?;
    let module = Module::open(modules, "measure")?;
    let count = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let bench = Bench {
        stream: Stream::new()?,
        read_once: module.function("read_once")?,
        read_again: module.function("read_again")?,
        copy: module.function("copy")?,
        multiprocessors: device.attribute(count as i32)? as u32,
        sink: Buffer::new(16)?,
    };
    let large = Buffer::new(4 * GIB)?;
    fill(&module, &bench.stream, &large, 1)?;
    report.add("read 4 GiB, cold", bench.best_read(&large, 4 * GIB))?;
    for mebibytes in [8, 16, 24, 32, 48, 64, 128] {
        let name = format!("read {mebibytes} MiB again and again");
        report.add(&name, bench.resident_read(&large, mebibytes << 20))?;
    }
    drop(large);
    let (source, target) = (Buffer::new(2 * GIB)?, Buffer::new(2 * GIB)?);
    fill(&module, &bench.stream, &source, 2)?;
    report.add("copy kernel 2+2 GiB", bench.best_copy(&source, &target))?;
    let copies = time(&bench.stream, REPETITIONS, |_| {
        target.copy_from(&source, &bench.stream)
    });
    report.add(
        "cuMemcpyDtoD 2+2 GiB",
        copies.map(|times| rate(4 * GIB, &times)),
    )?;
    let sets = time(&bench.stream, REPETITIONS, |_| {
        target.fill(0x5a, &bench.stream)
    });
    report.add("cuMemsetD8 2 GiB", sets.map(|times| rate(2 * GIB, &times)))?;
    host(&bench.stream, &source, report)
}

fn fill(module: &Module, stream: &Stream, buffer: &Buffer, seed: u32) -> Result<()> {
    let arguments = [
        buffer.into(),
        Argument::Wide(buffer.bytes as u64 / 16),
        Argument::Word(seed),
    ];
    module
        .function("fill_random")?
        .launch(Launch::new(4096, 256), stream, &arguments)?;
    stream.synchronize()
}

/// Median milliseconds as a rate.
fn rate(bytes: usize, milliseconds: &[f32]) -> Value {
    let middle = median(milliseconds);
    json!({ "GB/s": bytes as f64 / f64::from(middle) / 1e6, "ms": middle })
}

impl Bench {
    fn launch(&self, kernel: &Function, shape: (u32, u32), arguments: &[Argument]) -> Result<()> {
        let (blocks_each, threads) = shape;
        let launch = Launch::new(self.multiprocessors * blocks_each, threads);
        kernel.launch(launch, &self.stream, arguments)
    }

    /// The fastest of several launch shapes, and all of them.
    fn best(&self, bytes: usize, kernel: &Function, arguments: &[Argument]) -> Result<Value> {
        let mut tried = serde_json::Map::new();
        let mut best = 0.0;
        for shape in [
            (1, 1024),
            (2, 512),
            (2, 1024),
            (4, 512),
            (8, 256),
            (16, 256),
            (32, 256),
        ] {
            let run = |_| self.launch(kernel, shape, arguments);
            time(&self.stream, 2, run)?;
            let value = rate(bytes, &time(&self.stream, REPETITIONS, run)?);
            best = value["GB/s"].as_f64().unwrap_or_default().max(best);
            tried.insert(format!("{} blocks of {} each", shape.0, shape.1), value);
        }
        Ok(json!({ "best GB/s": best, "tried": tried }))
    }

    fn best_read(&self, buffer: &Buffer, bytes: usize) -> Result<Value> {
        self.best(
            bytes,
            &self.read_once,
            &self.read_arguments(buffer, bytes, 1),
        )
    }

    fn best_copy(&self, source: &Buffer, target: &Buffer) -> Result<Value> {
        let count = Argument::Wide(source.bytes as u64 / 16);
        self.best(
            2 * source.bytes,
            &self.copy,
            &[source.into(), target.into(), count],
        )
    }

    /// Twenty readings of the same bytes in one kernel: from L2, if they fit.
    fn resident_read(&self, buffer: &Buffer, bytes: usize) -> Result<Value> {
        const READINGS: u32 = 20;
        self.best(
            READINGS as usize * bytes,
            &self.read_again,
            &self.read_arguments(buffer, bytes, READINGS),
        )
    }

    fn read_arguments(&self, buffer: &Buffer, bytes: usize, readings: u32) -> [Argument; 4] {
        [
            buffer.into(),
            Argument::Wide(bytes as u64 / 16),
            Argument::Word(readings),
            (&self.sink).into(),
        ]
    }
}

/// Bytes a second from page-locked memory to the first device, whose context becomes current.
///
/// # Errors
/// If there is no device, or it fails.
pub fn pinned_upload() -> Result<f64> {
    let _device = Device::open()?;
    let (stream, device) = (Stream::new()?, Buffer::new(HOST_BYTES)?);
    let mut pinned = Pinned::new(HOST_BYTES)?;
    pinned.bytes_mut().fill(0x3c);
    let up = |_| device.upload_async(&pinned, 0, HOST_BYTES, &stream);
    let times = time(&stream, REPETITIONS, up)?;
    Ok(HOST_BYTES as f64 / f64::from(median(&times)) * 1e3)
}

fn host(stream: &Stream, device: &Buffer, report: &mut Report) -> Result<()> {
    let mut pinned = Pinned::new(2 * HOST_BYTES)?;
    pinned.bytes_mut().fill(0x3c);
    let up = |_| device.upload_async(&pinned, 0, HOST_BYTES, stream);
    let down = |_| device.download_async(&pinned, 0, HOST_BYTES, stream);
    let times = time(stream, REPETITIONS, up);
    report.add(
        "pinned host to device",
        times.map(|times| rate(HOST_BYTES, &times)),
    )?;
    let times = time(stream, REPETITIONS, down);
    report.add(
        "pinned device to host",
        times.map(|times| rate(HOST_BYTES, &times)),
    )?;
    let other = Stream::new()?;
    for (name, both_up) in [("up, two streams", true), ("up and down at once", false)] {
        let ready = Event::new()?;
        let done = Event::new()?;
        let times = time(stream, REPETITIONS, |_| {
            ready.record(stream)?;
            other.wait(&ready)?;
            device.upload_async(&pinned, 0, HOST_BYTES, stream)?;
            if both_up {
                device.upload_async(&pinned, HOST_BYTES, HOST_BYTES, &other)?;
            } else {
                device.download_async(&pinned, HOST_BYTES, HOST_BYTES, &other)?;
            }
            done.record(&other)?;
            stream.wait(&done)
        });
        report.add(
            &format!("pinned {name}"),
            times.map(|times| rate(2 * HOST_BYTES, &times)),
        )?;
    }
    let pageable = vec![0x3cu8; HOST_BYTES];
    let start = Instant::now();
    let uploaded = (0..4).try_for_each(|_| device.upload(&pageable));
    let milliseconds = start.elapsed().as_secs_f32() * 1e3 / 4.0;
    report.add(
        "pageable host to device",
        uploaded.map(|()| rate(HOST_BYTES, &[milliseconds])),
    )
}
