//! The CUDA driver API over the virtual GPU, exported under its C names.
//!
//! One device, whose work is deferred: a launch, an asynchronous copy or an event record joins a
//! [queue] and runs when somebody waits for it, in an order that respects streams, events
//! and the legacy default stream and nothing else. Work that nobody waits for does not run, so a
//! missing wait shows as a wrong result instead of working by luck. In a stream that
//! [captures](capture) the same calls make nodes of a [graph], whose launches join the
//! queue as operations again.
//!
//! A program that loads the shared library by its path before it first looks for the CUDA driver
//! gets this one: the library's name in the system's eyes is `libcuda.so`. `gamutVgpuVersion`,
//! `gamutVgpuGetLastFault` and `gamutVgpuConfigure` are its own additions, see [`report`], and so
//! are `gamutVgpuCount`, `gamutVgpuTakeCounters` and `gamutVgpuTakeCoverage`, see [`counting`], and
//! `gamutVgpuTrace`, `gamutVgpuMark` and `gamutVgpuTakeTrace`, see [`trace`].
//!
//! The C interface has no argument for a driver, so this module holds the crate's only global
//! state: the [`Driver`] that `cuInit` makes, and each thread's stack of current contexts.
#![allow(unsafe_code)]

mod abi;
mod attributes;
mod capture;
mod capture_calls;
mod code;
mod context;
mod copy;
mod counting;
mod device;
mod entry;
mod error;
mod event;
mod function;
mod graph;
mod graph_exec;
mod graph_node;
mod graph_update;
mod launch;
mod lookup;
mod memory;
mod module;
mod occupancy;
mod pointer;
mod pool;
mod queue;
mod refused;
mod report;
mod stream;
mod table;
mod trace;
mod work;

use crate::{Gpu, Options, Properties};
use capture::{Capture, CaptureId};
use code::Code;
use context::{Context, Primary};
use counting::Counting;
use event::Event;
use function::Function;
use graph::{Graph, Node};
use graph_exec::GraphExec;
use memory::Owner;
use module::LoadedModule;
use pool::Pool;
use queue::Queue;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use stream::Stream;
use table::{Handle, Table};
use trace::Trace;

/// The process's driver, once `cuInit` was called.
static DRIVER: OnceLock<Driver> = OnceLock::new();

/// The driver: the device and what was made on it.
///
/// Locks are taken in the order `running`, `state`.
struct Driver {
    gpu: Gpu,
    /// Held by the thread that runs deferred work or changes what that work may be using.
    running: Mutex<()>,
    state: Mutex<State>,
    /// What launches did, where that is counted. Locked last.
    counting: Counting,
    /// What happened, where that is traced. Locked last.
    trace: Trace,
}

/// What handles stand for, and the work that was not done yet.
struct State {
    contexts: Table<Context>,
    primary: Primary,
    streams: Table<Stream>,
    events: Table<Event>,
    modules: Table<LoadedModule>,
    functions: Table<Function>,
    pools: Table<Pool>,
    graphs: Table<Graph>,
    nodes: Table<Node>,
    execs: Table<GraphExec>,
    /// The captures that were begun and not ended.
    captures: BTreeMap<CaptureId, Capture>,
    last_capture: CaptureId,
    /// The memory that each context answers for, by its first address.
    owners: HashMap<u64, Owner>,
    queue: Queue,
    /// The last fault or load error, in full.
    last_fault: String,
    /// Calls that take memory up to the one that is refused, that one included; 0 if none is.
    until_refused: u64,
}

/// Proof that the holder may run work and free memory.
type Running<'a> = MutexGuard<'a, ()>;

impl Driver {
    fn new(options: Options) -> Driver {
        let mut pools = Table::new(6);
        let default_pool = pools.insert(Pool::default());
        let driver = Driver {
            gpu: Gpu::new(Properties::h100()),
            running: Mutex::new(()),
            state: Mutex::new(State {
                contexts: Table::new(1),
                primary: Primary::new(default_pool),
                streams: Table::new(2),
                events: Table::new(3),
                modules: Table::new(4),
                functions: Table::new(5),
                pools,
                graphs: Table::new(7),
                nodes: Table::new(8),
                execs: Table::new(9),
                captures: BTreeMap::new(),
                last_capture: 0,
                owners: HashMap::new(),
                queue: Queue::default(),
                last_fault: String::new(),
                until_refused: 0,
            }),
            counting: Counting::default(),
            trace: Trace::default(),
        };
        driver.configure(options);
        driver
    }

    /// How what is called from now on is run.
    fn configure(&self, options: Options) {
        self.gpu.configure(options);
        self.state().until_refused = options.refuse.map_or(0, NonZero::get);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Running<'_> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`running`](Self::running), unless another thread runs something.
    fn try_running(&self) -> Option<Running<'_>> {
        match self.running.try_lock() {
            Ok(running) => Some(running),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl State {
    /// Lets a call take memory, unless the options say that it finds none.
    fn grant_memory(&mut self) -> Result<(), Code> {
        let last = self.until_refused == 1;
        self.until_refused = self.until_refused.saturating_sub(1);
        if last {
            self.last_fault = "memory was refused, as the options say".to_owned();
            return Err(Code::OutOfMemory);
        }
        Ok(())
    }

    /// Marks a context as failed for good, and forgets the work that waits in it.
    fn fail(&mut self, context: Handle, code: Code, text: String) {
        if let Ok(context) = self.contexts.get_mut(context, Code::InvalidContext) {
            context.failed.get_or_insert(code);
        }
        for address in self.queue.forget(context) {
            self.owners.insert(address, Owner::new(context));
        }
        self.last_fault = text;
    }
}
