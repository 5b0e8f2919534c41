//! Counters and coverage through the library's own functions.

use crate::{context, function, launch, library, pinned};
use serde_json::Value;
use std::ffi::c_int;

/// Threads of this file's launches, which no other test has.
const THREADS: u32 = 37;

fn count(on: bool) {
    type Count = unsafe extern "C" fn(c_int) -> c_int;
    // SAFETY: the symbol has this type.
    let code = unsafe {
        let count = library().get::<Count>(b"gamutVgpuCount\0");
        count.expect("it is exported")(c_int::from(on))
    };
    assert_eq!(code, 0);
}

/// What a function gives for a buffer of at most `limit` bytes.
fn take(symbol: &[u8], limit: usize) -> String {
    type Take = unsafe extern "C" fn(*mut u8, usize) -> usize;
    // SAFETY: the symbol has this type, and writes no more than the buffer takes.
    let text = unsafe {
        let take = library().get::<Take>(symbol).expect("it is exported");
        // Tests beside this one launch kernels as well, which makes the text longer meanwhile.
        let mut text = vec![0; (take(std::ptr::null_mut(), 0) + (1 << 20)).min(limit)];
        let length = take(text.as_mut_ptr(), text.len());
        text.truncate(length);
        text
    };
    String::from_utf8(text).expect("text")
}

/// This file's launches among those that were counted.
fn launches() -> Vec<Value> {
    let text = take(b"gamutVgpuTakeCounters\0", usize::MAX);
    let all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let own = |launch: &Value| launch["block"][0] == THREADS;
    all.into_iter().filter(own).collect()
}

#[test]
fn launches_are_counted_when_they_run() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let add = function(&context, "add");
    let words = pinned(&context, THREADS as usize);
    let address = words.as_ptr().expose_provenance() as u64;
    count(true);
    let run = || launch(&stream, &add, THREADS, address, 1).unwrap();
    run();
    assert_eq!(launches().len(), 0, "it waits in its stream");
    stream.synchronize().unwrap();
    take(b"gamutVgpuTakeCounters\0", 8);
    let counted = launches();
    assert_eq!(counted.len(), 1, "a short buffer takes nothing");
    assert_eq!(launches().len(), 0, "they were taken");
    let counters = &counted[0];
    assert_eq!(counters["kernel"], "add");
    assert_eq!(counters["grid"], serde_json::json!([1, 1, 1]));
    // Two warps, the second with five lanes.
    assert_eq!(counters["loads"]["requests"], 2);
    assert_eq!(counters["loads"]["bytes"], 4 * THREADS);
    assert_eq!(counters["stores"]["sectors"], 4 + 1);
    assert_eq!(counters["instructions"]["global_load"]["warps"], 2);
    let coverage = take(b"gamutVgpuTakeCoverage\0", usize::MAX);
    let coverage: Vec<Value> = serde_json::from_str(&coverage).expect("JSON");
    let lines_of = |kernel: &str| {
        let mut of_name = coverage.iter().filter(|c| c["kernel"] == kernel);
        let lines = of_name.find_map(|c| c["lines"].as_array());
        lines.expect("a kernel that is loaded").clone()
    };
    let ran = |line: &Value| line["lanes"].as_u64().is_some_and(|lanes| lanes > 0);
    let adds = coverage.iter().filter(|c| c["kernel"] == "add");
    let mut adds = adds.filter_map(|c| c["lines"].as_array());
    assert!(adds.any(|lines| lines.len() == 13 && lines.iter().all(ran)));
    assert!(!lines_of("dies").is_empty());
    count(false);
    run();
    stream.synchronize().unwrap();
    assert_eq!(launches().len(), 0, "counting is off");
    assert_eq!(words[THREADS as usize - 1], 2);
}
