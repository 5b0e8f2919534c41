//! A Whisper encoder over a window of 30 s.
//! Source: arXiv 2212.04356, section 2.2, without the decoder.

use super::bind::Bind;
use crate::error::Error;
use gamut_kernels::ops::{
    ConvStem, LayerNorm, Qkv, TAPS, attention, conv_stem, gemm, gemm_add, gemm_gelu, layer_norm,
};
use gamut_kernels::{Context, Linear, Tensor, View};
use gamut_loader::EncoderConfig;

/// Epsilon of every LayerNorm of a Whisper encoder.
const EPS: f64 = 1e-5;

#[derive(Debug)]
pub(super) struct Encoder {
    stem: ConvStem,
    layers: Vec<Layer>,
    /// Over its output, before or after pooling.
    pub(super) layer_norm: LayerNorm,
    heads: usize,
}

#[derive(Debug)]
struct Layer {
    self_attn_layer_norm: LayerNorm,
    qkv: Linear,
    out_proj: Linear,
    final_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Encoder {
    pub(super) fn bind(w: &Bind<'_>, config: &EncoderConfig) -> Result<Encoder, Error> {
        let d = config.d_model;
        let positions = w
            .at("embed_positions")
            .weight("weight", &[config.max_source_positions, d])?;
        let stem = ConvStem {
            conv1: w.at("conv1").convolution(&[d, config.num_mel_bins, TAPS])?,
            conv2: w.at("conv2").convolution(&[d, d, TAPS])?,
            positions,
        };
        let layers = w.at("layers");
        Ok(Encoder {
            stem,
            layers: (0..config.encoder_layers)
                .map(|i| Layer::bind(&layers.at(i), config))
                .collect::<Result<_, _>>()?,
            layer_norm: w.at("layer_norm").layer_norm(d, EPS)?,
            heads: config.encoder_attention_heads,
        })
    }

    /// One window's log-mel `[bins, 3000]` to its first `frames` of 1,500, `[frames, d]`, as they are
    /// before the last LayerNorm. They see each other and none behind them.
    pub(super) fn forward(
        &self,
        cx: &Context,
        mel: View<'_>,
        frames: usize,
    ) -> Result<Tensor, gamut_kernels::Error> {
        let mut x = conv_stem(cx, mel, &self.stem, frames)?;
        for layer in &self.layers {
            layer.forward(cx, self.heads, &mut x)?;
        }
        Ok(x)
    }
}

impl Layer {
    fn bind(w: &Bind<'_>, config: &EncoderConfig) -> Result<Layer, Error> {
        let (d, ffn) = (config.d_model, config.encoder_ffn_dim);
        let attn = w.at("self_attn");
        Ok(Layer {
            self_attn_layer_norm: w.at("self_attn_layer_norm").layer_norm(d, EPS)?,
            qkv: attn.stack(
                [
                    ("q_proj", d, true),
                    ("k_proj", d, false),
                    ("v_proj", d, true),
                ],
                d,
            )?,
            out_proj: attn.at("out_proj").linear(d, d)?,
            final_layer_norm: w.at("final_layer_norm").layer_norm(d, EPS)?,
            fc1: w.at("fc1").linear(ffn, d)?,
            fc2: w.at("fc2").linear(d, ffn)?,
        })
    }

    fn forward(
        &self,
        cx: &Context,
        heads: usize,
        x: &mut Tensor,
    ) -> Result<(), gamut_kernels::Error> {
        let d = x.cols();
        let h = layer_norm(cx, &*x, &self.self_attn_layer_norm)?;
        let qkv = gemm(cx, &h, &self.qkv)?;
        let [q, k, v] = [0, d, 2 * d].map(|from| qkv.columns(from, d));
        let a = attention(cx, heads, &[Qkv { q, k, v }])?;
        gemm_add(cx, &a, &self.out_proj, &mut *x)?;

        let h = layer_norm(cx, &*x, &self.final_layer_norm)?;
        let h = gemm_gelu(cx, &h, &self.fc1)?;
        gemm_add(cx, &h, &self.fc2, x)
    }
}
