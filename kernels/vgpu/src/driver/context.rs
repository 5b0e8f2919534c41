//! Contexts: the primary one, others, and which is current on a thread.
#![allow(unsafe_code)]

use super::abi::{Device, In, Out, RawCode};
use super::code::Code;
use super::device::check;
use super::entry::enter;
use super::stream::{Kind, Stream};
use super::table::{Handle, serial};
use super::{Driver, State};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::thread::ThreadId;

thread_local! {
    /// The contexts that were made current on this thread, the last one on top.
    static CURRENT: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

/// All the scheduling and mapping flags that a context can have (`CU_CTX_FLAGS_MASK`).
const FLAGS: c_uint = 0xff;

/// How many limits there are (`CU_LIMIT_MAX` with the two that only the newest have left out).
const LIMITS: usize = 7;

/// A context.
pub(super) struct Context {
    flags: c_uint,
    /// The code that a fault left behind, which every later call returns.
    pub(super) failed: Option<Code>,
    pub(super) default_stream: Handle,
    pub(super) per_thread_streams: HashMap<ThreadId, Handle>,
    /// By `CUlimit`: stack bytes, printf bytes, heap bytes, two of launches from kernels, the L2
    /// fetch granularity in bytes and persisting L2 bytes, with a device's usual defaults.
    limits: [usize; LIMITS],
    cache_preference: RawCode,
}

/// The device's primary context.
pub(super) struct Primary {
    context: Option<Handle>,
    retained: usize,
    flags: c_uint,
    /// The pool that stream-ordered allocations come from.
    pub(super) default_pool: Handle,
    pub(super) pool: Handle,
}

impl Primary {
    pub(super) fn new(default_pool: Handle) -> Primary {
        Primary {
            context: None,
            retained: 0,
            flags: 0,
            default_pool,
            pool: default_pool,
        }
    }
}

impl State {
    fn create_context(&mut self, flags: c_uint) -> Result<Handle, Code> {
        let handle = self.contexts.insert(Context {
            flags,
            failed: None,
            default_stream: 0,
            per_thread_streams: HashMap::new(),
            limits: [1024, 1 << 20, 8 << 20, 2, 2048, 64, 0],
            cache_preference: 0,
        });
        let stream = self.streams.insert(Stream::new(handle, Kind::Legacy, 0));
        self.context(handle)?.default_stream = stream;
        Ok(handle)
    }

    /// The context of a handle that was checked before.
    pub(super) fn context(&mut self, context: Handle) -> Result<&mut Context, Code> {
        self.contexts.get_mut(context, Code::InvalidContext)
    }

    /// Whether a context lives and no fault spoilt it.
    pub(super) fn healthy(&self, context: Handle) -> Result<(), Code> {
        let context = self.contexts.get(context, Code::ContextIsDestroyed)?;
        context.failed.map_or(Ok(()), Err)
    }
}

impl Driver {
    /// The thread's current context, which lives and is not spoilt.
    pub(super) fn current(&self) -> Result<Handle, Code> {
        let context = top().ok_or(Code::InvalidContext)?;
        self.state().healthy(context)?;
        Ok(context)
    }

    /// A context that was passed in, or the current one for null.
    fn named_or_current(&self, context: Handle) -> Result<Handle, Code> {
        if context == 0 {
            return self.current();
        }
        let state = self.state();
        state.contexts.get(context, Code::InvalidContext)?;
        state.healthy(context)?;
        Ok(context)
    }

    /// Finishes a context's work and removes all that belongs to it.
    fn destroy(&self, context: Handle) -> Result<(), Code> {
        let running = self.settle(context);
        let mut state = self.state();
        state.contexts.remove(context, Code::InvalidContext)?;
        let mut addresses = state.queue.forget(context);
        state.leave_captures(context);
        state.streams.remove_where(|each| each.context == context);
        state.events.remove_where(|each| each.context == context);
        state.functions.remove_where(|each| each.context == context);
        let modules = state.modules.remove_where(|each| each.context == context);
        let owned = state.owners.extract_if(|_, each| each.context == context);
        addresses.extend(owned.map(|(address, _)| address));
        drop(state);
        drop(modules);
        for address in addresses {
            self.release(&running, address)?;
        }
        Ok(())
    }
}

fn top() -> Option<Handle> {
    CURRENT.with_borrow(|stack| stack.last().copied())
}

fn pop() -> Option<Handle> {
    CURRENT.with_borrow_mut(Vec::pop)
}

fn push(context: Handle) {
    CURRENT.with_borrow_mut(|stack| stack.push(context));
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRetain(context: Out<Handle>, device: Device) -> Code {
    enter(|driver| {
        check(device)?;
        context.check()?;
        let mut state = driver.state();
        let handle = match state.primary.context {
            Some(handle) => handle,
            None => {
                let flags = state.primary.flags;
                state.create_context(flags)?
            }
        };
        state.primary.context = Some(handle);
        state.primary.retained += 1;
        context.set(handle)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(device: Device) -> Code {
    enter(|driver| {
        check(device)?;
        let mut state = driver.state();
        let handle = state.primary.context.ok_or(Code::InvalidContext)?;
        state.primary.retained = state.primary.retained.saturating_sub(1);
        if state.primary.retained > 0 {
            return Ok(());
        }
        state.primary.context = None;
        drop(state);
        driver.destroy(handle)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxReset_v2(device: Device) -> Code {
    enter(|driver| {
        check(device)?;
        let mut state = driver.state();
        state.primary.retained = 0;
        let handle = state.primary.context.take();
        drop(state);
        handle.map_or(Ok(()), |handle| driver.destroy(handle))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxGetState(
    device: Device,
    flags: Out<c_uint>,
    active: Out<c_int>,
) -> Code {
    enter(|driver| {
        check(device)?;
        let state = driver.state();
        flags.set(state.primary.flags)?;
        active.set(c_int::from(state.primary.context.is_some()))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: Device, flags: c_uint) -> Code {
    enter(|driver| {
        check(device)?;
        if flags & !FLAGS != 0 {
            return Err(Code::InvalidValue);
        }
        driver.state().primary.flags = flags;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxCreate_v4(
    context: Out<Handle>,
    parameters: In<[usize; 3]>,
    flags: c_uint,
    device: Device,
) -> Code {
    enter(|driver| {
        check(device)?;
        context.check()?;
        if flags & !FLAGS != 0 {
            return Err(Code::InvalidValue);
        }
        if !parameters.is_null() {
            // Affinities and graphics interfaces.
            return Err(Code::NotSupported);
        }
        let handle = driver.state().create_context(flags)?;
        push(handle);
        context.set(handle)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxCreate_v2(context: Out<Handle>, flags: c_uint, device: Device) -> Code {
    cuCtxCreate_v4(context, In::null(), flags, device)
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxDestroy_v2(context: Handle) -> Code {
    enter(|driver| {
        if driver.state().primary.context == Some(context) {
            return Err(Code::InvalidContext);
        }
        driver.destroy(context)?;
        if top() == Some(context) {
            pop();
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetCurrent(context: Out<Handle>) -> Code {
    enter(|_| context.set(top().unwrap_or(0)))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: Handle) -> Code {
    enter(|driver| {
        if context != 0 {
            driver.state().contexts.get(context, Code::InvalidContext)?;
        }
        pop();
        if context != 0 {
            push(context);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxPushCurrent_v2(context: Handle) -> Code {
    enter(|driver| {
        driver.state().contexts.get(context, Code::InvalidContext)?;
        push(context);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxPopCurrent_v2(context: Out<Handle>) -> Code {
    enter(|_| {
        let popped = pop().ok_or(Code::InvalidContext)?;
        context.set_if_wanted(popped);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetDevice(device: Out<Device>) -> Code {
    enter(|driver| {
        driver.current()?;
        device.set(0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetId(context: Handle, id: Out<u64>) -> Code {
    enter(|driver| id.set(serial(driver.named_or_current(context)?)))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetApiVersion(context: Handle, version: Out<c_uint>) -> Code {
    enter(|driver| {
        driver.named_or_current(context)?;
        version.set(3020)
    })
}

fn synchronize(driver: &Driver, context: Handle) -> Result<(), Code> {
    {
        let mut state = driver.state();
        state.refuse_captures_in(context)?;
        state.refuse_unsafe()?;
    }
    driver.finish_context(context)
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> Code {
    enter(|driver| synchronize(driver, driver.current()?))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize_v2(context: Handle) -> Code {
    enter(|driver| synchronize(driver, driver.named_or_current(context)?))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetFlags(flags: Out<c_uint>) -> Code {
    enter(|driver| {
        let context = driver.current()?;
        flags.set(driver.state().context(context)?.flags)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetFlags(flags: c_uint) -> Code {
    enter(|driver| {
        let context = driver.current()?;
        if flags & !FLAGS != 0 {
            return Err(Code::InvalidValue);
        }
        driver.state().context(context)?.flags = flags;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetLimit(value: Out<usize>, which: c_uint) -> Code {
    enter(|driver| {
        let context = driver.current()?;
        let limits = driver.state().context(context)?.limits;
        value.set(*limits.get(which as usize).ok_or(Code::UnsupportedLimit)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetLimit(which: c_uint, value: usize) -> Code {
    enter(|driver| {
        let context = driver.current()?;
        let mut state = driver.state();
        let limit = state.context(context)?.limits.get_mut(which as usize);
        *limit.ok_or(Code::UnsupportedLimit)? = value;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetCacheConfig(preference: Out<c_uint>) -> Code {
    enter(|driver| {
        let context = driver.current()?;
        preference.set(driver.state().context(context)?.cache_preference)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCacheConfig(preference: c_uint) -> Code {
    enter(|driver| {
        let context = driver.current()?;
        if preference > 3 {
            return Err(Code::InvalidValue);
        }
        driver.state().context(context)?.cache_preference = preference;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetStreamPriorityRange(least: Out<c_int>, greatest: Out<c_int>) -> Code {
    enter(|driver| {
        driver.current()?;
        least.set_if_wanted(super::stream::LEAST_PRIORITY);
        greatest.set_if_wanted(super::stream::GREATEST_PRIORITY);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxResetPersistingL2Cache() -> Code {
    enter(|driver| driver.current().map(drop))
}
