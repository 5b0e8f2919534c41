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
from families import FamilyOracle
from hashes import fnv1a
from oracle import Oracle, load_weights, relative_error
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


def collapse(tokens: Tensor, placeholder: int | None) -> tuple[Tensor, Tensor]:
    """The prompt with each run of placeholders as a single one, and the runs' starts and lengths in turn."""
    kept, runs = [], []
    for position, token in enumerate(tokens.tolist()):
        if token == placeholder and runs and sum(runs[-1]) == position:
            runs[-1][1] += 1
            continue
        if token == placeholder:
            runs.append([position, 1])
        kept.append(token)
    return torch.tensor(kept), torch.tensor(runs, dtype=torch.int64).flatten()


def kept(exact: dict[str, Tensor], single: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a golden file keeps of the stages in f64, with the error of those in f32."""
    out = {}
    for name in sorted(exact):
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


def integers(case: dict) -> list[np.ndarray]:
    """The clips' samples."""
    return [clip(**arguments) for arguments in case["clips"]]


def golden(case: dict, directory: Path) -> dict[str, Tensor]:
    clips = [samples.astype(np.float32) / 32768 for samples in integers(case)]
    config = json.loads((directory / "config.json").read_text())
    oracle = Oracle if config["model_type"] == "gamma" else FamilyOracle
    exact, single = (
        oracle(directory, dtype).run(clips, case["messages"], case["tokens"]) for dtype in (torch.float64, torch.float32)
    )

    out = {"tokens": exact["tokens"], "margins": exact["margins"].float()}
    placeholder = config.get("audio_token_index", config.get("audio_token_id"))
    out["prompt_tokens"], out["prompt_audio"] = collapse(exact["prompt_tokens"], placeholder)
    return out | kept({name: exact[name] for name in exact.keys() - out.keys()}, single)


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
            "clip": f"{fnv1a(b''.join(samples.astype('<i2').tobytes() for samples in integers(case))):016x}",
        }
        save_file(tensors, HERE / f"{name}.safetensors", metadata=digests)
        stages = sorted(key.removesuffix(".f32_error") for key in tensors if key.endswith(".f32_error"))
        errors = " ".join(f"{stage} {tensors[f'{stage}.f32_error'][1]:.1e}" for stage in stages)
        margin = tensors["margins"].min()
        print(f"{name}: {time.monotonic() - started:.0f} s, least margin {margin:.4f}, f32 error {errors}")


if __name__ == "__main__":
    main()
