//! What a faulty kernel leaves behind.

use crate::{code, context, function, last_fault, launch, pinned};
use cudarc::driver::result;
use cudarc::driver::sys::{self, CUresult};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by tests that read the process's last fault.
pub(crate) fn serial() -> MutexGuard<'static, ()> {
    static SERIAL: Mutex<()> = Mutex::new(());
    SERIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn an_access_out_of_bounds_spoils_its_context_for_good() {
    let _serial = serial();
    let (spoilt, other) = (context(), context());
    let stream = spoilt.new_stream().unwrap();
    let add = function(&spoilt, "add");
    spoilt.bind_to_thread().unwrap();
    // SAFETY: the virtual GPU checks every access; the address is never the host's to use.
    unsafe {
        let address = result::malloc_sync(16).unwrap();
        result::memset_d8_sync(address, 0, 16).unwrap();
        launch(&stream, &add, 5, address, 1).expect("nobody knows yet");
        let illegal = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
        assert_eq!(code(stream.synchronize()), illegal);
        assert_eq!(code(spoilt.synchronize()), illegal);
        assert_eq!(code(result::malloc_sync(16)), illegal);
        assert_eq!(code(result::free_sync(address)), illegal);
        assert_eq!(code(launch(&stream, &add, 1, address, 1)), illegal);
        let text = last_fault();
        for part in [
            "add",
            "past the end of an allocation of 16 bytes",
            "(4, 0, 0)",
        ] {
            assert!(text.contains(part), "no {part:?} in {text:?}");
        }
        // Another context is as good as before, and so is the device.
        other.bind_to_thread().unwrap();
        other.synchronize().unwrap();
        let stream = other.new_stream().unwrap();
        let words = stream.clone_htod(&[1u32; 4]).unwrap();
        let (pointer, _guard) = cudarc::driver::DevicePtr::device_ptr(&words, &stream);
        launch(&stream, &function(&other, "add"), 4, pointer, 1).unwrap();
        assert_eq!(stream.clone_dtoh(&words).unwrap(), [2; 4]);
        sys::cuCtxSetCurrent(spoilt.cu_ctx())
            .result()
            .expect("even a spoilt one");
    }
}

#[test]
fn a_trap_fails_the_launch_and_what_waits_behind_it() {
    let _serial = serial();
    let context = context();
    let stream = context.new_stream().unwrap();
    let (dies, add) = (function(&context, "dies"), function(&context, "add"));
    let words = pinned(&context, 1);
    launch(&stream, &dies, 1, 0, 0).unwrap();
    launch(&stream, &add, 1, words.as_ptr() as u64, 1).unwrap();
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_LAUNCH_FAILED
    );
    assert_eq!(*words, [0], "the second kernel did not run");
    assert!(last_fault().contains("dies"), "{}", last_fault());
}

#[test]
fn a_misaligned_access_has_a_code_of_its_own() {
    let _serial = serial();
    let context = context();
    let stream = context.new_stream().unwrap();
    let words = pinned(&context, 2);
    let address = words.as_ptr() as u64 + 2;
    let add = function(&context, "add");
    launch(&stream, &add, 1, address, 1).unwrap();
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
    );
    assert_eq!(*words, [0; 2]);
    assert!(
        last_fault().contains(&format!("{address:#x}")),
        "{}",
        last_fault()
    );
}

#[test]
fn an_event_behind_a_fault_reports_it() {
    let _serial = serial();
    let context = context();
    let (stream, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let dies = function(&context, "dies"); // Unloading its module would run what waits.
    launch(&stream, &dies, 1, 0, 0).unwrap();
    let event = stream.record_event(None).unwrap();
    other.wait(&event).unwrap();
    let failed = CUresult::CUDA_ERROR_LAUNCH_FAILED;
    // Not ready while another test's context is at work.
    let mut polls = std::iter::repeat_with(|| event.try_is_complete());
    let outcome = polls.find(|outcome| *outcome != Ok(false)).unwrap();
    assert_eq!(code(outcome), failed);
    assert_eq!(code(event.synchronize()), failed);
    assert_eq!(code(other.synchronize()), failed);
    assert_eq!(code(context.new_stream()), failed);
}

#[test]
fn memory_that_a_stream_freed_is_not_the_kernels() {
    let _serial = serial();
    let context = context();
    let stream = context.new_stream().unwrap();
    let add = function(&context, "add");
    // SAFETY: that it is used after it was freed is what is tested.
    unsafe {
        let address = result::malloc_async(stream.cu_stream(), 64).unwrap();
        result::free_async(address, stream.cu_stream()).unwrap();
        launch(&stream, &add, 1, address, 1).unwrap();
    }
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
    );
    assert!(last_fault().contains("which was freed"), "{}", last_fault());
}

#[test]
fn a_text_is_cut_to_its_buffer() {
    type LastFault = unsafe extern "C" fn(*mut u8, usize) -> usize;
    let _serial = serial();
    let context = context();
    context.bind_to_thread().unwrap();
    // SAFETY: the type is right and the sizes are the buffers'.
    unsafe {
        result::module::load_data(c"\x7fELF".as_ptr().cast()).unwrap_err();
        let get = crate::library()
            .get::<LastFault>(b"gamutVgpuGetLastFault\0")
            .unwrap();
        let mut buffer = [0x55u8; 8];
        let length = get(buffer.as_mut_ptr(), 6);
        assert_eq!(&buffer, b"a cub\0\x55\x55");
        assert_eq!(get(std::ptr::null_mut(), 100), length);
        assert_eq!(get(buffer.as_mut_ptr(), 0), length);
    }
}
