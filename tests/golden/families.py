"""The model families of transformers, run by transformers' own classes and processors, to judge the Rust engine by.

In f64, RMSNorm, which transformers computes in f32 whatever the dtype, and the log-mel are lifted to f64. Rotary
angles, of the decoder and of Music Flamingo's time, stay in f32: models were trained with them. In f32, all is stock.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from oracle import SAMPLE_RATE, WINDOW_SAMPLES, load_weights, log_mel, rms_norm_f64
from torch import Tensor
from transformers import FineGrainedFP8Config, PreTrainedTokenizerFast, WhisperFeatureExtractor
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm
from transformers.utils import logging

logging.disable_progress_bar()

PROCESSORS = {
    "qwen2_audio": (transformers.Qwen2AudioProcessor, {}),
    "audioflamingo3": (transformers.AudioFlamingo3Processor, {"audio_token": "<|AUDIO|>"}),
    "musicflamingo": (
        transformers.MusicFlamingoProcessor,
        {"audio_token": "<|AUDIO|>", "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>"},
    ),
}
# Samples of the first window that become a row: 3 mel frames, 2 after the convolutions, 1 pooled.
LEAST_SAMPLES = 321


def window_rows(samples: int) -> int:
    """Rows of a window: two convolutions, the second of stride two, and a pooling by two, as processors count."""
    frames = -(-samples // 160)
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def windows(samples: np.ndarray) -> list[np.ndarray]:
    return [samples[start : start + WINDOW_SAMPLES] for start in range(0, len(samples), WINDOW_SAMPLES)]


def heard(samples: np.ndarray) -> np.ndarray:
    """Without a last window that becomes no row, on which Music Flamingo's own code fails."""
    last = len(samples) % WINDOW_SAMPLES
    return samples[: len(samples) - last] if 0 < last < LEAST_SAMPLES else samples


