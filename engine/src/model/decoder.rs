//! The decoder, Qwen2's or Qwen3's, over paged keys and values.
//! Sources: Qwen2, arXiv 2407.10671, section 2.2; Qwen3, arXiv 2505.09388, section 2.

use super::bind::Bind;
use crate::error::Error;
use gamut_kernels::ops::{
    QkNorm, RmsNorm, Rope, attention_paged, embed, gather, gemm_add, gemm_f32, gemm_swiglu,
    rms_norm, rope_kv,
};
use gamut_kernels::{Batch, Context, KvCache, Linear, Tensor, View, Weight};
use gamut_loader::TextConfig;

#[derive(Debug)]
pub(super) struct Decoder {
    embed_tokens: Weight,
    layers: Vec<Layer>,
    norm: RmsNorm,
    lm_head: Linear,
}

#[derive(Debug)]
struct Layer {
    input_layernorm: RmsNorm,
    qkv_proj: Linear,
    /// Qwen3's.
    qk_norm: Option<QkNorm>,
    o_proj: Linear,
    post_attention_layernorm: RmsNorm,
    gate_up_proj: Linear,
    down_proj: Linear,
}

impl Decoder {
    pub(super) fn bind(w: &Bind<'_>, config: &TextConfig) -> Result<Decoder, Error> {
        let (vocab, d) = (config.vocab_size, config.hidden_size);
        let model = w.at("model");
        let embed_tokens = model.at("embed_tokens").weight("weight", &[vocab, d])?;
        let lm_head = if config.tie_word_embeddings {
            embed_tokens.clone()
        } else {
            w.at("lm_head").weight("weight", &[vocab, d])?
        };
        let layers = model.at("layers");
        Ok(Decoder {
            embed_tokens,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::bind(&layers.at(i), config))
                .collect::<Result<_, _>>()?,
            norm: model.at("norm").rms_norm(d, config.rms_norm_eps)?,
            lm_head: Linear::new(lm_head, None)?,
        })
    }

    /// Writes the batch's keys and values and returns the logits of its wanted rows,
    /// `[wanted, vocab]`. `audio` is where its sources find the projected audio.
    pub(super) fn forward(
        &self,
        cx: &Context,
        batch: &Batch<'_>,
        audio: Option<View<'_>>,
        rope: &Rope,
        kv: &mut KvCache,
    ) -> Result<Tensor, gamut_kernels::Error> {
        let mut x = embed(cx, &self.embed_tokens, audio, batch.sources())?;
        for (i, layer) in self.layers.iter().enumerate() {
            let mut attended = layer.attend(cx, &x, batch, rope, kv, i)?;
            if i + 1 == self.layers.len() && !batch.wants_all() {
                // Nobody reads the other rows any more.
                x = gather(cx, &x, batch.wanted())?;
                attended = gather(cx, &attended, batch.wanted())?;
            }
            layer.feed_forward(cx, &attended, &mut x)?;
        }
        let x = rms_norm(cx, &x, &self.norm)?;
        gemm_f32(cx, &x, &self.lm_head)
    }
}

impl Layer {
    fn bind(w: &Bind<'_>, config: &TextConfig) -> Result<Layer, Error> {
        let (d, ffn, eps) = (
            config.hidden_size,
            config.intermediate_size,
            config.rms_norm_eps,
        );
        let bias = config.qkv_bias;
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let (attn, mlp) = (w.at("self_attn"), w.at("mlp"));
        Ok(Layer {
            input_layernorm: w.at("input_layernorm").rms_norm(d, eps)?,
            qkv_proj: attn.stack(
                [
                    ("q_proj", q, bias),
                    ("k_proj", kv, bias),
                    ("v_proj", kv, bias),
                ],
                d,
            )?,
            qk_norm: match config.qk_norm {
                true => Some(QkNorm {
                    q: attn.at("q_norm").rms_norm(config.head_dim, eps)?,
                    k: attn.at("k_norm").rms_norm(config.head_dim, eps)?,
                }),
                false => None,
            },
            o_proj: attn.stack([("o_proj", d, false)], q)?,
            post_attention_layernorm: w.at("post_attention_layernorm").rms_norm(d, eps)?,
            gate_up_proj: mlp.stack([("gate_proj", ffn, false), ("up_proj", ffn, false)], d)?,
            down_proj: mlp.stack([("down_proj", d, false)], ffn)?,
        })
    }

    /// What each row takes from its sequence, before `o_proj`.
    fn attend(
        &self,
        cx: &Context,
        x: &Tensor,
        batch: &Batch<'_>,
        rope: &Rope,
        kv: &mut KvCache,
        layer: usize,
    ) -> Result<Tensor, gamut_kernels::Error> {
        let h = rms_norm(cx, x, &self.input_layernorm)?;
        let qkv = gemm_f32(cx, &h, &self.qkv_proj)?;
        let q = rope_kv(cx, &qkv, batch, self.qk_norm.as_ref(), rope, kv, layer)?;
        attention_paged(cx, &q, batch, kv, layer)
    }

    fn feed_forward(
        &self,
        cx: &Context,
        attended: &Tensor,
        x: &mut Tensor,
    ) -> Result<(), gamut_kernels::Error> {
        gemm_add(cx, attended, &self.o_proj, &mut *x)?;
        let h = rms_norm(cx, &*x, &self.post_attention_layernorm)?;
        let h = gemm_swiglu(cx, &h, &self.gate_up_proj)?;
        gemm_add(cx, &h, &self.down_proj, x)
    }
}
