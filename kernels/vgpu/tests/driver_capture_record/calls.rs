//! The driver's calls that the replay makes. What they give are the numbers that the script prints.

use cudarc::driver::CudaContext;
use cudarc::driver::sys::{self, CUevent, CUgraph, CUgraphExec, CUmodule, CUresult, CUstream};
use std::ffi::{c_uint, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Arc, OnceLock};

/// A `CUresult`.
pub(crate) type Code = u32;

/// A `CUstreamCaptureMode`, or a number that is none.
pub(crate) type Mode = u32;
pub(crate) const GLOBAL: Mode = 0;
pub(crate) const LOCAL: Mode = 1;
pub(crate) const RELAXED: Mode = 2;

/// The flags of streams, `CU_STREAM_DEFAULT` and `CU_STREAM_NON_BLOCKING`.
pub(crate) const BLOCKING: c_uint = 0;
pub(crate) const NON_BLOCKING: c_uint = 1;

/// The bytes of every allocation, copy and fill.
const BYTES: usize = 64;

const PTX: &str = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { ret; }\n\0";

/// Calls the driver.
macro_rules! call {
    ($function:ident($($argument:expr),*)) => {
        // SAFETY: handles are looked up, results have their places, texts end, sides of copies
        // have their sizes, and host functions read no data.
        unsafe { sys::$function($($argument),*) as Code }
    };
}

fn library() -> &'static libloading::Library {
    static LIBRARY: OnceLock<libloading::Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        // SAFETY: loading it runs no code of its own.
        unsafe { libloading::Library::new(test.with_file_name("libgamut_vgpu.so")) }.unwrap()
    })
}

/// Makes the primary context the thread's own. The library is loaded before cudarc looks for the
/// driver, which it then finds by its name.
pub(crate) fn bind() {
    static CONTEXT: OnceLock<Arc<CudaContext>> = OnceLock::new();
    let context = CONTEXT.get_or_init(|| {
        library();
        CudaContext::new(0).unwrap()
    });
    context.bind_to_thread().unwrap();
}

/// What a call gives on a thread of its own.
pub(crate) fn elsewhere<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            bind();
            call()
        });
        thread.join().unwrap()
    })
}

/// A stream.
#[derive(Clone, Copy)]
pub(crate) struct Stream(CUstream);

// SAFETY: the interface lets any thread use a stream.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

/// What `cuStreamGetCaptureInfo` says.
pub(crate) struct Info {
    pub(crate) code: Code,
    pub(crate) status: i32,
    pub(crate) graph: Graph,
    /// `deps`, or `deps null` for no list.
    pub(crate) list: &'static str,
    /// How many nodes the stream's next one depends on.
    pub(crate) count: usize,
}

impl Stream {
    pub(crate) const LEGACY: Stream = Stream(null_mut());

    /// A non-blocking one.
    pub(crate) fn new() -> Stream {
        Stream::with_flags(NON_BLOCKING)
    }

    pub(crate) fn with_flags(flags: c_uint) -> Stream {
        let mut stream = null_mut();
        assert_eq!(call!(cuStreamCreate(&mut stream, flags)), 0);
        Stream(stream)
    }

    pub(crate) fn destroy(self) -> Code {
        call!(cuStreamDestroy_v2(self.0))
    }

    pub(crate) fn begin(self, mode: Mode) -> Code {
        type Begin = unsafe extern "C" fn(CUstream, Mode) -> Code;
        // SAFETY: the symbol has this type but for the mode, which may be any number.
        unsafe {
            let begin = library().get::<Begin>(b"cuStreamBeginCapture_v2\0");
            begin.unwrap()(self.0, mode)
        }
    }

    /// The code, and what came of the graph's place.
    pub(crate) fn end(self) -> (Code, &'static str) {
        let untouched = std::ptr::without_provenance_mut(0xdead0);
        let mut graph = untouched;
        let code = call!(cuStreamEndCapture(self.0, &mut graph));
        let place = match graph {
            graph if graph.is_null() => "null",
            graph if graph == untouched => "untouched",
            _ => "graph",
        };
        (code, place)
    }

    pub(crate) fn end_without_place(self) -> Code {
        call!(cuStreamEndCapture(self.0, null_mut()))
    }

    /// The code, and the status or -1.
    pub(crate) fn status(self) -> (Code, i32) {
        let mut status = -1;
        let place = (&raw mut status).cast();
        (call!(cuStreamIsCapturing(self.0, place)), status)
    }

    pub(crate) fn info(self) -> Info {
        let (mut status, mut id, mut graph) = (0, 0, null_mut());
        let (mut nodes, mut edges, mut count) = (null(), null(), 0);
        let code = call!(cuStreamGetCaptureInfo_v3(
            self.0,
            (&raw mut status).cast(),
            &mut id,
            &mut graph,
            &mut nodes,
            &mut edges,
            &mut count
        ));
        Info {
            code,
            status,
            graph: Graph(graph),
            list: if nodes.is_null() { "deps null" } else { "deps" },
            count,
        }
    }

