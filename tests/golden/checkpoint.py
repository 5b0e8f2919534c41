"""The weights of a synthetic checkpoint, from the rule that gamut_loader::synthetic documents and not from its code."""

import math
from pathlib import Path

import numpy as np
import torch
from hashes import GOLDEN, fnv1a, mix
from oracle import load_weights
from torch import Tensor


def offset_and_scale(name: str, shape: torch.Size, tied: bool) -> tuple[float, float]:
    module, _, kind = name.rpartition(".")
    unit_variance = math.sqrt(3 / math.prod(shape[1:]))
    if module.endswith("norm"):
        return (1.0, 0.1) if kind == "weight" else (0.0, 0.05)
    if kind == "bias":
        return 0.0, 0.02
    if module.endswith("embed_positions"):
        return 0.0, 0.1
    if module.endswith("embed_tokens") and not tied:
        return 0.0, 1.0
    if module.endswith(("embed_tokens", "lm_head")):
        return 0.0, float(np.float32(unit_variance)) * 2
    return 0.0, unit_variance


def synthetic(name: str, shape: torch.Size, dtype: torch.dtype, seed: int, tied: bool) -> Tensor:
    state = mix(np.uint64(seed ^ fnv1a(name.encode())))
    count = np.arange(1, math.prod(shape) + 1, dtype=np.uint64)
    bits = mix(state + count * GOLDEN) >> np.uint64(40)
    uniform = ((bits.astype(np.int64) - 2**23) / 2**23).astype(np.float32)
    offset, scale = map(np.float32, offset_and_scale(name, shape, tied))
    return torch.from_numpy(offset + scale * uniform).reshape(shape).to(dtype)


def check(directory: Path, case: dict) -> None:
    """Fails if a weight of the checkpoint is not what the rule makes of the case's seed and dtype."""
    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[case["dtype"]]
    tied = case["config"].get("text_config", case["config"])["tie_word_embeddings"]
    for name, found in load_weights(directory).items():
        expected = synthetic(name, found.shape, dtype, case["seed"], tied)
        if found.dtype != dtype or not torch.equal(found, expected):
            raise ValueError(f"{directory}: {name} is not the {dtype} tensor of seed {case['seed']}")
