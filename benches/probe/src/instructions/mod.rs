//! The instructions whose results are recorded from hardware, each as one small kernel.
//!
//! A kernel's lanes each load their input words, run the instruction once and store its output
//! words. Word `w` of lane `t` of `n` lanes is at `w * n + t`, in inputs and outputs alike; blocks
//! are one warp wide. The recorded file holds outputs only, as [`Instruction::inputs`] gives the
//! inputs again: for each row a u32 tensor of its name, [outputs, lanes]; for a row that takes all
//! 65,536 values of its operand, some of the lanes ([`Instruction::recorded`]) and, as `NAME.digests`,
//! hashes of all ([`Instruction::digests`]).

mod compare;
mod convert;
mod float;
pub mod format;
pub mod generator;
mod integer;
pub mod matrices;
mod matrix;
mod memory;
mod warp;

use format::Format;
use generator::Kind;
use matrix::Mma;
use std::fmt::Write;

/// Lanes in a block of an instruction's kernel.
pub const WARP: usize = 32;

/// Lanes that most instructions run on.
const LANES: usize = 448;

/// Lanes for two floats, whose edge cases are to meet in all combinations.
const PAIR_LANES: usize = 864;

/// One instruction with its operands: a row of the table.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Unique, and the kernel's name.
    pub name: String,
    /// CUDA statements from the input words `i0`, `i1`, .. to the output words `o0`, `o1`, ..
    body: String,
    inputs: Inputs,
    /// Output words of a lane.
    pub outputs: usize,
}

/// Where a row's inputs come from.
#[derive(Clone, Debug)]
enum Inputs {
    /// Edge cases, random bits and reasonable values.
    Operands(Vec<Kind>),
    /// All values of one 16-bit operand.
    Exhaustive,
    /// Fragments of matrices made in eight styles.
    Matrices(Mma),
}

impl Instruction {
    /// Inline assembly `ptx` (operands `%0`.. as NVRTC counts them: outputs first), whose outputs
    /// have registers of `outputs` bits each.
    fn asm(name: &str, ptx: &str, outputs: &[u32], inputs: &[Kind]) -> Instruction {
        let bits: Vec<u32> = inputs.iter().map(|kind| kind.bits()).collect();
        let exhaustive = matches!(inputs, [Kind::Float(_) | Kind::Convert(_)
            | Kind::Pair(_) | Kind::B16] if bits == [16]);
        Instruction {
            name: name.replace('.', "_"),
            body: asm_body(ptx, outputs, &bits),
            inputs: if exhaustive {
                Inputs::Exhaustive
            } else {
                Inputs::Operands(inputs.to_vec())
            },
            outputs: outputs.iter().map(|&bits| words(bits)).sum(),
        }
    }

    /// CUDA statements from `i0`.. to `o0`.., where assembly alone is not enough.
    fn cuda(name: &str, body: &str, outputs: usize, inputs: &[Kind]) -> Instruction {
        Instruction {
            name: name.replace('.', "_"),
            body: body.to_owned(),
            inputs: Inputs::Operands(inputs.to_vec()),
            outputs,
        }
    }

    /// Lanes that the kernel runs on, a multiple of [`WARP`]; the grid is `lanes / WARP` blocks.
    pub fn lanes(&self) -> usize {
        match &self.inputs {
            Inputs::Operands(kinds) => match kinds[..] {
                [
                    Kind::Float(_) | Kind::Pair(_),
                    Kind::Float(_) | Kind::Pair(_),
                ] => PAIR_LANES,
                _ => LANES,
            },
            Inputs::Exhaustive => 1 << 16,
            Inputs::Matrices(_) => matrix::WARPS * WARP,
        }
    }

    /// Input words of a lane.
    pub fn input_words(&self) -> usize {
        match &self.inputs {
            Inputs::Operands(kinds) => kinds.iter().map(|kind| kind.words()).sum(),
            Inputs::Exhaustive => 1,
            Inputs::Matrices(mma) => mma.input_words(),
        }
    }

    /// Whether the file holds a sample and digests (see [`recorded`](Self::recorded)).
    pub fn is_exhaustive(&self) -> bool {
        matches!(self.inputs, Inputs::Exhaustive)
    }

    /// The input words of all lanes.
    pub fn inputs(&self) -> Vec<u32> {
        match &self.inputs {
            Inputs::Operands(kinds) => generator::operands(&self.name, kinds, self.lanes()),
            Inputs::Exhaustive => (0..1 << 16).collect(),
            Inputs::Matrices(mma) => mma.inputs(&self.name),
        }
    }

    /// What the recorded file keeps of the output words: all of them, or of an exhaustive row
    /// the lanes at multiples of 255 (word by word).
    pub fn recorded(&self, outputs: &[u32]) -> Vec<u32> {
        let step = if self.is_exhaustive() { 255 } else { 1 };
        outputs
            .chunks(self.lanes())
            .flat_map(|word| word.iter().copied().step_by(step))
            .collect()
    }

    /// For an exhaustive row, FNV-1a of each 1,024 lanes' outputs as little-endian bytes, word by
    /// word.
    pub fn digests(&self, outputs: &[u32]) -> Vec<u64> {
        outputs
            .chunks(1024)
            .map(|lanes| {
                let bytes: Vec<u8> = lanes.iter().flat_map(|w| w.to_le_bytes()).collect();
                generator::fnv1a(&bytes)
            })
            .collect()
    }

