//! The exported names, and how programs look them up.

use crate::{context, library};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::{CStr, c_void};

/// Every function that cudarc's `result` and `safe` modules can call with CUDA 13.0.
const CALLED_BY_CUDARC: &str = "
    cuCtxCreate_v4 cuCtxDestroy_v2 cuCtxGetCacheConfig cuCtxGetCurrent cuCtxGetLimit
    cuCtxGetStreamPriorityRange cuCtxSetCacheConfig cuCtxSetCurrent cuCtxSetFlags cuCtxSetLimit
    cuCtxSynchronize cuDestroyExternalMemory cuDeviceGet cuDeviceGetAttribute cuDeviceGetCount
    cuDeviceGetDefaultMemPool cuDeviceGetMemPool cuDeviceGetName cuDeviceGetUuid_v2
    cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRetain cuDeviceSetMemPool cuDeviceTotalMem_v2
    cuEventCreate cuEventDestroy_v2 cuEventElapsedTime_v2 cuEventQuery cuEventRecord
    cuEventSynchronize cuExternalMemoryGetMappedBuffer cuFuncGetAttribute cuFuncSetAttribute
    cuFuncSetCacheConfig cuGetErrorName cuGetErrorString cuGraphDestroy cuGraphExecDestroy
    cuGraphInstantiateWithFlags cuGraphLaunch cuGraphUpload cuImportExternalMemory cuInit
    cuLaunchCooperativeKernel cuLaunchHostFunc cuLaunchKernel cuMemAdvise_v2 cuMemAllocAsync
    cuMemAllocFromPoolAsync cuMemAllocManaged cuMemAlloc_v2 cuMemFreeAsync cuMemFreeHost
    cuMemFree_v2 cuMemGetInfo_v2 cuMemHostAlloc cuMemPoolCreate cuMemPoolDestroy
    cuMemPoolGetAttribute cuMemPoolSetAttribute cuMemPoolTrimTo cuMemPrefetchAsync_v2
    cuMemcpyDtoDAsync_v2 cuMemcpyDtoD_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoH_v2
    cuMemcpyHtoDAsync_v2 cuMemcpyHtoD_v2 cuMemcpyPeerAsync cuMemsetD8Async cuMemsetD8_v2
    cuModuleGetFunction cuModuleGetGlobal_v2 cuModuleLoad cuModuleLoadData cuModuleUnload
    cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveBlocksPerMultiprocessor
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuOccupancyMaxActiveClusters
    cuOccupancyMaxPotentialBlockSize cuOccupancyMaxPotentialBlockSizeWithFlags
    cuOccupancyMaxPotentialClusterSize cuProfilerStart cuProfilerStop cuStreamAttachMemAsync
    cuStreamBeginCapture_v2 cuStreamCreate cuStreamCreateWithPriority cuStreamDestroy_v2
    cuStreamEndCapture cuStreamIsCapturing cuStreamSynchronize cuStreamWaitEvent
";

