//! The order in which streams' work is done.

use crate::{code, context, function, launch, pinned};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaStream, result};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// A stream that goes with the legacy default stream, which cudarc's own do not.
pub(crate) fn blocking_stream(context: &CudaContext) -> sys::CUstream {
    context.bind_to_thread().unwrap();
    let mut stream = std::ptr::null_mut();
    // SAFETY: the result has its place.
    unsafe { sys::cuStreamCreate(&mut stream, 0) }
        .result()
        .unwrap();
    stream
}

/// Has a stream append a letter to a log when its turn comes.
fn note(stream: sys::CUstream, log: &'static Mutex<String>, letter: char) {
    unsafe extern "C" fn append(data: *mut c_void) {
        // SAFETY: made below.
        let note = unsafe { Box::from_raw(data.cast::<(&'static Mutex<String>, char)>()) };
        note.0.lock().unwrap().push(note.1);
    }
    let data = Box::into_raw(Box::new((log, letter)));
    // SAFETY: the callback takes what it is given.
    unsafe { result::stream::launch_host_function(stream, append, data.cast()) }.unwrap();
}

pub(crate) fn log() -> &'static Mutex<String> {
    Box::leak(Box::default())
}

pub(crate) fn read(log: &Mutex<String>) -> String {
    log.lock().unwrap().clone()
}

#[test]
fn nothing_runs_before_somebody_waits_and_no_more_than_is_needed() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let log = log();
    note(a.cu_stream(), log, 'a');
    note(b.cu_stream(), log, 'x');
    note(b.cu_stream(), log, 'y');
    assert_eq!(read(log), "");
    b.synchronize().unwrap();
    assert_eq!(read(log), "xy");
    context.synchronize().unwrap();
    assert_eq!(read(log), "xya");
}

#[test]
fn events_order_streams() {
    let context = context();
    let (a, b) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let log = log();
    note(a.cu_stream(), log, '1');
    let event = a.record_event(None).unwrap();
    note(a.cu_stream(), log, 'x');
    b.wait(&event).unwrap();
    drop(event);
    note(b.cu_stream(), log, '2');
    b.synchronize().unwrap();
    assert_eq!(
        read(log),
        "12",
        "what the event covers, and nothing behind it"
    );
}

#[test]
fn the_legacy_stream_waits_for_blocking_streams_and_they_for_it() {
    let context = context();
    let (a, b) = (blocking_stream(&context), blocking_stream(&context));
    let free = context.new_stream().unwrap();
    let log = log();
    note(free.cu_stream(), log, 'f');
    note(a, log, 'a');
    note(std::ptr::null_mut(), log, '0');
    note(b, log, 'b');
    // SAFETY: the handle is live.
    unsafe { result::stream::synchronize(b) }.unwrap();
    assert_eq!(read(log), "a0b");
    note(b, log, 'B');
    note(std::ptr::null_mut(), log, '1');
    // SAFETY: as above.
    unsafe { result::stream::synchronize(b) }.unwrap();
    assert_eq!(
        read(log),
        "a0bB",
        "b does not wait for what came after its own"
    );
    note(a, log, 'A');
    // SAFETY: as above.
    unsafe { result::stream::synchronize(std::ptr::null_mut()) }.unwrap();
    assert_eq!(read(log), "a0bB1A");
}

#[test]
fn threads_have_default_streams_of_their_own() {
    let context = context();
    let log = log();
    let own = context.per_thread_stream();
    note(own.cu_stream(), log, 'p');
    let other = context.clone();
    std::thread::spawn(move || {
        other.bind_to_thread().unwrap();
        let own = other.per_thread_stream();
        note(own.cu_stream(), log, 'q');
        own.synchronize().unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(read(log), "q");
    own.synchronize().unwrap();
    assert_eq!(read(log), "qp");
}

#[test]
fn queries_report_pending_work_and_get_it_done() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let log = log();
    // SAFETY: the handle is live.
    let query = || unsafe { sys::cuStreamQuery(stream.cu_stream()) };
    assert_eq!(query(), CUresult::CUDA_SUCCESS);
    note(stream.cu_stream(), log, 'a');
    note(stream.cu_stream(), log, 'b');
    // One step at most at a time: none while another test's context is at work.
    let not_ready = (0..100_000).take_while(|_| {
        std::thread::yield_now();
        query() == CUresult::CUDA_ERROR_NOT_READY
    });
    assert!(not_ready.count() >= 2);
    assert_eq!(query(), CUresult::CUDA_SUCCESS);
    assert_eq!(read(log), "ab");
}

#[test]
fn a_destroyed_stream_leaves_its_work_to_the_context() {
    let context = context();
    let log = log();
    let stream = context.new_stream().unwrap();
    let raw = stream.cu_stream();
    note(raw, log, 'z');
    drop(stream);
    context.bind_to_thread().unwrap();
    // SAFETY: handles are looked up.
    unsafe {
        let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
        assert_eq!(code(result::stream::synchronize(raw)), invalid);
        assert_eq!(code(result::stream::destroy(raw)), invalid);
        assert_eq!(code(result::stream::synchronize(0x00ad_0000 as _)), invalid);
        assert_eq!(code(result::stream::destroy(std::ptr::null_mut())), invalid);
    }
    context.synchronize().unwrap();
    assert_eq!(read(log), "z");
}

#[test]
fn callbacks_must_not_call_the_driver() {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn callback(_: sys::CUstream, status: CUresult, _: *mut c_void) {
        assert_eq!(status, CUresult::CUDA_SUCCESS);
        // SAFETY: no argument is read.
        let code = unsafe { sys::cuCtxSynchronize() };
        SEEN.store(code as u32, SeqCst);
    }
    let context = context();
    let stream = context.new_stream().unwrap();
    let null = std::ptr::null_mut();
    // SAFETY: the callback reads no data.
    unsafe {
        let flags = sys::cuStreamAddCallback(stream.cu_stream(), Some(callback), null, 1);
        assert_eq!(flags, CUresult::CUDA_ERROR_INVALID_VALUE);
        let none = sys::cuLaunchHostFunc(stream.cu_stream(), None, null);
        assert_eq!(none, CUresult::CUDA_ERROR_INVALID_VALUE);
        sys::cuStreamAddCallback(stream.cu_stream(), Some(callback), null, 0)
            .result()
            .unwrap();
    }
    stream.synchronize().unwrap();
    assert_eq!(SEEN.load(SeqCst), CUresult::CUDA_ERROR_NOT_PERMITTED as u32);
}

#[test]
fn streams_tell_what_they_are() {
    let context = context();
    let stream = context.new_stream_with_priority(-9).unwrap();
    let other = blocking_stream(&context);
    let (mut flags, mut priority, mut owner) = (9, 9, std::ptr::null_mut());
    let (mut id, mut other_id) = (0, 0);
    // SAFETY: the results have their places.
    unsafe {
        let raw = stream.cu_stream();
        sys::cuStreamGetFlags(raw, &mut flags).result().unwrap();
        sys::cuStreamGetPriority(raw, &mut priority)
            .result()
            .unwrap();
        sys::cuStreamGetCtx(raw, &mut owner).result().unwrap();
        sys::cuStreamGetId(raw, &mut id).result().unwrap();
        sys::cuStreamGetId(other, &mut other_id).result().unwrap();
        assert_eq!(
            sys::cuStreamCreate(&mut owner.cast(), 8),
            CUresult::CUDA_ERROR_INVALID_VALUE
        );
    }
    assert_eq!((flags, priority, owner), (1, -5, context.cu_ctx()));
    assert_ne!(id, other_id);
    assert_eq!(result::stream::get_priority_range().unwrap(), (0, -5));
}

/// Random programs on several streams: whatever order the work was done in, it must be one that
/// the program's own order, its events and the legacy stream allow.
#[test]
fn random_programs_run_in_an_allowed_order() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % below
    };
    for program in 0..30 {
        let context = context();
        let own: Vec<_> = (0..2).map(|_| context.new_stream().unwrap()).collect();
        let mut streams = vec![std::ptr::null_mut()];
        streams.extend((0..2).map(|_| blocking_stream(&context)));
        streams.extend(own.iter().map(|stream| stream.cu_stream()));
        let log = log();
        // For each stream, which steps (by number) come before its next one; for each event too.
        let mut known: Vec<Vec<bool>> = vec![vec![false; 100]; streams.len()];
        let mut events: Vec<(sys::CUevent, Vec<bool>)> = Vec::new();
        let mut before: Vec<Vec<bool>> = Vec::new();
        for _ in 0..100 {
            let at = random(streams.len());
            // Every action of the legacy stream waits for blocking ones, and they for it.
            let others = match at {
                0 => 1..3,
                1 | 2 => 0..1,
                _ => 0..0,
            };
            for other in others {
                let (other, own) = (known[other].clone(), &mut known[at]);
                own.iter_mut()
                    .zip(other)
                    .for_each(|(own, other)| *own |= other);
            }
            match random(4) {
                0 => {
                    let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
                    let event = event.unwrap();
                    // SAFETY: the handles are live.
                    unsafe { result::event::record(event, streams[at]) }.unwrap();
                    events.push((event, known[at].clone()));
                }
                1 if !events.is_empty() => {
                    let (event, reached) = &events[random(events.len())];
                    let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
                    // SAFETY: the handles are live.
                    unsafe { result::stream::wait_event(streams[at], *event, flags) }.unwrap();
                    known[at]
                        .iter_mut()
                        .zip(reached)
                        .for_each(|(own, other)| *own |= other);
                }
                _ => {
                    let step = before.len();
                    note(
                        streams[at],
                        log,
                        char::from_u32(0x100 + step as u32).unwrap(),
                    );
                    before.push(known[at].clone());
                    known[at][step] = true;
                }
            }
            if random(12) == 0 {
                // SAFETY: the handle is live.
                unsafe { result::stream::synchronize(streams[random(streams.len())]) }.unwrap();
            }
        }
        context.synchronize().unwrap();
        let order: Vec<usize> = read(log).chars().map(|c| c as usize - 0x100).collect();
        let place = |step: usize| order.iter().position(|&done| done == step).unwrap();
        assert_eq!(order.len(), before.len());
        for (step, before) in before.iter().enumerate() {
            for earlier in (0..step).filter(|&earlier| before[earlier]) {
                assert!(
                    place(earlier) < place(step),
                    "program {program}: {earlier}, {step}"
                );
            }
        }
    }
}

