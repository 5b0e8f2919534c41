//! The dual-encoder fusion network: two streams attend to each other and are mixed by a gate.

use super::bind::Bind;
use crate::error::Error;
use gamut_kernels::ops::{
    LayerNorm, Qkv, attention, gemm, gemm_add, gemm_gate, gemm_gelu, layer_norm,
};
use gamut_kernels::{Context, Linear, Tensor, View};
use gamut_loader::{FusionConfig, Gate};

#[derive(Debug)]
pub(super) struct Fusion {
    /// The global stream extracts temporal detail.
    extractor: CrossAttention,
    /// Global semantics are injected into the temporal stream.
    injector: CrossAttention,
    gate: Linear,
    ffn_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
}

#[derive(Debug)]
struct CrossAttention {
    q_norm: LayerNorm,
    kv_norm: LayerNorm,
    q_proj: Linear,
    kv_proj: Linear,
    out_proj: Linear,
}

impl Fusion {
    pub(super) fn bind(w: &Bind<'_>, config: &FusionConfig, d: usize) -> Result<Fusion, Error> {
        let gates = match config.gate {
            Gate::Channel => d,
            Gate::Token => 1,
        };
        let eps = config.layer_norm_eps;
        Ok(Fusion {
            extractor: CrossAttention::bind(&w.at("extractor"), d, eps)?,
            injector: CrossAttention::bind(&w.at("injector"), d, eps)?,
            gate: w.at("gate").linear(gates, 2 * d)?,
            ffn_norm: w.at("ffn_norm").layer_norm(d, eps)?,
            fc1: w.at("fc1").linear(config.ffn_dim, d)?,
            fc2: w.at("fc2").linear(d, config.ffn_dim)?,
            heads: config.num_attention_heads,
        })
    }

    /// `[T ; G]`, `[N, 2d]`, to the fused tokens `[N, d]`. The streams come out as they enter the
    /// gate, each with what it took from the other.
    pub(super) fn forward(
        &self,
        cx: &Context,
        streams: &mut Tensor,
    ) -> Result<Tensor, gamut_kernels::Error> {
        let (n, d) = (streams.rows(), streams.cols() / 2);
        let attended = {
            let (t, g) = (streams.columns(0, d), streams.columns(d, d));
            let (extract_q, extract_kv) = self.extractor.project(cx, g, t)?;
            let (inject_q, inject_kv) = self.injector.project(cx, t, g)?;
            let [extract, inject] =
                [(&extract_q, &extract_kv), (&inject_q, &inject_kv)].map(|(q, kv)| Qkv {
                    q: q.view(),
                    k: kv.columns(0, d),
                    v: kv.columns(d, d),
                });
            attention(cx, self.heads, &[extract, inject])?
        };
        let (extracted, injected) = (attended.rows_from(0, n), attended.rows_from(n, n));
        gemm_add(
            cx,
            extracted,
            &self.extractor.out_proj,
            streams.columns_mut(d, d),
        )?;
        gemm_add(
            cx,
            injected,
            &self.injector.out_proj,
            streams.columns_mut(0, d),
        )?;

        let mut fused = gemm_gate(cx, &*streams, &self.gate)?;
        let h = layer_norm(cx, &fused, &self.ffn_norm)?;
        let h = gemm_gelu(cx, &h, &self.fc1)?;
        gemm_add(cx, &h, &self.fc2, &mut fused)?;
        Ok(fused)
    }
}

impl CrossAttention {
    fn bind(w: &Bind<'_>, d: usize, eps: f64) -> Result<CrossAttention, Error> {
        Ok(CrossAttention {
            q_norm: w.at("q_norm").layer_norm(d, eps)?,
            kv_norm: w.at("kv_norm").layer_norm(d, eps)?,
            q_proj: w.at("q_proj").linear(d, d)?,
            kv_proj: w.stack([("k_proj", d, false), ("v_proj", d, true)], d)?,
            out_proj: w.at("out_proj").linear(d, d)?,
        })
    }

    /// Queries `[N, d]` of one stream, keys and values `[N, 2d]` of the other.
    fn project(
        &self,
        cx: &Context,
        queries: View<'_>,
        others: View<'_>,
    ) -> Result<(Tensor, Tensor), gamut_kernels::Error> {
        let q = gemm(cx, &layer_norm(cx, queries, &self.q_norm)?, &self.q_proj)?;
        let kv = gemm(cx, &layer_norm(cx, others, &self.kv_norm)?, &self.kv_proj)?;
        Ok((q, kv))
    }
}