#[test]
fn cudarc_finds_all_that_it_can_call() {
    let missing: Vec<&str> = CALLED_BY_CUDARC
        .split_whitespace()
        // SAFETY: looked up, not called.
        .filter(|name| unsafe { library().get::<*const c_void>(name.as_bytes()) }.is_err())
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn cudarc_runs_on_this_library() {
    let _context = context();
    // SAFETY: looked up, not called.
    let (ours, theirs) = unsafe {
        (
            *library()
                .get::<*const c_void>(b"gamutVgpuVersion\0")
                .unwrap(),
            *sys::culib()
                .get::<*const c_void>(b"gamutVgpuVersion\0")
                .unwrap(),
        )
    };
    assert_eq!(ours, theirs);
}

#[test]
fn the_version_is_the_crates() {
    type Version = unsafe extern "C" fn() -> *const std::ffi::c_char;
    // SAFETY: the symbol has this type and returns a text.
    let version = unsafe {
        let get = library().get::<Version>(b"gamutVgpuVersion\0").unwrap();
        CStr::from_ptr(get())
    };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    let mut driver = 0;
    // SAFETY: the result has its place.
    unsafe { sys::cuDriverGetVersion(&mut driver) }
        .result()
        .unwrap();
    assert_eq!(driver, 13000);
}

#[test]
fn functions_are_found_by_name() {
    let _context = context();
    let find = |name: &CStr| {
        let mut address = std::ptr::null_mut();
        let mut status = sys::CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SUCCESS;
        // SAFETY: the results have their places.
        let code =
            unsafe { sys::cuGetProcAddress_v2(name.as_ptr(), &mut address, 13000, 0, &mut status) };
        (code, address.cast_const(), status as u32)
    };
    // SAFETY: looked up, not called.
    let newest = unsafe { *library().get::<*const c_void>(b"cuMemAlloc_v2\0").unwrap() };
    assert_eq!(find(c"cuMemAlloc"), (CUresult::CUDA_SUCCESS, newest, 0));
    let nothing = (CUresult::CUDA_ERROR_NOT_FOUND, std::ptr::null(), 1);
    assert_eq!(find(c"cuNoSuchThing"), nothing);
    assert_eq!(find(c"malloc"), nothing, "not the driver's");
}

#[test]
fn there_are_no_private_tables() {
    let _context = context();
    let mut table = 0x10 as *const c_void;
    let id = sys::CUuuid { bytes: [1; 16] };
    // SAFETY: the result has its place.
    let code = unsafe { sys::cuGetExportTable(&mut table, &id) };
    assert_eq!(
        (code, table),
        (CUresult::CUDA_ERROR_NOT_FOUND, std::ptr::null())
    );
}

#[test]
fn a_number_that_is_no_code_has_no_name() {
    library();
    let mut name = 0x10 as *const std::ffi::c_char;
    type Name = unsafe extern "C" fn(u32, *mut *const std::ffi::c_char) -> CUresult;
    // SAFETY: the symbol has this type but for the code, which may be any number.
    let code = unsafe {
        let get = library().get::<Name>(b"cuGetErrorName\0").unwrap();
        get(7777, &mut name)
    };
    assert_eq!(
        (code, name),
        (CUresult::CUDA_ERROR_INVALID_VALUE, std::ptr::null())
    );
}

/// Against cudarc's table of the codes.
#[test]
fn every_code_has_its_name() {
    use CUresult::*;
    library();
    let codes = [
        CUDA_SUCCESS,
        CUDA_ERROR_INVALID_VALUE,
        CUDA_ERROR_OUT_OF_MEMORY,
        CUDA_ERROR_NOT_INITIALIZED,
        CUDA_ERROR_DEINITIALIZED,
        CUDA_ERROR_PROFILER_DISABLED,
        CUDA_ERROR_PROFILER_NOT_INITIALIZED,
        CUDA_ERROR_PROFILER_ALREADY_STARTED,
        CUDA_ERROR_PROFILER_ALREADY_STOPPED,
        CUDA_ERROR_STUB_LIBRARY,
        CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER,
        CUDA_ERROR_DEVICE_UNAVAILABLE,
        CUDA_ERROR_NO_DEVICE,
        CUDA_ERROR_INVALID_DEVICE,
        CUDA_ERROR_DEVICE_NOT_LICENSED,
        CUDA_ERROR_INVALID_IMAGE,
        CUDA_ERROR_INVALID_CONTEXT,
        CUDA_ERROR_CONTEXT_ALREADY_CURRENT,
        CUDA_ERROR_MAP_FAILED,
        CUDA_ERROR_UNMAP_FAILED,
        CUDA_ERROR_ARRAY_IS_MAPPED,
        CUDA_ERROR_ALREADY_MAPPED,
        CUDA_ERROR_NO_BINARY_FOR_GPU,
        CUDA_ERROR_ALREADY_ACQUIRED,
        CUDA_ERROR_NOT_MAPPED,
        CUDA_ERROR_NOT_MAPPED_AS_ARRAY,
        CUDA_ERROR_NOT_MAPPED_AS_POINTER,
        CUDA_ERROR_ECC_UNCORRECTABLE,
        CUDA_ERROR_UNSUPPORTED_LIMIT,
        CUDA_ERROR_CONTEXT_ALREADY_IN_USE,
        CUDA_ERROR_PEER_ACCESS_UNSUPPORTED,
        CUDA_ERROR_INVALID_PTX,
        CUDA_ERROR_INVALID_GRAPHICS_CONTEXT,
        CUDA_ERROR_NVLINK_UNCORRECTABLE,
        CUDA_ERROR_JIT_COMPILER_NOT_FOUND,
        CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
        CUDA_ERROR_JIT_COMPILATION_DISABLED,
        CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY,
        CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC,
        CUDA_ERROR_CONTAINED,
        CUDA_ERROR_INVALID_SOURCE,
        CUDA_ERROR_FILE_NOT_FOUND,
        CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND,
        CUDA_ERROR_SHARED_OBJECT_INIT_FAILED,
        CUDA_ERROR_OPERATING_SYSTEM,
        CUDA_ERROR_INVALID_HANDLE,
        CUDA_ERROR_ILLEGAL_STATE,
        CUDA_ERROR_LOSSY_QUERY,
        CUDA_ERROR_NOT_FOUND,
        CUDA_ERROR_NOT_READY,
        CUDA_ERROR_ILLEGAL_ADDRESS,
        CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
        CUDA_ERROR_LAUNCH_TIMEOUT,
        CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING,
        CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED,
        CUDA_ERROR_PEER_ACCESS_NOT_ENABLED,
        CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE,
        CUDA_ERROR_CONTEXT_IS_DESTROYED,
        CUDA_ERROR_ASSERT,
        CUDA_ERROR_TOO_MANY_PEERS,
        CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
        CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
        CUDA_ERROR_HARDWARE_STACK_ERROR,
        CUDA_ERROR_ILLEGAL_INSTRUCTION,
        CUDA_ERROR_MISALIGNED_ADDRESS,
        CUDA_ERROR_INVALID_ADDRESS_SPACE,
        CUDA_ERROR_INVALID_PC,
        CUDA_ERROR_LAUNCH_FAILED,
        CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
        CUDA_ERROR_TENSOR_MEMORY_LEAK,
        CUDA_ERROR_NOT_PERMITTED,
        CUDA_ERROR_NOT_SUPPORTED,
        CUDA_ERROR_SYSTEM_NOT_READY,
        CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
        CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE,
        CUDA_ERROR_MPS_CONNECTION_FAILED,
        CUDA_ERROR_MPS_RPC_FAILURE,
        CUDA_ERROR_MPS_SERVER_NOT_READY,
        CUDA_ERROR_MPS_MAX_CLIENTS_REACHED,
        CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED,
        CUDA_ERROR_MPS_CLIENT_TERMINATED,
        CUDA_ERROR_CDP_NOT_SUPPORTED,
        CUDA_ERROR_CDP_VERSION_MISMATCH,
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
        CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
        CUDA_ERROR_STREAM_CAPTURE_MERGE,
        CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
        CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
        CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
        CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
        CUDA_ERROR_CAPTURED_EVENT,
        CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD,
        CUDA_ERROR_TIMEOUT,
        CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,
        CUDA_ERROR_EXTERNAL_DEVICE,
        CUDA_ERROR_INVALID_CLUSTER_SIZE,
        CUDA_ERROR_FUNCTION_NOT_LOADED,
        CUDA_ERROR_INVALID_RESOURCE_TYPE,
        CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION,
        CUDA_ERROR_KEY_ROTATION,
        CUDA_ERROR_UNKNOWN,
    ];
    for code in codes {
        let error = cudarc::driver::DriverError(code);
        assert_eq!(
            error.error_name().unwrap().to_str().unwrap(),
            format!("{code:?}")
        );
        assert!(!error.error_string().unwrap().is_empty(), "{code:?}");
    }
}

#[test]
fn pools_keep_their_settings() {
    use sys::CUmemPool_attribute as Attribute;
    let context = context();
    context.bind_to_thread().unwrap();
    // SAFETY: the values have the attributes' types.
    unsafe {
        let (mut pool, mut default) = (std::ptr::null_mut(), std::ptr::null_mut());
        sys::cuDeviceGetMemPool(&mut pool, 0).result().unwrap();
        sys::cuDeviceGetDefaultMemPool(&mut default, 0)
            .result()
            .unwrap();
        assert_eq!(pool, default);
        let (mut set, mut got) = (u64::MAX, 0u64);
        let threshold = Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        let place = (&raw mut set).cast();
        sys::cuMemPoolSetAttribute(pool, threshold, place)
            .result()
            .unwrap();
        let place = (&raw mut got).cast();
        sys::cuMemPoolGetAttribute(pool, threshold, place)
            .result()
            .unwrap();
        assert_eq!(got, set);
        assert_eq!(
            sys::cuMemPoolDestroy(pool),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
        let mut address = 0;
        let stream = std::ptr::null_mut();
        sys::cuMemAllocFromPoolAsync(&mut address, 64, pool, stream)
            .result()
            .unwrap();
        sys::cuMemFreeAsync(address, stream).result().unwrap();
    }
}
