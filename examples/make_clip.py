#!/usr/bin/env python3
"""Makes clip.mp3, the README's example: 12 s of music, computed here from sines and noise.

Needs Python 3 and ffmpeg. Structure, at 120 beats a minute with 2 s bars:
0-2 s intro (pad), 2-6 s verse (pad, bass, hi-hat), 6-10 s chorus (everything, with drums and a
melody), 10-12 s ending (one chord, fading).
"""

import array
import math
import random
import subprocess
from pathlib import Path

RATE = 32_000
BAR = 2.0
SECONDS = 12.0

# One chord a bar, as MIDI notes: C, Am, F in the verse, then F, G, C.
CHORDS = [(60, 64, 67), (57, 60, 64), (53, 57, 60), (53, 57, 60), (55, 59, 62), (60, 64, 67)]
MELODY = [77, 76, 72, 69, 74, 71, 74, 79]  # one note each half second from 6 s on

noise = random.Random(1)
left = [0.0] * int(RATE * SECONDS)
right = list(left)


def hertz(note):
    return 440.0 * 2.0 ** ((note - 69) / 12.0)


def add(start, length, pan, wave):
    """Adds wave(seconds since start), panned from 0 (left) to 1 (right)."""
    first = int(start * RATE)
    for i in range(min(int(length * RATE), len(left) - first)):
        value = wave(i / RATE)
        left[first + i] += (1.0 - pan) * value
        right[first + i] += pan * value


def tone(frequency, length, attack, partials):
    """A held tone: partials are the heights of its harmonics."""
    def wave(t):
        edge = min(1.0, t / attack, max(0.0, (length - t) / 0.08))
        turn = 2.0 * math.pi * frequency * t
        return edge * sum(h * math.sin((n + 1) * turn) for n, h in enumerate(partials))
    return wave


def pluck(frequency, decay, height):
    turn = 2.0 * math.pi * frequency
    return lambda t: height * math.exp(-t / decay) * (
        math.sin(turn * t) + 0.4 * math.sin(2 * turn * t) + 0.2 * math.sin(3 * turn * t))


def kick(t):
    return 0.6 * math.exp(-t / 0.09) * math.sin(2 * math.pi * (50 * t - 3.0 * math.exp(-t / 0.03)))


def snare(t):
    return math.exp(-t / 0.06) * (0.25 * noise.uniform(-1, 1) + 0.15 * math.sin(2 * math.pi * 190 * t))


def hat(t):
    return 0.07 * math.exp(-t / 0.02) * noise.uniform(-1, 1)


for bar, chord in enumerate(CHORDS):
    start = bar * BAR
    for voice, note in enumerate(chord):
        add(start, BAR, 0.25 + 0.25 * voice, tone(hertz(note), BAR, 0.15, (0.07, 0.02, 0.01)))
    if 1 <= bar <= 4:  # bass and hi-hat through verse and chorus
        for eighth in range(8):
            add(start + eighth * 0.25, 0.25, 0.5, pluck(hertz(chord[0] - 24), 0.18, 0.16))
            add(start + eighth * 0.25, 0.08, 0.65, hat)
    if 3 <= bar <= 4:  # drums in the chorus
        for beat in range(4):
            add(start + beat * 0.5, 0.3, 0.5, snare if beat % 2 else kick)
for step, note in enumerate(MELODY):
    add(6.0 + step * 0.5, 0.5, 0.4, pluck(hertz(note), 0.25, 0.14))

samples = array.array("f")
for i, pair in enumerate(zip(left, right)):
    fade = min(1.0, (SECONDS - i / RATE) / 1.5)
    samples.extend(math.tanh(1.4 * fade * value) for value in pair)

target = Path(__file__).with_name("clip.mp3")
subprocess.run(
    ["ffmpeg", "-v", "error", "-y", "-f", "f32le", "-ar", str(RATE), "-ac", "2", "-i", "-",
     "-b:a", "112k", "-metadata", "title=Gamut example clip", str(target)],
    input=samples.tobytes(), check=True)
print(target, target.stat().st_size, "bytes, peak", max(map(abs, samples)))
