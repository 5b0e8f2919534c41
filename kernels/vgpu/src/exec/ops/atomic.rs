//! `atom` and `red` (PTX ISA 9.7.13).
#![allow(unsafe_code)]

use super::address::{Place, Reach, locate_writable};
use super::double::settle;
use super::half;
use super::rounding::{finish, flush};
use crate::code::Inst;
use crate::exec::access::Action;
use crate::exec::column::{LANES, Raw, lanes_of};
use crate::exec::{Cx, Handler, Operation, Outcome, handler};
use crate::ptx::Type;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// What is done to the value in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Change {
    Add,
    Min,
    Max,
    Increment,
    Decrement,
    And,
    Or,
    Xor,
    Exchange,
    CompareAndSwap,
}

const CHANGES: [Change; 10] = [
    Change::Add,
    Change::Min,
    Change::Max,
    Change::Increment,
    Change::Decrement,
    Change::And,
    Change::Or,
    Change::Xor,
    Change::Exchange,
    Change::CompareAndSwap,
];

impl Change {
    pub(crate) fn parse(name: &str) -> Option<Change> {
        Some(match name {
            "add" => Change::Add,
            "min" => Change::Min,
            "max" => Change::Max,
            "inc" => Change::Increment,
            "dec" => Change::Decrement,
            "and" => Change::And,
            "or" => Change::Or,
            "xor" => Change::Xor,
            "exch" => Change::Exchange,
            "cas" => Change::CompareAndSwap,
            _ => return None,
        })
    }
}

/// What `Inst::flags` of an atomic holds.
pub(crate) mod flag {
    /// The old value is wanted.
    pub(crate) const RESULT: u32 = 1 << 8;
    /// The address is in shared memory, and has 32 bits.
    pub(crate) const SHARED: u32 = 1 << 9;
}

/// A type that atomics work on.
trait Word {
    type R: Raw;
    const BYTES: usize;
    /// The new value of `old` in memory of the device or in the block's own; none where the
    /// instruction does not exist.
    fn change(change: Change, device: bool, old: u64, a: u64, b: u64) -> Option<u64>;
}

macro_rules! integer {
    ($Name:ident, $T:ty, $R:ty) => {
        struct $Name;
        impl Word for $Name {
            type R = $R;
            const BYTES: usize = size_of::<$T>();
            fn change(change: Change, _: bool, old: u64, a: u64, b: u64) -> Option<u64> {
                let (old, a, b) = (old as $T, a as $T, b as $T);
                Some(match change {
                    Change::Add => old.wrapping_add(a),
                    Change::Min => old.min(a),
                    Change::Max => old.max(a),
                    Change::Increment => {
                        if old >= a {
                            0
                        } else {
                            old + 1
                        }
                    }
                    Change::Decrement => {
                        if old == 0 || old > a {
                            a
                        } else {
                            old - 1
                        }
                    }
                    Change::And => old & a,
                    Change::Or => old | a,
                    Change::Xor => old ^ a,
                    Change::Exchange => a,
                    Change::CompareAndSwap => {
                        if old == a {
                            b
                        } else {
                            old
                        }
                    }
                } as u64)
            }
        }
    };
}

integer!(U16, u16, u32);
integer!(U32, u32, u32);
integer!(S32, i32, u32);
integer!(U64, u64, u64);
integer!(S64, i64, u64);

macro_rules! sum {
    ($Name:ident, $R:ty, $bytes:literal, |$device:ident, $a:ident, $b:ident| $body:expr) => {
        struct $Name;
        impl Word for $Name {
            type R = $R;
            const BYTES: usize = $bytes;
            fn change(change: Change, $device: bool, $a: u64, $b: u64, _: u64) -> Option<u64> {
                (change == Change::Add).then(|| $body)
            }
        }
    };
}

sum!(F32, u32, 4, |device, a, b| add_singles(device, a, b));
sum!(F64, u64, 8, |device, a, b| add_doubles(device, a, b));
sum!(F16, u32, 2, |_device, a, b| u64::from(half::add(
    Type::F16,
    a as u16,
    b as u16
)));
sum!(Bf16, u32, 2, |_device, a, b| u64::from(half::add(
    Type::Bf16,
    a as u16,
    b as u16
)));
sum!(F16x2, u32, 4, |_device, a, b| pair(Type::F16, a, b));
sum!(Bf16x2, u32, 4, |_device, a, b| pair(Type::Bf16, a, b));

/// The device's memory flushes subnormals; a block's own takes a loop around an ordinary addition.
fn add_singles(device: bool, old: u64, operand: u64) -> u64 {
    let [a, b] = [old, operand].map(|bits| f32::from_bits(bits as u32));
    let sum = if device {
        finish::<true>(flush::<true>(a) + flush::<true>(b))
    } else {
        finish::<false>(a + b)
    };
    sum.to_bits().into()
}

/// The device's memory keeps a NaN's bits, which an ordinary addition makes quiet.
fn add_doubles(device: bool, old: u64, operand: u64) -> u64 {
    let [a, b] = [old, operand].map(f64::from_bits);
    let sum = settle(a + b, [b, a]);
    let kept = [b, a].into_iter().find(|x| device && x.is_nan());
    kept.unwrap_or(sum).to_bits()
}

fn pair(ty: Type, a: u64, b: u64) -> u64 {
    let low = half::add(ty, a as u16, b as u16);
    let high = half::add(ty, (a >> 16) as u16, (b >> 16) as u16);
    u64::from(high) << 16 | u64::from(low)
}

