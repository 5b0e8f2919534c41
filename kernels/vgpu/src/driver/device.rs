//! The one device, and the driver's start.
#![allow(unsafe_code)]

use super::abi::{Device, Out, Text};
use super::attributes::attribute;
use super::code::Code;
use super::entry::{enter, guard};
use super::report::options;
use super::{DRIVER, Driver};
use std::ffi::{c_char, c_int, c_uint};

/// The version of the interface: CUDA 13.0.
const VERSION: c_int = 13000;

/// The device's address on a bus that does not exist.
const PCI_BUS_ID: &str = "0000:00:00.0";

/// The device's identity: any that no hardware has.
const UUID: [u8; 16] = *b"gamut-vgpu-00000";

/// Refuses any other device.
pub(super) fn check(device: Device) -> Result<(), Code> {
    if device != 0 {
        return Err(Code::InvalidDevice);
    }
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(flags: c_uint) -> Code {
    guard(|| {
        if flags != 0 {
            return Err(Code::InvalidValue);
        }
        if DRIVER.get().is_none() {
            let options = options()?;
            DRIVER.get_or_init(|| Driver::new(options));
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: Out<c_int>) -> Code {
    guard(|| version.set(VERSION))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(count: Out<c_int>) -> Code {
    enter(|_| count.set(1))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: Out<Device>, ordinal: c_int) -> Code {
    enter(|_| {
        check(ordinal)?;
        device.set(ordinal)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetName(name: Out<c_char>, length: c_int, device: Device) -> Code {
    enter(|driver| {
        check(device)?;
        name.check()?;
        let length = usize::try_from(length).map_err(|_| Code::InvalidValue)?;
        name.set_text(&driver.gpu.properties().name, length);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: Device) -> Code {
    enter(|_| {
        check(device)?;
        uuid.set(UUID)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: Device) -> Code {
    cuDeviceGetUuid_v2(uuid, device)
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: Device) -> Code {
    enter(|driver| {
        check(device)?;
        bytes.set(driver.gpu.memory().capacity())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: Out<c_int>, which: c_uint, device: Device) -> Code {
    enter(|driver| {
        check(device)?;
        value.set(attribute(driver.gpu.properties(), which).ok_or(Code::InvalidValue)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceComputeCapability(
    major: Out<c_int>,
    minor: Out<c_int>,
    device: Device,
) -> Code {
    enter(|driver| {
        check(device)?;
        let capability = driver.gpu.properties().compute_capability;
        major.set(capability.0 as c_int)?;
        minor.set(capability.1 as c_int)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetPCIBusId(id: Out<c_char>, length: c_int, device: Device) -> Code {
    enter(|_| {
        check(device)?;
        id.check()?;
        let length = usize::try_from(length).map_err(|_| Code::InvalidValue)?;
        id.set_text(PCI_BUS_ID, length);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetByPCIBusId(device: Out<Device>, id: Text) -> Code {
    enter(|_| {
        if id.name()? != PCI_BUS_ID {
            return Err(Code::InvalidValue);
        }
        device.set(0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceCanAccessPeer(can: Out<c_int>, device: Device, peer: Device) -> Code {
    enter(|_| {
        check(device)?;
        check(peer)?;
        can.set(0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuProfilerStart() -> Code {
    enter(|driver| driver.current().map(drop))
}

#[unsafe(no_mangle)]
extern "C" fn cuProfilerStop() -> Code {
    enter(|driver| driver.current().map(drop))
}
