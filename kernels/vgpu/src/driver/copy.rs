//! Copies and fills.
//!
//! As documented for the real driver: a copy from pageable memory takes the bytes before it
//! returns, one to pageable memory is finished when it returns, and all others wait in the stream.
//! Without `Async` a copy that involves the host is finished when it returns, one within the
//! device and a fill are not.
#![allow(unsafe_code)]

use super::Driver;
use super::abi::In;
use super::code::Code;
use super::entry::enter;
use super::stream::Named;
use super::table::Handle;
use super::work::{HostPointer, Work};
use crate::memory::Kind;

/// The largest copy from pageable memory whose bytes are taken to wait in the stream, in bytes. A
/// larger one waits for the stream itself, as it is free to do.
const STAGED: usize = 64 << 20;

/// What the sides of a copy have to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    HostToDevice,
    DeviceToHost,
    DeviceToDevice,
    /// As the addresses say.
    Any,
}

/// Whether the caller waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Where the documentation lets it.
    Yes,
    No,
}

/// The kind of memory that holds all of a range, or `None` for pageable memory.
fn locate(driver: &Driver, address: u64, bytes: usize) -> Result<Option<Kind>, Code> {
    let memory = driver.gpu.memory();
    match memory.find(address) {
        Some(found) if found.holds(address, bytes) => Ok(Some(found.kind)),
        None if !memory.owns(address) => Ok(None),
        _ => Err(Code::InvalidValue),
    }
}

fn transfer(
    driver: &Driver,
    named: Named,
    direction: Direction,
    (to, from, bytes): (u64, u64, usize),
    wait: Wait,
) -> Result<(), Code> {
    if bytes == 0 {
        return Ok(());
    }
    let sides = (locate(driver, to, bytes)?, locate(driver, from, bytes)?);
    let allowed = match direction {
        Direction::HostToDevice => sides.0.is_some() && sides.1 != Some(Kind::Device),
        Direction::DeviceToHost => sides.0 != Some(Kind::Device) && sides.1.is_some(),
        Direction::DeviceToDevice => sides.0.is_some() && sides.1.is_some(),
        Direction::Any => true,
    };
    if !allowed {
        return Err(Code::InvalidValue);
    }
    if driver.state().admit(named.stream)?.is_some() {
        let work = captured(sides, to, from, bytes)?;
        return driver.submit(named, work).map(drop);
    }
    let memory = driver.gpu.memory();
    match sides {
        (Some(to_kind), Some(from_kind)) => {
            let ticket = driver.submit(named, Work::Copy { to, from, bytes })?;
            let within_device = (to_kind, from_kind) == (Kind::Device, Kind::Device);
            if wait == Wait::Yes && !within_device {
                driver.finish(named.context, ticket)?;
            }
        }
        (Some(_), None) => {
            let source = In::from_address(from as usize);
            let source = source.bytes(bytes)?;
            if wait == Wait::No && bytes <= STAGED {
                let bytes = Box::from(source);
                driver.submit(named, Work::Upload { to, bytes })?;
            } else {
                finish_stream(driver, named)?;
                memory.write(to, source)?;
            }
        }
        (None, _) => {
            if to == 0 || from == 0 {
                return Err(Code::InvalidValue);
            }
            finish_stream(driver, named)?;
            let pointer = std::ptr::with_exposed_provenance_mut::<u8>(to as usize);
            if sides.1.is_some() {
                // SAFETY: memory of the caller's that by its contract takes `bytes`.
                let target = unsafe { std::slice::from_raw_parts_mut(pointer, bytes) };
                memory.read(from, target)?;
            } else {
                let source = std::ptr::with_exposed_provenance::<u8>(from as usize);
                // SAFETY: as above, for both sides, which may overlap.
                unsafe { pointer.copy_from(source, bytes) };
            }
        }
    }
    Ok(())
}

/// A copy in a graph, which finds the bytes of pageable memory when it runs.
fn captured(
    sides: (Option<Kind>, Option<Kind>),
    to: u64,
    from: u64,
    bytes: usize,
) -> Result<Work, Code> {
    let pageable = HostPointer::from_address;
    Ok(match sides {
        (Some(_), Some(_)) => Work::Copy { to, from, bytes },
        (Some(_), None) => {
            let from = pageable(from)?;
            Work::Write { to, from, bytes }
        }
        (None, Some(_)) => {
            let to = pageable(to)?;
            Work::Read { to, from, bytes }
        }
        (None, None) => {
            let (to, from) = (pageable(to)?, pageable(from)?);
            Work::Move { to, from, bytes }
        }
    })
}

