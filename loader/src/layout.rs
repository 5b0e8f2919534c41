//! Every tensor of a checkpoint, by name and shape, as the config determines them.
//!
//! With `d` the encoders' width and `D` the decoder's:
//!
//! | family | part | names | holds |
//! |---|---|---|---|
//! | GaMMA | experts | `temporal_expert.*`, `global_expert.*` | a Whisper encoder each: `conv1`, `conv2`, `embed_positions`, `layers.N.*`, `layer_norm` |
//! | | fusion | `fusion.extractor.*`, `fusion.injector.*` | attention with `q_norm` and `kv_norm` before it |
//! | | | `fusion.gate.*` | `[d, 2d]`, or `[1, 2d]` where the gate is per token |
//! | | | `fusion.ffn_norm.*`, `fusion.fc1.*`, `fusion.fc2.*` | the feed-forward network |
//! | | projector | `projector.linear_1.*`, `projector.linear_2.*` | `[hidden, d]`, `[D, hidden]` |
//! | Qwen2-Audio, Flamingos | tower | `audio_tower.*` | a Whisper encoder |
//! | Qwen2-Audio | projector | `multi_modal_projector.linear.*` | `[D, d]` |
//! | Flamingos | projector | `multi_modal_projector.linear_1.*`, `.linear_2.*` | `[D, d]`, `[D, D]` |
//! | all that hear | decoder | `language_model.model.*`, `language_model.lm_head.weight` | a Qwen2 or Qwen3 decoder, `[vocab, D]` |
//! | decoders alone | | `model.*`, `lm_head.weight` | the same |
//!
//! `lm_head` is absent where it is tied to the embeddings. Attention has no key bias in the encoders
//! and the fusion. In the decoder, Qwen2 has biases on queries, keys and values, and Qwen3 a norm of
//! each head of queries and keys instead.

use crate::config::{
    Architecture, AudioEncoderConfig, Config, EncoderConfig, GammaConfig, Gate, TextConfig,
    TowerConfig, TowerProjector,
};

/// One tensor that a checkpoint must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The full name.
    pub name: String,
    /// The dimensions, slowest first.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The matrix `[out, in]` of a linear layer, or the kernel `[out, in, 3]` of a convolution.
    Linear,
    /// The matrix of a linear layer in a layer of the decoder, which checkpoints in FP8 have in it.
    DecoderLinear,
    /// The bias of a linear layer or a convolution.
    Bias,
    /// The scale of a LayerNorm or an RMSNorm.
    NormWeight,
    /// The shift of a LayerNorm.
    NormBias,
    /// An expert's table of positions, `[1500, d]`.
    Positions,
    /// The decoder's table of token embeddings, `[vocab, D]`, used for input only.
    Embedding,
    /// The decoder's output layer, `[vocab, D]`: `lm_head`, or the embeddings when they are tied.
    Output,
}

impl Architecture {
    /// Where the decoder is in the tree of names; empty for its root.
    pub fn decoder_scope(self) -> &'static str {
        match self {
            Architecture::Qwen2 | Architecture::Qwen3 => "",
            _ => "language_model",
        }
    }
}

/// All tensors of the layout, in the order of the forward pass.
pub fn tensors(config: &Config) -> Vec<TensorSpec> {
    let mut out = Layout { specs: Vec::new() };
    let text = &config.text;
    match config.audio.as_ref().map(|audio| &audio.encoder) {
        Some(AudioEncoderConfig::Gamma(gamma)) => out.gamma(gamma, text.hidden_size),
        Some(AudioEncoderConfig::Tower(tower)) => out.tower(tower, text.hidden_size),
        None => {}
    }
    let prefix = match config.architecture.decoder_scope() {
        "" => String::new(),
        scope => format!("{scope}."),
    };
    out.decoder(&prefix, text);
    out.specs
}

struct Layout {
    specs: Vec<TensorSpec>,
}

impl Layout {
    fn push(&mut self, name: String, shape: &[usize], role: Role) {
        self.specs.push(TensorSpec {
            name,
            shape: shape.to_vec(),
            role,
        });
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) {
        self.push(format!("{name}.weight"), &[rows, columns], Role::Linear);
    }

    fn decoder_matrix(&mut self, name: &str, rows: usize, columns: usize) {
        let name = format!("{name}.weight");
        self.push(name, &[rows, columns], Role::DecoderLinear);
    }

    fn bias(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.bias"), &[width], Role::Bias);
    }

    fn linear(&mut self, name: &str, rows: usize, columns: usize) {
        self.matrix(name, rows, columns);
        self.bias(name, rows);
    }

    fn convolution(&mut self, name: &str, rows: usize, columns: usize) {
        self.push(format!("{name}.weight"), &[rows, columns, 3], Role::Linear);
        self.bias(name, rows);
    }

    fn layer_norm(&mut self, name: &str, width: usize) {
        self.rms_norm(name, width);
        self.push(format!("{name}.bias"), &[width], Role::NormBias);
    }

