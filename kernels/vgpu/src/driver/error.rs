//! The names and meanings of result codes.
#![allow(unsafe_code)]

use super::abi::{Out, RawCode};
use super::code::Code;
use std::ffi::{CStr, c_char};

macro_rules! codes {
    ($($number:literal $name:ident $text:literal)*) => {
        /// Every code of the interface: its number, its name and what it means in our words.
        const CODES: &[(RawCode, &CStr, &CStr)] =
            &[$(($number, text(concat!(stringify!($name), "\0")), text(concat!($text, "\0")))),*];
    };
}

codes! {
    0 CUDA_SUCCESS "no error"
    1 CUDA_ERROR_INVALID_VALUE "an argument is invalid"
    2 CUDA_ERROR_OUT_OF_MEMORY "out of memory"
    3 CUDA_ERROR_NOT_INITIALIZED "cuInit was not called"
    4 CUDA_ERROR_DEINITIALIZED "the driver is shutting down"
    5 CUDA_ERROR_PROFILER_DISABLED "profiling is disabled"
    6 CUDA_ERROR_PROFILER_NOT_INITIALIZED "the profiler was not initialized"
    7 CUDA_ERROR_PROFILER_ALREADY_STARTED "the profiler was started already"
    8 CUDA_ERROR_PROFILER_ALREADY_STOPPED "the profiler was stopped already"
    34 CUDA_ERROR_STUB_LIBRARY "a stub took the place of the driver"
    36 CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER "the call needs a newer driver"
    46 CUDA_ERROR_DEVICE_UNAVAILABLE "the device is busy or unavailable"
    100 CUDA_ERROR_NO_DEVICE "no device"
    101 CUDA_ERROR_INVALID_DEVICE "no such device"
    102 CUDA_ERROR_DEVICE_NOT_LICENSED "the device has no licence"
    200 CUDA_ERROR_INVALID_IMAGE "not a kernel image"
    201 CUDA_ERROR_INVALID_CONTEXT "no current context, or an invalid one"
    202 CUDA_ERROR_CONTEXT_ALREADY_CURRENT "the context is current already"
    205 CUDA_ERROR_MAP_FAILED "mapping failed"
    206 CUDA_ERROR_UNMAP_FAILED "unmapping failed"
    207 CUDA_ERROR_ARRAY_IS_MAPPED "the array is mapped"
    208 CUDA_ERROR_ALREADY_MAPPED "the resource is mapped already"
    209 CUDA_ERROR_NO_BINARY_FOR_GPU "the image holds no code for this device"
    210 CUDA_ERROR_ALREADY_ACQUIRED "the resource was acquired already"
    211 CUDA_ERROR_NOT_MAPPED "the resource is not mapped"
    212 CUDA_ERROR_NOT_MAPPED_AS_ARRAY "the resource is not mapped as an array"
    213 CUDA_ERROR_NOT_MAPPED_AS_POINTER "the resource is not mapped as a pointer"
    214 CUDA_ERROR_ECC_UNCORRECTABLE "a memory error that could not be corrected"
    215 CUDA_ERROR_UNSUPPORTED_LIMIT "the device has no such limit"
    216 CUDA_ERROR_CONTEXT_ALREADY_IN_USE "the context is in use on another thread"
    217 CUDA_ERROR_PEER_ACCESS_UNSUPPORTED "no peer access between these devices"
    218 CUDA_ERROR_INVALID_PTX "the PTX does not compile"
    219 CUDA_ERROR_INVALID_GRAPHICS_CONTEXT "an invalid graphics context"
    220 CUDA_ERROR_NVLINK_UNCORRECTABLE "a link error that could not be corrected"
    221 CUDA_ERROR_JIT_COMPILER_NOT_FOUND "no PTX compiler"
    222 CUDA_ERROR_UNSUPPORTED_PTX_VERSION "the PTX is newer than the driver"
    223 CUDA_ERROR_JIT_COMPILATION_DISABLED "the PTX compiler is disabled"
    224 CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY "no such execution affinity"
    225 CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC "the code waits for launches on the device"
    226 CUDA_ERROR_CONTAINED "a hardware exception that was contained"
    300 CUDA_ERROR_INVALID_SOURCE "the kernel source is invalid"
    301 CUDA_ERROR_FILE_NOT_FOUND "file not found"
    302 CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND "a shared object lacks a symbol"
    303 CUDA_ERROR_SHARED_OBJECT_INIT_FAILED "a shared object failed to start"
    304 CUDA_ERROR_OPERATING_SYSTEM "the operating system refused a call"
    400 CUDA_ERROR_INVALID_HANDLE "an invalid handle"
    401 CUDA_ERROR_ILLEGAL_STATE "something is not in the state that the call needs"
    402 CUDA_ERROR_LOSSY_QUERY "the answer would lose information"
    500 CUDA_ERROR_NOT_FOUND "the named thing was not found"
    600 CUDA_ERROR_NOT_READY "not finished yet"
    700 CUDA_ERROR_ILLEGAL_ADDRESS "a kernel accessed memory that is not its own"
    701 CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES "the launch needs more than there is"
    702 CUDA_ERROR_LAUNCH_TIMEOUT "the kernel ran for too long"
    703 CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING "incompatible texturing modes"
    704 CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED "peer access is enabled already"
    705 CUDA_ERROR_PEER_ACCESS_NOT_ENABLED "peer access is not enabled"
    708 CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE "the primary context is active"
    709 CUDA_ERROR_CONTEXT_IS_DESTROYED "the current context was destroyed"
    710 CUDA_ERROR_ASSERT "an assertion failed in a kernel"
    711 CUDA_ERROR_TOO_MANY_PEERS "too many peers"
    712 CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED "the memory is registered already"
    713 CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED "the memory is not registered"
    714 CUDA_ERROR_HARDWARE_STACK_ERROR "a call stack is corrupt or too deep"
    715 CUDA_ERROR_ILLEGAL_INSTRUCTION "a kernel ran an illegal instruction"
    716 CUDA_ERROR_MISALIGNED_ADDRESS "a kernel used a misaligned address"
    717 CUDA_ERROR_INVALID_ADDRESS_SPACE "a kernel used the wrong address space"
    718 CUDA_ERROR_INVALID_PC "a kernel jumped out of its code"
    719 CUDA_ERROR_LAUNCH_FAILED "a kernel failed"
    720 CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE "a cooperative grid does not fit the device"
    721 CUDA_ERROR_TENSOR_MEMORY_LEAK "a block left tensor memory allocated"
    800 CUDA_ERROR_NOT_PERMITTED "not permitted"
    801 CUDA_ERROR_NOT_SUPPORTED "not supported"
    802 CUDA_ERROR_SYSTEM_NOT_READY "the system is not ready"
    803 CUDA_ERROR_SYSTEM_DRIVER_MISMATCH "the kernel's and the user's driver differ"
    804 CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE "no forward compatibility on this device"
    805 CUDA_ERROR_MPS_CONNECTION_FAILED "the MPS server cannot be reached"
    806 CUDA_ERROR_MPS_RPC_FAILURE "a call to the MPS server failed"
    807 CUDA_ERROR_MPS_SERVER_NOT_READY "the MPS server is not ready"
    808 CUDA_ERROR_MPS_MAX_CLIENTS_REACHED "the MPS server has no room for a client"
    809 CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED "the MPS server has no connection left"
    810 CUDA_ERROR_MPS_CLIENT_TERMINATED "the MPS client was terminated"
    811 CUDA_ERROR_CDP_NOT_SUPPORTED "no launches from kernels here"
    812 CUDA_ERROR_CDP_VERSION_MISMATCH "two versions of launches from kernels"
    900 CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED "not permitted while capturing"
    901 CUDA_ERROR_STREAM_CAPTURE_INVALIDATED "an earlier error spoilt the capture"
    902 CUDA_ERROR_STREAM_CAPTURE_MERGE "two captures would merge"
    903 CUDA_ERROR_STREAM_CAPTURE_UNMATCHED "the stream did not begin the capture"
    904 CUDA_ERROR_STREAM_CAPTURE_UNJOINED "a forked stream was not joined"
    905 CUDA_ERROR_STREAM_CAPTURE_ISOLATION "a dependency leaves the capture"
    906 CUDA_ERROR_STREAM_CAPTURE_IMPLICIT "an implicit dependency on the default stream"
    907 CUDA_ERROR_CAPTURED_EVENT "the event was recorded in a capture"
    908 CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD "another thread began the capture"
    909 CUDA_ERROR_TIMEOUT "timeout"
    910 CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE "the graph cannot be updated that far"
    911 CUDA_ERROR_EXTERNAL_DEVICE "an external device failed"
    912 CUDA_ERROR_INVALID_CLUSTER_SIZE "an invalid cluster size"
    913 CUDA_ERROR_FUNCTION_NOT_LOADED "the function is not loaded"
    914 CUDA_ERROR_INVALID_RESOURCE_TYPE "an invalid resource type"
    915 CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION "resources that do not go together"
    916 CUDA_ERROR_KEY_ROTATION "a key rotation is under way"
    999 CUDA_ERROR_UNKNOWN "unknown error"
}

