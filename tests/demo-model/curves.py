"""Draws a run's log: losses, and shares that are right."""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def smooth(values, width):
    """Means over `width` steps, of what there is."""
    values = np.asarray(values, float)
    known = np.where(np.isnan(values), 0, 1)
    kernel = np.ones(min(width, len(values)))
    weights = np.convolve(known, kernel, "valid")
    return np.convolve(np.nan_to_num(values), kernel, "valid") / np.maximum(weights, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="folders of runs")
    parser.add_argument("--out", required=True, help="a PNG")
    args = parser.parse_args()
    figure, axes = plt.subplots(len(args.runs), 2, figsize=(11, 3.2 * len(args.runs)), squeeze=False)
    for run, (losses, shares) in zip(args.runs, axes, strict=True):
        lines = [json.loads(line) for line in (Path(run) / "log.jsonl").read_text().splitlines()]
        width = max(1, len(lines) // 40)
        for name in dict.fromkeys(name for line in lines for name in line):
            if name in ("step", "seconds", "norm", "exercise"):
                continue
            values = smooth([line.get(name, np.nan) for line in lines], width)
            steps = [line["step"] for line in lines][-len(values) :]
            axis = shares if name.startswith(("right", "format", "kept", "known")) else losses
            axis.plot(steps, values, label=name, linewidth=1)
        minutes = lines[-1]["seconds"] / 60
        losses.set_title(f"{Path(run).name}: loss, {minutes:.0f} minutes")
        shares.set_title(f"{Path(run).name}: shares")
        shares.set_ylim(0, 1)
        losses.set_yscale("log")
        for axis in (losses, shares):
            axis.set_xlabel("step")
            axis.grid(alpha=0.3)
            axis.legend(fontsize=6, ncol=2)
    figure.tight_layout()
    figure.savefig(args.out, dpi=90)


if __name__ == "__main__":
    main()
