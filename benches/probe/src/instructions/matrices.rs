//! Matrices that tell one way of adding products from another.

use super::format::{Format, power_of_two};
use super::generator::splitmix64;

/// How a problem's values are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Nearly normal, deviation 1.
    Normal,
    /// Exponents uniform over ±20, or what the format holds.
    Spread,
    /// Pairs of large opposite products among small ones.
    Cancel,
    /// One product (or the initial sum) of 1 and others of 2^-j, `j` by row and column: how many
    /// bits survive alignment, and which way the rest goes.
    Ladder,
    /// A large initial sum and products of eighths of its last place.
    Ties,
    /// Subnormal left operands and initial sums.
    Subnormal,
    /// Infinities, NaNs, limits and zeros strewn among normal values.
    Special,
    /// Any bits.
    Bits,
    /// Products near the least normal number, zeros of either sign, and zeros times large numbers.
    Tiny,
}

impl Style {
    /// All styles, in the order in which warps take them.
    pub const ALL: [Style; 9] = [
        Style::Normal,
        Style::Spread,
        Style::Cancel,
        Style::Ladder,
        Style::Ties,
        Style::Subnormal,
        Style::Special,
        Style::Bits,
        Style::Tiny,
    ];
}

/// The sizes and formats of `d = a b^T + c`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of `a` and `c`.
    pub m: usize,
    /// Rows of `b`, columns of `c`.
    pub n: usize,
    /// Columns of `a` and `b`.
    pub k: usize,
    /// The format of `a`.
    pub left: Format,
    /// The format of `b`.
    pub right: Format,
    /// The format of `c` and of the sums.
    pub sum: Format,
}

/// `a` [m, k], `b` [n, k] and `c` [m, n], row-major, as codes of their formats.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The left operand.
    pub a: Vec<u32>,
    /// The right operand, transposed.
    pub b: Vec<u32>,
    /// The initial sums.
    pub c: Vec<u32>,
}

/// SplitMix64 as a sequence.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        let value = splitmix64(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        value
    }

    /// The sum of four uniform 16-bit numbers, centred and scaled: exact on any machine.
    fn normal(&mut self) -> f64 {
        let bits = self.next();
        let sum: i64 = (0..4)
            .map(|part| (bits >> (16 * part) & 0xffff) as i64)
            .sum();
        (sum - 131_070) as f64 / 37_837.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn sign(&mut self) -> f64 {
        if self.next() & 1 == 0 { 1.0 } else { -1.0 }
    }

    /// A float whose exponent is uniform over what `format` and 20 allow.
    fn spread(&mut self, format: Format) -> f64 {
        let reach = 20.min(format.bias() - 2);
        let exponent = self.below(2 * reach as u64 + 1) as i32 - reach;
        let mantissa = 1.0 + self.below(1 << 23) as f64 * power_of_two(-23);
        self.sign() * mantissa * power_of_two(exponent)
    }

    /// A float whose square is near the least normal number of `format`, or a zero.
    fn tiny(&mut self, format: Format) -> f64 {
        let exponent = -format.bias() / 2 - self.below(12) as i32;
        let mantissa = 1.0 + self.below(1 << 23) as f64 * power_of_two(-23);
        let size = match self.below(4) {
            0 => 0.0,
            _ => mantissa * power_of_two(exponent),
        };
        self.sign() * size
    }

    fn special(&mut self, format: Format) -> f64 {
        match self.below(80) {
            0 => f64::INFINITY,
            1 => f64::NEG_INFINITY,
            2 => f64::NAN,
            3 => format.decode(format.max()),
            4 => 0.0,
            _ => self.normal(),
        }
    }
}

