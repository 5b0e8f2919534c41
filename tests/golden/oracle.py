"""The model page's forward pass in PyTorch, written apart from the Rust engine, to judge it by.

transformers supplies the log-mel, the Whisper encoders and the Qwen3 decoder; fusion and projector are plain torch.
In f64, the log-mel, RMSNorm and softmax, which transformers computes in f32 whatever the dtype, are lifted to f64.
The rotary angles stay in f32, as Qwen3 was trained with them: at position 7,500 they are up to 5e-4 radians off the
exact product, so they belong to the model. In f32, everything is stock, which shows what f32 itself costs.

    python oracle.py CHECKPOINT CLIP.wav --prompt TEXT --max-tokens N [--dtype f32] [--out FILE] [--compare FILE]
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AttentionInterface, Qwen3Config, Qwen3ForCausalLM, WhisperConfig, WhisperFeatureExtractor
from transformers.audio_utils import spectrogram, window_function
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import logging
from transformers.utils.chat_template_utils import render_jinja_template

SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 30 * SAMPLE_RATE
SAMPLES_PER_TOKEN = 640
QUERY_BLOCK = 256  # rows of a score matrix held at once: 7,500 x 7,500 f64 would be 450 MB a head
STAGES = ("mel", "temporal", "global", "fused", "projected", "logits")


def blocked_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """Softmax attention, a block of queries at a time. q [heads, n, hd], k and v [kv heads, m, hd]."""
    groups = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
    first = k.shape[1] - q.shape[1]  # position of the first query
    out = torch.empty_like(q)
    for start in range(0, q.shape[1], QUERY_BLOCK):
        rows = slice(start, min(start + QUERY_BLOCK, q.shape[1]))
        scores = q[:, rows] @ k.transpose(1, 2) * scale
        if causal:
            position = torch.arange(rows.start, rows.stop).unsqueeze(1) + first
            scores.masked_fill_(torch.arange(k.shape[1]) > position, -math.inf)
        out[:, rows] = scores.softmax(-1) @ v
    return out


def transformers_attention(module, query, key, value, mask, scaling, **_):
    """`blocked_attention` behind transformers' attention interface, for one sequence without padding."""
    assert mask is None and query.shape[0] == 1
    out = blocked_attention(query[0], key[0], value[0], scaling, module.is_causal)
    return out.transpose(0, 1).unsqueeze(0), None


AttentionInterface.register("blocked", transformers_attention)
logging.set_verbosity_error()


def rms_norm_f64(self: Qwen3RMSNorm, x: Tensor) -> Tensor:
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def log_mel(samples: np.ndarray, bins: int, dtype: torch.dtype) -> Tensor:
    """Whisper's features of each 30 s window by itself: [windows, bins, 3000]."""
    extractor = WhisperFeatureExtractor(feature_size=bins)
    windows = [samples[start : start + WINDOW_SAMPLES] for start in range(0, len(samples), WINDOW_SAMPLES)]
    if dtype == torch.float32:
        features = [extractor(w, sampling_rate=SAMPLE_RATE)["input_features"][0] for w in windows]
    else:
        features = [window_mel_f64(extractor, w) for w in windows]
    return torch.from_numpy(np.stack(features)).to(dtype).contiguous()


