//! Matrix products of a warp (PTX ISA 9.7.14.5, `mma.sync`).

use super::format::Format;
use super::generator::{Kind, fnv1a};
use super::matrices::{Problem, Shape, Style, problem};
use super::{Inputs, Instruction, WARP, asm_body};

/// Warps of a floating-point row: eight of each style.
pub(super) const WARPS: usize = 64;

/// A floating-point `mma.sync` of 16 rows and 8 columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mma {
    k: usize,
    left: Format,
    right: Format,
    sum: Format,
}

impl Mma {
    fn shape(self) -> Shape {
        Shape {
            m: 16,
            n: 8,
            k: self.k,
            left: self.left,
            right: self.right,
            sum: self.sum,
        }
    }

    /// Elements in a register of `a` and `b`.
    fn packed(self) -> usize {
        32 / self.left.bits().next_power_of_two() as usize
    }

    /// Registers of `a`; `b` has half as many.
    fn left_words(self) -> usize {
        self.k / self.packed() / 2
    }

    fn sum_words(self) -> usize {
        if self.sum == Format::F32 { 4 } else { 2 }
    }

    pub(super) fn input_words(self) -> usize {
        self.left_words() * 3 / 2 + self.sum_words()
    }

    /// Fragments of one problem a warp: the registers of `a`, of `b`, of `c`.
    pub(super) fn inputs(self, name: &str) -> Vec<u32> {
        let lanes = WARPS * WARP;
        let mut words = vec![0; self.input_words() * lanes];
        for warp in 0..WARPS {
            let style = Style::ALL[warp % Style::ALL.len()];
            let problem = problem(style, self.shape(), fnv1a(name.as_bytes()) ^ warp as u64);
            for lane in 0..WARP {
                for (word, value) in self.fragment(&problem, lane).into_iter().enumerate() {
                    words[word * lanes + warp * WARP + lane] = value;
                }
            }
        }
        words
    }

    /// A lane's registers (PTX ISA, "Matrix fragments for mma").
    fn fragment(self, problem: &Problem, lane: usize) -> Vec<u32> {
        let (group, member) = (lane / 4, lane % 4);
        let packed = self.packed();
        let width = 32 / packed;
        let pack = |elements: &[u32]| {
            elements
                .iter()
                .enumerate()
                .fold(0, |word, (slot, &code)| word | code << (slot * width))
        };
        let column = |half: usize| member * packed + half * 4 * packed;
        let left = (0..self.left_words()).map(|word| {
            let start = (group + 8 * (word % 2)) * self.k + column(word / 2);
            pack(&problem.a[start..start + packed])
        });
        let right = (0..self.left_words() / 2).map(|word| {
            let start = group * self.k + column(word);
            pack(&problem.b[start..start + packed])
        });
        let sums = (0..self.sum_words()).map(|word| {
            if self.sum == Format::F32 {
                problem.c[(group + 8 * (word / 2)) * 8 + 2 * member + word % 2]
            } else {
                let start = (group + 8 * word) * 8 + 2 * member;
                problem.c[start] | problem.c[start + 1] << 16
            }
        });
        left.chain(right).chain(sums).collect()
    }
}

pub(super) fn rows() -> Vec<Instruction> {
    let mut rows = Vec::new();
    let mut float = |k: usize, left: (&str, Format), right: (&str, Format), sum: (&str, Format)| {
        let mma = Mma {
            k,
            left: left.1,
            right: right.1,
            sum: sum.1,
        };
        let (left, right, sum) = (left.0, right.0, sum.0);
        let modified = format!("m16n8k{k}.row.col.{sum}.{left}.{right}.{sum}");
        rows.push(Instruction {
            name: format!("mma_m16n8k{k}_{left}_{right}_{sum}"),
            body: mma_body(&modified, mma.left_words(), mma.sum_words()),
            inputs: Inputs::Matrices(mma),
            outputs: mma.sum_words(),
        });
    };
    let (f16, f32) = (("f16", Format::F16), ("f32", Format::F32));
    let (bf16, tf32) = (("bf16", Format::BF16), ("tf32", Format::TF32));
    for k in [8, 16] {
        float(k, bf16, bf16, f32);
        float(k, f16, f16, f32);
        float(k, f16, f16, f16);
    }
    for k in [4, 8] {
        float(k, tf32, tf32, f32);
    }
    let bytes = [("e4m3", Format::E4M3), ("e5m2", Format::E5M2)];
    for left in bytes {
        for right in bytes {
            float(32, left, right, f32);
            float(32, left, right, f16);
        }
    }
    for (k, saturating) in [(16, ""), (32, ""), (32, ".satfinite")] {
        for (left, right) in [("s8", "s8"), ("u8", "u8"), ("s8", "u8"), ("u8", "s8")] {
            let left_words = k / 8;
            let name = format!("mma_m16n8k{k}_{left}_{right}_s32{saturating}");
            let modified = format!("m16n8k{k}.row.col{saturating}.s32.{left}.{right}.s32");
            rows.push(Instruction {
                name: name.replace('.', "_"),
                body: mma_body(&modified, left_words, 4),
                inputs: Inputs::Operands(vec![Kind::B32; left_words * 3 / 2 + 4]),
                outputs: 4,
            });
        }
    }
    rows
}

/// `mma.sync` with the shape, modifiers and types in `modified`.
fn mma_body(modified: &str, left_words: usize, sum_words: usize) -> String {
    let mut next = 0;
    let mut registers = |count: usize| {
        let names: Vec<String> = (next..next + count).map(|i| format!("%{i}")).collect();
        next += count;
        format!("{{{}}}", names.join(", "))
    };
    let operands = [sum_words, left_words, left_words / 2, sum_words].map(&mut registers);
    let ptx = format!("mma.sync.aligned.{modified} {};", operands.join(", "));
    let inputs = vec![32; left_words * 3 / 2 + sum_words];
    asm_body(&ptx, &vec![32; sum_words], &inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_hold_every_element_once() {
        let mma = Mma {
            k: 16,
            left: Format::F16,
            right: Format::F16,
            sum: Format::F32,
        };
        let shape = mma.shape();
        let numbered = Problem {
            a: (0..shape.m * shape.k).map(|i| i as u32).collect(),
            b: (0..shape.n * shape.k).map(|i| i as u32).collect(),
            c: (0..shape.m * shape.n).map(|i| i as u32).collect(),
        };
        let mut seen = vec![0; 256];
        for lane in 0..WARP {
            for word in &mma.fragment(&numbered, lane)[..4] {
                seen[(word & 0xffff) as usize] += 1;
                seen[(word >> 16) as usize] += 1;
            }
        }
        assert!(seen.iter().all(|&count| count == 1));
        // PTX ISA figure for m16n8k16: lane 5 is group 1, member 1; a3 starts at row 9, column 2;
        // a4 at row 1, column 10.
        let lane = mma.fragment(&numbered, 5);
        assert_eq!(lane[1] & 0xffff, 9 * 16 + 2);
        assert_eq!(lane[2] & 0xffff, 16 + 10);
        assert_eq!(lane[5] & 0xffff, 16 + 10);
        assert_eq!(lane[8], 9 * 8 + 2);
    }
}