/// The matrices of `style`, a pure function of the arguments.
pub fn problem(style: Style, shape: Shape, seed: u64) -> Problem {
    let Shape { m, n, k, .. } = shape;
    let mut numbers = Sequence(splitmix64(seed));
    let mut a = vec![0.0; m * k];
    let mut b = vec![0.0; n * k];
    let mut c = vec![0.0; m * n];
    let mut fill = |values: &mut [f64], next: &mut dyn FnMut(&mut Sequence) -> f64| {
        values
            .iter_mut()
            .for_each(|value| *value = next(&mut numbers));
    };
    match style {
        Style::Normal => {
            for values in [&mut a, &mut b, &mut c] {
                fill(values, &mut Sequence::normal);
            }
        }
        Style::Spread => {
            fill(&mut a, &mut |s| s.spread(shape.left));
            fill(&mut b, &mut |s| s.spread(shape.right));
            fill(&mut c, &mut |s| s.spread(shape.sum));
        }
        Style::Tiny => {
            fill(&mut a, &mut |s| s.tiny(shape.left));
            fill(&mut b, &mut |s| s.tiny(shape.right));
            fill(&mut c, &mut |s| s.tiny(shape.sum) * s.tiny(shape.sum));
            for column in (0..k).step_by(4) {
                for row in 0..m {
                    a[row * k + column] *= 0.0;
                }
                for row in 0..n {
                    b[row * k + column] = shape.right.decode(shape.right.max());
                }
            }
        }
        Style::Special => {
            fill(&mut a, &mut |s| s.special(shape.left));
            fill(&mut b, &mut |s| s.special(shape.right));
            fill(&mut c, &mut |s| s.special(shape.sum));
        }
        Style::Cancel => {
            for values in [&mut a, &mut b, &mut c] {
                fill(values, &mut Sequence::normal);
            }
            let large = power_of_two(10.min(shape.left.bias() - 4));
            let adjacent = seed & 8 == 0;
            for pair in (0..k / 2).step_by(2) {
                let (first, second) = if adjacent {
                    (2 * pair, 2 * pair + 1)
                } else {
                    (pair, k / 2 + pair)
                };
                for row in a.chunks_exact_mut(k) {
                    row[first] *= large;
                    row[second] = -row[first];
                }
                for row in b.chunks_exact_mut(k) {
                    row[second] = row[first];
                }
            }
        }
        Style::Ladder => ladder(shape, seed, &mut a, &mut b, &mut c),
        Style::Ties => {
            let exponent = if shape.sum == Format::F32 { 18 } else { 10 };
            let place = power_of_two(exponent - shape.sum.mantissa as i32);
            fill(&mut c, &mut |s| {
                s.sign() * (power_of_two(exponent) + s.below(8) as f64 * place)
            });
            let products = if seed & 8 == 0 { 1 } else { k };
            for row in a.chunks_exact_mut(k) {
                fill(&mut row[..products], &mut Sequence::sign);
            }
            for row in b.chunks_exact_mut(k) {
                fill(&mut row[..products], &mut |s| {
                    s.below(8) as f64 * place / 8.0
                });
            }
        }
        Style::Subnormal => {
            fill(&mut a, &mut |s| {
                let code = s.below(2 * shape.left.min_normal());
                s.sign() * shape.left.decode(code)
            });
            fill(&mut b, &mut Sequence::normal);
            fill(&mut c, &mut |s| {
                let code = s.below(2 * shape.sum.min_normal());
                s.sign() * shape.sum.decode(code)
            });
        }
        Style::Bits => {}
    }
    let mut codes = |values: &[f64], format: Format| -> Vec<u32> {
        values
            .iter()
            .map(|&value| {
                if style == Style::Bits {
                    let bits = numbers.next() as u32;
                    // Unlike other values, tf32's here have bits below those that it keeps.
                    if format == Format::TF32 {
                        bits
                    } else {
                        bits >> (32 - format.bits())
                    }
                } else if format == Format::TF32 {
                    (format.encode(value) as u32) << 13
                } else {
                    format.encode(value) as u32
                }
            })
            .collect()
    };
    Problem {
        a: codes(&a, shape.left),
        b: codes(&b, shape.right),
        c: codes(&c, shape.sum),
    }
}

fn ladder(shape: Shape, seed: u64, a: &mut [f64], b: &mut [f64], c: &mut [f64]) {
    let k = shape.k;
    let deepest = |format: Format| (format.bias() - 1 + format.mantissa as i32) as usize;
    let position = 1 + (seed >> 4) as usize % (k - 1);
    let last = if seed & 16 == 0 { position + 1 } else { k };
    for (row, values) in a.chunks_exact_mut(k).enumerate() {
        let step = (row % 16).min(deepest(shape.left));
        values[0] = 1.0;
        values[position..last].fill(power_of_two(-(step as i32)));
    }
    for (column, values) in b.chunks_exact_mut(k).enumerate() {
        let step = column % 8 + 8.min(deepest(shape.right) - 7);
        let sign = if column % 2 == 0 { 1.0 } else { -1.0 };
        values[position..last].fill(sign * power_of_two(-(step as i32)));
        // The one is a product or the initial sum.
        values[0] = if seed & 8 == 0 { 1.0 } else { 0.0 };
    }
    c.fill(if seed & 8 == 0 { 0.0 } else { 1.0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        m: 16,
        n: 8,
        k: 16,
        left: Format::F16,
        right: Format::F16,
        sum: Format::F32,
    };

    fn product(problem: &Problem, row: usize, column: usize) -> f64 {
        (0..SHAPE.k)
            .map(|i| {
                Format::F16.decode(u64::from(problem.a[row * SHAPE.k + i]))
                    * Format::F16.decode(u64::from(problem.b[column * SHAPE.k + i]))
            })
            .sum()
    }

    #[test]
    fn large_products_cancel() {
        for seed in [0, 8] {
            let problem = problem(Style::Cancel, SHAPE, seed);
            let largest = problem
                .a
                .iter()
                .map(|&c| Format::F16.decode(u64::from(c)).abs());
            assert!(largest.fold(0.0, f64::max) > 500.0, "no large operand");
            // Eight products of two normal values are left.
            assert!(product(&problem, 3, 5).abs() < 60.0);
        }
    }

    #[test]
    fn ladders_are_one_and_a_power_of_two() {
        let problem = problem(Style::Ladder, SHAPE, 0);
        assert_eq!(product(&problem, 3, 2), 1.0 + 2f64.powi(-13));
        assert_eq!(product(&problem, 15, 7), 1.0 - 2f64.powi(-30));
    }

    #[test]
    fn normal_values_have_deviation_one() {
        let mut numbers = Sequence(7);
        let squares: f64 = (0..10_000).map(|_| numbers.normal().powi(2)).sum();
        assert!((squares / 10_000.0 - 1.0).abs() < 0.05);
    }
}
