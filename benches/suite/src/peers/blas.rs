//! cuBLASLt's products, on the same stream and with the same timer.

use crate::error::{Error, Result};
use crate::measure::Times;
use crate::row::{BlasPeer, Then};
use crate::rows::normal;
use gamut_kernels::ops::{Random, random};
use gamut_kernels::{Context, Cuda, Device, Timer};
use gamut_probe::blas::{Blas, Epilogue, Plan, Product};
use std::sync::Arc;

/// Runs of each algorithm to find the fastest.
const TRIALS: usize = 3;
/// What regions of a workspace are rounded up to, for all of a product's matrices.
const ROUNDING: usize = 4096;

/// The library on the GPU that the operations run on.
pub(crate) struct BlasBench {
    blas: Blas,
    device: Device,
    cuda: Arc<Cuda>,
}

impl BlasBench {
    pub(crate) fn open(device: &Device, cuda: &Arc<Cuda>) -> Result<BlasBench> {
        Ok(BlasBench {
            blas: Blas::open()?,
            device: device.clone(),
            cuda: cuda.clone(),
        })
    }

    /// The times of the fastest of the algorithms that the library proposes.
    pub(crate) fn measure(&self, timer: &Timer, peer: BlasPeer) -> Result<Times> {
        let BlasPeer { m, k, n, .. } = peer;
        let plan = Context::plan(self.device.target());
        operands(&plan, peer)?;
        self.device.load(&[&plan])?;
        let cx = Context::new(&self.device, plan.workspace_peak() + ROUNDING)?;
        let [x, w, bias, y] = operands(&cx, peer)?;
        let epilogue = match (peer.then, peer.bias) {
            (Then::Store, false) => Epilogue::Store,
            (Then::Store, true) => Epilogue::Bias(bias.view().address()),
            (Then::F32, _) => Epilogue::F32,
            (Then::Gelu, _) => Epilogue::GeluBias(bias.view().address()),
            (Then::Add, false) => Epilogue::Add,
            (Then::Add, true) => Epilogue::AddBias(bias.view().address()),
        };
        let plan = self.blas.plan(Product { m, k, n, epilogue })?;
        let addresses = [&x, &w, &y].map(|matrix| matrix.view().address());
        let multiply = |plan: &Plan, choice| -> Result<()> {
            let stream = self.cuda.stream();
            Ok(self.blas.multiply(plan, choice, addresses, stream)?)
        };
        let mut best = None;
        for choice in 0..plan.choices() {
            // An algorithm may still refuse to run; the others count.
            let Ok(times) = multiply(&plan, choice)
                .and_then(|()| Times::repeat(timer, TRIALS, &mut || multiply(&plan, choice)))
            else {
                continue;
            };
            if best.is_none_or(|(_, least)| times.median() < least) {
                best = Some((choice, times.median()));
            }
        }
        let (choice, _) = best.ok_or(Error::NoAlgorithm)?;
        Times::measure(timer, &mut || multiply(&plan, choice))
    }
}

/// `x`, `w`, the bias and `y`, all in bf16 but what is asked for in f32.
fn operands(cx: &Context, peer: BlasPeer) -> Result<[gamut_kernels::Tensor; 4]> {
    let BlasPeer { m, k, n, then, .. } = peer;
    let deviation = (k as f32).sqrt().recip();
    let y = match then {
        Then::F32 => cx.tensor_f32(m, n)?,
        _ => normal(cx, m, n)?,
    };
    let w = random(cx, n, k, Random::normal(1, deviation))?;
    let bias = random(cx, 1, n, Random::normal(2, 0.02))?;
    Ok([normal(cx, m, k)?, w, bias, y])
}