trait Bits: Raw {
    fn wide(self) -> u64;
    fn cut(x: u64) -> Self;
}

impl Bits for u32 {
    fn wide(self) -> u64 {
        self.into()
    }
    fn cut(x: u64) -> u32 {
        x as u32
    }
}

impl Bits for u64 {
    fn wide(self) -> u64 {
        self
    }
    fn cut(x: u64) -> u64 {
        x
    }
}

struct Atomic<W>(PhantomData<W>);

impl<W: Word<R: Bits>> Operation for Atomic<W> {
    #[inline(always)]
    fn run(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
        run::<W>(cx, inst, mask)
    }
}

/// Lanes take their turns from the lowest up.
fn run<W: Word<R: Bits>>(cx: &mut Cx<'_>, inst: &Inst, mask: u32) -> Outcome {
    let change = CHANGES
        .get((inst.flags() & 255) as usize)
        .copied()
        .unwrap_or(Change::Add);
    let reach = if inst.flags() & flag::SHARED != 0 {
        Reach::Shared
    } else {
        Reach::Generic
    };
    let addresses: [u64; LANES] = if reach == Reach::Shared {
        let bases = cx.read::<u32>(inst.a);
        bases.map(|base| base.wrapping_add(inst.imm as u32).into())
    } else {
        let bases = cx.read::<u64>(inst.a);
        bases.map(|base| base.wrapping_add(inst.offset() as u64))
    };
    if cx.grid.watched {
        for lane in lanes_of(mask) {
            locate_writable(cx, reach, lane, addresses[lane], W::BYTES)?;
        }
        cx.watch(inst, Action::Atomic, reach, &addresses, mask, W::BYTES)?;
    }
    for lane in lanes_of(mask) {
        let a = cx.read::<W::R>(inst.b)[lane].wide();
        let b = cx.read::<W::R>(inst.c)[lane].wide();
        let place = locate_writable(cx, reach, lane, addresses[lane], W::BYTES)?;
        let device = matches!(place, Place::Device(_));
        let next = |old: u64| W::change(change, device, old, a, b);
        // SAFETY: `locate_writable` found the bytes, aligned.
        let old = unsafe { update(place, W::BYTES, next) };
        if inst.flags() & flag::RESULT != 0 {
            cx.write::<W::R>(inst.d)[lane] = W::R::cut(old);
        }
    }
    cx.obtained(inst, reach, &addresses, mask)
}

/// Changes the bytes at `place` and returns the old ones.
///
/// # Safety
/// The place must hold `bytes` bytes, aligned.
unsafe fn update(place: Place, bytes: usize, next: impl Fn(u64) -> Option<u64>) -> u64 {
    use Ordering::{AcqRel, Acquire};
    // A block's own memory is touched by one thread of the host only: atomics serve there as well,
    // yet it may lie unaligned.
    // SAFETY: the caller vouches for the place.
    unsafe {
        match (place, bytes) {
            (Place::Device(at), 2) => {
                let atomic = AtomicU16::from_ptr(at.cast());
                let change = |old: u16| next(old.into()).map(|new| new as u16);
                u64::from(
                    atomic
                        .fetch_update(AcqRel, Acquire, change)
                        .unwrap_or_else(|old| old),
                )
            }
            (Place::Device(at), 4) => {
                let atomic = AtomicU32::from_ptr(at.cast());
                let change = |old: u32| next(old.into()).map(|new| new as u32);
                u64::from(
                    atomic
                        .fetch_update(AcqRel, Acquire, change)
                        .unwrap_or_else(|old| old),
                )
            }
            (Place::Device(at), _) => {
                let atomic = AtomicU64::from_ptr(at.cast());
                atomic
                    .fetch_update(AcqRel, Acquire, next)
                    .unwrap_or_else(|old| old)
            }
            (Place::Own(at), _) => {
                let bytes = bytes.min(8);
                let mut word = [0; 8];
                std::ptr::copy_nonoverlapping(at, word.as_mut_ptr(), bytes);
                let old = u64::from_le_bytes(word);
                let new = next(old).unwrap_or(old).to_le_bytes();
                std::ptr::copy_nonoverlapping(new.as_ptr(), at, bytes);
                old
            }
        }
    }
}

/// The handler for values of type `ty`, if `change` exists for it.
pub(crate) fn atomic(ty: Type, change: Change) -> Option<Handler> {
    let swap = matches!(change, Change::Exchange | Change::CompareAndSwap);
    let counts = matches!(change, Change::Increment | Change::Decrement);
    Some(match ty {
        Type::B16 if swap => handler::<Atomic<U16>>(),
        Type::U32 | Type::B32 => handler::<Atomic<U32>>(),
        Type::S32 if !counts => handler::<Atomic<S32>>(),
        Type::U64 | Type::B64 if !counts => handler::<Atomic<U64>>(),
        Type::S64 if !counts => handler::<Atomic<S64>>(),
        _ if change != Change::Add => return None,
        Type::F32 => handler::<Atomic<F32>>(),
        Type::F64 => handler::<Atomic<F64>>(),
        Type::F16 => handler::<Atomic<F16>>(),
        Type::Bf16 => handler::<Atomic<Bf16>>(),
        Type::F16x2 => handler::<Atomic<F16x2>>(),
        Type::Bf16x2 => handler::<Atomic<Bf16x2>>(),
        _ => return None,
    })
}
