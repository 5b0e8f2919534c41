//! What the checks find, as a program of the driver API sees it.

use crate::{code, context, faults, last_fault, launch};
use cudarc::driver::sys::{self, CUfunction_attribute, CUresult};
use cudarc::driver::{CudaContext, CudaFunction};
use cudarc::nvrtc::Ptx;
use std::sync::Arc;

/// `racy` stores its thread's number in one word; `large` says that it needs 80 registers.
const PTX: &str = r#"
.version 8.0
.target sm_90
.address_size 64
.visible .entry racy(.param .u64 data, .param .u32 word)
{
    .reg .b32 %r; .reg .b64 %rd;
    ld.param.u64 %rd, [data];
    mov.u32 %r, %tid.x;
    st.global.u32 [%rd], %r;
    ret;
}
.visible .entry large(.param .u64 data, .param .u32 word)
{
    .pragma "gamut registers 80";
    ret;
}
"#;

fn function(context: &Arc<CudaContext>, name: &str) -> CudaFunction {
    let module = context.load_module(Ptx::from_src(PTX)).expect("it loads");
    module.load_function(name).expect("a kernel of that name")
}

#[test]
fn a_race_fails_the_launch() {
    let _serial = faults::serial();
    let context = context();
    let stream = context.new_stream().unwrap();
    let word = stream.alloc_zeros::<u32>(1).unwrap();
    let (pointer, _guard) = cudarc::driver::DevicePtr::device_ptr(&word, &stream);
    launch(&stream, &function(&context, "racy"), 64, pointer, 0).unwrap();
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_LAUNCH_FAILED
    );
    let text = last_fault();
    for part in [
        "race in device memory in kernel `racy`",
        "another thread wrote",
        "PTX line 10",
    ] {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

#[test]
fn registers_limit_launches() {
    let context = context();
    let stream = context.new_stream().unwrap();
    let large = function(&context, "large");
    let which = CUfunction_attribute::CU_FUNC_ATTRIBUTE_NUM_REGS;
    assert_eq!(large.get_attribute(which).unwrap(), 80);
    // 80 registers are 2,560 a warp: 25 warps have 64,000 of 65,536.
    launch(&stream, &large, 25 * 32, 0, 0).expect("they fit");
    let refused = CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    assert_eq!(code(launch(&stream, &large, 26 * 32, 0, 0)), refused);
    // A part of a multiprocessor has 16,384: six warps each, 24 in all, three blocks of eight.
    let blocks = large.occupancy_max_active_blocks_per_multiprocessor(256, 0, None);
    assert_eq!(blocks.unwrap(), 3);
    stream.synchronize().unwrap();
}

#[test]
fn code_for_other_devices_is_refused() {
    let _serial = faults::serial();
    let context = context();
    let other = PTX.replace("sm_90", "sm_100a");
    let result = context.load_module(Ptx::from_src(other));
    let missing = CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU;
    assert_eq!(result.expect_err("refused").0, missing);
    assert!(last_fault().contains("sm_100a"));
    let lacking = PTX
        .replace("sm_90", "sm_70")
        .replace("mov.u32 %r, %tid.x;", "cp.async.wait_all;");
    let result = context.load_module(Ptx::from_src(lacking));
    assert_eq!(
        result.expect_err("refused").0,
        sys::CUresult::CUDA_ERROR_INVALID_PTX
    );
    assert!(last_fault().contains("needs sm_80"), "{}", last_fault());
}
