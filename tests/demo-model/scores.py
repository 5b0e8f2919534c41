"""A piece's score: what is true of it at each audio token, as numbers from 0 to 1.

The experts learn to hear these, and the decoder is first taught to read them.
"""

import numpy as np

from model import RATE

INSTRUMENTS = ["drums", "bass", "guitar", "pad", "lead", "voice"]
KINDS = ["intro", "verse", "chorus", "bridge", "outro"]
TEMPOS = ["slow", "medium", "fast"]
MODES = ["major", "minor"]
PITCHES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
WINDOW = 30
SAMPLE_RATE = 16_000

# Columns: those of the temporal expert change from token to token, those of the global expert from window to window.
LAYOUT = {}
for name, size in [
    ("second", WINDOW),  # of the window
    ("section", len(KINDS)),
    ("boundary", 1),  # a section begins
    ("active", 6),
    ("enter", 6),
    ("leave", 6),
    ("root", 12),
    ("minor", 1),
    ("climax", 1),
    ("presence", 6),
    ("tempo", 3),
    ("beats", 12),  # a minute, in classes
    ("mode", 2),
    ("count", 9),  # sections that begin in the window
]:
    first = LAYOUT["columns"] if LAYOUT else 0
    LAYOUT[name] = slice(first, first + size)
    LAYOUT["columns"] = first + size
COLUMNS = LAYOUT.pop("columns")
TEMPORAL = slice(0, LAYOUT["presence"].start)
GLOBAL = slice(LAYOUT["presence"].start, COLUMNS)
# One of several holds, as opposed to any number of them.
CLASSES = ["second", "section", "root", "tempo", "beats", "mode", "count"]
# At some times only.
EVENTS = ["boundary", "enter", "leave", "climax"]


def tokens(piece):
    """How many audio tokens a piece has."""
    return -(-int(piece["seconds"] * SAMPLE_RATE) // (SAMPLE_RATE // RATE))


def beats(piece):
    """`[tokens, 2]`: where beats and bars begin. Not part of the score, but what it takes to hear a tempo."""
    time = (np.arange(tokens(piece)) + 0.5) / RATE
    start, end = piece["sections"][0]["start"], piece["sections"][-1]["end"]
    inside = (time > start - 0.1) & (time < end)
    out = []
    for length in (60 / piece["bpm"], 240 / piece["bpm"]):
        phase = (time - start) / length
        out.append(inside * bump((phase - np.round(phase)) * length, 0, 0.03))
    return np.stack(out, 1).astype(np.float32)


def beats_class(bpm):
    """Of beats a minute, the column."""
    return min(11, int((bpm - 60) / 9))


def bump(times, at, width):
    return np.exp(-0.5 * ((times - at) / width) ** 2)


def place(rows, times):
    """Writes the second of the window into rows `[n, COLUMNS]` at times `[n]`.

    Between two seconds both hold in part, and the greater part is the one that an answer rounds to.
    """
    inside = times % WINDOW
    below = np.minimum(inside.astype(int), WINDOW - 2)
    share = np.minimum(inside - below, 1)
    each = np.arange(len(rows))
    rows[each, LAYOUT["second"].start + below] = 1 - share
    rows[each, LAYOUT["second"].start + below + 1] = share


def score(piece):
    """`[tokens, COLUMNS]` in f32."""
    n = tokens(piece)
    out = np.zeros((n, COLUMNS), np.float32)
    time = (np.arange(n) + 0.5) / RATE

    def column(name, i=0):
        return out[:, LAYOUT[name].start + i]

    place(out, time)
    for section in piece["sections"]:
        here = (time >= section["start"]) & (time < section["end"])
        column("section", KINDS.index(section["kind"]))[here] = 1
        np.maximum(column("boundary"), bump(time, section["start"], 0.2), out=column("boundary"))
    for track in piece["tracks"]:
        i = INSTRUMENTS.index(track["instrument"])
        column("active", i)[(time >= track["enter"]) & (time < track["leave"])] = 1
        column("enter", i)[:] = bump(time, track["enter"], 0.2)
        column("leave", i)[:] = bump(time, track["leave"], 0.2)
    bar = 240 / piece["bpm"]
    for chord in piece["chords"]:
        here = (time >= chord["start"]) & (time < chord["start"] + bar)
        column("root", chord["root"])[here] = 1
        column("minor")[here] = chord["minor"]
    if piece["climax"] is not None:
        column("climax")[:] = bump(time, piece["climax"], 0.3)

    for window in range(0, n, WINDOW * RATE):
        rows = slice(window, min(window + WINDOW * RATE, n))
        out[rows, GLOBAL] = whole(piece, out[rows], window / RATE)
    return out


def whole(piece, rows, first):
    """What the global expert is to hear in some rows of a score that begin at a second: `[columns]`."""
    out = np.zeros(COLUMNS, np.float32)
    out[LAYOUT["presence"]] = rows[:, LAYOUT["active"]].max(0)
    out[LAYOUT["tempo"].start + TEMPOS.index(piece["tempo"])] = 1
    out[LAYOUT["beats"].start + beats_class(piece["bpm"])] = 1
    out[LAYOUT["mode"].start + MODES.index(piece["mode"])] = 1
    starts = sum(first <= s["start"] < first + len(rows) / RATE for s in piece["sections"])
    out[LAYOUT["count"].start + min(starts, 8)] = 1
    return out[GLOBAL]
