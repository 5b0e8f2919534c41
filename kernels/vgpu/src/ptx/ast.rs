//! The syntax tree. Names are borrowed from the text.

use super::Number;
use std::collections::HashMap;

/// A whole PTX module.
#[derive(Debug, Default)]
pub struct Module<'a> {
    /// `.version`, such as "9.0".
    pub version: &'a str,
    /// `.target`, such as "sm_90a".
    pub target: &'a str,
    /// Variables at module scope.
    pub variables: Vec<Variable<'a>>,
    /// Kernels and device functions, declarations included.
    pub functions: Vec<Function<'a>>,
    /// `.file` numbers and the paths that they stand for.
    pub files: HashMap<u32, &'a str>,
}

/// A state space that a variable can live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Device memory.
    Global,
    /// Constant memory.
    Constant,
    /// A block's shared memory.
    Shared,
    /// A thread's own memory.
    Local,
    /// Arguments of a call that is being prepared.
    Param,
}

/// A fundamental type (PTX ISA 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

impl Type {
    /// The type that `name` (without its dot) stands for.
    pub fn parse(name: &str) -> Option<Type> {
        Some(match name {
            "pred" => Type::Pred,
            "b8" => Type::B8,
            "b16" => Type::B16,
            "b32" => Type::B32,
            "b64" => Type::B64,
            "b128" => Type::B128,
            "u8" => Type::U8,
            "u16" => Type::U16,
            "u32" => Type::U32,
            "u64" => Type::U64,
            "s8" => Type::S8,
            "s16" => Type::S16,
            "s32" => Type::S32,
            "s64" => Type::S64,
            "f16" => Type::F16,
            "f16x2" => Type::F16x2,
            "bf16" => Type::Bf16,
            "bf16x2" => Type::Bf16x2,
            "f32" => Type::F32,
            "f64" => Type::F64,
            _ => return None,
        })
    }

    /// Size in memory, in bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Type::Pred | Type::B8 | Type::U8 | Type::S8 => 1,
            Type::B16 | Type::U16 | Type::S16 | Type::F16 | Type::Bf16 => 2,
            Type::B32 | Type::U32 | Type::S32 | Type::F32 | Type::F16x2 | Type::Bf16x2 => 4,
            Type::B64 | Type::U64 | Type::S64 | Type::F64 => 8,
            Type::B128 => 16,
        }
    }

    /// Whether it is a signed integer.
    pub fn is_signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }
}

/// A variable outside the registers.
#[derive(Debug)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it lives.
    pub space: Space,
    /// Alignment in bytes.
    pub align: u32,
    /// Size in bytes; 0 for an array of unknown size.
    pub bytes: u64,
    /// Type of an element.
    pub ty: Type,
    /// `.extern`: defined elsewhere, or dynamic shared memory.
    pub external: bool,
    /// Initial values of the elements, in order; the rest is zero.
    pub initial: Vec<Initial<'a>>,
    /// Line of the PTX text.
    pub line: u32,
}

/// One initial value.
#[derive(Debug)]
pub enum Initial<'a> {
    /// A number.
    Number(Number),
    /// The address of `name`, plus `offset` bytes.
    Address {
        /// A variable.
        name: &'a str,
        /// Bytes past its start.
        offset: i64,
    },
}

/// A parameter of a function, or its result.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// Its name.
    pub name: &'a str,
    /// Alignment in bytes.
    pub align: u32,
    /// Size in bytes.
    pub bytes: u64,
}

/// A kernel (`.entry`) or a device function (`.func`).
#[derive(Debug)]
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is a kernel.
    pub entry: bool,
    /// Results of a device function.
    pub results: Vec<Parameter<'a>>,
    /// Parameters in order.
    pub params: Vec<Parameter<'a>>,
    /// The body; none in a declaration.
    pub body: Option<Vec<Statement<'a>>>,
    /// `.maxntid` or `.reqntid`.
    pub max_threads: Option<[u32; 3]>,
    /// 32-bit registers of a thread: `.pragma "gamut registers N";` in the body, which is how a
    /// program passes on what ptxas found.
    pub registers: Option<u32>,
    /// Line of the PTX text.
    pub line: u32,
}

/// A line of CUDA source, from `.loc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// A `.file` number.
    pub file: u32,
    /// Line from 1.
    pub line: u32,
}

/// A part of a function's body.
#[derive(Debug)]
pub enum Statement<'a> {
    /// `.reg`.
    Registers(RegisterSet<'a>),
    /// A variable of the function.
    Variable(Variable<'a>),
    /// `name:`.
    Label(&'a str),
    /// `name: .branchtargets a, b;`
    Targets {
        /// The table's name.
        name: &'a str,
        /// Its labels.
        labels: Vec<&'a str>,
    },
    /// `{ ... }`.
    Block(Vec<Statement<'a>>),
    /// An instruction.
    Instruction(Instruction<'a>),
}

/// One register or a numbered range of them.
#[derive(Debug)]
pub struct RegisterSet<'a> {
    /// Its name, or the prefix of the range.
    pub name: &'a str,
    /// The range's length; none for a single register.
    pub count: Option<u32>,
    /// Type of each.
    pub ty: Type,
    /// Line of the PTX text.
    pub line: u32,
}

/// `@%p` or `@!%p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard<'a> {
    /// The predicate register.
    pub name: &'a str,
    /// Runs where the predicate is false.
    pub negated: bool,
}

/// An instruction.
#[derive(Debug)]
pub struct Instruction<'a> {
    /// Its guard, if any.
    pub guard: Option<Guard<'a>>,
    /// The dotted name, such as `ld.global.u32`.
    pub opcode: &'a str,
    /// Operands in order.
    pub operands: Vec<Operand<'a>>,
    /// Line of the PTX text.
    pub line: u32,
    /// The CUDA source line.
    pub source: Option<SourceLine>,
}

/// An operand.
#[derive(Debug, PartialEq)]
pub enum Operand<'a> {
    /// A register, special register, label or variable.
    Name(&'a str),
    /// `!%p`.
    Not(&'a str),
    /// A variable's address and a distance in bytes.
    Offset(&'a str, i64),
    /// A number.
    Number(Number),
    /// `[...]`.
    Address(Address<'a>),
    /// `{a, b}`.
    Vector(Vec<Operand<'a>>),
    /// `a|b`.
    Pair(Box<[Operand<'a>; 2]>),
    /// `(a, b)` of a call.
    List(Vec<Operand<'a>>),
}

/// `[base+offset]`.
#[derive(Debug, PartialEq)]
pub struct Address<'a> {
    /// A register or a variable; none for an absolute address.
    pub base: Option<&'a str>,
    /// Bytes to add.
    pub offset: i64,
}