    /// Has the next node depend on nothing.
    pub(crate) fn clear_dependencies(self) -> Code {
        let set = 1;
        call!(cuStreamUpdateCaptureDependencies_v2(
            self.0,
            null_mut(),
            null(),
            0,
            set
        ))
    }

    /// A host function that does nothing.
    pub(crate) fn host(self) -> Code {
        unsafe extern "C" fn nothing(_: *mut c_void) {}
        call!(cuLaunchHostFunc(self.0, Some(nothing), null_mut()))
    }

    pub(crate) fn callback(self) -> Code {
        unsafe extern "C" fn nothing(_: CUstream, _: CUresult, _: *mut c_void) {}
        call!(cuStreamAddCallback(self.0, Some(nothing), null_mut(), 0))
    }

    pub(crate) fn record(self, event: Event) -> Code {
        call!(cuEventRecord(event.0, self.0))
    }

    pub(crate) fn record_external(self, event: Event) -> Code {
        call!(cuEventRecordWithFlags(event.0, self.0, 1))
    }

    pub(crate) fn wait(self, event: Event) -> Code {
        call!(cuStreamWaitEvent(self.0, event.0, 0))
    }

    pub(crate) fn wait_external(self, event: Event) -> Code {
        call!(cuStreamWaitEvent(self.0, event.0, 1))
    }

    pub(crate) fn synchronize(self) -> Code {
        call!(cuStreamSynchronize(self.0))
    }

    pub(crate) fn query(self) -> Code {
        call!(cuStreamQuery(self.0))
    }

    pub(crate) fn allocate(self) -> Code {
        call!(cuMemAllocAsync(&mut 0, BYTES, self.0))
    }

    pub(crate) fn fill(self, memory: Memory) -> Code {
        call!(cuMemsetD8Async(memory.0, 0, BYTES, self.0))
    }

    /// A kernel that does nothing.
    pub(crate) fn run(self, module: Module) -> Code {
        let (mut kernel, none) = (null_mut(), null_mut());
        let named = call!(cuModuleGetFunction(&mut kernel, module.0, c"k".as_ptr()));
        assert_eq!(named, 0);
        call!(cuLaunchKernel(
            kernel,
            1,
            1,
            1,
            32,
            1,
            1,
            0,
            self.0,
            none,
            null_mut()
        ))
    }

    pub(crate) fn fill_nothing(self, memory: Memory) -> Code {
        call!(cuMemsetD8Async(memory.0, 0, 0, self.0))
    }

    pub(crate) fn copy_nothing(self, memory: Memory) -> Code {
        call!(cuMemcpyDtoDAsync_v2(memory.0, memory.0, 0, self.0))
    }

    /// To pageable memory, which the copy has reached when the call returns.
    pub(crate) fn copy_to_host(self, memory: Memory) -> Code {
        let mut host = [0u8; BYTES];
        let to = host.as_mut_ptr().cast();
        call!(cuMemcpyDtoHAsync_v2(to, memory.0, BYTES, self.0))
    }
}

pub(crate) fn create_stream() -> Code {
    call!(cuStreamCreate(&mut null_mut(), NON_BLOCKING))
}

pub(crate) fn synchronize_context() -> Code {
    call!(cuCtxSynchronize())
}

/// Sets how far the thread heeds captures. The code, and what was set before.
pub(crate) fn exchange_mode(mut mode: Mode) -> (Code, Mode) {
    let place = (&raw mut mode).cast();
    (call!(cuThreadExchangeStreamCaptureMode(place)), mode)
}

/// An event.
#[derive(Clone, Copy)]
pub(crate) struct Event(CUevent);

// SAFETY: the interface lets any thread use an event.
unsafe impl Sync for Event {}

impl Event {
    pub(crate) fn new() -> Event {
        let mut event = null_mut();
        assert_eq!(call!(cuEventCreate(&mut event, 0)), 0);
        Event(event)
    }

    pub(crate) fn query(self) -> Code {
        call!(cuEventQuery(self.0))
    }

    pub(crate) fn synchronize(self) -> Code {
        call!(cuEventSynchronize(self.0))
    }

    /// The time from here to another event.
    pub(crate) fn elapsed(self, end: Event) -> Code {
        call!(cuEventElapsedTime_v2(&mut 0.0, self.0, end.0))
    }
}

pub(crate) fn create_event() -> Code {
    call!(cuEventCreate(&mut null_mut(), 0))
}

/// Device memory.
#[derive(Clone, Copy)]
pub(crate) struct Memory(u64);

impl Memory {
    pub(crate) fn new() -> Memory {
        let mut address = 0;
        assert_eq!(call!(cuMemAlloc_v2(&mut address, BYTES)), 0);
        Memory(address)
    }

