//! Loads and stores (PTX ISA 9.7.9).
#![allow(unsafe_code)]

use super::address::{
    GENERIC, LOCAL, Place, Reach, SHARED, addresses, locate, locate_writable, reach, span,
};
use crate::code::Inst;
use crate::exec::access::Action;
use crate::exec::column::{LANES, Raw, lanes_of};
use crate::exec::{Cx, Handler, Operation, Outcome, Trouble, wide_handler};
use crate::fault::FaultKind;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// An element in memory.
trait Element: Copy + Default {
    /// Reads it.
    ///
    /// # Safety
    /// `from` must be valid for reads; aligned, and only written by atomics, if `SHARED_BY_BLOCKS`.
    unsafe fn load<const SHARED_BY_BLOCKS: bool>(from: *const u8) -> Self;

    /// Writes it.
    ///
    /// # Safety
    /// Likewise for writes.
    unsafe fn store<const SHARED_BY_BLOCKS: bool>(self, to: *mut u8);
}

macro_rules! element {
    ($($T:ty, $Atomic:ty, $Bits:ty;)*) => {$(
        impl Element for $T {
            #[inline(always)]
            unsafe fn load<const SHARED_BY_BLOCKS: bool>(from: *const u8) -> $T {
                // SAFETY: the caller vouches for the pointer.
                unsafe {
                    if SHARED_BY_BLOCKS {
                        <$Atomic>::from_ptr(from.cast_mut().cast()).load(Relaxed) as $T
                    } else {
                        from.cast::<$T>().read_unaligned()
                    }
                }
            }
            #[inline(always)]
            unsafe fn store<const SHARED_BY_BLOCKS: bool>(self, to: *mut u8) {
                // SAFETY: the caller vouches for the pointer.
                unsafe {
                    if SHARED_BY_BLOCKS {
                        <$Atomic>::from_ptr(to.cast()).store(self as $Bits, Relaxed);
                    } else {
                        to.cast::<$T>().write_unaligned(self);
                    }
                }
            }
        }
    )*};
}

element! {
    u8, AtomicU8, u8;
    i8, AtomicU8, u8;
    u16, AtomicU16, u16;
    i16, AtomicU16, u16;
    u32, AtomicU32, u32;
    u64, AtomicU64, u64;
}

/// An element as a register holds it.
trait Extend<R: Raw>: Element {
    fn extend(self) -> R;
    fn cut(register: R) -> Self;
}

macro_rules! extend {
    ($($T:ty, $R:ty;)*) => {$(
        impl Extend<$R> for $T {
            #[inline(always)]
            fn extend(self) -> $R { self as $R }
            #[inline(always)]
            fn cut(register: $R) -> $T { register as $T }
        }
    )*};
}

extend! {
    u8, u32; i8, u32; u16, u32; i16, u32; u32, u32; u64, u64;
}

/// `ld`: `listed` results of one element each. `flags` holds their number.
struct Load<T, R, const SPACE: u8>(PhantomData<(T, R)>);

impl<T: Extend<R>, R: Raw, const SPACE: u8> Operation for Load<T, R, SPACE> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let addresses = addresses::<SPACE>(cx, inst);
        let count = inst.flags() as usize;
        let bytes = size_of::<T>() * count;
        let Some(span) = span::<SPACE>(cx, &addresses, mask, bytes) else {
            return load_lanes::<T, R, SPACE>(cx, inst, mask, &addresses);
        };
        cx.watch(inst, Action::Read, reach(SPACE), &addresses, mask, bytes)?;
        for element in 0..count {
            let mut out = [R::default(); LANES];
            for i in 0..LANES {
                // SAFETY: `span` found all active lanes' bytes in one range, and inactive lanes
                // read its start.
                out[i] = unsafe {
                    let from = span.start.add(span.offsets[i] + element * size_of::<T>());
                    if SPACE == GENERIC {
                        T::load::<true>(from)
                    } else {
                        T::load::<false>(from)
                    }
                }
                .extend();
            }
            let to = if count == 1 {
                inst.d
            } else {
                cx.listed(inst, element)
            };
            cx.set(to, mask, &out);
        }
        cx.obtained(inst, reach(SPACE), &addresses, mask)
    }
}

