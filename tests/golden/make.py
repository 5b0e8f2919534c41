"""Write the golden file of every case in cases.json: what the f64 oracle computes, and how far f32 PyTorch is from it.

    python make.py CHECKPOINTS [CASE ...]

CHECKPOINTS holds one checkpoint directory per case, as the golden_checkpoints example writes them.
"""

import argparse
import json
import time
from pathlib import Path

import checkpoint
import numpy as np
import torch
from clip import clip
from hashes import fnv1a
from oracle import STAGES, Oracle, load_weights, relative_error
from safetensors.torch import save_file
from torch import Tensor

HERE = Path(__file__).parent
ROWS = 24  # kept of each long stage
TOKENS_PER_WINDOW = 750
FRAMES_PER_WINDOW = 3000


def sampled_rows(rows: int, period: int) -> Tensor:
    """Up to ROWS row numbers: the ends, both sides of the first and last window border, the rest evenly spread."""
    last_border = (rows - 1) // period * period
    borders = {row for border in (period, last_border) for row in (border - 1, border) if 0 <= row < rows}
    spread = np.linspace(0, rows - 1, ROWS - len(borders)).round().astype(int)
    return torch.tensor(sorted(borders | set(spread.tolist())))


def as_rows(stage: Tensor) -> Tensor:
    """A stage as [rows, features]; log-mel with one row a frame."""
    return stage.transpose(1, 2).flatten(0, 1) if stage.dim() == 3 else stage


def weights_digest(directory: Path) -> int:
    """FNV-1a over every tensor's name and stored bytes, in the order of the names."""
    tensors = sorted(load_weights(directory).items())
    return fnv1a(b"".join(name.encode() + w.flatten().view(torch.uint8).numpy().tobytes() for name, w in tensors))


def collapse(tokens: Tensor, placeholder: int) -> tuple[Tensor, Tensor]:
    """The prompt with its run of placeholders as a single one, and that run's [start, length]."""
    at = (tokens == placeholder).nonzero().flatten()
    start, length = int(at[0]), len(at)
    return torch.cat((tokens[: start + 1], tokens[start + length :])), torch.tensor([start, length])


def golden(case: dict, directory: Path) -> dict[str, Tensor]:
    samples = clip(**case["clip"]).astype(np.float32) / 32768
    exact = Oracle(directory, torch.float64).run(samples, case["prompt"], case["tokens"])
    single = Oracle(directory, torch.float32).run(samples, case["prompt"], case["tokens"])

    out = {"tokens": exact["tokens"], "margins": exact["margins"].float()}
    placeholder = json.loads((directory / "config.json").read_text())["audio_token_index"]
    out["prompt_tokens"], out["prompt_audio"] = collapse(exact["prompt_tokens"], placeholder)
    for name in STAGES:
        whole, rounded = as_rows(exact[name]), as_rows(single[name])
        rows = slice(None)
        if name != "logits":
            rows = sampled_rows(len(whole), FRAMES_PER_WINDOW if name == "mel" else TOKENS_PER_WINDOW)
            out[f"{name}.rows"] = rows
        out[name] = whole[rows].float()
        out[f"{name}.norm"] = whole.norm().reshape(1)
        errors = [relative_error(rounded[rows], whole[rows]), relative_error(rounded, whole)]
        out[f"{name}.f32_error"] = torch.tensor(errors, dtype=torch.float64)
    return {name: tensor.contiguous() for name, tensor in out.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these")
    args = parser.parse_args()
    for case in json.loads((HERE / "cases.json").read_text()):
        name = case["name"]
        if args.cases and name not in args.cases:
            continue
        started = time.monotonic()
        directory = args.checkpoints / name
        checkpoint.check(directory, case)
        tensors = golden(case, directory)
        digests = {
            "weights": f"{weights_digest(directory):016x}",
            "clip": f"{fnv1a(clip(**case['clip']).astype('<i2').tobytes()):016x}",
        }
        save_file(tensors, HERE / f"{name}.safetensors", metadata=digests)
        errors = " ".join(f"{stage} {tensors[f'{stage}.f32_error'][1]:.1e}" for stage in STAGES)
        margin = tensors["margins"].min()
        print(f"{name}: {time.monotonic() - started:.0f} s, least margin {margin:.4f}, f32 error {errors}")


if __name__ == "__main__":
    main()
