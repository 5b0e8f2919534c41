//! PTX text, as NVRTC writes it, read into a syntax tree (PTX ISA 9, chapters 4 and 5).

mod ast;
mod declaration;
mod lexer;
mod number;
mod parser;

pub use ast::{
    Address, Function, Guard, Initial, Instruction, Module, Operand, Parameter, RegisterSet,
    SourceLine, Space, Statement, Type, Variable,
};
pub use number::Number;
pub use parser::parse;

/// Why a PTX text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {reason} in `{text}`")]
pub struct PtxError {
    /// Line of the PTX text, from 1.
    pub line: u32,
    /// What is wrong.
    pub reason: String,
    /// The line itself, trimmed.
    pub text: String,
}

impl PtxError {
    /// An error at `line` of `source`.
    pub(crate) fn new(source: &str, line: u32, reason: impl Into<String>) -> PtxError {
        let text = source
            .lines()
            .nth(line.saturating_sub(1) as usize)
            .unwrap_or("");
        PtxError {
            line,
            reason: reason.into(),
            text: text.trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
