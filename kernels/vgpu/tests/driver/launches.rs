//! Launches, and what is refused before they join a stream.

use crate::{code, context, function, kernels, last_fault, launch, launch_shaped};
use cudarc::driver::sys::{self, CUfunction_attribute, CUresult};
use cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg, result};
use cudarc::nvrtc::Ptx;
use std::ffi::c_void;

#[test]
fn a_kernel_gets_its_arguments_and_does_its_work() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let add = function(&context, "add");
    let words: Vec<u32> = (0..1000).collect();
    let there = stream.clone_htod(&words).unwrap();
    let amount = 7u32;
    let config = LaunchConfig {
        grid_dim: (10, 1, 1),
        block_dim: (100, 1, 1),
        shared_mem_bytes: 0,
    };
    let mut builder = stream.launch_builder(&add);
    builder.arg(&there).arg(&amount);
    // SAFETY: a thread for each word.
    unsafe { builder.launch(config) }.unwrap();
    let expected: Vec<u32> = (7..1007).collect();
    assert_eq!(stream.clone_dtoh(&there).unwrap(), expected);
}

#[test]
fn arguments_are_copied_when_the_launch_is_submitted() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let add = function(&context, "add");
    let word = stream.clone_htod(&[1u32]).unwrap();
    let mut amount = 10u32;
    let address = word.device_ptr(&stream).0;
    launch(&stream, &add, 1, address, amount).unwrap();
    amount += 990;
    launch(&stream, &add, 1, address, amount).unwrap();
    assert_eq!(stream.clone_dtoh(&word).unwrap(), [1011]);
}

#[test]
fn impossible_shapes_are_refused() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let (add, narrow) = (function(&context, "add"), function(&context, "narrow"));
    let refused = [
        ([0, 1, 1], [1, 1, 1]),
        ([1, 0, 1], [1, 1, 1]),
        ([1, 1, 1], [1, 1, 0]),
        ([1, 65_536, 1], [1, 1, 1]),
        ([1, 1, 65_536], [1, 1, 1]),
        ([1 << 31, 1, 1], [1, 1, 1]),
        ([1, 1, 1], [1025, 1, 1]),
        ([1, 1, 1], [1, 1, 65]),
        ([1, 1, 1], [32, 33, 1]),
        ([1, 1, 1], [1 << 16, 1 << 16, 1]),
    ];
    for (grid, block) in refused {
        let outcome = launch_shaped(&stream, &add, (grid, block, 0), 0, 0);
        assert_eq!(
            code(outcome),
            CUresult::CUDA_ERROR_INVALID_VALUE,
            "{grid:?} {block:?}"
        );
    }
    launch(&stream, &narrow, 64, 0, 0).unwrap();
    let outcome = launch(&stream, &narrow, 65, 0, 0);
    assert_eq!(code(outcome), CUresult::CUDA_ERROR_INVALID_VALUE);
    stream.synchronize().unwrap();
}

#[test]
fn more_shared_memory_needs_opting_in() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let roomy = function(&context, "roomy");
    let outcome = |shared| launch_shaped(&stream, &roomy, ([1; 3], [1; 3], shared), 0, 0);
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    outcome(47 << 10).unwrap();
    assert_eq!(code(outcome((47 << 10) + 1)), invalid);
    let dynamic = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    roomy.set_attribute(dynamic, 100 << 10).unwrap();
    outcome(100 << 10).unwrap();
    assert_eq!(code(outcome((100 << 10) + 1)), invalid);
    stream.synchronize().unwrap();
}

#[test]
fn a_kernel_with_an_unknown_instruction_is_loaded_but_not_launched() {
    let _serial = crate::faults::serial();
    let context = context();
    let stream = context.new_stream().unwrap();
    let text = kernels::PTX.replace("    trap;", "    frobnicate.b32 7;");
    let module = context.load_module(Ptx::from_src(text)).unwrap();
    let dies = module.load_function("dies").unwrap();
    let refused = code(launch(&stream, &dies, 1, 0, 0));
    assert_eq!(refused, CUresult::CUDA_ERROR_NOT_SUPPORTED);
    assert!(last_fault().contains("frobnicate"), "{}", last_fault());
    stream.synchronize().unwrap();
}

/// A launch through the raw interface: the function's and the stream's handle, and the lists.
struct Raw {
    _context: std::sync::Arc<cudarc::driver::CudaContext>,
    function: sys::CUfunction,
    address: u64,
}

impl Raw {
    fn new() -> Raw {
        let context = context();
        context.bind_to_thread().unwrap();
        let image = std::ffi::CString::new(crate::kernels::PTX).unwrap();
        // SAFETY: the image ends in a zero byte.
        unsafe {
            let module = result::module::load_data(image.as_ptr().cast()).unwrap();
            let function = result::module::get_function(module, c"add".to_owned()).unwrap();
            let address = result::malloc_sync(16).unwrap();
            result::memset_d8_sync(address, 0, 16).unwrap();
            Raw {
                _context: context,
                function,
                address,
            }
        }
    }

