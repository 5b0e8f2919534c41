//! Launches: what is checked before one joins its stream, and how its arguments are read.
#![allow(unsafe_code)]

use super::Driver;
use super::abi::{In, LaunchAttribute, LaunchConfig, Out};
use super::code::Code;
use super::counting::Counting;
use super::entry::enter;
use super::function::Function;
use super::occupancy::blocks_per_multiprocessor;
use super::table::Handle;
use super::work::{Failure, Work};
use crate::{FaultKind, Gpu, Kernel, Launch, Properties};
use std::ffi::c_uint;
use std::sync::Arc;

/// The tags in a launch's list of extras (`CU_LAUNCH_PARAM_…`).
mod extra {
    pub(super) const END: usize = 0;
    pub(super) const BUFFER: usize = 1;
    pub(super) const BUFFER_BYTES: usize = 2;
}

/// The launch attributes' numbers (`CU_LAUNCH_ATTRIBUTE_…`).
mod attribute {
    pub(super) const COOPERATIVE: u32 = 2;
    pub(super) const CLUSTER_DIMENSION: u32 = 4;
    /// Those that are about speed alone: ignored ones, the L2 window, how the host waits, cluster
    /// scheduling, early starts (which are permitted, not required), priority, and the two of
    /// memory synchronization domains.
    pub(super) const HINTS: [u32; 8] = [0, 1, 3, 5, 6, 8, 9, 10];
}

/// A launch that was found in order, with its arguments copied.
pub(super) struct Prepared {
    kernel: Arc<Kernel>,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    params: Vec<u8>,
}

impl Prepared {
    /// Runs the kernel to completion.
    pub(super) fn run(&self, gpu: &Gpu, counting: &Counting) -> Result<(), Failure> {
        let launch = Launch {
            grid: self.grid,
            block: self.block,
            dynamic_shared: self.dynamic_shared,
            params: &self.params,
        };
        counting
            .launch(gpu, &self.kernel, &launch)
            .map_err(|fault| Failure {
                code: code_of(fault.kind),
                text: fault.to_string(),
            })
    }
}

/// The code that hardware gives for a fault. Where it would hang, the launch times out.
fn code_of(kind: FaultKind) -> Code {
    match kind {
        FaultKind::OutOfBounds => Code::IllegalAddress,
        FaultKind::Misaligned => Code::MisalignedAddress,
        FaultKind::InvalidAddressSpace => Code::InvalidAddressSpace,
        FaultKind::IllegalInstruction => Code::IllegalInstruction,
        FaultKind::Assert => Code::Assert,
        FaultKind::Divergence | FaultKind::Deadlock | FaultKind::StepLimit => Code::LaunchTimeout,
        FaultKind::OutOfResources => Code::LaunchOutOfResources,
        FaultKind::Trap
        | FaultKind::InvalidLaunch
        | FaultKind::Uninitialised
        | FaultKind::SharedRace
        | FaultKind::GlobalRace
        | FaultKind::PendingCopy => Code::LaunchFailed,
    }
}

/// The shape of a launch as it was asked for.
struct Request {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    cooperative: bool,
}

impl Request {
    /// Refuses what hardware would refuse.
    fn check(&self, function: &Function, device: &Properties) -> Result<(), Code> {
        let within = |shape: [u32; 3], limits: [u32; 3]| {
            shape
                .iter()
                .zip(limits)
                .all(|(&extent, limit)| (1..=limit).contains(&extent))
        };
        if !within(self.grid, device.max_grid) || !within(self.block, device.max_block) {
            return Err(Code::InvalidValue);
        }
        let threads: u32 = self.block.iter().product();
        if threads > device.max_threads.min(function.kernel.max_threads())
            || self.dynamic_shared > function.max_dynamic_shared
        {
            return Err(Code::InvalidValue);
        }
        let registers = function.kernel.registers_of_warp().unwrap_or(0);
        if registers * threads.div_ceil(32) > device.registers {
            return Err(Code::LaunchOutOfResources);
        }
        if self.cooperative {
            let blocks: u64 = self.grid.iter().map(|&extent| u64::from(extent)).product();
            let resident =
                blocks_per_multiprocessor(function, device, threads, self.dynamic_shared);
            if blocks > u64::from(resident) * u64::from(device.multiprocessors) {
                return Err(Code::CooperativeLaunchTooLarge);
            }
        }
        Ok(())
    }
}