def window_mel_f64(extractor: WhisperFeatureExtractor, samples: np.ndarray) -> np.ndarray:
    """The extractor's numpy path, whose result it would otherwise round to f32."""
    padded = np.zeros(extractor.n_samples)
    padded[: len(samples)] = samples
    mel = spectrogram(
        padded,
        window_function(extractor.n_fft, "hann"),
        frame_length=extractor.n_fft,
        hop_length=extractor.hop_length,
        power=2.0,
        mel_filters=extractor.mel_filters,
        log_mel="log10",
        dtype=np.float64,
    )[:, :-1]
    return (np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0


def load_weights(directory: Path) -> dict[str, Tensor]:
    """All tensors of a single-file or sharded checkpoint, as stored."""
    index = directory / "model.safetensors.index.json"
    shards = ["model.safetensors"]
    if index.exists():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    weights = {}
    for shard in shards:
        weights |= load_file(directory / shard)
    return weights


def under(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


class Oracle:
    """One checkpoint in f64 or f32. `run` answers one conversation about one clip and returns every stage."""

    def __init__(self, directory: Path, dtype: torch.dtype):
        self.directory = directory
        self.dtype = dtype
        self.config = json.loads((directory / "config.json").read_text())
        self.weights = {name: weight.to(dtype) for name, weight in load_weights(directory).items()}
        attention = "blocked" if dtype == torch.float64 else "sdpa"
        self.temporal = self._expert("temporal", attention)
        self.global_ = self._expert("global", attention)
        self.decoder = self._decoder(attention)

    def _expert(self, name: str, attention: str) -> WhisperEncoder:
        config = WhisperConfig(**self.config[f"{name}_config"], attn_implementation=attention)
        encoder = WhisperEncoder(config).to(self.dtype).eval()
        encoder.load_state_dict(under(self.weights, f"{name}_expert."))
        return encoder

    def _decoder(self, attention: str) -> Qwen3ForCausalLM:
        config = Qwen3Config(**self.config["text_config"], attn_implementation=attention)
        decoder = Qwen3ForCausalLM(config).to(self.dtype).eval()
        if self.dtype == torch.float64:
            for module in decoder.modules():
                if isinstance(module, Qwen3RMSNorm):
                    module.forward = rms_norm_f64.__get__(module)
        state = under(self.weights, "language_model.")
        if config.tie_word_embeddings:
            state["lm_head.weight"] = state["model.embed_tokens.weight"]
        decoder.load_state_dict(state)
        return decoder

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def norm(self, x: Tensor, name: str) -> Tensor:
        eps = self.config["fusion_config"]["layer_norm_eps"]
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], eps)

    def cross_attention(self, q: Tensor, kv: Tensor, name: str) -> Tensor:
        """Fusion attention of q's tokens over kv's, both [N, d]."""
        heads = self.config["fusion_config"]["num_attention_heads"]
        q, kv = self.norm(q, f"{name}.q_norm"), self.norm(kv, f"{name}.kv_norm")
        sources = {"q": q, "k": kv, "v": kv}
        q, k, v = (
            self.linear(x, f"{name}.{which}_proj").unflatten(-1, (heads, -1)).transpose(0, 1)
            for which, x in sources.items()
        )
        if self.dtype == torch.float64:
            out = blocked_attention(q, k, v, q.shape[-1] ** -0.5, causal=False)
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return self.linear(out.transpose(0, 1).flatten(1), f"{name}.out_proj")

    def fuse(self, t0: Tensor, g0: Tensor) -> Tensor:
        g1 = g0 + self.cross_attention(g0, t0, "fusion.extractor")
        t1 = t0 + self.cross_attention(t0, g0, "fusion.injector")
        g = torch.sigmoid(self.linear(torch.cat((t1, g1), -1), "fusion.gate"))
        mixed = g * t1 + (1 - g) * g1
        inner = F.gelu(self.linear(self.norm(mixed, "fusion.ffn_norm"), "fusion.fc1"))
        return mixed + self.linear(inner, "fusion.fc2")

    def project(self, fused: Tensor) -> Tensor:
        return self.linear(F.gelu(self.linear(fused, "projector.linear_1")), "projector.linear_2")

    def encode(self, expert: WhisperEncoder, mel: Tensor, tokens: int) -> Tensor:
        """[windows, bins, 3000] to [N, d]: frames pooled by two, windows end to end."""
        windows = [expert(window.unsqueeze(0)).last_hidden_state[0] for window in mel]
        return torch.cat([w.unflatten(0, (-1, 2)).mean(1) for w in windows])[:tokens]

    def prompt_tokens(self, messages: list[dict], audio_tokens: int) -> list[int]:
        """The conversation as the checkpoint's own template and tokenizer write it, its placeholder expanded."""
        template = self.directory / "chat_template.jinja"
        if template.exists():
            source = template.read_text()
        else:
            source = json.loads((self.directory / "tokenizer_config.json").read_text())["chat_template"]
        rendered, _ = render_jinja_template([messages], chat_template=source, add_generation_prompt=True)
        tokenizer = Tokenizer.from_file(str(self.directory / "tokenizer.json"))
        ids = tokenizer.encode(rendered[0], add_special_tokens=False).ids
        placeholder = self.config["audio_token_index"]
        if ids.count(placeholder) != 1:
            raise ValueError(f"{self.directory}: {ids.count(placeholder)} placeholders in the prompt, expected 1")
        at = ids.index(placeholder)
        return ids[:at] + [placeholder] * audio_tokens + ids[at + 1 :]

    def generate(self, ids: list[int], audio: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the prompt's last position, `count` greedy tokens and each one's lead over the second best."""
        ids = torch.tensor(ids)
        embeddings = self.decoder.model.embed_tokens(ids)
        embeddings[ids == self.config["audio_token_index"]] = audio
        cache, logits, tokens, margins = None, [], [], []
        for _ in range(count):
            step = self.decoder(
                inputs_embeds=embeddings.unsqueeze(0), past_key_values=cache, use_cache=True, logits_to_keep=1
            )
            cache = step.past_key_values
            logits.append(step.logits[0, -1])
            best = logits[-1].topk(2)
            tokens.append(best.indices[0])
            margins.append(best.values[0] - best.values[1])
            embeddings = self.decoder.model.embed_tokens(tokens[-1]).unsqueeze(0)
        return logits[0], torch.stack(tokens), torch.stack(margins)

    @torch.inference_mode()
    def run(self, clips: list[np.ndarray], messages: list[dict], max_tokens: int) -> dict[str, Tensor]:
        """Every stage of the model page by its name, and `margins`. The one clip is 16 kHz mono in [-1, 1]."""
        [samples] = clips
        count = math.ceil(len(samples) / SAMPLES_PER_TOKEN)
        ids = self.prompt_tokens(messages, count)
        stages = {}
        stages["mel"] = log_mel(samples, self.config["temporal_config"]["num_mel_bins"], self.dtype)
        stages["temporal"] = self.encode(self.temporal, stages["mel"], count)
        stages["global"] = self.encode(self.global_, stages["mel"], count)
        stages["fused"] = self.fuse(stages["temporal"], stages["global"])
        stages["projected"] = self.project(stages["fused"])
        stages["prompt_tokens"] = torch.tensor(ids)
        generated = self.generate(ids, stages["projected"], max_tokens)
        stages["logits"], stages["tokens"], stages["margins"] = generated
        return stages


def relative_error(found: Tensor, expected: Tensor) -> float:
    """L2 norm of the difference over that of the expected."""
    found, expected = found.double(), expected.double()
    return ((found - expected).norm() / expected.norm()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("clip", type=Path, help="16 kHz mono wav")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--max-tokens", type=int, default=16)
    parser.add_argument("--dtype", choices=("f64", "f32"), default="f64")
    parser.add_argument("--out", type=Path, help="write the stages here, as `gamut inspect` does")
    parser.add_argument("--compare", type=Path, help="print the relative L2 difference of each stage from this file's")
    args = parser.parse_args()

    samples, rate = soundfile.read(args.clip, dtype="float32")
    if rate != SAMPLE_RATE or samples.ndim != 1:
        parser.error(f"{args.clip}: {rate} Hz, {samples.ndim} dimensions; expected {SAMPLE_RATE} Hz mono")
    dtype = {"f64": torch.float64, "f32": torch.float32}[args.dtype]
    content = [{"type": "audio"}, {"type": "text", "text": args.prompt}]
    messages = [{"role": "user", "content": content}]
    stages = Oracle(args.checkpoint, dtype).run([samples], messages, args.max_tokens)
    if args.out:
        save_file({n: s.float() if s.is_floating_point() else s for n, s in stages.items()}, args.out)
    if args.compare:
        expected = load_file(args.compare)
        for name in STAGES:
            print(f"{name:13} {relative_error(stages[name], expected[name]):.2e}")
        for name in ("prompt_tokens", "tokens"):
            print(f"{name:13} {'equal' if torch.equal(stages[name], expected[name]) else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
