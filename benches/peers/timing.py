"""What the peers' scripts share: pinning to cores, timing, and one JSON object a peer on standard output."""

import json
import os
import statistics
import time
from importlib.metadata import version
from typing import Callable

import torch


def use_threads(threads: int) -> None:
    """Keep this process, its threads and its children on `threads` of the cores it may use."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)


def time_runs(work: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each of `runs` calls, after one that is not counted."""
    work()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def report(name: str, seconds: list[float], threads: int, packages: list[str], **details) -> None:
    """`spread` is (max - min) / median."""
    median = statistics.median(seconds)
    result = {
        "name": name,
        "median_s": round(median, 6),
        "min_s": round(min(seconds), 6),
        "spread": round((max(seconds) - min(seconds)) / median, 3),
        "runs": len(seconds),
        "threads": threads,
        **details,
        "versions": {package: version(package) for package in packages},
    }
    print(json.dumps(result), flush=True)