/// As in the engine: copies on one stream, kernels on another, tied by events.
#[test]
fn a_pipeline_of_two_streams_computes() {
    let context = context();
    let (copies, kernels) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let add = function(&context, "add");
    let buffers: Vec<_> = (0..8).map(|_| pinned(&context, 64)).collect();
    context.bind_to_thread().unwrap();
    // SAFETY: buffers outlive the streams' work.
    let address = unsafe { result::malloc_sync(64 * 4) }.unwrap();
    let mut free: Option<cudarc::driver::CudaEvent> = None;
    let mut filled = Vec::new();
    for (round, buffer) in buffers.into_iter().enumerate() {
        buffer.fill(round as u32);
        if let Some(free) = &free {
            copies.wait(free).unwrap();
        }
        // SAFETY: as above.
        unsafe { result::memcpy_htod_async(address, buffer, copies.cu_stream()) }.unwrap();
        kernels.join(&copies).unwrap();
        launch(&kernels, &add, 64, address, 100).unwrap();
        // SAFETY: as above.
        unsafe { result::memcpy_dtoh_async(buffer, address, kernels.cu_stream()) }.unwrap();
        free = Some(kernels.record_event(None).unwrap());
        filled.push(buffer);
    }
    kernels.synchronize().unwrap();
    for (round, buffer) in filled.iter().enumerate() {
        assert!(
            buffer.iter().all(|&word| word == 100 + round as u32),
            "round {round}: {buffer:?}"
        );
    }
}

#[test]
fn long_queues_are_worked_off() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let add = function(&context, "add");
    let words = stream.alloc_zeros::<u32>(1).unwrap();
    let address = cudarc::driver::DevicePtr::device_ptr(&words, &stream).0;
    for _ in 0..3000 {
        launch(&stream, &add, 1, address, 1).unwrap();
    }
    assert_eq!(stream.clone_dtoh(&words).unwrap(), [3000]);
}

#[test]
fn threads_share_a_context() {
    let context = context();
    let add = function(&context, "add");
    let work = |stream: Arc<CudaStream>, amount: u32| {
        let words = stream.clone_htod(&vec![amount; 256]).unwrap();
        let address = cudarc::driver::DevicePtr::device_ptr(&words, &stream).0;
        for _ in 0..20 {
            launch(&stream, &add, 256, address, amount).unwrap();
            stream.synchronize().unwrap();
        }
        assert_eq!(stream.clone_dtoh(&words).unwrap(), vec![21 * amount; 256]);
    };
    std::thread::scope(|scope| {
        for amount in 1..=6 {
            let (context, work) = (&context, &work);
            scope.spawn(move || work(context.new_stream().unwrap(), amount));
        }
    });
}
