"""The weights of a synthetic checkpoint, from the rule that gamut_loader::synthetic documents and not from its code."""

import math
from pathlib import Path

import numpy as np
import torch
from hashes import GOLDEN, fnv1a, mix
from oracle import load_weights
from torch import Tensor


BLOCK = 128  # rows and columns of a block in FP8


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


def quantized(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The codes and scales of a matrix of whole blocks in FP8."""
    blocks = matrix.unflatten(0, (-1, BLOCK)).unflatten(2, (-1, BLOCK))
    scales = (blocks.abs().amax((1, 3)) / 448).bfloat16()
    codes = (blocks / scales.float()[:, None, :, None]).clamp(-448, 448).to(torch.float8_e4m3fn)
    return codes.flatten(2).flatten(0, 1), scales


def check(directory: Path, case: dict) -> None:
    """Fails if a weight of the checkpoint is not what the rule makes of the case's seed and dtype."""
    fp8 = case["dtype"] == "fp8"
    dtype = {"f32": torch.float32, "f16": torch.float16}.get(case["dtype"], torch.bfloat16)
    tied = case["config"].get("text_config", case["config"])["tie_word_embeddings"]
    weights = load_weights(directory)
    for name, found in weights.items():
        if name.endswith("_scale_inv"):
            continue
        if fp8 and ".layers." in name and found.dim() == 2:
            element = synthetic(name, found.shape, torch.float32, case["seed"], tied)
            expected, scales = quantized(element)
            same = torch.equal(weights[f"{name}_scale_inv"], scales)
            same &= torch.equal(found.view(torch.uint8), expected.view(torch.uint8))
        else:
            expected = synthetic(name, found.shape, dtype, case["seed"], tied)
            same = found.dtype == dtype and torch.equal(found, expected)
        if not same:
            raise ValueError(f"{directory}: {name} is not the {case['dtype']} tensor of seed {case['seed']}")