/// The same with each lane on its own.
#[cold]
fn load_lanes<T: Extend<R>, R: Raw, const SPACE: u8>(
    cx: &mut Cx<'_>,
    inst: &Inst,
    mask: u32,
    addresses: &[u64; LANES],
) -> Outcome {
    let count = inst.flags() as usize;
    let bytes = size_of::<T>() * count;
    for lane in lanes_of(mask) {
        locate(cx, reach(SPACE), lane, addresses[lane], bytes)?;
    }
    cx.watch(inst, Action::Read, reach(SPACE), addresses, mask, bytes)?;
    for lane in lanes_of(mask) {
        let place = locate(cx, reach(SPACE), lane, addresses[lane], bytes)?;
        for element in 0..count {
            let step = element * size_of::<T>();
            // SAFETY: `place` found as many bytes.
            let value = unsafe {
                match place {
                    Place::Device(from) => T::load::<true>(from.add(step)),
                    Place::Own(from) => T::load::<false>(from.add(step)),
                }
            };
            let to = if count == 1 {
                inst.d
            } else {
                cx.listed(inst, element)
            };
            cx.write::<R>(to)[lane] = value.extend();
        }
    }
    cx.obtained(inst, reach(SPACE), addresses, mask)
}

/// `st`: the listed sources are the address and one element each. `flags` holds their number.
struct Store<T, R, const SPACE: u8>(PhantomData<(T, R)>);

impl<T: Extend<R>, R: Raw, const SPACE: u8> Operation for Store<T, R, SPACE> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let addresses = addresses::<SPACE>(cx, inst);
        let count = inst.flags() as usize;
        let bytes = size_of::<T>() * count;
        let Some(span) = span::<SPACE>(cx, &addresses, mask, bytes) else {
            return store_lanes::<T, R, SPACE>(cx, inst, mask, &addresses);
        };
        cx.watch(inst, Action::Write, reach(SPACE), &addresses, mask, bytes)?;
        for element in 0..count {
            let from = if count == 1 {
                inst.b
            } else {
                cx.listed(inst, 1 + element)
            };
            let values = cx.read::<R>(from);
            for i in 0..LANES {
                if mask >> i & 1 == 0 {
                    continue;
                }
                // SAFETY: `span` found all active lanes' bytes in one range.
                unsafe {
                    let to = span.start.add(span.offsets[i] + element * size_of::<T>());
                    let value = T::cut(values[i]);
                    if SPACE == GENERIC {
                        value.store::<true>(to);
                    } else {
                        value.store::<false>(to);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cold]
fn store_lanes<T: Extend<R>, R: Raw, const SPACE: u8>(
    cx: &mut Cx<'_>,
    inst: &Inst,
    mask: u32,
    addresses: &[u64; LANES],
) -> Outcome {
    let count = inst.flags() as usize;
    let bytes = size_of::<T>() * count;
    for lane in lanes_of(mask) {
        locate_writable(cx, reach(SPACE), lane, addresses[lane], bytes)?;
    }
    cx.watch(inst, Action::Write, reach(SPACE), addresses, mask, bytes)?;
    for lane in lanes_of(mask) {
        let place = locate_writable(cx, reach(SPACE), lane, addresses[lane], bytes)?;
        for element in 0..count {
            let from = if count == 1 {
                inst.b
            } else {
                cx.listed(inst, 1 + element)
            };
            let value = T::cut(cx.read::<R>(from)[lane]);
            let step = element * size_of::<T>();
            // SAFETY: `place` found as many bytes.
            unsafe {
                match place {
                    Place::Device(to) => value.store::<true>(to.add(step)),
                    Place::Own(to) => value.store::<false>(to.add(step)),
                }
            }
        }
    }
    Ok(())
}

/// `ld.param` of a kernel's own parameter at `offset`: `flags` holds the size of an element, and
/// whether it is signed in bit 8.
pub(crate) struct LoadArgument<const WIDE: bool>;

impl<const WIDE: bool> Operation for LoadArgument<WIDE> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        let (start, bytes) = (inst.offset() as usize, (inst.flags() & 255) as usize);
        let Some(from) = cx
            .grid
            .params
            .get(start..)
            .and_then(|rest| rest.get(..bytes))
        else {
            let length = cx.grid.params.len();
            let detail = format!("parameter bytes {start}..{} of {length}", start + bytes);
            return Err(Trouble::new(FaultKind::OutOfBounds, 0, detail));
        };
        let signed = inst.flags() >> 8 & 1 != 0 && from.last().is_some_and(|top| top & 0x80 != 0);
        let mut value = [if signed { 0xff } else { 0 }; 8];
        value[..bytes].copy_from_slice(from);
        let value = u64::from_le_bytes(value);
        if WIDE {
            cx.set(inst.d, mask, &[value; LANES]);
        } else {
            cx.set(inst.d, mask, &[value as u32; LANES]);
        }
        Ok(())
    }
}

/// `fence`. Lanes of a block run on one thread of the host, so that this is for other blocks.
pub(crate) struct Fence;

impl Operation for Fence {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, _: u32) -> Outcome {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let warp = cx.threads.warp;
        if let Some((grid, block)) = cx.checks() {
            block.fence(grid, warp, inst.strength);
        }
        Ok(())
    }
}

