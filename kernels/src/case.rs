//! Inputs on which operations are verified and timed.

use crate::error::Result;
use crate::weight::{Linear, Weight};
use crate::{Context, DType, Device, Target, Work};
use bytes::Bytes;
use std::collections::BTreeSet;

/// Makes the inputs of a case on a device.
type Prepare = dyn Fn(&Context) -> Result<Trial>;
/// Runs the operation and copies its output.
type Run = dyn FnMut(&Context) -> Result<Vec<f32>>;
/// Computes the output by the formula.
type Reference = dyn Fn() -> Vec<f64>;

/// One set of inputs of an operation.
pub struct Case {
    /// What is special about it, such as `1x5120x1280 bf16`.
    pub name: String,
    tolerance: Tolerance,
    prepare: Box<Prepare>,
}

/// The greatest relative L2 errors of a case's output that pass. Inputs are rounded to what the
/// device holds before the formula sees them.
#[derive(Clone, Copy)]
struct Tolerance {
    host: f64,
    /// On a GPU in f32.
    f32: f64,
    /// On a GPU in bf16.
    bf16: f64,
}

/// On a GPU in f32, where an operand is a sum of two bf16: some 4.4e-6 of a product.
const F32_TOLERANCE: f64 = 1e-5;
/// On a GPU in bf16, whose rounding of the output alone is 1.7e-3.
const BF16_TOLERANCE: f64 = 4e-3;

/// A case with its inputs on a device.
pub struct Trial {
    run: Box<Run>,
    reference: Box<Reference>,
}

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        tolerance: f64,
        prepare: impl Fn(&Context) -> Result<Trial> + 'static,
    ) -> Case {
        Case {
            name: name.into(),
            // What is exact on the host is only copied.
            tolerance: match tolerance {
                0.0 => Tolerance {
                    host: 0.0,
                    f32: 0.0,
                    bf16: 0.0,
                },
                host => Tolerance {
                    host,
                    f32: F32_TOLERANCE,
                    bf16: BF16_TOLERANCE,
                },
            },
            prepare: Box::new(prepare),
        }
    }

    /// A case with another tolerance on a GPU in f32.
    pub(crate) fn f32(mut self, tolerance: f64) -> Case {
        self.tolerance.f32 = tolerance;
        self
    }

    /// A case whose output is f32 on every device, from inputs that none rounds.
    pub(crate) fn always_f32(mut self) -> Case {
        self.tolerance.bf16 = self.tolerance.f32;
        self
    }

    /// The greatest relative L2 error of the output that passes.
    pub fn tolerance(&self, target: Target) -> f64 {
        match target {
            Target::Host { .. } => self.tolerance.host,
            Target::Cuda { dtype: DType::F32 } => self.tolerance.f32,
            Target::Cuda { .. } => self.tolerance.bf16,
        }
    }

    /// Makes the inputs, the same on every device.
    ///
    /// # Errors
    /// If the device has no room for them.
    pub fn prepare(&self, cx: &Context) -> Result<Trial> {
        (self.prepare)(cx)
    }

    /// The workspace that the case needs, in bytes, and its work.
    ///
    /// # Errors
    /// If the case is not valid.
    pub fn measure(&self, target: Target) -> Result<(usize, Work)> {
        let plan = Context::plan(target);
        self.prepare(&plan)?.run(&plan)?;
        let work = plan
            .work()
            .into_iter()
            .fold(Work::default(), |sum, (_, w)| sum + w);
        Ok((plan.workspace_peak(), work))
    }

    /// The files of the kernels that the case runs on a GPU.
    ///
    /// # Errors
    /// If the case is not valid.
    pub fn cuda_files(&self, dtype: DType) -> Result<BTreeSet<&'static str>> {
        let plan = Context::plan(Target::Cuda { dtype });
        self.prepare(&plan)?.run(&plan)?;
        let kernels = Context::needs(&[&plan]).kernels;
        Ok(kernels.into_keys().map(|(file, _, _)| file).collect())
    }
}

impl Trial {
    pub(crate) fn new(
        run: impl FnMut(&Context) -> Result<Vec<f32>> + 'static,
        reference: impl Fn() -> Vec<f64> + 'static,
    ) -> Trial {
        Trial {
            run: Box::new(run),
            reference: Box::new(reference),
        }
    }