    pub(crate) fn free(self) -> Code {
        call!(cuMemFree_v2(self.0))
    }

    pub(crate) fn fill(self) -> Code {
        call!(cuMemsetD8_v2(self.0, 0, BYTES))
    }

    pub(crate) fn copy_onto_itself(self) -> Code {
        call!(cuMemcpyDtoD_v2(self.0, self.0, BYTES))
    }

    pub(crate) fn copy_to_host(self) -> Code {
        let mut host = [0u8; BYTES];
        call!(cuMemcpyDtoH_v2(host.as_mut_ptr().cast(), self.0, BYTES))
    }
}

pub(crate) fn allocate() -> Code {
    call!(cuMemAlloc_v2(&mut 0, BYTES))
}

pub(crate) fn memory_info() -> Code {
    call!(cuMemGetInfo_v2(&mut 0, &mut 0))
}

/// Pinned memory.
pub(crate) struct Pinned(*mut c_void);

impl Pinned {
    pub(crate) fn new() -> Pinned {
        let mut pointer = null_mut();
        assert_eq!(call!(cuMemHostAlloc(&mut pointer, BYTES, 0)), 0);
        Pinned(pointer)
    }

    pub(crate) fn free(self) -> Code {
        call!(cuMemFreeHost(self.0))
    }
}

pub(crate) fn allocate_host() -> Code {
    call!(cuMemHostAlloc(&mut null_mut(), BYTES, 0))
}

/// A module of one empty kernel.
#[derive(Clone, Copy)]
pub(crate) struct Module(CUmodule);

impl Module {
    pub(crate) fn new() -> Module {
        let mut module = null_mut();
        assert_eq!(call!(cuModuleLoadData(&mut module, PTX.as_ptr().cast())), 0);
        Module(module)
    }

    pub(crate) fn unload(self) -> Code {
        call!(cuModuleUnload(self.0))
    }
}

pub(crate) fn load_module() -> Code {
    call!(cuModuleLoadData(&mut null_mut(), PTX.as_ptr().cast()))
}

/// A graph.
#[derive(Clone, Copy)]
pub(crate) struct Graph(CUgraph);

impl Graph {
    pub(crate) const NULL: Graph = Graph(null_mut());

    /// One of so many host functions, each behind the one before.
    pub(crate) fn captured(functions: usize) -> Graph {
        Graph::of(|stream| {
            for _ in 0..functions {
                assert_eq!(stream.host(), 0);
            }
        })
    }

    /// One of all that `work` queues in a stream.
    pub(crate) fn of(work: impl FnOnce(Stream)) -> Graph {
        let stream = Stream::new();
        assert_eq!(stream.begin(LOCAL), 0);
        work(stream);
        let mut graph = null_mut();
        assert_eq!(call!(cuStreamEndCapture(stream.0, &mut graph)), 0);
        Graph(graph)
    }

    pub(crate) fn destroy(self) -> Code {
        call!(cuGraphDestroy(self.0))
    }

    /// The code, and what was made.
    pub(crate) fn instantiate(self, flags: u64) -> (Code, GraphExec) {
        let mut exec = null_mut();
        let code = call!(cuGraphInstantiateWithFlags(&mut exec, self.0, flags));
        (code, GraphExec(exec))
    }

    pub(crate) fn node_count(self) -> usize {
        let mut count = 0;
        call!(cuGraphGetNodes(self.0, null_mut(), &mut count));
        count
    }

    pub(crate) fn edge_count(self) -> usize {
        let (none, mut count) = (null_mut(), 0);
        call!(cuGraphGetEdges_v2(
            self.0,
            none,
            none,
            null_mut(),
            &mut count
        ));
        count
    }
}

pub(crate) fn create_graph(flags: c_uint) -> Code {
    call!(cuGraphCreate(&mut null_mut(), flags))
}

/// An executable graph.
#[derive(Clone, Copy)]
pub(crate) struct GraphExec(CUgraphExec);

impl GraphExec {
    pub(crate) const NULL: GraphExec = GraphExec(null_mut());

    pub(crate) fn destroy(self) -> Code {
        call!(cuGraphExecDestroy(self.0))
    }

    pub(crate) fn launch(self, stream: Stream) -> Code {
        call!(cuGraphLaunch(self.0, stream.0))
    }

    pub(crate) fn upload(self, stream: Stream) -> Code {
        call!(cuGraphUpload(self.0, stream.0))
    }

    /// The code, and the result that the driver tells beside it.
    pub(crate) fn update(self, graph: Graph) -> (Code, u32) {
        let mut info = sys::CUgraphExecUpdateResultInfo {
            result: sys::CUgraphExecUpdateResult::CU_GRAPH_EXEC_UPDATE_SUCCESS,
            errorNode: null_mut(),
            errorFromNode: null_mut(),
        };
        let code = call!(cuGraphExecUpdate_v2(self.0, graph.0, &mut info));
        (code, info.result as u32)
    }
}
