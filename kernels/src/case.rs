//! Inputs on which operations are verified and timed.

use crate::error::Result;
use crate::weight::{Linear, Weight};
use crate::{Context, DType, Work};
use bytes::Bytes;
use half::{bf16, f16};

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
    /// The greatest relative L2 error of the output that passes.
    pub tolerance: f64,
    prepare: Box<Prepare>,
}

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
            tolerance,
            prepare: Box::new(prepare),
        }
    }

    /// Makes the inputs, the same on every device.
    ///
    /// # Errors
    /// If the device has no room for them.
    pub fn prepare(&self, cx: &Context) -> Result<Trial> {
        (self.prepare)(cx)
    }

    /// The workspace that the case needs with `threads` threads, in elements, and its work.
    ///
    /// # Errors
    /// If the case is not valid.
    pub fn measure(&self, threads: usize) -> Result<(usize, Work)> {
        let plan = Context::plan(threads);
        self.prepare(&plan)?.run(&plan)?;
        let work = plan
            .work()
            .into_iter()
            .fold(Work::default(), |sum, (_, w)| sum + w);
        Ok((plan.workspace_peak(), work))
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
pub(crate) struct Inputs(u64);

impl Inputs {
    pub(crate) fn new(seed: u64) -> Inputs {
        Inputs(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Normal values of mean zero.
    pub(crate) fn normal(&mut self, len: usize, deviation: f64) -> Vec<f32> {
        let mut draw = || {
            let radius = (-2.0 * self.uniform().ln()).sqrt();
            (radius * (std::f64::consts::TAU * self.uniform()).cos() * deviation) as f32
        };
        (0..len).map(|_| draw()).collect()
    }

    /// A weight of normal values around `mean`.
    pub(crate) fn weight(
        &mut self,
        dtype: DType,
        (rows, cols): (usize, usize),
        mean: f32,
        deviation: f64,
    ) -> Result<Weight> {
        let values = self
            .normal(rows * cols, deviation)
            .into_iter()
            .map(|v| v + mean);
        let bytes: Vec<u8> = match dtype {
            DType::F32 => values.flat_map(f32::to_le_bytes).collect(),
            DType::F16 => values
                .flat_map(|v| f16::from_f32(v).to_le_bytes())
                .collect(),
            DType::BF16 => values
                .flat_map(|v| bf16::from_f32(v).to_le_bytes())
                .collect(),
        };
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
            .then(|| self.weight(dtype, (1, outputs), 0.0, 0.5))
            .transpose()?;
        Linear::new(weight, bias)
    }
}
