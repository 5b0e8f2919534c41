//! Where in memory accesses go, checked.
//!
//! All accesses of an instruction are first taken as one range. If that lies within one allocation
//! (or the block's own memory) and all addresses are aligned, no lane needs a check of its own.
#![allow(unsafe_code)]

use crate::code::Inst;
use crate::exec::column::LANES;
use crate::exec::space::inside;
use crate::exec::{Cx, LOCAL_WINDOW, PARAM_WINDOW, SHARED_START, SHARED_WINDOW, Trouble};
use crate::fault::FaultKind;

/// The state space of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Global memory and the windows of the others.
    Generic,
    Shared,
    Local,
}

pub(super) const GENERIC: u8 = 0;
/// With 32-bit addresses, as the others have 64 bits.
pub(super) const SHARED: u8 = 1;
pub(super) const LOCAL: u8 = 2;

impl Inst {
    /// The bytes added to an address: the low half of `imm`.
    #[inline(always)]
    pub(crate) fn offset(&self) -> i64 {
        i64::from(self.imm as u32 as i32)
    }

    /// What else the instruction is told: the high half of `imm`.
    #[inline(always)]
    pub(crate) fn flags(&self) -> u32 {
        (self.imm >> 32) as u32
    }
}

/// Where a lane's bytes are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In memory that other blocks reach too.
    Device(*mut u8),
    /// In memory of this block or thread.
    Own(*mut u8),
}

/// The bytes of an access by all active lanes.
pub(super) struct Span {
    /// Where the lowest address is.
    pub(super) start: *mut u8,
    /// Distance of each lane from there; 0 for inactive lanes.
    pub(super) offsets: [usize; LANES],
}

#[inline(always)]
pub(super) fn addresses<const SPACE: u8>(cx: &Cx<'_>, inst: &Inst) -> [u64; LANES] {
    let mut out = [0; LANES];
    if SPACE == SHARED {
        let (base, offset) = (cx.read::<u32>(inst.a), inst.imm as u32);
        for i in 0..LANES {
            out[i] = u64::from(base[i].wrapping_add(offset));
        }
    } else {
        let (base, offset) = (cx.read::<u64>(inst.a), inst.offset() as u64);
        for i in 0..LANES {
            out[i] = base[i].wrapping_add(offset);
        }
    }
    out
}

/// The range of an access, if it needs no check of single lanes.
#[inline(always)]
pub(super) fn span<const SPACE: u8>(
    cx: &mut Cx<'_>,
    addresses: &[u64; LANES],
    mask: u32,
    bytes: usize,
) -> Option<Span> {
    let (mut low, mut high, mut bits) = (u64::MAX, 0, 0);
    for (i, &address) in addresses.iter().enumerate() {
        let active = mask >> i & 1 != 0;
        low = low.min(if active { address } else { u64::MAX });
        high = high.max(if active { address } else { 0 });
        bits |= if active { address } else { 0 };
    }
    if bits & (bytes as u64 - 1) != 0 {
        return None;
    }
    let reach = (high - low) as usize + bytes;
    let (start, stride) = match SPACE {
        GENERIC => (cx.grid.memory.resolve(low, reach, &mut cx.threads.hint)?, 0),
        SHARED => {
            let inside = low >= u64::from(SHARED_START)
                && high.checked_add(bytes as u64)? <= cx.block.shared.len() as u64;
            // SAFETY: the range is inside the vector.
            inside.then(|| unsafe { (cx.block.shared.as_mut_ptr().add(low as usize), 0) })?
        }
        _ => {
            let stride = cx.grid.program.local_bytes as usize;
            let inside = high.checked_add(bytes as u64)? <= stride as u64;
            // SAFETY: the range is inside the first lane's part, and each lane has as much.
            inside.then(|| unsafe { (cx.threads.local.as_mut_ptr().add(low as usize), stride) })?
        }
    };
    let mut offsets = [0; LANES];
    for i in 0..LANES {
        let active = mask >> i & 1 != 0;
        offsets[i] = if active {
            (addresses[i] - low) as usize + i * stride
        } else {
            0
        };
    }
    Some(Span { start, offsets })
}

