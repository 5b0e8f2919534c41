"""GaMMA in PyTorch, to train with: modules and parameters have the checkpoint's names.

Shapes are those of gamut-loader's module `layout`: `B` clips of `W` windows, `N` audio tokens of width `d`, decoder width `D`.
"""

import torch
import torch.nn.functional as F
from torch import nn

FRAMES = 3000
POSITIONS = FRAMES // 2
TOKENS = POSITIONS // 2
RATE = 25

AUDIO_CONFIG = {
    "num_mel_bins": 128,
    "d_model": 128,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 512,
    "max_source_positions": POSITIONS,
    "activation_function": "gelu",
}
CONFIG = {
    "architectures": ["GammaForConditionalGeneration"],
    "model_type": "gamma",
    "max_audio_seconds": 300,
    "temporal_config": AUDIO_CONFIG,
    "global_config": AUDIO_CONFIG,
    "fusion_config": {"num_attention_heads": 2, "ffn_dim": 256, "gate": "channel", "layer_norm_eps": 1e-5},
    "projector_config": {"hidden_size": 256, "hidden_act": "gelu"},
    "text_config": {
        "model_type": "qwen3",
        "hidden_size": 192,
        "intermediate_size": 576,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 32,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "max_position_embeddings": 8192,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": True,
    },
}


def config(vocabulary, audio):
    """The checkpoint's `config.json` for a vocabulary in which `audio` is the placeholder."""
    text = CONFIG["text_config"] | {"vocab_size": vocabulary}
    return CONFIG | {"audio_token_index": audio, "text_config": text}


def heads(x, n):
    return x.unflatten(-1, (n, -1)).transpose(-2, -3)


class Attention(nn.Module):
    """Whisper's: biases on all but the keys."""

    def __init__(self, width, n):
        super().__init__()
        self.n = n
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, source):
        q, k, v = heads(self.q_proj(x), self.n), heads(self.k_proj(source), self.n), heads(self.v_proj(source), self.n)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2))


