//! Numbers that are a function of a seed and an index: inputs and weights that need no file.
//!
//! With `mix` the output function of splitmix64 and
//! `b = mix(state + (i + 1) * 0x9E3779B97F4A7C15)` modulo 2^64, element `i` (row-major) is
//! `offset + scale * u`. Product and sum are rounded to f32, the result to bf16 on every device.
//!
//! | distribution | `u` | deviation of `u` |
//! |---|---|---|
//! | uniform | `((b >> 40) - 2^23) / 2^23`, in [-1, 1) | `sqrt(1/3)` |
//! | normal | `(sum of the four 16-bit parts of b - 131070) / 37837` | 1 |
//!
//! Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014). Uniform
//! ones are the weights of the loader's synthetic checkpoints.

use super::Op;
use crate::case::{Case, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::Result;
use crate::tensor::Tensor;
use crate::{Context, DType, Work};

/// A sequence of random numbers, any of which can be computed alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Random {
    /// Where splitmix64 starts.
    pub state: u64,
    /// The mean.
    pub offset: f32,
    /// What `u` is multiplied by.
    pub scale: f32,
    /// The distribution of `u`.
    pub distribution: Distribution,
}

/// How random numbers lie around their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Evenly, up to one from it.
    Uniform,
    /// Almost normally, with a deviation of one: the sum of four uniform numbers.
    Normal,
}

impl Random {
    /// Normal numbers of mean zero.
    pub fn normal(seed: u64, deviation: f32) -> Random {
        Random {
            // Neighbouring seeds start far apart.
            state: mix(seed),
            offset: 0.0,
            scale: deviation,
            distribution: Distribution::Normal,
        }
    }

    /// All that the sequence depends on, as bits.
    pub(crate) fn bits(&self) -> [u64; 4] {
        let numbers = [self.offset, self.scale].map(|x| u64::from(x.to_bits()));
        [self.state, numbers[0], numbers[1], self.distribution as u64]
    }

    /// The element at an index.
    pub(crate) fn get(&self, index: u64) -> f32 {
        let step = index.wrapping_add(1).wrapping_mul(GOLDEN);
        let bits = mix(self.state.wrapping_add(step));
        let u = match self.distribution {
            // 24 bits fit an f32 exactly, and so does their difference from the middle.
            Distribution::Uniform => ((bits >> 40) as f32 - 8_388_608.0) / 8_388_608.0,
            Distribution::Normal => (parts(bits).iter().sum::<i32>() - 131_070) as f32 / 37_837.0,
        };
        DType::BF16.round(self.offset + self.scale * u)
    }
}

/// 2^64 divided by the golden ratio, made odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of splitmix64.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn parts(bits: u64) -> [i32; 4] {
    [0, 16, 32, 48].map(|shift| (bits >> shift & 0xffff) as i32)
}

/// A matrix `[rows, cols]` of the first elements.
///
/// # Errors
/// If the workspace is used up.
pub fn random(cx: &Context, rows: usize, cols: usize, random: Random) -> Result<Tensor> {
    fill(cx, cx.tensor(rows, cols)?, random)
}

/// As [`random`], in f32 on every device.
///
/// # Errors
/// If the workspace is used up.
pub fn random_f32(cx: &Context, rows: usize, cols: usize, random: Random) -> Result<Tensor> {
    fill(cx, cx.tensor_f32(rows, cols)?, random)
}

fn fill(cx: &Context, mut y: Tensor, random: Random) -> Result<Tensor> {
    let (rows, cols) = (y.rows(), y.cols());
    let work = Work::new(0, rows * cols * y.dtype().size());
    cx.run(
        "random",
        work,
        &mut y,
        |host, y| {
            host.for_rows(&mut y.view_mut(), |row, y| {
                let first = (row * y.len()) as u64;
                (first..).zip(y).for_each(|(i, y)| *y = random.get(i));
            });
        },
        |gpu, y| {
            let to = (y.view().address(), cols, y.dtype());
            launch(gpu, random, to, (rows, cols, 1))
        },
    )?;
    Ok(y)
}

