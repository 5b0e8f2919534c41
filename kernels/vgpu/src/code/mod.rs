//! Kernels lowered to decoded instructions.
//!
//! [`lower`](lower::lower) turns a kernel's statements into [`Draft`](draft::Draft)s over virtual
//! registers, with every device function inlined; [`allocate`](allocate::allocate) maps those to
//! few register columns and fixes branch targets, which gives a [`Program`].
//!
//! An instruction is added in two places: what it does, in a file of `exec/ops`, and how its opcode
//! and operands become drafts, in the file of [`families`] for its kind. One that computes each
//! lane from the same lane of its operands needs the first alone.

mod allocate;
mod draft;
mod families;
mod liveness;
mod lower;
mod names;
mod opcode;
mod shared;
pub(crate) mod target;

pub(crate) use lower::{Globals, lower};
pub(crate) use opcode::Opcode;

use crate::count::Kind;
use crate::exec::Handler;
use crate::exec::column::Column;
use crate::ptx::SourceLine;

/// The predicate that is always true.
pub(crate) const TRUE: u16 = 0;

/// Set in the slot of a column that is a constant of the program.
pub(crate) const CONSTANT: u16 = 1 << 15;

/// Where an operand lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Width {
    /// A bit a lane.
    Predicate,
    /// One column: 8, 16 and 32 bits.
    W32,
    /// Two columns.
    W64,
}

/// How the warp's loop treats an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Its handler runs on the active lanes.
    Lanes,
    /// Its handler runs once all lanes of the mask in `members` are there.
    Together,
    /// Its handler runs once all 32 lanes are there.
    Aligned,
    /// Lanes whose guard holds go to `target`.
    Branch,
    /// Each lane goes to the entry of a table that column `a` names.
    BranchTable,
    /// Lanes end.
    Exit,
    /// Lanes arrive at a barrier of the block.
    Barrier,
    /// Lanes let other warps run.
    Yield,
}

/// How far an access to memory, or a fence, reaches (PTX ISA 8.3 and 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// Not meant to synchronize.
    Weak,
    /// Between threads of a block.
    Block,
    /// Between all threads of the device.
    Device,
}

/// A decoded instruction. The fields' meaning is the handler's own; in general `d` and `e` are
/// results and `a`, `b`, `c` sources.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub(crate) handler: Handler,
    pub(crate) imm: u64,
    /// First of further operands in [`Program::lists`].
    pub(crate) list: u32,
    /// Where a branch goes.
    pub(crate) target: u32,
    /// All ones where the guard is negated.
    pub(crate) negate: u32,
    pub(crate) guard: u16,
    pub(crate) d: u16,
    pub(crate) e: u16,
    pub(crate) a: u16,
    pub(crate) b: u16,
    pub(crate) c: u16,
    /// The column of the member mask.
    pub(crate) members: u16,
    pub(crate) flow: Flow,
    pub(crate) strength: Strength,
    /// Whether it is the last step of a PTX instruction, which counts.
    pub(crate) counts: bool,
}

/// Where an instruction came from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// Line of the PTX text.
    pub(crate) line: u32,
    /// Line of the CUDA source.
    pub(crate) source: Option<SourceLine>,
    pub(crate) kind: Kind,
}

/// A kernel ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) code: Vec<Inst>,
    /// Where each instruction came from.
    pub(crate) origins: Vec<Origin>,
    /// Operands and branch tables of instructions with many.
    pub(crate) lists: Vec<u32>,
    /// Columns that hold constants.
    pub(crate) constants: Vec<Column>,
    /// Columns of a warp's registers.
    pub(crate) columns: usize,
    /// Predicates of a warp, [`TRUE`] included.
    pub(crate) predicates: usize,
    /// Bytes of local memory of a thread.
    pub(crate) local_bytes: u32,
    /// Bytes of shared memory whose size is known, with what the system keeps before them.
    pub(crate) static_shared_end: u32,
    /// Alignment of the dynamic shared memory.
    pub(crate) dynamic_align: u32,
}