fn finish_stream(driver: &Driver, named: Named) -> Result<(), Code> {
    let awaited = driver.state().awaited(named.stream)?;
    driver.finish(named.context, awaited)
}

fn now(direction: Direction, to: u64, from: u64, bytes: usize) -> Code {
    enter(|driver| {
        let named = driver.default_stream_now()?;
        transfer(driver, named, direction, (to, from, bytes), Wait::Yes)
    })
}

fn later(direction: Direction, to: u64, from: u64, bytes: usize, stream: Handle) -> Code {
    enter(|driver| {
        let named = driver.stream(stream)?;
        transfer(driver, named, direction, (to, from, bytes), Wait::No)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoD_v2(to: u64, from: usize, bytes: usize) -> Code {
    now(Direction::HostToDevice, to, from as u64, bytes)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: usize, bytes: usize, stream: Handle) -> Code {
    later(Direction::HostToDevice, to, from as u64, bytes, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoH_v2(to: usize, from: u64, bytes: usize) -> Code {
    now(Direction::DeviceToHost, to as u64, from, bytes)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(to: usize, from: u64, bytes: usize, stream: Handle) -> Code {
    later(Direction::DeviceToHost, to as u64, from, bytes, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    now(Direction::DeviceToDevice, to, from, bytes)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) -> Code {
    later(Direction::DeviceToDevice, to, from, bytes, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpy(to: u64, from: u64, bytes: usize) -> Code {
    now(Direction::Any, to, from, bytes)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: Handle) -> Code {
    later(Direction::Any, to, from, bytes, stream)
}

/// Between contexts of the one device.
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeer(
    to: u64,
    to_context: Handle,
    from: u64,
    from_context: Handle,
    bytes: usize,
) -> Code {
    match enter(|driver| check_contexts(driver, [to_context, from_context])) {
        Code::Success => now(Direction::DeviceToDevice, to, from, bytes),
        code => code,
    }
}

/// Between contexts of the one device.
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeerAsync(
    to: u64,
    to_context: Handle,
    from: u64,
    from_context: Handle,
    bytes: usize,
    stream: Handle,
) -> Code {
    match enter(|driver| check_contexts(driver, [to_context, from_context])) {
        Code::Success => later(Direction::DeviceToDevice, to, from, bytes, stream),
        code => code,
    }
}

fn check_contexts(driver: &Driver, contexts: [Handle; 2]) -> Result<(), Code> {
    let state = driver.state();
    contexts.iter().try_for_each(|&context| {
        state.contexts.get(context, Code::InvalidContext)?;
        state.healthy(context)
    })
}

/// Fills with `count` times a pattern, whose length the address must be a multiple of.
fn fill<const N: usize>(to: u64, pattern: [u8; N], count: usize, stream: Option<Handle>) -> Code {
    enter(|driver| {
        let named = match stream {
            Some(stream) => driver.stream(stream)?,
            None => driver.default_stream_now()?,
        };
        if count == 0 {
            return Ok(());
        }
        let bytes = count.checked_mul(N).ok_or(Code::InvalidValue)?;
        let kind = locate(driver, to, bytes)?.ok_or(Code::InvalidValue)?;
        if !to.is_multiple_of(N as u64) {
            return Err(Code::InvalidValue);
        }
        let pattern = pattern.to_vec();
        let ticket = driver.submit(named, Work::Fill { to, pattern, count })?;
        if stream.is_none() && kind != Kind::Device {
            driver.finish(named.context, ticket)?;
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8_v2(to: u64, value: u8, count: usize) -> Code {
    fill(to, value.to_ne_bytes(), count, None)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD16_v2(to: u64, value: u16, count: usize) -> Code {
    fill(to, value.to_ne_bytes(), count, None)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD32_v2(to: u64, value: u32, count: usize) -> Code {
    fill(to, value.to_ne_bytes(), count, None)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: Handle) -> Code {
    fill(to, value.to_ne_bytes(), count, Some(stream))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: Handle) -> Code {
    fill(to, value.to_ne_bytes(), count, Some(stream))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD32Async(to: u64, value: u32, count: usize, stream: Handle) -> Code {
    fill(to, value.to_ne_bytes(), count, Some(stream))
}