    fn rms_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), &[width], Role::NormWeight);
    }

    /// Whisper's attention: biases on all but the keys.
    fn whisper_attention(&mut self, name: &str, d: usize) {
        self.linear(&format!("{name}.q_proj"), d, d);
        self.matrix(&format!("{name}.k_proj"), d, d);
        self.linear(&format!("{name}.v_proj"), d, d);
        self.linear(&format!("{name}.out_proj"), d, d);
    }

    fn gamma(&mut self, config: &GammaConfig, out: usize) {
        let (d, hidden) = (config.temporal.d_model, config.projector.hidden_size);
        self.encoder("temporal_expert", &config.temporal);
        self.encoder("global_expert", &config.global);
        self.fusion(config);
        self.linear("projector.linear_1", hidden, d);
        self.linear("projector.linear_2", out, hidden);
    }

    fn tower(&mut self, config: &TowerConfig, out: usize) {
        let d = config.encoder.d_model;
        self.encoder("audio_tower", &config.encoder);
        match config.projector {
            TowerProjector::Linear => self.linear("multi_modal_projector.linear", out, d),
            TowerProjector::Mlp { bias } => {
                for (layer, inputs) in [("linear_1", d), ("linear_2", out)] {
                    let layer = format!("multi_modal_projector.{layer}");
                    self.matrix(&layer, out, inputs);
                    if bias {
                        self.bias(&layer, out);
                    }
                }
            }
        }
    }

    fn encoder(&mut self, name: &str, config: &EncoderConfig) {
        let (d, ffn) = (config.d_model, config.encoder_ffn_dim);
        self.convolution(&format!("{name}.conv1"), d, config.num_mel_bins);
        self.convolution(&format!("{name}.conv2"), d, d);
        let positions = [config.max_source_positions, d];
        self.push(
            format!("{name}.embed_positions.weight"),
            &positions,
            Role::Positions,
        );
        for layer in 0..config.encoder_layers {
            let layer = format!("{name}.layers.{layer}");
            self.layer_norm(&format!("{layer}.self_attn_layer_norm"), d);
            self.whisper_attention(&format!("{layer}.self_attn"), d);
            self.layer_norm(&format!("{layer}.final_layer_norm"), d);
            self.linear(&format!("{layer}.fc1"), ffn, d);
            self.linear(&format!("{layer}.fc2"), d, ffn);
        }
        self.layer_norm(&format!("{name}.layer_norm"), d);
    }

    fn fusion(&mut self, config: &GammaConfig) {
        let (d, ffn) = (config.temporal.d_model, config.fusion.ffn_dim);
        for direction in ["fusion.extractor", "fusion.injector"] {
            self.layer_norm(&format!("{direction}.q_norm"), d);
            self.layer_norm(&format!("{direction}.kv_norm"), d);
            self.whisper_attention(direction, d);
        }
        let gate = match config.fusion.gate {
            Gate::Channel => d,
            Gate::Token => 1,
        };
        self.linear("fusion.gate", gate, 2 * d);
        self.layer_norm("fusion.ffn_norm", d);
        self.linear("fusion.fc1", ffn, d);
        self.linear("fusion.fc2", d, ffn);
    }

    /// A decoder whose names begin with `prefix`.
    fn decoder(&mut self, prefix: &str, config: &TextConfig) {
        let (d, ffn) = (config.hidden_size, config.intermediate_size);
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let table = [config.vocab_size, d];
        let embedding = if config.tie_word_embeddings {
            Role::Output
        } else {
            Role::Embedding
        };
        self.push(
            format!("{prefix}model.embed_tokens.weight"),
            &table,
            embedding,
        );
        for layer in 0..config.num_hidden_layers {
            let layer = format!("{prefix}model.layers.{layer}");
            self.rms_norm(&format!("{layer}.input_layernorm"), d);
            for (name, rows) in [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)] {
                let name = format!("{layer}.self_attn.{name}");
                self.decoder_matrix(&name, rows, d);
                if config.qkv_bias {
                    self.bias(&name, rows);
                }
            }
            self.decoder_matrix(&format!("{layer}.self_attn.o_proj"), d, queries);
            if config.qk_norm {
                self.rms_norm(&format!("{layer}.self_attn.q_norm"), config.head_dim);
                self.rms_norm(&format!("{layer}.self_attn.k_norm"), config.head_dim);
            }
            self.rms_norm(&format!("{layer}.post_attention_layernorm"), d);
            self.decoder_matrix(&format!("{layer}.mlp.gate_proj"), ffn, d);
            self.decoder_matrix(&format!("{layer}.mlp.up_proj"), ffn, d);
            self.decoder_matrix(&format!("{layer}.mlp.down_proj"), d, ffn);
        }
        self.rms_norm(&format!("{prefix}model.norm"), d);
        if !config.tie_word_embeddings {
            self.push(format!("{prefix}lm_head.weight"), &table, Role::Output);
        }
    }
}
