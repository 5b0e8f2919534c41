//! The exported driver API, called through cudarc as the engine calls it.
//!
//! Nearly every test has a context of its own, so that faults stay where they belong.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

mod checked;
mod copies;
mod counting;
mod devices;
mod events;
mod faults;
mod functions;
mod kernels;
mod launches;
mod modules;
mod pointers;
mod primary;
mod streams;
mod symbols;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DriverError, sys};
use cudarc::nvrtc::Ptx;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The shared library that was built along with this test.
fn library_path() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.with_file_name("libgamut_vgpu.so")
}

/// The library, loaded before cudarc looks for the driver, which it then finds by its name.
fn library() -> &'static libloading::Library {
    static LIBRARY: OnceLock<libloading::Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // SAFETY: loading it runs no code of its own.
        unsafe { libloading::Library::new(library_path()) }.expect("the library is built")
    })
}

/// A context that no other test uses.
fn context() -> Arc<CudaContext> {
    library();
    CudaContext::new_non_primary(0, 0).expect("a context")
}

/// A function of `kernels::PTX` in a context.
fn function(context: &Arc<CudaContext>, name: &str) -> CudaFunction {
    let module = context
        .load_module(Ptx::from_src(kernels::PTX))
        .expect("PTX that loads");
    module.load_function(name).expect("a kernel of that name")
}

/// The code of a failed call.
fn code<T: std::fmt::Debug>(result: Result<T, DriverError>) -> CUresult {
    result.expect_err("a call that fails").0
}

/// The text of the last fault.
fn last_fault() -> String {
    type LastFault = unsafe extern "C" fn(*mut u8, usize) -> usize;
    let mut text = vec![0; 4096];
    // SAFETY: the symbol has this type, and writes no more than the buffer takes.
    let length = unsafe {
        let get = library()
            .get::<LastFault>(b"gamutVgpuGetLastFault\0")
            .expect("it is exported");
        get(text.as_mut_ptr(), text.len())
    };
    text.truncate(length);
    String::from_utf8(text).expect("text")
}

/// Four-byte words of pinned memory, which is freed with its context.
fn pinned(context: &Arc<CudaContext>, words: usize) -> &'static mut [u32] {
    context.bind_to_thread().expect("a context that works");
    let mut pointer = std::ptr::null_mut();
    // SAFETY: the allocation is as long as the slice, aligned, zeroed by the system, and outlives
    // the test, which keeps its context.
    unsafe {
        sys::cuMemHostAlloc(&mut pointer, words * 4, 0)
            .result()
            .expect("pinned memory");
        std::slice::from_raw_parts_mut(pointer.cast(), words)
    }
}

/// Launches a kernel that takes an address and a word on one block.
fn launch(
    stream: &Arc<CudaStream>,
    function: &CudaFunction,
    threads: u32,
    address: u64,
    word: u32,
) -> Result<(), DriverError> {
    launch_shaped(
        stream,
        function,
        ([1; 3], [threads, 1, 1], 0),
        address,
        word,
    )
}

/// Launches such a kernel on a grid of blocks with dynamic shared memory.
fn launch_shaped(
    stream: &Arc<CudaStream>,
    function: &CudaFunction,
    (grid, block, shared): ([u32; 3], [u32; 3], u32),
    address: u64,
    word: u32,
) -> Result<(), DriverError> {
    use cudarc::driver::{LaunchConfig, PushKernelArg};
    let config = LaunchConfig {
        grid_dim: grid.into(),
        block_dim: block.into(),
        shared_mem_bytes: shared,
    };
    let mut launch = stream.launch_builder(function);
    launch.arg(&address).arg(&word);
    // SAFETY: the virtual GPU checks every access.
    unsafe { launch.launch(config) }.map(drop)
}
