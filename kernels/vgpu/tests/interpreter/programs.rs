//! Random programs: registers come and go over branches, and nothing may be lost by sharing columns.

use crate::support::{Random, words};

/// 32-bit and 64-bit registers of a program.
const NARROW: usize = 20;
const WIDE: usize = 10;

/// A statement of a program that both PTX and Rust run.
enum Step {
    /// `to = a <op> b`, of 32 bits or 64.
    Compute {
        wide: bool,
        op: usize,
        to: usize,
        a: usize,
        b: usize,
        guard: Option<(usize, u32)>,
    },
    /// Both ways of a branch on bit `bit` of register `on`.
    Branch {
        on: usize,
        bit: u32,
        then: Vec<Step>,
        other: Vec<Step>,
    },
    /// A loop that runs `register & 3` times.
    Repeat { on: usize, body: Vec<Step> },
}

const OPS: [&str; 5] = ["add", "sub", "xor", "mul.lo", "and"];

fn compute(op: usize, a: u64, b: u64) -> u64 {
    match op {
        0 => a.wrapping_add(b),
        1 => a.wrapping_sub(b),
        2 => a ^ b,
        3 => a.wrapping_mul(b),
        _ => a & b,
    }
}

fn steps(random: &mut Random, depth: u32, length: u64) -> Vec<Step> {
    let mut list = Vec::new();
    for _ in 0..length {
        let mut pick = |n: usize| (random.next() % n as u64) as usize;
        let kind = pick(12);
        if kind < 9 || depth == 0 {
            let wide = pick(3) == 0;
            let count = if wide { WIDE } else { NARROW };
            let guard = (pick(4) == 0).then(|| (pick(NARROW), pick(8) as u32));
            let op = pick(OPS.len());
            let (to, a, b) = (pick(count), pick(count), pick(count));
            list.push(Step::Compute {
                wide,
                op,
                to,
                a,
                b,
                guard,
            });
        } else if kind < 11 {
            let (on, bit) = (pick(NARROW), pick(8) as u32);
            let (then, other) = (steps(random, depth - 1, 6), steps(random, depth - 1, 4));
            list.push(Step::Branch {
                on,
                bit,
                then,
                other,
            });
        } else {
            let on = pick(NARROW);
            list.push(Step::Repeat {
                on,
                body: steps(random, depth - 1, 5),
            });
        }
    }
    list
}

struct Writer {
    text: String,
    labels: usize,
}

impl Writer {
    fn test(&mut self, on: usize, bit: u32) {
        self.text += &format!("and.b32 %r31, %n{on}, {};\n", 1 << bit);
        self.text += "setp.ne.u32 %p0, %r31, 0;\n";
    }

    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            self.labels += 1;
            let label = self.labels;
            match step {
                Step::Compute {
                    wide,
                    op,
                    to,
                    a,
                    b,
                    guard,
                } => {
                    if let Some((on, bit)) = guard {
                        self.test(*on, *bit);
                        self.text += "@!%p0 ";
                    }
                    let name = OPS[*op];
                    let logic = matches!(name, "xor" | "and");
                    let (ty, file) = match (wide, logic) {
                        (true, true) => ("b64", "w"),
                        (true, false) => ("u64", "w"),
                        (false, true) => ("b32", "n"),
                        (false, false) => ("u32", "n"),
                    };
                    self.text += &format!("{name}.{ty} %{file}{to}, %{file}{a}, %{file}{b};\n");
                }
                Step::Branch {
                    on,
                    bit,
                    then,
                    other,
                } => {
                    self.test(*on, *bit);
                    self.text += &format!("@!%p0 bra ELSE{label};\n");
                    self.steps(then);
                    self.text += &format!("bra.uni JOIN{label};\nELSE{label}:\n");
                    self.steps(other);
                    self.text += &format!("JOIN{label}:\n");
                }
                Step::Repeat { on, body } => {
                    self.text += &format!(
                        "{{ .reg .b32 %count; .reg .pred %again;
                        and.b32 %count, %n{on}, 3;
                        LOOP{label}:
                        setp.eq.u32 %again, %count, 0;
                        @%again bra OUT{label};\n"
                    );
                    self.steps(body);
                    self.text += &format!(
                        "sub.u32 %count, %count, 1;
                        bra.uni LOOP{label};
                        OUT{label}: }}\n"
                    );
                }
            }
        }
    }
}

struct State {
    narrow: [u32; NARROW],
    wide: [u64; WIDE],
}

impl State {
    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Compute {
                    wide,
                    op,
                    to,
                    a,
                    b,
                    guard,
                } => {
                    if guard.is_some_and(|(on, bit)| self.narrow[on] >> bit & 1 != 0) {
                        continue;
                    }
                    if *wide {
                        self.wide[*to] = compute(*op, self.wide[*a], self.wide[*b]);
                    } else {
                        let (a, b) = (self.narrow[*a].into(), self.narrow[*b].into());
                        self.narrow[*to] = compute(*op, a, b) as u32;
                    }
                }
                Step::Branch {
                    on,
                    bit,
                    then,
                    other,
                } => {
                    let taken = self.narrow[*on] >> bit & 1 != 0;
                    self.run(if taken { then } else { other });
                }
                Step::Repeat { on, body } => {
                    for _ in 0..self.narrow[*on] & 3 {
                        self.run(body);
                    }
                }
            }
        }
    }
}

#[test]
fn random_programs() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let program = steps(&mut random, 3, 30);
        let mut writer = Writer {
            text: String::new(),
            labels: 0,
        };
        for i in 0..NARROW {
            writer.text += &format!("mad.lo.u32 %n{i}, %i, {}, {};\n", 2 * i + 3, 17 * i + 1);
        }
        for i in 0..WIDE {
            writer.text += &format!("mad.wide.u32 %w{i}, %i, {}, {};\n", i + 5, 1u64 << (4 * i));
        }
        writer.steps(&program);
        // A digest of all registers.
        writer.text += "mov.u64 %rd0, 0;\n";
        for i in 0..NARROW {
            writer.text += &format!("cvt.u64.u32 %rd1, %n{i}; mad.lo.u64 %rd0, %rd0, 31, %rd1;\n");
        }
        for i in 0..WIDE {
            writer.text += &format!("mad.lo.u64 %rd0, %rd0, 31, %w{i};\n");
        }
        let body = format!(
            ".reg .b32 %n<{NARROW}>; .reg .b64 %w<{WIDE}>;\n{}st.global.u64 [%mine], %rd0;",
            writer.text
        );
        for (lane, found) in words(&body, 1, 40, 40).into_iter().enumerate() {
            let i = lane as u32;
            let narrow = |r: usize| {
                i.wrapping_mul(2 * r as u32 + 3)
                    .wrapping_add(17 * r as u32 + 1)
            };
            let wide = |r: usize| u64::from(i) * (r as u64 + 5) + (1 << (4 * r));
            let mut state = State {
                narrow: std::array::from_fn(narrow),
                wide: std::array::from_fn(wide),
            };
            state.run(&program);
            let digest = state.narrow.into_iter().map(u64::from).chain(state.wide);
            let expected = digest.fold(0u64, |sum, x| sum.wrapping_mul(31).wrapping_add(x));
            assert_eq!(found, expected, "program {seed}, lane {lane}");
        }
    }
}