const fn text(terminated: &str) -> &CStr {
    match CStr::from_bytes_with_nul(terminated.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a text has no zero byte but the last"),
    }
}

fn describe(code: RawCode) -> Option<(&'static CStr, &'static CStr)> {
    let at = CODES.binary_search_by_key(&code, |entry| entry.0).ok()?;
    CODES.get(at).map(|&(_, name, text)| (name, text))
}

/// Answers a query about a code, which needs no initialized driver.
fn answer(to: &Out<*const c_char>, text: Option<&'static CStr>) -> Code {
    let found = text.map_or(std::ptr::null(), CStr::as_ptr);
    match to.set(found) {
        Ok(()) if text.is_some() => Code::Success,
        _ => Code::InvalidValue,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorName(error: RawCode, name: Out<*const c_char>) -> Code {
    answer(&name, describe(error).map(|(name, _)| name))
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorString(error: RawCode, text: Out<*const c_char>) -> Code {
    answer(&text, describe(error).map(|(_, text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_so_that_a_search_finds_them() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn names_belong_to_their_numbers() {
        let name = |code| describe(code).map(|(name, _)| name);
        assert_eq!(
            name(Code::InvalidPtx as u32),
            Some(c"CUDA_ERROR_INVALID_PTX")
        );
        assert_eq!(
            name(Code::NotSupported as u32),
            Some(c"CUDA_ERROR_NOT_SUPPORTED")
        );
        assert_eq!(
            name(Code::LaunchFailed as u32),
            Some(c"CUDA_ERROR_LAUNCH_FAILED")
        );
        assert_eq!(name(12345), None);
    }
}
