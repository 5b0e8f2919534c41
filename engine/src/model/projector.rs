//! The projector: fused audio tokens into the decoder's embedding space.

use super::bind::Bind;
use crate::error::Error;
use gamut_kernels::ops::{gemm_f32, gemm_gelu};
use gamut_kernels::{Context, Linear, Tensor};

#[derive(Debug)]
pub(super) struct Projector {
    linear_1: Linear,
    linear_2: Linear,
}

impl Projector {
    /// From `d` channels by way of `hidden` to `out`.
    pub(super) fn bind(
        w: &Bind<'_>,
        d: usize,
        hidden: usize,
        out: usize,
    ) -> Result<Projector, Error> {
        Ok(Projector {
            linear_1: w.at("linear_1").linear(hidden, d)?,
            linear_2: w.at("linear_2").linear(out, hidden)?,
        })
    }

    /// `[N, d]` to `[N, D]`.
    pub(super) fn forward(
        &self,
        cx: &Context,
        fused: &Tensor,
    ) -> Result<Tensor, gamut_kernels::Error> {
        let h = gemm_gelu(cx, fused, &self.linear_1)?;
        gemm_f32(cx, &h, &self.linear_2)
    }
}