/// The kernel's arguments, laid out as its signature says.
fn arguments(kernel: &Kernel, params: In<In<u8>>, extras: In<usize>) -> Result<Vec<u8>, Code> {
    if !extras.is_null() {
        if !params.is_null() {
            return Err(Code::InvalidValue);
        }
        return packed_arguments(kernel, extras);
    }
    let mut packed = vec![0; kernel.param_bytes()];
    for (i, param) in kernel.params().iter().enumerate() {
        let pointer = params.get(i)?;
        let bytes = pointer.bytes(param.size)?;
        let place = packed.get_mut(param.offset..param.offset + param.size);
        place.ok_or(Code::Unknown)?.copy_from_slice(bytes);
    }
    Ok(packed)
}

/// The arguments that a program has laid out itself.
fn packed_arguments(kernel: &Kernel, extras: In<usize>) -> Result<Vec<u8>, Code> {
    let (mut buffer, mut bytes) = (0, 0);
    let mut at = 0;
    loop {
        match extras.get(at)? {
            extra::END => break,
            extra::BUFFER => buffer = extras.get(at + 1)?,
            extra::BUFFER_BYTES => {
                bytes = Out::<usize>::from_address(extras.get(at + 1)?).get()?;
            }
            _ => return Err(Code::InvalidValue),
        }
        at += 2;
    }
    let wanted = kernel.param_bytes();
    if bytes < wanted {
        return Err(Code::InvalidValue);
    }
    Ok(In::from_address(buffer).bytes(wanted)?.to_vec())
}

fn launch(
    driver: &Driver,
    function: Handle,
    request: &Request,
    stream: Handle,
    (params, extras): (In<In<u8>>, In<usize>),
) -> Result<(), Code> {
    let named = driver.stream(stream)?;
    let prepared = {
        let state = driver.state();
        let function = state.function(function)?;
        if function.context != named.context {
            return Err(Code::InvalidHandle);
        }
        request.check(function, driver.gpu.properties())?;
        Prepared {
            params: arguments(&function.kernel, params, extras)?,
            kernel: function.kernel.clone(),
            grid: request.grid,
            block: request.block,
            dynamic_shared: request.dynamic_shared,
        }
    };
    if let Some(error) = prepared.kernel.unsupported() {
        driver.state().last_fault = error.to_string();
        return Err(Code::NotSupported);
    }
    driver.submit(named, Work::Launch(prepared)).map(drop)
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    dynamic_shared: c_uint,
    stream: Handle,
    params: In<In<u8>>,
    extras: In<usize>,
) -> Code {
    let request = Request {
        grid: [grid_x, grid_y, grid_z],
        block: [block_x, block_y, block_z],
        dynamic_shared,
        cooperative: false,
    };
    enter(|driver| launch(driver, function, &request, stream, (params, extras)))
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchCooperativeKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    dynamic_shared: c_uint,
    stream: Handle,
    params: In<In<u8>>,
) -> Code {
    let request = Request {
        grid: [grid_x, grid_y, grid_z],
        block: [block_x, block_y, block_z],
        dynamic_shared,
        cooperative: true,
    };
    enter(|driver| launch(driver, function, &request, stream, (params, In::null())))
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchKernelEx(
    config: In<LaunchConfig>,
    function: Handle,
    params: In<In<u8>>,
    extras: In<usize>,
) -> Code {
    enter(|driver| {
        let config = config.get(0)?;
        let mut request = Request {
            grid: config.grid,
            block: config.block,
            dynamic_shared: config.shared,
            cooperative: false,
        };
        for i in 0..config.attribute_count as usize {
            let LaunchAttribute { id, value, .. } = config.attributes.get(i)?;
            match id {
                attribute::COOPERATIVE => request.cooperative = value[0] != 0,
                attribute::CLUSTER_DIMENSION if value[..3] == [1; 3] => {}
                hint if attribute::HINTS.contains(&hint) => {}
                _ => return Err(Code::NotSupported),
            }
        }
        launch(driver, function, &request, config.stream, (params, extras))
    })
}