class FamilyOracle:
    """One checkpoint in f64 or f32. `run` answers one conversation and returns every stage."""

    def __init__(self, directory: Path, dtype: torch.dtype):
        self.dtype = dtype
        self.config = json.loads((directory / "config.json").read_text())
        model_class = getattr(transformers, self.config["architectures"][0])
        quantized = "quantization_config" in self.config
        # FP8 is widened to bf16, as transformers does it where there is no GPU.
        kind = (
            {"dtype": torch.bfloat16, "quantization_config": FineGrainedFP8Config(dequantize=True)}
            if quantized
            else {"dtype": torch.float32}
        )
        model, loading = model_class.from_pretrained(directory, output_loading_info=True, **kind)
        model = widened(model)
        odd = {kind: names for kind, names in loading.items() if names}
        if odd:
            raise ValueError(f"{directory}: {odd}")
        self.model = model.eval()
        if not quantized:
            check_saved(model_class, directory, self.config)
        if dtype == torch.float64:
            single = {name: buffer.clone() for name, buffer in model.named_buffers()}
            self.model = self.model.double()
            for name, buffer in self.model.named_buffers():
                buffer.data = single[name]
            for module in self.model.modules():
                if isinstance(module, (Qwen2RMSNorm, Qwen3RMSNorm)):
                    module.forward = rms_norm_f64.__get__(module)
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(directory / "tokenizer.json"), eos_token="<|im_end|>", pad_token="<|endoftext|>"
        )
        self.template = (directory / "chat_template.jinja").read_text()

    def inputs(self, clips: list[np.ndarray], messages: list[dict]) -> dict[str, Tensor]:
        """What the family's own processor makes of the conversation."""
        model_type = self.config["model_type"]
        if model_type not in PROCESSORS:
            text = self.tokenizer.apply_chat_template(
                messages, chat_template=self.template, add_generation_prompt=True, tokenize=False
            )
            return {"input_ids": torch.tensor([self.tokenizer(text, add_special_tokens=False)["input_ids"]])}
        processor_class, keys = PROCESSORS[model_type]
        bins = self.config["audio_config"]["num_mel_bins"]
        # Qwen2-Audio's processor has a template of its own.
        template = None if model_type == "qwen2_audio" else self.template
        processor = processor_class(
            WhisperFeatureExtractor(feature_size=bins), self.tokenizer, chat_template=template, **keys
        )
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        inputs = dict(processor(text=[text], audio=clips, sampling_rate=SAMPLE_RATE, return_tensors="pt"))
        features = torch.cat([log_mel(clip, bins, self.dtype) for clip in clips])
        if self.dtype == torch.float32 and not torch.equal(features, inputs["input_features"]):
            raise ValueError("the processor's log-mel is not that of each window by itself")
        return inputs | {"input_features": features}

    @torch.inference_mode()
    def run(self, clips: list[np.ndarray], messages: list[dict], max_tokens: int) -> dict[str, Tensor]:
        """Every stage by its name, and `margins`; rows of several clips one behind the other."""
        stages = {}
        inputs = self.inputs([heard(clip) for clip in clips], messages)
        shown = {}
        if clips:
            stages["mel"] = torch.cat([log_mel(c, inputs["input_features"].shape[1], self.dtype) for c in clips])
            for name, module in self.model.named_modules():
                part = name.rpartition(".")[2]
                if part in ("audio_tower", "multi_modal_projector"):
                    module.register_forward_hook(lambda _, args, out, part=part: shown.update({part: (args, out)}))
        ids = inputs["input_ids"]
        step = self.model(**inputs, use_cache=True)
        if clips:
            valid = [window_rows(len(window)) for clip in clips for window in windows(heard(clip))]
            pick = lambda out: torch.cat([rows[:count] for rows, count in zip(out, valid, strict=True)])  # noqa: E731
            stages["tower"] = pick(shown["audio_tower"][1].last_hidden_state)
            if self.config["model_type"] == "musicflamingo":
                stages["rotated"] = pick(shown["multi_modal_projector"][0][0])
            stages["projected"] = pick(shown["multi_modal_projector"][1])
        stages["prompt_tokens"] = ids[0]
        logits, tokens, margins = [], [], []
        for _ in range(max_tokens):
            logits.append(step.logits[0, -1])
            best = logits[-1].topk(2)
            tokens.append(best.indices[0])
            margins.append(best.values[0] - best.values[1])
            step = self.model(
                input_ids=tokens[-1].reshape(1, 1), past_key_values=step.past_key_values, use_cache=True
            )
        stages["logits"] = logits[0]
        stages["tokens"], stages["margins"] = torch.stack(tokens), torch.stack(margins)
        return stages


def widened(model: torch.nn.Module) -> torch.nn.Module:
    """The weights in f32; buffers stay as they are."""
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
    return model


def check_saved(model_class: type, directory: Path, config: dict) -> None:
    """Fails unless transformers saves the model under the names, with the shapes, bits and config it was read from."""
    dtype = next(iter(load_weights(directory).values())).dtype
    model = model_class.from_pretrained(directory, dtype=dtype)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        ours, theirs = load_weights(directory), load_weights(Path(saved))
        if ours.keys() != theirs.keys():
            raise ValueError(f"{directory}: names differ from those saved: {sorted(ours.keys() ^ theirs.keys())}")
        for name, tensor in ours.items():
            if not torch.equal(tensor, theirs[name]):
                raise ValueError(f"{directory}: {name} is not what was read")
        differences = list(differing(config, json.loads((Path(saved) / "config.json").read_text()), ""))
        if differences:
            raise ValueError(f"{directory}: the saved config has other values: {differences}")


def differing(ours: dict, saved: dict, path: str):
    """Keys of both configs whose values differ."""
    for key in (ours.keys() & saved.keys()) - {"dtype", "transformers_version"}:
        if isinstance(ours[key], dict):
            yield from differing(ours[key], saved[key], f"{path}{key}.")
        elif ours[key] != saved[key]:
            yield f"{path}{key}: {ours[key]}, {saved[key]}"
