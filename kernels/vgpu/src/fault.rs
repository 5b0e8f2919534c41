//! What a kernel can do wrong.

use std::fmt;

/// The rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access outside every allocation, or outside the block's or thread's own memory.
    OutOfBounds,
    /// An address that is not a multiple of the access's size.
    Misaligned,
    /// An address of a space that the instruction cannot reach.
    InvalidAddressSpace,
    /// An instruction that the virtual GPU does not know, or that is used outside its rules.
    IllegalInstruction,
    /// `trap`, or `__trap()`.
    Trap,
    /// A failed `assert()`.
    Assert,
    /// Lanes that wait for lanes of their warp that cannot come.
    Divergence,
    /// A block whose warps all wait, with nobody to release them.
    Deadlock,
    /// A block that ran more instructions than its limit.
    StepLimit,
    /// A read of bytes that nobody wrote.
    Uninitialised,
    /// An access to shared memory that nothing orders before or after another thread's.
    SharedRace,
    /// The same in device memory.
    GlobalRace,
    /// An access to the destination of an asynchronous copy that was not waited for.
    PendingCopy,
    /// A launch that the device refuses.
    InvalidLaunch,
    /// A launch that needs more registers than a multiprocessor has.
    OutOfResources,
}

impl FaultKind {
    fn title(self) -> &'static str {
        match self {
            FaultKind::OutOfBounds => "access out of bounds",
            FaultKind::Misaligned => "misaligned address",
            FaultKind::InvalidAddressSpace => "invalid address space",
            FaultKind::IllegalInstruction => "illegal instruction",
            FaultKind::Trap => "trap",
            FaultKind::Assert => "assertion failed",
            FaultKind::Divergence => "lanes of a warp wait for others in vain",
            FaultKind::Deadlock => "deadlock",
            FaultKind::StepLimit => "step limit reached",
            FaultKind::Uninitialised => "uninitialised read",
            FaultKind::SharedRace => "race in shared memory",
            FaultKind::GlobalRace => "race in device memory",
            FaultKind::PendingCopy => "asynchronous copy not waited for",
            FaultKind::InvalidLaunch => "invalid launch",
            FaultKind::OutOfResources => "not enough registers",
        }
    }
}

/// A broken rule, with where and by whom. `Display` gives a full report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The rule.
    pub kind: FaultKind,
    /// The kernel's name.
    pub kernel: String,
    /// Line of the PTX text, from 1; 0 where no instruction is to blame.
    pub ptx_line: u32,
    /// File and line of the CUDA source, where `-lineinfo` gave them.
    pub cuda_source: Option<(String, u32)>,
    /// The block's position in the grid.
    pub block: [u32; 3],
    /// The thread's position in the block.
    pub thread: [u32; 3],
    /// What happened, with the values involved.
    pub detail: String,
    /// Who else had part in it: the other side of a race, or who began a copy.
    pub other: Option<Box<Party>>,
}

/// A thread and what it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Line of the PTX text, from 1; 0 where it is not known.
    pub ptx_line: u32,
    /// File and line of the CUDA source, where `-lineinfo` gave them.
    pub cuda_source: Option<(String, u32)>,
    /// The block's position in the grid.
    pub block: [u32; 3],
    /// The thread's position in the block.
    pub thread: [u32; 3],
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        write!(f, "block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz})")?;
        if self.ptx_line != 0 {
            write!(f, ", PTX line {}", self.ptx_line)?;
        }
        if let Some((file, line)) = &self.cuda_source {
            write!(f, ", {file}:{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in kernel `{}`", self.kind.title(), self.kernel)?;
        if self.ptx_line != 0 {
            let party = Party {
                ptx_line: self.ptx_line,
                cuda_source: self.cuda_source.clone(),
                block: self.block,
                thread: self.thread,
            };
            write!(f, ", {party}")?;
        }
        write!(f, ": {}", self.detail)?;
        if let Some(other) = &self.other {
            write!(f, ": {other}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
