//! Which codes the driver gives for mistakes, each made in a process of its own.
//!
//! Some hand the driver pointers and handles that it must refuse; what it does instead can only
//! harm that process.
#![allow(unsafe_code)]

use crate::driver::{Argument, Buffer, Device, Event, Function, Launch, Module, Stream, call};
use crate::error::{Error, Result};
use crate::process::{this_program, wait};
use crate::report::Report;
use crate::run::oldest;
use cudarc::driver::sys::{CUfunction_attribute, CUstreamCaptureMode};
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use std::{fs, mem, ptr};

/// What the mistakes are made with.
struct Lab {
    image: Vec<u8>,
    module: Module,
    /// Looked up and run before the mistake, as both may fail after it or in a capture.
    harmless: Function,
    stream: Stream,
    /// 4 KiB.
    out: Buffer,
}

/// Steps of a mistake with their results.
type Steps = Vec<(&'static str, Result<()>)>;

/// Makes one mistake.
type Mistake = fn(&Lab) -> Result<Steps>;

const MISTAKES: &[(&str, Mistake)] = &[
    ("none", |lab| lab.shaped(one_warp())),
    ("read null", |lab| lab.read("read_at", 0)),
    ("read far beyond", |lab| {
        lab.read("read_at", lab.out.pointer + (1 << 40))
    }),
    ("read just beyond an allocation", |lab| {
        lab.read("read_at", lab.out.pointer + 4096)
    }),
    ("read 4 MiB beyond", |lab| {
        lab.read("read_at", lab.out.pointer + (4 << 20))
    }),
    ("write null", |lab| {
        lab.kernel("write_at", one_warp(), &[Argument::Wide(0)])
    }),
    ("write far beyond", |lab| {
        let address = lab.out.pointer + (1 << 40);
        lab.kernel("write_at", one_warp(), &[Argument::Wide(address)])
    }),
    ("read freed memory", |lab| {
        let freed = Buffer::new(64 << 20)?.pointer;
        lab.read("read_at", freed)
    }),
    ("read 4 bytes misaligned", |lab| {
        lab.read("read_at", lab.out.pointer + 2)
    }),
    ("read 16 bytes misaligned", |lab| {
        lab.read("read_16_bytes_at", lab.out.pointer + 4)
    }),
    ("shared, at the end", |lab| lab.shared(1024, 1020)),
    ("shared, just beyond", |lab| lab.shared(1024, 1024)),
    ("shared, 8 KiB beyond", |lab| lab.shared(1024, 9216)),
    ("shared, far beyond", |lab| lab.shared(1024, 1 << 20)),
    ("shared, misaligned", |lab| lab.shared(1024, 2)),
    ("local, far beyond", |lab| {
        let arguments = [Argument::Wide(1 << 30), (&lab.out).into()];
        lab.kernel("local_at", one_warp(), &arguments)
    }),
    ("trap", |lab| lab.kernel("trap", one_warp(), &[])),
    ("assert", |lab| lab.kernel("assert_fails", one_warp(), &[])),
    ("stack overflow", |lab| {
        let arguments = [Argument::Word(100_000), (&lab.out).into()];
        lab.kernel("deep_recursion", one_warp(), &arguments)
    }),
    ("64 KiB shared, not opted in", |lab| {
        lab.large_shared(None, 64 << 10)
    }),
    ("64 KiB shared, opted in", |lab| {
        lab.large_shared(Some(64 << 10), 64 << 10)
    }),
    ("227 KiB shared, opted in", |lab| {
        lab.large_shared(Some(227 << 10), 227 << 10)
    }),
    ("228 KiB shared attribute", |lab| {
        lab.large_shared(Some(228 << 10), 1024)
    }),
    ("1025 threads", |lab| lab.shaped(Launch::new(1, 1025))),
    ("0 threads", |lab| lab.shaped(Launch::new(1, 0))),
    ("0 blocks", |lab| lab.shaped(Launch::new(0, 32))),
    ("65536 blocks in y", |lab| {
        let launch = Launch {
            grid: (1, 65_536),
            block: 32,
            shared: 0,
        };
        lab.shaped(launch)
    }),
    ("too many registers", |lab| {
        let large = Buffer::new(4 * 200 * 1024)?;
        lab.kernel("many_registers", Launch::new(1, 1024), &[(&large).into()])
    }),
    ("no arguments", |lab| {
        let (none, stream) = (ptr::null_mut(), lab.stream.0);
        let launched = call!(cuLaunchKernel(
            lab.harmless.0,
            1,
            1,
            1,
            32,
            1,
            1,
            0,
            stream,
            none,
            none
        ));
        Ok(vec![
            ("launch", launched),
            ("synchronize", lab.stream.synchronize()),
        ])
    }),
    ("free twice", |_| {
        let buffer = mem::ManuallyDrop::new(Buffer::new(4096)?);
        let first = call!(cuMemFree_v2(buffer.pointer));
        Ok(vec![
            ("first", first),
            ("second", call!(cuMemFree_v2(buffer.pointer))),
        ])
    }),
    ("free an interior pointer", |lab| {
        Ok(vec![("free", call!(cuMemFree_v2(lab.out.pointer + 256)))])
    }),
    ("free null", |_| Ok(vec![("free", call!(cuMemFree_v2(0)))])),
    ("allocate nothing", |_| {
        Ok(vec![("allocate", Buffer::new(0).map(drop))])
    }),
    ("allocate 1 TiB", |_| {
        Ok(vec![("allocate", Buffer::new(1 << 40).map(drop))])
    }),
    ("copy beyond an allocation", |lab| {
        let bytes = vec![0u8; 64 << 20];
        let (source, size) = (bytes.as_ptr().cast(), bytes.len());
        Ok(vec![(
            "copy",
            call!(cuMemcpyHtoD_v2(lab.out.pointer, source, size)),
        )])
    }),
    ("copy to null", |_| {
        let word = 0u32;
        Ok(vec![(
            "copy",
            call!(cuMemcpyHtoD_v2(0, ptr::from_ref(&word).cast(), 4)),
        )])
    }),
    ("launch on a destroyed stream", |lab| {
        let stream = mem::ManuallyDrop::new(Stream::new()?);
        call!(cuStreamDestroy_v2(stream.0))?;
        Ok(vec![("launch", lab.launch_harmless(one_warp(), &stream))])
    }),
    ("launch from an unloaded module", |lab| {
        let module = mem::ManuallyDrop::new(Module::load(&lab.image)?);
        let function = module.function("harmless")?;
        call!(cuModuleUnload(module.0))?;
        Ok(vec![(
            "launch",
            function.launch(one_warp(), &lab.stream, &[(&lab.out).into()]),
        )])
    }),
    ("find a missing function", |lab| {
        Ok(vec![(
            "find",
            lab.module.function("no_such_kernel").map(drop),
        )])
    }),
    ("load garbage", |_| {
        Ok(vec![("load", Module::load(b"no module at all").map(drop))])
    }),
    ("load PTX of the future", |_| {
        let text = b".version 99.0\n.target sm_90\n.address_size 64\n";
        Ok(vec![("load", Module::load(text).map(drop))])
    }),
    ("synchronize in a capture", |lab| {
        lab.captured("synchronize the stream", || lab.stream.synchronize())
    }),
    ("synchronize the context in a capture", |lab| {
        lab.captured("synchronize the context", || call!(cuCtxSynchronize()))
    }),
    ("allocate in a capture", |lab| {
        lab.captured("allocate", || Buffer::new(1 << 20).map(drop))
    }),
    ("load in a capture", |lab| {
        lab.captured("load", || Module::load(&lab.image).map(drop))
    }),
    ("end no capture", |lab| {
        let mut graph = ptr::null_mut();
        Ok(vec![(
            "end",
            call!(cuStreamEndCapture(lab.stream.0, &mut graph)),
        )])
    }),
    ("an unrecorded event", |lab| {
        let (first, second) = (Event::new()?, Event::new()?);
        Ok(vec![
            ("wait in a stream", lab.stream.wait(&first)),
            ("query", call!(cuEventQuery(first.0))),
            ("synchronize", first.synchronize()),
            ("elapsed", second.since(&first).map(drop)),
        ])
    }),
];

fn one_warp() -> Launch {
    Launch::new(1, 32)
}

impl Lab {
    fn open(modules: &Path) -> Result<Lab> {
        let path = modules.join("faults.cubin");
        let image = fs::read(&path).map_err(|e| Error::io(&path, e))?;
        let module = Module::load(&image)?;
        let lab = Lab {
            harmless: module.function("harmless")?,
            image,
            module,
            stream: Stream::new()?,
            out: Buffer::new(4096)?,
        };
        lab.launch_harmless(one_warp(), &lab.stream)?;
        lab.stream.synchronize()?;
        Ok(lab)
    }

    fn launch_harmless(&self, at: Launch, stream: &Stream) -> Result<()> {
        self.harmless.launch(at, stream, &[(&self.out).into()])
    }

    /// Launches the harmless kernel in some other shape, and waits.
    fn shaped(&self, at: Launch) -> Result<Steps> {
        let launched = self.launch_harmless(at, &self.stream);
        Ok(vec![
            ("launch", launched),
            ("synchronize", self.stream.synchronize()),
        ])
    }

    /// Launches one kernel and waits for it.
    fn kernel(&self, name: &str, at: Launch, arguments: &[Argument]) -> Result<Steps> {
        let function = self.module.function(name)?;
        let launched = function.launch(at, &self.stream, arguments);
        Ok(vec![
            ("launch", launched),
            ("synchronize", self.stream.synchronize()),
        ])
    }

    fn read(&self, kernel: &str, address: u64) -> Result<Steps> {
        self.kernel(
            kernel,
            one_warp(),
            &[Argument::Wide(address), (&self.out).into()],
        )
    }

    /// A block with `bytes` of dynamic shared memory that accesses `offset`.
    fn shared(&self, bytes: u32, offset: u32) -> Result<Steps> {
        let launch = Launch {
            grid: (1, 1),
            block: 1,
            shared: bytes,
        };
        self.kernel(
            "shared_at",
            launch,
            &[Argument::Word(offset), (&self.out).into()],
        )
    }

    fn large_shared(&self, opt_in: Option<i32>, bytes: u32) -> Result<Steps> {
        let mut steps = Steps::new();
        if let Some(limit) = opt_in {
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let function = self.module.function("large_shared")?;
            steps.push((
                "set the attribute",
                function.set_attribute(attribute, limit),
            ));
        }
        let launch = Launch {
            grid: (1, 1),
            block: 256,
            shared: bytes,
        };
        steps.extend(self.kernel("large_shared", launch, &[(&self.out).into()])?);
        Ok(steps)
    }

    /// Calls `mistake` while the stream is captured in the strictest mode.
    fn captured(&self, name: &'static str, mistake: impl FnOnce() -> Result<()>) -> Result<Steps> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL;
        call!(cuStreamBeginCapture_v2(self.stream.0, mode))?;
        let made = mistake();
        let launched = self.launch_harmless(one_warp(), &self.stream);
        let mut graph = ptr::null_mut();
        let ended = call!(cuStreamEndCapture(self.stream.0, &mut graph));
        Ok(vec![
            (name, made),
            ("launch in the capture", launched),
            ("end the capture", ended),
        ])
    }
}

/// Makes the mistake called `name`, then harmless calls, and prints all codes as JSON.
///
/// # Errors
///
/// No such mistake, or what it is made with could not be had.
pub fn fault(name: &str, modules: &Path) -> Result<()> {
    let mistake = MISTAKES.iter().find(|(known, _)| *known == name);
    let (_, mistake) = mistake.ok_or_else(|| Error::Text(format!("no mistake {name}")))?;
    let _device = Device::open()?;
    let lab = Lab::open(&oldest(modules)?)?;
    let mut steps = mistake(&lab)?;
    steps.push(("then launch", lab.launch_harmless(one_warp(), &lab.stream)));
    steps.push(("then synchronize", lab.stream.synchronize()));
    steps.push(("then allocate", Buffer::new(4096).map(drop)));
    let codes: Vec<Value> = steps
        .iter()
        .map(|(step, result)| code(step, result))
        .collect();
    println!("{}", Value::Array(codes));
    Ok(())
}

fn code(step: &str, result: &Result<()>) -> Value {
    match result {
        Ok(()) => json!({ "step": step, "code": 0 }),
        Err(Error::Driver { code, name, .. }) => {
            json!({ "step": step, "code": code, "name": name })
        }
        Err(error) => json!({ "step": step, "error": error.to_string() }),
    }
}

/// Runs every mistake, a few at once, and collects what they print.
pub(crate) fn run(modules: &Path, report: &mut Report) -> Result<()> {
    for batch in MISTAKES.chunks(4) {
        let children: Vec<_> = batch.iter().map(|(name, _)| start(name, modules)).collect();
        for ((name, _), child) in batch.iter().zip(children) {
            report.add(name, child.and_then(outcome))?;
        }
    }
    Ok(())
}

fn start(name: &str, modules: &Path) -> Result<Child> {
    let mut command = this_program()?;
    command
        .args(["fault", name])
        .arg(modules)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().map_err(|e| Error::io(modules, e))
}

fn outcome(mut child: Child) -> Result<Value> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let outcome = wait(child, Duration::from_secs(10))?;
    // What a process prints here is far less than a pipe holds, so it can be read afterwards.
    let codes: Value = serde_json::from_str(&text(stdout)).unwrap_or(Value::Null);
    Ok(json!({ "process": outcome, "steps": codes, "messages": text(stderr) }))
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    // What was read before a failure is still worth having.
    let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
