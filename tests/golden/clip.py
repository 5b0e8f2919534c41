"""Test clips from a seed, in integer arithmetic only, so that Rust (tests/src/clip.rs) makes the same samples.

With second = n / 16000, and splitmix(x) the first output of splitmix64 from x, sample n of a 16 kHz clip is

    voice v of 4:  h      = splitmix(seed ^ splitmix(second << 8 | v))
                   phase  = n * (SEMITONE[h % 12] << (h >> 8) % 4)             as u32
                   wave   = v < 2 ? triangle(phase) : saw(phase)               in [-32768, 32767]
                   wave * (12288 - (n % 16000) / 2) >> 17                      a chord that fades over each second
    noise          h      = splitmix(seed ^ n) >> 48
                   (h - 32768) * max(0, 4096 - 2 (n % 8000)) >> 15             a burst each half second

summed; doubled in seconds 4, 14, 24, ...; zero in the samples 114,000 to 121,999 of each ten seconds; clamped to i16.
"""

import numpy as np
from hashes import splitmix

# Phase steps of the twelve semitones from 110 Hz up, in 2^-32 of a turn per sample at 16 kHz.
SEMITONES = np.array(
    [
        29527900, 31283720, 33143947, 35114789, 37202823, 39415018,
        41758757, 44241862, 46872620, 49659811, 52612737, 55741253,
    ],
    dtype=np.uint64,
)


def clip(seed: int, samples: int) -> np.ndarray:
    """`samples` i16 samples at 16 kHz mono."""
    n = np.arange(samples, dtype=np.uint64)
    seed, second, within = np.uint64(seed), n // np.uint64(16_000), (n % np.uint64(16_000)).astype(np.int64)

    total = np.zeros(samples, dtype=np.int64)
    for voice in range(4):
        h = splitmix(seed ^ splitmix(second << np.uint64(8) | np.uint64(voice)))
        step = SEMITONES[h % np.uint64(12)] << (h >> np.uint64(8)) % np.uint64(4)
        phase = (n * step & np.uint64(0xFFFFFFFF)).astype(np.int64)
        rising = phase >> 15  # two ramps a turn: 0..131071
        triangle = np.minimum(rising, 131_071 - rising) - 32_768
        saw = (phase >> 16) - 32_768
        wave = triangle if voice < 2 else saw
        total += wave * (12_288 - within // 2) >> 17

    noise = (splitmix(seed ^ n) >> np.uint64(48)).astype(np.int64) - 32_768
    total += noise * np.maximum(0, 4_096 - 2 * (within % 8_000)) >> 15

    total[second % np.uint64(10) == 4] *= 2
    place = n % np.uint64(160_000)
    total[(place >= 114_000) & (place < 122_000)] = 0
    return np.clip(total, -32_768, 32_767).astype(np.int16)