    fn launch(&self, params: *mut *mut c_void, extra: *mut *mut c_void) -> CUresult {
        let null = std::ptr::null_mut();
        // SAFETY: the lists are what each test says.
        unsafe { sys::cuLaunchKernel(self.function, 1, 1, 1, 4, 1, 1, 0, null, params, extra) }
    }

    fn words(&self) -> [u32; 4] {
        let mut words = [0; 4];
        // SAFETY: 16 bytes on both sides.
        unsafe { result::memcpy_dtoh_sync(&mut words, self.address) }.unwrap();
        words
    }
}

#[test]
fn missing_arguments_are_refused() {
    let raw = Raw::new();
    let null = std::ptr::null_mut();
    assert_eq!(raw.launch(null, null), CUresult::CUDA_ERROR_INVALID_VALUE);
    let mut address = raw.address;
    let mut params = [(&raw mut address).cast::<c_void>(), null.cast()];
    assert_eq!(
        raw.launch(params.as_mut_ptr(), null),
        CUresult::CUDA_ERROR_INVALID_VALUE
    );
    assert_eq!(raw.words(), [0; 4]);
}

#[test]
fn arguments_may_come_in_one_buffer() {
    let raw = Raw::new();
    let mut buffer = [0u8; 16];
    buffer[..8].copy_from_slice(&raw.address.to_ne_bytes());
    buffer[8..12].copy_from_slice(&6u32.to_ne_bytes());
    let null = std::ptr::null_mut();
    let mut launch = |mut size: usize, params: *mut *mut c_void| {
        let tag = |number| std::ptr::without_provenance_mut::<c_void>(number);
        let size = (&raw mut size).cast();
        let mut extra = [tag(1), buffer.as_mut_ptr().cast(), tag(2), size, tag(0)];
        raw.launch(params, extra.as_mut_ptr())
    };
    assert_eq!(launch(12, null), CUresult::CUDA_SUCCESS);
    assert_eq!(launch(11, null), CUresult::CUDA_ERROR_INVALID_VALUE);
    let mut params = [null.cast::<c_void>(); 2];
    assert_eq!(
        launch(12, params.as_mut_ptr()),
        CUresult::CUDA_ERROR_INVALID_VALUE
    );
    assert_eq!(raw.words(), [6; 4]);
}

#[test]
fn launches_take_attributes() {
    let raw = Raw::new();
    let (mut address, mut amount) = (raw.address, 2u32);
    let mut params = [
        (&raw mut address).cast::<c_void>(),
        (&raw mut amount).cast(),
    ];
    let mut launch = |id, value: i32| {
        // SAFETY: all zeros is a valid attribute.
        let mut attribute: sys::CUlaunchAttribute = unsafe { std::mem::zeroed() };
        attribute.id = id;
        // All of these values are integers.
        attribute.value.priority = value;
        let config = sys::CUlaunchConfig {
            gridDimX: 1,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: 4,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: std::ptr::null_mut(),
            attrs: &mut attribute,
            numAttrs: 1,
        };
        let null = std::ptr::null_mut();
        // SAFETY: all arguments are there.
        unsafe { sys::cuLaunchKernelEx(&config, raw.function, params.as_mut_ptr(), null) }
    };
    use sys::CUlaunchAttributeID as Id;
    let success = CUresult::CUDA_SUCCESS;
    assert_eq!(
        launch(Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, 1),
        success
    );
    assert_eq!(launch(Id::CU_LAUNCH_ATTRIBUTE_COOPERATIVE, 1), success);
    let clusters = launch(Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, 2);
    assert_eq!(clusters, CUresult::CUDA_ERROR_NOT_SUPPORTED);
    assert_eq!(raw.words(), [4; 4]);
}

#[test]
fn a_cooperative_grid_must_fit_the_device() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let narrow = function(&context, "narrow");
    let cooperative = |blocks| {
        let config = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (64, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut builder = stream.launch_builder(&narrow);
        builder.arg(&0u64).arg(&0u32);
        // SAFETY: the kernel touches nothing.
        unsafe { builder.launch_cooperative(config) }.map(drop)
    };
    cooperative(4).unwrap();
    let too_large = CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    assert_eq!(code(cooperative(132 * 32 + 1)), too_large);
    stream.synchronize().unwrap();
}

#[test]
fn functions_and_streams_of_two_contexts_do_not_mix() {
    let raw = Raw::new();
    let other = context();
    let stream = other.new_stream().unwrap();
    let (mut address, mut amount) = (raw.address, 2u32);
    let mut params = [
        (&raw mut address).cast::<c_void>(),
        (&raw mut amount).cast(),
    ];
    let null = std::ptr::null_mut();
    let (function, params) = (raw.function, params.as_mut_ptr());
    // SAFETY: all arguments are there.
    unsafe {
        let mixed = stream.cu_stream();
        let mixed = sys::cuLaunchKernel(function, 1, 1, 1, 4, 1, 1, 0, mixed, params, null);
        assert_eq!(mixed, CUresult::CUDA_ERROR_INVALID_HANDLE);
        let random =
            sys::cuLaunchKernel(address as _, 1, 1, 1, 4, 1, 1, 0, null.cast(), params, null);
        assert_eq!(random, CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
}
