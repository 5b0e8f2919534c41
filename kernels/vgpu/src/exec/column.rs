//! A warp's registers: columns of 32 lanes.
#![allow(unsafe_code)]

use super::Cx;
use crate::code::{CONSTANT, Inst, Width};

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;

/// All lanes.
pub(crate) const FULL: u32 = u32::MAX;

/// 32 lanes of 32 bits; two in a row hold 32 lanes of 64 bits.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub(crate) struct Column(pub(crate) [u32; LANES]);

impl Column {
    pub(crate) const ZERO: Column = Column([0; LANES]);
}

/// The bits that a lane of a column holds.
pub(crate) trait Raw: Copy + Default {
    const WIDTH: Width;
}

impl Raw for u32 {
    const WIDTH: Width = Width::W32;
}

impl Raw for u64 {
    const WIDTH: Width = Width::W64;
}

/// A type that a lane's bits stand for.
pub(crate) trait Value: Copy {
    type Raw: Raw;
    fn from_raw(raw: Self::Raw) -> Self;
    fn raw(self) -> Self::Raw;
}

macro_rules! value {
    ($($t:ty, $raw:ty, |$r:ident| $from:expr, |$v:ident| $to:expr;)*) => {$(
        impl Value for $t {
            type Raw = $raw;
            #[inline(always)]
            fn from_raw($r: $raw) -> $t { $from }
            #[inline(always)]
            fn raw(self) -> $raw { let $v = self; $to }
        }
    )*};
}

value! {
    u8, u32, |r| r as u8, |v| u32::from(v);
    i8, u32, |r| r as i8, |v| v as i32 as u32;
    u16, u32, |r| r as u16, |v| u32::from(v);
    i16, u32, |r| r as i16, |v| u32::from(v as u16);
    u32, u32, |r| r, |v| v;
    i32, u32, |r| r as i32, |v| v as u32;
    f32, u32, |r| f32::from_bits(r), |v| v.to_bits();
    u64, u64, |r| r, |v| v;
    i64, u64, |r| r as i64, |v| v as u64;
    f64, u64, |r| f64::from_bits(r), |v| v.to_bits();
}

impl Cx<'_> {
    #[inline(always)]
    fn column_ptr(&self, slot: u16) -> *const Column {
        let base = if slot & CONSTANT != 0 {
            self.constants
        } else {
            self.columns.cast_const()
        };
        // SAFETY: the allocator gives operands slots inside the program's registers or constants.
        unsafe { base.add(usize::from(slot & !CONSTANT)) }
    }

    /// The lanes of an operand of `V`'s width.
    #[inline(always)]
    pub(crate) fn read<R: Raw>(&self, slot: u16) -> &[R; LANES] {
        // SAFETY: the slot is inside the file, with a second column behind it where `R` has 64
        // bits, since lowering asks for operands in the width that their handler reads; the
        // pointer is aligned to 128 bytes; nothing writes while `self` is borrowed.
        unsafe { &*self.column_ptr(slot).cast() }
    }

    /// The lanes of a result of `V`'s width.
    #[inline(always)]
    pub(crate) fn write<R: Raw>(&mut self, slot: u16) -> &mut [R; LANES] {
        debug_assert_eq!(slot & CONSTANT, 0);
        // SAFETY: as in `read`, and results are never constants.
        unsafe { &mut *self.columns.add(usize::from(slot & !CONSTANT)).cast() }
    }

    /// Writes the active lanes of a result.
    #[inline(always)]
    pub(crate) fn set<R: Raw>(&mut self, slot: u16, mask: u32, values: &[R; LANES]) {
        let to = self.write(slot);
        if mask == FULL {
            *to = *values;
        } else {
            for i in 0..LANES {
                to[i] = if mask >> i & 1 != 0 { values[i] } else { to[i] };
            }
        }
    }

    /// The slot of a listed operand.
    #[inline(always)]
    pub(crate) fn listed(&self, inst: &Inst, i: usize) -> u16 {
        self.grid.program.lists[inst.list as usize + i] as u16
    }

    /// A predicate.
    #[inline(always)]
    pub(crate) fn predicate(&self, index: u16) -> u32 {
        self.predicates[usize::from(index)]
    }

    /// Writes the active lanes of a predicate.
    #[inline(always)]
    pub(crate) fn set_predicate(&mut self, index: u16, mask: u32, value: u32) {
        let to = &mut self.predicates[usize::from(index)];
        *to = *to & !mask | value & mask;
    }
}

/// The lanes of `mask`, lowest first.
#[inline(always)]
pub(crate) fn lanes_of(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let lane = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        Some(lane)
    })
}

/// The lanes of `mask` that `keeps` picks.
#[inline(always)]
pub(crate) fn lanes_where(mask: u32, keeps: impl Fn(usize) -> bool) -> u32 {
    lanes_of(mask)
        .filter(|&lane| keeps(lane))
        .fold(0, |kept, lane| kept | 1 << lane)
}