/// The formula at the head of this file.
fn reference(random: Random, count: usize) -> Vec<f64> {
    let element = |i: u128| {
        let word = |x: u128| x % (1 << 64);
        let mix = |x: u128| {
            let x = word((x ^ x >> 30) * 0xbf58_476d_1ce4_e5b9);
            let x = word((x ^ x >> 27) * 0x94d0_49bb_1331_11eb);
            x ^ x >> 31
        };
        let bits = mix(word(
            u128::from(random.state) + word((i + 1) * u128::from(GOLDEN)),
        ));
        let u = match random.distribution {
            Distribution::Uniform => ((bits >> 40) as f64 - 2f64.powi(23)) / 2f64.powi(23),
            Distribution::Normal => {
                let sum: u128 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
                f64::from(((sum as f64 - 131_070.0) / 37_837.0) as f32)
            }
        };
        let product = (f64::from(random.scale) * u) as f32;
        let sum = (f64::from(random.offset) + f64::from(product)) as f32;
        f64::from(half::bf16::from_f32(sum))
    };
    (0..count as u128).map(element).collect()
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "random.cu",
    text: include_str!("random.cu"),
    variants: &[&[]],
};

/// Threads of a row's block.
const THREADS: u32 = 256;

/// Fills rows and columns at an address, whose rows are so many elements of a type apart; `taps` of
/// a convolution, else 1.
pub(crate) fn launch(
    gpu: &Launcher<'_>,
    random: Random,
    (address, stride, dtype): (u64, usize, DType),
    (rows, cols, taps): (usize, usize, usize),
) -> Result<()> {
    if cols == 0 {
        return Ok(());
    }
    let kernel = match dtype {
        DType::F32 => "random_f32",
        _ => "random",
    };
    gpu.launch(
        (&CUDA, kernel),
        &[],
        Grid::new([rows, 1, 1], THREADS),
        [
            address.into(),
            stride.into(),
            random.state.into(),
            random.offset.into(),
            random.scale.into(),
            usize::from(random.distribution == Distribution::Normal).into(),
            cols.into(),
            taps.max(1).into(),
        ],
    )
}

pub(super) const RANDOM: Op = Op {
    name: "random",
    cuda: &CUDA,
    cases,
};

fn cases() -> Vec<Case> {
    let case = |(rows, cols, distribution): (usize, usize, Distribution)| {
        let name = format!("{rows}x{cols} {distribution:?}").to_lowercase();
        Case::new(name, 0.0, move |cx| {
            let numbers = Random {
                state: (u64::MAX - cols as u64).wrapping_add(cx.salt()),
                offset: 0.25,
                scale: 1.5,
                distribution,
            };
            Ok(Trial::new(
                move |cx| {
                    let mut both = random(cx, rows, cols, numbers)?.to_vec()?;
                    both.extend(random_f32(cx, rows, cols, numbers)?.to_vec()?);
                    Ok(both)
                },
                move || reference(numbers, rows * cols).repeat(2),
            ))
        })
    };
    [
        (3, 300, Distribution::Uniform),
        (5, 33, Distribution::Normal),
        (1, 1500, Distribution::Uniform),
        (1, 1500, Distribution::Normal),
        (0, 8, Distribution::Normal),
    ]
    .map(case)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_deviations_are_what_they_say() {
        for (distribution, deviation) in [
            (Distribution::Uniform, 3f64.sqrt().recip()),
            (Distribution::Normal, 1.0),
        ] {
            let random = Random {
                distribution,
                ..Random::normal(3, 1.0)
            };
            let values: Vec<f64> = (0..100_000).map(|i| f64::from(random.get(i))).collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            assert!(mean.abs() < 0.01, "{distribution:?}: {mean}");
            let found = variance.sqrt();
            assert!(
                (found / deviation - 1.0).abs() < 0.01,
                "{distribution:?}: {found}"
            );
        }
    }
}