class EncoderLayer(nn.Module):
    def __init__(self, width, n, ffn):
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = Attention(width, n)
        self.final_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, ffn)
        self.fc2 = nn.Linear(ffn, width)

    def forward(self, x):
        h = self.self_attn_layer_norm(x)
        x = x + self.self_attn(h, h)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class Expert(nn.Module):
    """A Whisper encoder and pooling by two: `[windows, mel, 3000]` to `[windows, 750, d]`."""

    def __init__(self, c):
        super().__init__()
        width = c["d_model"]
        self.conv1 = nn.Conv1d(c["num_mel_bins"], width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(c["max_source_positions"], width)
        self.layers = nn.ModuleList(
            EncoderLayer(width, c["encoder_attention_heads"], c["encoder_ffn_dim"]) for _ in range(c["encoder_layers"])
        )
        self.layer_norm = nn.LayerNorm(width)
        # Waves of many lengths, as Whisper's table has them, are a better place to start than noise.
        place = torch.arange(c["max_source_positions"])[:, None]
        turns = place * torch.exp(-torch.arange(width // 2) * (torch.log(torch.tensor(10000.0)) / (width // 2 - 1)))
        self.embed_positions.weight.data.copy_(0.3 * torch.cat([turns.sin(), turns.cos()], 1))

    def forward(self, mel, first=0):
        """Also of a part of a window, which begins at position `first`."""
        x = F.gelu(self.conv1(mel))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.embed_positions.weight[first : first + x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x).unflatten(1, (-1, 2)).mean(2)


class CrossAttention(Attention):
    def __init__(self, width, n):
        super().__init__(width, n)
        self.q_norm = nn.LayerNorm(width)
        self.kv_norm = nn.LayerNorm(width)

    def forward(self, x, source):
        return super().forward(self.q_norm(x), self.kv_norm(source))


class Fusion(nn.Module):
    """The Dual-encoder Fusion Network, over a whole clip: two times `[B, N, d]` to one."""

    def __init__(self, width, c):
        super().__init__()
        n = c["num_attention_heads"]
        self.extractor = CrossAttention(width, n)
        self.injector = CrossAttention(width, n)
        self.gate = nn.Linear(2 * width, width if c["gate"] == "channel" else 1)
        self.ffn_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, c["ffn_dim"])
        self.fc2 = nn.Linear(c["ffn_dim"], width)

    def forward(self, temporal, global_):
        g1 = global_ + self.extractor(global_, temporal)
        t1 = temporal + self.injector(temporal, global_)
        g = torch.sigmoid(self.gate(torch.cat([t1, g1], -1)))
        f = g * t1 + (1 - g) * g1
        return f + self.fc2(F.gelu(self.fc1(self.ffn_norm(f))))


class Projector(nn.Module):
    def __init__(self, width, hidden, out):
        super().__init__()
        self.linear_1 = nn.Linear(width, hidden)
        self.linear_2 = nn.Linear(hidden, out)

    def forward(self, x):
        return self.linear_2(F.gelu(self.linear_1(x)))


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


class Rotary:
    """Cosines and sines of positions, `[..., head_dim]`."""

    def __init__(self, c, positions):
        half = c["head_dim"] // 2
        inverse = 1.0 / c["rope_theta"] ** (torch.arange(half).float() / half)
        turns = positions[..., None].float() * inverse
        self.cos, self.sin = torch.cat([turns.cos()] * 2, -1), torch.cat([turns.sin()] * 2, -1)

    def __call__(self, x):
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat([-b, a], -1) * self.sin


class DecoderAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.n, self.kv, dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        width = c["hidden_size"]
        self.q_proj = nn.Linear(width, self.n * dim, bias=False)
        self.k_proj = nn.Linear(width, self.kv * dim, bias=False)
        self.v_proj = nn.Linear(width, self.kv * dim, bias=False)
        self.o_proj = nn.Linear(self.n * dim, width, bias=False)
        self.q_norm = RMSNorm(dim, c["rms_norm_eps"])
        self.k_norm = RMSNorm(dim, c["rms_norm_eps"])
        self.scale = dim**-0.5
        # With norms of one, a product is too small to single out one of a hundred rows, and weights grow slowly.
        for norm in (self.q_norm, self.k_norm):
            norm.weight.data[:] = 2.0

    def qkv(self, x, rotary):
        q = rotary(self.q_norm(heads(self.q_proj(x), self.n)))
        k = rotary(self.k_norm(heads(self.k_proj(x), self.kv)))
        v = heads(self.v_proj(x), self.kv)
        return q, k, v

    def widen(self, x):
        return x.repeat_interleave(self.n // self.kv, -3)

    def prefix(self, x, rotary):
        """Causal: the prefix by itself. Also returns its keys and values."""
        q, k, v = self.qkv(x, rotary)
        k, v = self.widen(k), self.widen(v)
        out = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
        return self.o_proj(out.transpose(-2, -3).flatten(-2)), k, v

    def segments(self, x, rotary, k0, v0):
        """`x` `[S, L, D]`: each of S segments sees the prefix and its own past, and no other segment."""
        q, k, v = self.qkv(x, rotary)
        k, v = self.widen(k), self.widen(v)
        s, n, l, dim = q.shape
        # All segments' queries meet the prefix in one product.
        flat = q.transpose(0, 1).reshape(n, s * l, dim)
        before = (flat @ k0.transpose(-1, -2)).view(n, s, l, -1).transpose(0, 1)
        own = q @ k.transpose(-1, -2)
        hidden = torch.ones(l, l, dtype=torch.bool).triu(1)
        own = own.masked_fill(hidden, float("-inf"))
        weights = torch.softmax(torch.cat([before, own], -1) * self.scale, -1)
        before, own = weights.split([k0.shape[-2], l], -1)
        flat = before.transpose(0, 1).reshape(n, s * l, -1) @ v0
        out = flat.view(n, s, l, dim).transpose(0, 1) + own @ v
        return self.o_proj(out.transpose(-2, -3).flatten(-2))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, inner = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = DecoderAttention(c)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = Mlp(c)

    def prefix(self, x, rotary):
        h, k, v = self.self_attn.prefix(self.input_layernorm(x), rotary)
        x = x + h
        return x + self.mlp(self.post_attention_layernorm(x)), k, v

    def segments(self, x, rotary, k, v):
        x = x + self.self_attn.segments(self.input_layernorm(x), rotary, k, v)
        return x + self.mlp(self.post_attention_layernorm(x))


class Qwen3(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(DecoderLayer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])


class LanguageModel(nn.Module):
    """Qwen3 with tied embeddings, for many short segments behind one prefix."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.model = Qwen3(c)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = 0.05 if "embed" in name else p.shape[1] ** -0.5
                nn.init.normal_(p, std=std / (2 * c["num_hidden_layers"]) ** 0.5 if deep else std)
        # Heads begin by looking for what is like itself and elsewhere: the first of each group far away, the second near.
        # Pairs that hardly turn over a song find the like, those that turn over some words keep from the word itself, and
        # those between tell near from far. All begin by saying what they see.
        half = torch.arange(c["head_dim"] // 2)
        turn = c["rope_theta"] ** (-2 * half / c["head_dim"])
        elsewhere = torch.where(turn > 0.05, -1.0, 1.0)
        far = torch.where(turn * TOKENS < 4, 1.0, -1.0)
        signs = torch.stack([torch.cat([sign, sign]) for sign in (far, elsewhere)])[:, :, None]
        for layer in self.model.layers:
            a = layer.self_attn
            k = a.k_proj.weight.data.unflatten(0, (a.kv, 1, -1))
            a.q_proj.weight.data = (signs * k).flatten(0, 2)
            v = a.v_proj.weight.data.unflatten(0, (a.kv, 1, -1)).expand(-1, a.n // a.kv, -1, -1)
            a.o_proj.weight.data = v.flatten(0, 2).T / (2 * c["num_hidden_layers"]) ** 0.5

    def embed(self, tokens):
        return self.model.embed_tokens(tokens)

    def prefix(self, x, positions):
        """`x` `[P, D]`: keys and values of every layer."""
        rotary = Rotary(self.c, positions)
        kept = []
        for layer in self.model.layers:
            x, k, v = layer.prefix(x, rotary)
            kept.append((k, v))
        return kept

    def hidden(self, x, positions):
        """Hidden states `[B, P, D]` of embeddings `[B, P, D]` at positions `[B, 1, P]` by themselves."""
        rotary = Rotary(self.c, positions)
        for layer in self.model.layers:
            x, _, _ = layer.prefix(x, rotary)
        return self.model.norm(x)

    def segments(self, tokens, positions, kept):
        """Hidden states `[S, L, D]` of tokens `[S, L]` whose positions go on behind the prefix."""
        rotary = Rotary(self.c, positions)
        x = self.embed(tokens)
        for layer, (k, v) in zip(self.model.layers, kept, strict=True):
            x = layer.segments(x, rotary, k, v)
        return self.model.norm(x)

    def logits(self, hidden):
        return hidden @ self.model.embed_tokens.weight.T


class Gamma(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = c["temporal_config"]["d_model"]
        self.temporal_expert = Expert(c["temporal_config"])
        self.global_expert = Expert(c["global_config"])
        self.fusion = Fusion(width, c["fusion_config"])
        self.projector = Projector(width, c["projector_config"]["hidden_size"], c["text_config"]["hidden_size"])
        self.language_model = LanguageModel(c["text_config"])

    def hear(self, mel, n):
        """Both experts over a clip's windows `[W, mel, 3000]`, cut to `n` tokens: two times `[n, d]`."""
        return tuple(expert(mel).flatten(0, 1)[:n] for expert in (self.temporal_expert, self.global_expert))

    def project(self, temporal, global_):
        return self.projector(self.fusion(temporal[None], global_[None])[0])