    /// Puts the weights of the inputs on the device that they were made for.
    ///
    /// # Errors
    /// If the device's memory does not hold them.
    pub fn load(&mut self, device: &Device) -> Result<()> {
        let plan = Context::plan(device.target());
        (self.run)(&plan)?;
        device.load(&[&plan])
    }

    /// Runs the operation and copies its output to host memory.
    ///
    /// # Errors
    /// As the operation.
    pub fn run(&mut self, cx: &Context) -> Result<Vec<f32>> {
        (self.run)(cx)
    }

    /// The output by the formula, in f64. Slow.
    pub fn reference(&self) -> Vec<f64> {
        (self.reference)()
    }
}

/// Seeded inputs: splitmix64, and normal values by the Box-Muller transform.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    state: u64,
    /// The type of the device's activations.
    dtype: DType,
}

impl Inputs {
    /// Inputs for a device, which holds them without rounding.
    pub(crate) fn new(cx: &Context, seed: u64) -> Inputs {
        Inputs {
            dtype: cx.dtype(),
            ..Inputs::f32(cx, seed)
        }
    }

    /// Inputs for a device that holds them in f32.
    pub(crate) fn f32(cx: &Context, seed: u64) -> Inputs {
        // An odd factor that is none of splitmix64's: salted streams do not run into each other.
        Inputs::plain(seed.wrapping_add(cx.salt().wrapping_mul(0xd134_2543_de82_ef95)))
    }

    /// Inputs in f32, the same in every context.
    pub(crate) fn plain(seed: u64) -> Inputs {
        Inputs {
            state: seed,
            dtype: DType::F32,
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Normal values of mean zero, as the device holds activations.
    pub(crate) fn normal(&mut self, len: usize, deviation: f64) -> Vec<f32> {
        self.draw(self.dtype, len, deviation)
    }

    /// As [`Inputs::normal`], of what every device holds in f32.
    pub(crate) fn floats(&mut self, len: usize, deviation: f64) -> Vec<f32> {
        self.draw(DType::F32, len, deviation)
    }

    fn draw(&mut self, held: DType, len: usize, deviation: f64) -> Vec<f32> {
        let mut draw = || {
            let radius = (-2.0 * self.uniform().ln()).sqrt();
            (radius * (std::f64::consts::TAU * self.uniform()).cos() * deviation) as f32
        };
        (0..len).map(|_| held.round(draw())).collect()
    }

    /// A matrix of normal values around `mean`.
    pub(crate) fn weight(
        &mut self,
        dtype: DType,
        shape: (usize, usize),
        mean: f32,
        deviation: f64,
    ) -> Result<Weight> {
        self.stored(self.dtype, dtype, shape, mean, deviation)
    }

    /// A vector of normal values around `mean`, which every device holds in f32.
    pub(crate) fn vector(
        &mut self,
        dtype: DType,
        cols: usize,
        mean: f32,
        deviation: f64,
    ) -> Result<Weight> {
        self.stored(DType::F32, dtype, (1, cols), mean, deviation)
    }

    fn stored(
        &mut self,
        held: DType,
        dtype: DType,
        (rows, cols): (usize, usize),
        mean: f32,
        deviation: f64,
    ) -> Result<Weight> {
        let mut values = self.draw(held, rows * cols, deviation);
        for value in &mut values {
            // First to what is stored, then to what the device makes of it.
            *value = held.round(dtype.round(*value + mean));
        }
        let mut bytes = Vec::new();
        dtype.narrow(&values, &mut bytes);
        Weight::new(dtype, rows, cols, Bytes::from(bytes))
    }

    /// A linear layer of unit gain, with a bias or without.
    pub(crate) fn linear(
        &mut self,
        dtype: DType,
        outputs: usize,
        inputs: usize,
        bias: bool,
    ) -> Result<Linear> {
        let deviation = (inputs as f64).sqrt().recip();
        let weight = self.weight(dtype, (outputs, inputs), 0.0, deviation)?;
        let bias = bias
            .then(|| self.vector(dtype, outputs, 0.0, 0.5))
            .transpose()?;
        Linear::new(weight, bias)
    }
}

/// Rows of `cols` values, each behind `apart` ones of NaN, which nobody may read.
pub(crate) fn behind_nan(values: &[f32], cols: usize, apart: usize) -> Vec<f32> {
    let nan = vec![f32::NAN; apart];
    let rows = values.chunks_exact(cols);
    rows.flat_map(|row| [&nan, row].concat()).collect()
}
