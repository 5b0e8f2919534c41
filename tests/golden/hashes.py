"""The hashes that clips and checkpoints are made with. Sums and products of u64 wrap, scalars included."""

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@np.errstate(over="ignore")
def mix(x: np.ndarray) -> np.ndarray:
    """splitmix64's output function."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@np.errstate(over="ignore")
def splitmix(x: np.ndarray) -> np.ndarray:
    """The first output of splitmix64 from each state."""
    return mix(x + GOLDEN)


def fnv1a(data: bytes) -> int:
    """FNV-1a, 64 bit."""
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return digest
