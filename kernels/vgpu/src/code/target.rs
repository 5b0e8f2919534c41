//! Which instructions a module's target has.

use super::Opcode;
use crate::ptx::{Function, Instruction, Module, PtxError, Statement};
use std::fmt;

/// An architecture, such as sm_90a.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// Major and minor compute capability in one number.
    number: u32,
    feature: Feature,
}

/// What an architecture has that later ones need not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feature {
    None,
    /// `f`: what all of one major number have.
    Family,
    /// `a`: what it has alone.
    Own,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.feature {
            Feature::None => "",
            Feature::Family => "f",
            Feature::Own => "a",
        };
        write!(f, "sm_{}{suffix}", self.number)
    }
}

impl Architecture {
    /// The architecture that `.target` names.
    pub(crate) fn parse(target: &str) -> Option<Architecture> {
        let name = target.split(',').next()?.trim().strip_prefix("sm_")?;
        let (digits, feature) = match name.as_bytes().last()? {
            b'a' => (name.strip_suffix('a')?, Feature::Own),
            b'f' => (name.strip_suffix('f')?, Feature::Family),
            _ => (name, Feature::None),
        };
        let number = digits.parse().ok()?;
        Some(Architecture { number, feature })
    }

    /// Whether code for it runs on a device.
    pub(crate) fn runs_on(self, (major, minor): (u32, u32)) -> bool {
        let device = 10 * major + minor;
        match self.feature {
            Feature::None => self.number <= device,
            Feature::Family => self.number <= device && self.number / 10 == major,
            Feature::Own => self.number == device,
        }
    }

    /// Whether it has all that `needed` has.
    fn has(self, needed: Architecture) -> bool {
        match needed.feature {
            Feature::None => self.number >= needed.number,
            _ => self == needed,
        }
    }
}

const fn since(number: u32) -> Architecture {
    Architecture {
        number,
        feature: Feature::None,
    }
}

const fn only(number: u32) -> Architecture {
    Architecture {
        number,
        feature: Feature::Own,
    }
}

/// The first architecture that has an instruction (PTX ISA, "Target ISA Notes" of each). What is not
/// told apart here is older than any target of today.
fn needed(op: &Opcode<'_>) -> Architecture {
    let bf16 = op.has("bf16") || op.has("bf16x2");
    let f8 = ["e4m3", "e5m2", "e4m3x2", "e5m2x2"]
        .iter()
        .any(|ty| op.has(ty));
    match op.stem() {
        "tcgen05" => only(100),
        "wgmma" | "setmaxnreg" => only(90),
        "stmatrix" | "elect" | "griddepcontrol" | "mapa" | "getctarank" => since(90),
        "cp" if op.has("bulk") => since(90),
        "barrier" | "fence" if op.has("cluster") => since(90),
        "mma" if f8 => since(89),
        "cvt" if f8 => since(89),
        "atom" | "red" | "add" | "sub" | "mul" | "ex2" | "tanh" if bf16 => since(90),
        "cp" | "mbarrier" | "redux" | "createpolicy" => since(80),
        "mma" if bf16 || op.has("tf32") || op.has("f64") || op.has("m16n8k16") => since(80),
        "fma" | "min" | "max" | "neg" | "abs" | "cvt" if bf16 => since(80),
        "mma" | "ldmatrix" | "movmatrix" | "tanh" => since(75),
        _ => since(0),
    }
}

/// Refuses instructions that `target` lacks.
pub(crate) fn check(
    source: &str,
    module: &Module<'_>,
    target: Architecture,
) -> Result<(), PtxError> {
    let bodies = module
        .functions
        .iter()
        .filter_map(|Function { body, .. }| body.as_deref());
    bodies
        .into_iter()
        .try_for_each(|body| statements(source, body, target))
}

fn statements(source: &str, body: &[Statement<'_>], target: Architecture) -> Result<(), PtxError> {
    for statement in body {
        match statement {
            Statement::Block(inner) => statements(source, inner, target)?,
            Statement::Instruction(Instruction { opcode, line, .. }) => {
                let needed = needed(&Opcode::new(opcode));
                if !target.has(needed) {
                    let reason = format!("`{opcode}` needs {needed}, the target is {target}");
                    return Err(PtxError::new(source, *line, reason));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
