"""Pieces from `gamut-songs`: features from files that are made on demand, and questions."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np

from model import CONFIG, FRAMES

MEL_BINS = CONFIG["temporal_config"]["num_mel_bins"]
# Seconds, and pieces in a file, of each length.
LENGTHS = {"short": (20, 29.9, 500), "medium": (30.5, 60, 100), "long": (60.5, 120, 50)}
# Seeds of different lengths are far apart.
FIRST = {"short": 0, "medium": 10_000_000, "long": 20_000_000}
QUESTIONS = 24


class Pieces:
    """The pieces of a length in training's split, by number: the same ones every time.

    Args:
        folder: where files are kept.
        maker: the `gamut-songs` executable.
    """

    def __init__(self, folder, maker, length, split="train", heard=True):
        self.folder, self.maker, self.length, self.split, self.heard = Path(folder), maker, length, split, heard
        self.shortest, self.longest, self.size = LENGTHS[length]
        self.files = {}

    def file(self, number):
        """Plans, features and each piece's first window."""
        if number not in self.files:
            kind = "features" if self.heard else "plans"
            stem = self.folder / f"{self.split}-{self.length}-{number}{'' if self.heard else '-plans'}"
            if not stem.with_suffix(".jsonl").exists():
                self.make(stem, kind, FIRST[self.length] + number * self.size)
            with open(stem.with_suffix(".jsonl")) as lines:
                pieces = [json.loads(line) for line in lines]
            mel = None
            if self.heard:
                mel = np.memmap(stem.with_suffix(".f16"), np.float16, "r").reshape(-1, MEL_BINS, FRAMES)
            first = np.cumsum([0] + [piece["windows"] for piece in pieces])
            self.files[number] = pieces, mel, first
        return self.files[number]

    def make(self, stem, kind, first):
        self.folder.mkdir(parents=True, exist_ok=True)
        part = stem.with_name(f".{os.getpid()}-{stem.name}")
        arguments = {
            "first": first,
            "count": self.size,
            "split": self.split,
            "shortest": self.shortest,
            "longest": self.longest,
            "questions": QUESTIONS,
        }
        flags = [f"--{name}={value}" for name, value in arguments.items()]
        subprocess.run([self.maker, kind, *flags, part], check=True)
        for suffix in [".f16", ".jsonl"] if self.heard else [".jsonl"]:
            part.with_suffix(suffix).rename(stem.with_suffix(suffix))

    def __getitem__(self, i):
        """A plan with its questions, and its windows `[W, MEL_BINS, FRAMES]` in f16."""
        pieces, mel, first = self.file(i // self.size)
        at = i % self.size
        return pieces[at], None if mel is None else mel[first[at] : first[at + 1]]
