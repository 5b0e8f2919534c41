//! What the driver says of the device and of compiled kernels.

use crate::driver::{Device, Function, Module};
use crate::error::Result;
use crate::report::Report;
use cudarc::driver::sys::{CUdevice_attribute, CUfunction_attribute, CUlimit};
use serde_json::{Map, Value, json};
use std::path::Path;

pub(crate) fn run(modules: &Path, report: &mut Report) -> Result<()> {
    let device = Device::open()?;
    report.add("device", identity(&device))?;
    report.add("attributes", Ok(attributes(&device)))?;
    report.add("limits", limits(&device))?;
    let measure = Module::open(modules, "measure")?;
    let chains = Module::open(modules, "chains")?;
    let faults = Module::open(modules, "faults")?;
    for (module, name, threads) in [
        (&measure, "empty", 1024),
        (&measure, "read_once", 512),
        (&chains, "wgmma_bf16_n64_ss", 128),
        (&chains, "wgmma_bf16_n256_ss", 128),
        (&faults, "many_registers", 256),
        (&faults, "deep_recursion", 32),
        (&faults, "large_shared", 256),
    ] {
        let described = module
            .function(name)
            .and_then(|kernel| kernel_facts(&kernel, threads));
        report.add(&format!("kernel {name}"), described)?;
    }
    Ok(())
}

fn identity(device: &Device) -> Result<Value> {
    let (free, total) = device.memory_info()?;
    Ok(json!({
        "name": device.name()?,
        "driver version": device.driver_version()?,
        "total memory bytes": device.total_memory()?,
        "free bytes": free,
        "visible bytes": total,
    }))
}

/// All attributes by number, those that cudarc knows also by name.
fn attributes(device: &Device) -> Value {
    let highest = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX as i32;
    let values = (1..highest + 16).filter_map(|number| {
        let value = device.attribute(number).ok()?;
        Some((number.to_string(), json!(value)))
    });
    let mut all: Map<String, Value> = values.collect();
    let named = [
        (
            "clock kHz",
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE,
        ),
        (
            "memory clock kHz",
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE,
        ),
        (
            "multiprocessors",
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
        ),
        (
            "L2 bytes",
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE,
        ),
        (
            "shared bytes per block, opted in",
            CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        ),
    ];
    for (name, attribute) in named {
        let value = device.attribute(attribute as i32);
        all.insert(name.into(), value.map_or(Value::Null, |value| json!(value)));
    }
    Value::Object(all)
}

fn limits(device: &Device) -> Result<Value> {
    Ok(json!({
        "stack bytes": device.limit(CUlimit::CU_LIMIT_STACK_SIZE)?,
        "printf bytes": device.limit(CUlimit::CU_LIMIT_PRINTF_FIFO_SIZE)?,
        "heap bytes": device.limit(CUlimit::CU_LIMIT_MALLOC_HEAP_SIZE)?,
        "L2 fetch bytes": device.limit(CUlimit::CU_LIMIT_MAX_L2_FETCH_GRANULARITY)?,
    }))
}

fn kernel_facts(kernel: &Function, threads: i32) -> Result<Value> {
    use CUfunction_attribute as Attribute;
    let attribute = |attribute| kernel.attribute(attribute);
    Ok(json!({
        "max threads": attribute(Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
        "shared bytes": attribute(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
        "const bytes": attribute(Attribute::CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES)?,
        "local bytes": attribute(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
        "registers": attribute(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
        "ptx version": attribute(Attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION)?,
        "binary version": attribute(Attribute::CU_FUNC_ATTRIBUTE_BINARY_VERSION)?,
        "max dynamic shared bytes":
            attribute(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)?,
        "threads asked": threads,
        "blocks per multiprocessor": kernel.occupancy(threads, 0)?,
        "blocks per multiprocessor, 40 KiB": kernel.occupancy(threads, 40 << 10)?,
    }))
}