/// `bar.warp.sync`, once its lanes are there.
pub(crate) struct WarpBarrier;

impl Operation for WarpBarrier {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, _: &Inst, _: u32) -> Outcome {
        let warp = cx.threads.warp;
        if let Some((grid, block)) = cx.checks() {
            block.join_lanes(grid, warp);
        }
        Ok(())
    }
}

/// An access to elements that fit its registers. Addresses in shared memory have 32 bits, all
/// others 64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) reach: Reach,
    pub(crate) bytes: u32,
    pub(crate) signed: bool,
}

macro_rules! pick {
    ($Op:ident, $access:expr) => {{
        macro_rules! element {
            ($space:ident) => {
                match ($access.bytes, $access.signed) {
                    (1, false) => wide_handler::<$Op<u8, u32, $space>>(),
                    (1, true) => wide_handler::<$Op<i8, u32, $space>>(),
                    (2, false) => wide_handler::<$Op<u16, u32, $space>>(),
                    (2, true) => wide_handler::<$Op<i16, u32, $space>>(),
                    (4, _) => wide_handler::<$Op<u32, u32, $space>>(),
                    (8, _) => wide_handler::<$Op<u64, u64, $space>>(),
                    _ => return None,
                }
            };
        }
        Some(match $access.reach {
            Reach::Generic => element!(GENERIC),
            Reach::Shared => element!(SHARED),
            Reach::Local => element!(LOCAL),
        })
    }};
}

/// The handler of a load.
pub(crate) fn load(access: Access) -> Option<Handler> {
    pick!(Load, access)
}

/// The handler of a store.
pub(crate) fn store(access: Access) -> Option<Handler> {
    pick!(Store, access)
}

/// The byte at a generic address, if there is one.
pub(crate) fn byte(cx: &mut Cx<'_>, lane: usize, address: u64) -> Option<u8> {
    let place = locate(cx, Reach::Generic, lane, address, 1).ok()?;
    // SAFETY: `locate` found the byte.
    Some(unsafe {
        match place {
            Place::Device(from) => u8::load::<true>(from),
            Place::Own(from) => u8::load::<false>(from),
        }
    })
}

/// The 16 bytes at a place.
#[inline(always)]
pub(crate) fn read_row(place: Place) -> [u32; 4] {
    std::array::from_fn(|i| {
        // SAFETY: the place holds 16 bytes.
        unsafe {
            match place {
                Place::Device(from) => u32::load::<true>(from.add(4 * i)),
                Place::Own(from) => u32::load::<false>(from.add(4 * i)),
            }
        }
    })
}

/// Writes 16 bytes to a place.
#[inline(always)]
pub(crate) fn write_row(place: Place, row: [u32; 4]) {
    for (i, value) in row.into_iter().enumerate() {
        // SAFETY: the place holds 16 bytes.
        unsafe {
            match place {
                Place::Device(to) => value.store::<true>(to.add(4 * i)),
                Place::Own(to) => value.store::<false>(to.add(4 * i)),
            }
        }
    }
}
