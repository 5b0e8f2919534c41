//! The projector: rows of audio into the decoder's embedding space.

use super::bind::Bind;
use crate::error::Error;
use gamut_kernels::ops::{gemm_f32, gemm_gelu};
use gamut_kernels::{Context, Linear, Tensor};

#[derive(Debug)]
pub(super) enum Projector {
    Linear(Linear),
    /// With a GELU between them.
    Mlp {
        linear_1: Linear,
        linear_2: Linear,
    },
}

impl Projector {
    /// From `d` channels to `out`.
    pub(super) fn linear(w: &Bind<'_>, [d, out]: [usize; 2]) -> Result<Projector, Error> {
        Ok(Projector::Linear(w.at("linear").linear(out, d)?))
    }

    /// From `d` channels by way of `hidden` to `out`, with biases or without.
    pub(super) fn mlp(
        w: &Bind<'_>,
        [d, hidden, out]: [usize; 3],
        bias: bool,
    ) -> Result<Projector, Error> {
        Ok(Projector::Mlp {
            linear_1: w.stack([("linear_1", hidden, bias)], d)?,
            linear_2: w.stack([("linear_2", out, bias)], hidden)?,
        })
    }

    /// `[N, d]` to `[N, D]`.
    pub(super) fn forward(
        &self,
        cx: &Context,
        rows: &Tensor,
    ) -> Result<Tensor, gamut_kernels::Error> {
        match self {
            Projector::Linear(linear) => gemm_f32(cx, rows, linear),
            Projector::Mlp { linear_1, linear_2 } => {
                let h = gemm_gelu(cx, rows, linear_1)?;
                gemm_f32(cx, &h, linear_2)
            }
        }
    }
}