pub(super) const fn reach(space: u8) -> Reach {
    match space {
        GENERIC => Reach::Generic,
        SHARED => Reach::Shared,
        _ => Reach::Local,
    }
}

/// Where one lane's bytes are that it may write.
pub(crate) fn locate_writable(
    cx: &mut Cx<'_>,
    reach: Reach,
    lane: usize,
    address: u64,
    bytes: usize,
) -> Result<Place, Box<Trouble>> {
    if reach == Reach::Generic && inside(PARAM_WINDOW, address) {
        let detail = format!("a write to the kernel's parameters at {address:#x}");
        return Err(Trouble::new(FaultKind::InvalidAddressSpace, lane, detail));
    }
    locate(cx, reach, lane, address, bytes)
}

/// Where one lane's `bytes` at `address` of a space are.
pub(crate) fn locate(
    cx: &mut Cx<'_>,
    reach: Reach,
    lane: usize,
    address: u64,
    bytes: usize,
) -> Result<Place, Box<Trouble>> {
    if !address.is_multiple_of(bytes as u64) {
        let detail = format!("{bytes} bytes at {address:#x}, which is not a multiple of {bytes}");
        return Err(Trouble::new(FaultKind::Misaligned, lane, detail));
    }
    let outside = |what: String| {
        let detail = format!("{bytes} bytes at {address:#x}: {what}");
        Err(Trouble::new(FaultKind::OutOfBounds, lane, detail))
    };
    let within = |offset: u64, length: usize| offset as usize + bytes <= length;
    match reach {
        Reach::Shared => {
            let length = cx.block.shared.len();
            if address >= u64::from(SHARED_START) && address <= 1 << 32 && within(address, length) {
                // SAFETY: inside the vector.
                return Ok(Place::Own(unsafe {
                    cx.block.shared.as_mut_ptr().add(address as usize)
                }));
            }
            outside(format!(
                "the block's shared memory is {SHARED_START:#x}..{length:#x}"
            ))
        }
        Reach::Local => {
            let length = cx.grid.program.local_bytes as usize;
            if address <= 1 << 32 && within(address, length) {
                // SAFETY: inside the lane's part of the vector.
                return Ok(Place::Own(unsafe {
                    cx.threads
                        .local
                        .as_mut_ptr()
                        .add(lane * length + address as usize)
                }));
            }
            outside(format!("the thread's local memory has {length:#x} bytes"))
        }
        Reach::Generic if inside(SHARED_WINDOW, address) => {
            locate(cx, Reach::Shared, lane, address - SHARED_WINDOW, bytes)
        }
        Reach::Generic if inside(LOCAL_WINDOW, address) => {
            locate(cx, Reach::Local, lane, address - LOCAL_WINDOW, bytes)
        }
        Reach::Generic if inside(PARAM_WINDOW, address) => {
            let (offset, length) = (address - PARAM_WINDOW, cx.grid.params.len());
            if within(offset, length) {
                // Never written: see `locate_writable`.
                return Ok(Place::Own(
                    cx.grid.params[offset as usize..].as_ptr().cast_mut(),
                ));
            }
            outside(format!("the kernel's parameters have {length} bytes"))
        }
        Reach::Generic => match cx.grid.memory.resolve(address, bytes, &mut cx.threads.hint) {
            Some(pointer) => Ok(Place::Device(pointer)),
            None => outside(cx.grid.memory.explain(address)),
        },
    }
}

/// The 16 bytes at an address of the block's shared memory, if it is aligned and inside.
#[inline(always)]
pub(crate) fn shared_row(cx: &Cx<'_>, address: u32) -> Option<[u32; 4]> {
    if !address.is_multiple_of(16) || address < SHARED_START {
        return None;
    }
    let bytes = cx
        .block
        .shared
        .get(address as usize..)?
        .first_chunk::<16>()?;
    let word = |i: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| bytes[4 * i + byte]));
    Some([word(0), word(1), word(2), word(3)])
}