    /// The kernel's CUDA source: `name(const unsigned* in, unsigned* out, unsigned* scratch)`,
    /// `scratch` having two words a lane (8-byte aligned) that the instruction may use.
    pub fn source(&self) -> String {
        let mut source = format!(
            "extern \"C\" __global__ void {}(const unsigned* in, unsigned* out, \
             unsigned* scratch) {{\n  const unsigned n = gridDim.x * 32, lane = threadIdx.x, \
             t = blockIdx.x * 32 + lane;\n",
            self.name
        );
        for word in 0..self.input_words() {
            // Writing to a String cannot fail.
            let _ = writeln!(source, "  unsigned i{word} = in[{word} * n + t];");
        }
        for word in 0..self.outputs {
            let _ = writeln!(source, "  unsigned o{word};");
        }
        source.push_str(&self.body);
        for word in 0..self.outputs {
            let _ = writeln!(source, "  out[{word} * n + t] = o{word};");
        }
        source.push_str("}\n");
        source
    }
}

/// Rows of one kind, compiled as one module.
pub struct Group {
    /// The module's name.
    pub name: &'static str,
    /// Its rows.
    pub rows: Vec<Instruction>,
}

impl Group {
    /// The CUDA source of all rows.
    pub fn source(&self) -> String {
        self.rows.iter().map(Instruction::source).collect()
    }
}

/// The whole table.
pub fn groups() -> Vec<Group> {
    let group = |name, rows| Group { name, rows };
    vec![
        group("float", float::rows()),
        group("convert", convert::rows()),
        group("integer", integer::rows()),
        group("compare", compare::rows()),
        group("warp", warp::rows()),
        group("memory", memory::rows()),
        group("matrix", matrix::rows()),
    ]
}

fn words(bits: u32) -> usize {
    if bits == 64 { 2 } else { 1 }
}

/// The statements around inline assembly: words into registers of the operands' widths and back.
fn asm_body(ptx: &str, outputs: &[u32], inputs: &[u32]) -> String {
    let class = |bits| match bits {
        16 => ("unsigned short", "h"),
        32 => ("unsigned", "r"),
        _ => ("unsigned long long", "l"),
    };
    let (mut before, mut after) = (String::new(), String::new());
    let (mut results, mut sources) = (Vec::new(), Vec::new());
    let mut word = 0;
    for (operand, &bits) in outputs.iter().enumerate() {
        let (c_type, constraint) = class(bits);
        before += &format!("  {c_type} r{operand};\n");
        results.push(format!("\"={constraint}\"(r{operand})"));
        after += &if bits == 64 {
            halves(word, &format!("r{operand}"))
        } else {
            format!("  o{word} = (unsigned)r{operand};\n")
        };
        word += words(bits);
    }
    word = 0;
    for &bits in inputs {
        let (c_type, constraint) = class(bits);
        let value = if bits == 64 {
            format!("i{word} | ({c_type})i{} << 32", word + 1)
        } else {
            format!("({c_type})i{word}")
        };
        sources.push(format!("\"{constraint}\"({value})"));
        word += words(bits);
    }
    format!(
        "{before}  asm volatile(\"{ptx}\" : {} : {} : \"memory\");\n{after}",
        results.join(", "),
        sources.join(", ")
    )
}

/// The statement that takes a register of 64 bits apart into two output words. A cast will not do:
/// ptxas makes a conversion to an integer of a store of the low half of a register with a double.
fn halves(word: usize, register: &str) -> String {
    format!(
        "  asm(\"mov.b64 {{%0, %1}}, %2;\" : \"=r\"(o{word}), \"=r\"(o{}) : \"l\"({register}));\n",
        word + 1
    )
}

/// Kinds with short names, for the tables.
mod kinds {
    use super::{Format, Kind};

    pub(super) const F16: Kind = Kind::Float(Format::F16);
    pub(super) const BF16: Kind = Kind::Float(Format::BF16);
    pub(super) const F32: Kind = Kind::Float(Format::F32);
    pub(super) const F64: Kind = Kind::Float(Format::F64);
    pub(super) const F16X2: Kind = Kind::Pair(Format::F16);
    pub(super) const BF16X2: Kind = Kind::Pair(Format::BF16);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_identifiers() {
        let mut seen = HashSet::new();
        for row in groups().into_iter().flat_map(|group| group.rows) {
            let identifier = row
                .name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_');
            assert!(identifier, "{}", row.name);
            assert!(seen.insert(row.name.clone()), "{} is there twice", row.name);
        }
        assert!(seen.len() >= 250, "{} rows", seen.len());
    }

    #[test]
    fn inputs_have_the_promised_size() {
        for row in groups().into_iter().flat_map(|group| group.rows) {
            assert_eq!(
                row.inputs().len(),
                row.lanes() * row.input_words(),
                "{}",
                row.name
            );
            assert_eq!(row.lanes() % WARP, 0, "{}", row.name);
        }
    }

    #[test]
    fn inline_assembly_packs_wide_operands() {
        let body = asm_body("add.f64 %0, %1, %2;", &[64], &[64, 64]);
        assert!(body.contains("i0 | (unsigned long long)i1 << 32"), "{body}");
        assert!(body.contains("i2 | (unsigned long long)i3 << 32"), "{body}");
        assert!(
            body.contains("\"=r\"(o0), \"=r\"(o1) : \"l\"(r0)"),
            "{body}"
        );
    }
}
