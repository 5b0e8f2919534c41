"""Trains one of the experts by itself, on what is true of each token (temporal) or of each window (global).

Both begin with parts of windows, which cost less, and end with whole ones. The global expert may begin as the temporal
one, as both of GaMMA's begin as Whisper.
"""

import random

import numpy as np
import torch
import torch.nn.functional as F

from data import Pieces
from model import CONFIG, RATE, TOKENS, Expert
from run import Run, arguments, count_arguments
from scores import CLASSES, GLOBAL, LAYOUT, TEMPORAL, beats, score, whole

# Tokens of a part: 10 s.
PART = 250
# How much each of what is told counts; one unless it is here. Events are what questions are about.
WEIGHTS = {"second": 0.3, "active": 2.0, "enter": 2.0, "leave": 2.0}


def losses(logits, truth, part):
    """Means over rows, a name each: cross entropy of classes, binary cross entropy of the rest."""
    out = {}
    for name, columns in LAYOUT.items():
        if not part.start <= columns.start < part.stop:
            continue
        at = slice(columns.start - part.start, columns.stop - part.start)
        x, y = logits[:, at], truth[:, at]
        if name in CLASSES:
            known = y.sum(1)
            entropy = -(y * F.log_softmax(x, 1)).sum(1)
            out[name] = entropy.sum() / known.sum().clamp(min=1)
        else:
            weight = torch.tensor(4.0 if name in ("boundary", "enter", "leave", "climax") else 1.0)
            out[name] = F.binary_cross_entropy_with_logits(x, y, pos_weight=weight) * x.shape[1] ** 0.5
    return out


def correct(logits, truth, part):
    """Shares of rows that are right; of events, of the rows near one that are told as such."""
    out = {}
    for name, columns in LAYOUT.items():
        if part.start <= columns.start < part.stop:
            at = slice(columns.start - part.start, columns.stop - part.start)
            x, y = logits[:, at], truth[:, at]
            if name in CLASSES:
                known = y.sum(1) > 0.5
                out[name] = (x.argmax(1) == y.argmax(1))[known].float().mean()
            elif name in ("active", "presence", "minor"):
                out[name] = ((x > 0) == (y > 0.5)).float().mean()
            else:
                out[name] = (x > 0)[y > 0.5].float().mean()
    return out


def coloured(mel, seed):
    """Log-mel `[B, mel, frames]` behind a filter for each, smooth in frequency, and louder or softer: a few dB either way."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.cos(torch.arange(4)[:, None] * torch.pi * torch.arange(mel.shape[1]) / mel.shape[1])
    # A unit of the features is 40 dB.
    return mel + 0.05 * (torch.randn(len(mel), 4, generator=generator) @ waves)[:, :, None]


class Examples:
    """Windows and parts of windows with what is true of them."""

    def __init__(self, data, maker, counts):
        self.weights = {name: weight for name, weight in (("short", 8), ("medium", 1), ("long", 1)) if counts[name]}
        self.counts = counts
        self.pieces = {name: Pieces(data, maker, name) for name in self.weights}

    def draw(self, chance):
        """A window `[mel, frames]`, a piece, the score and the beats of the window, and its first second."""
        length = chance.choices(list(self.weights), self.weights.values())[0]
        piece, mel = self.pieces[length][chance.randrange(self.counts[length])]
        w = chance.randrange(len(mel))
        rows = slice(w * TOKENS, (w + 1) * TOKENS)
        return mel[w], piece, score(piece)[rows], beats(piece)[rows], w * TOKENS / RATE

    def whole(self, chance, count):
        drawn = [self.draw(chance) for _ in range(count)]
        return 0, [(mel, rows, beat, rows[0, GLOBAL]) for mel, _, rows, beat, _ in drawn]

    def parts(self, chance, count):
        """Parts that begin at the same place of their windows."""
        first = chance.randrange(0, TOKENS - PART)
        drawn = []
        while len(drawn) < count:
            mel, piece, rows, beat, second = self.draw(chance)
            if len(rows) < first + PART:
                # So late a part is rare among short pieces: try an earlier one.
                if not drawn:
                    first = chance.randrange(0, max(1, len(rows) - PART))
                continue
            at = slice(first, first + PART)
            heard = whole(piece, rows[at], second + first / RATE)
            drawn.append((mel[:, 4 * first : 4 * (first + PART)], rows[at], beat[at], heard))
        return 2 * first, drawn


def main():
    parser = arguments(__doc__)
    count_arguments(parser)
    parser.add_argument("expert", choices=["temporal", "global"])
    parser.add_argument("--begin-as", help="checkpoint of a trained expert")
    parser.add_argument("--parts", type=float, default=0.6, help="share of the steps that hear parts of windows")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)

    width = CONFIG["temporal_config"]["d_model"]
    expert = Expert(CONFIG[f"{args.expert}_config"])
    modules = {
        "expert": expert,
        "temporal_head": torch.nn.Linear(width, TEMPORAL.stop - TEMPORAL.start),
        "global_head": torch.nn.Linear(width, GLOBAL.stop - GLOBAL.start),
        "beat_head": torch.nn.Linear(width, 2),
    }
    if args.begin_as:
        state = torch.load(args.begin_as, weights_only=True)
        for name, module in modules.items():
            module.load_state_dict(state[name])
    # Each is also told a little of what the other is for.
    temporal_weight, global_weight = {"temporal": (1.0, 0.25), "global": (0.25, 1.0)}[args.expert]
    run = Run(args.out, modules, args.rate, args.steps, muon=True)
    examples = Examples(args.data, args.maker, {"short": args.short, "medium": args.medium, "long": args.long})

    while run.step < args.steps:
        chance = random.Random(run.step)
        if run.step < args.parts * args.steps:
            first, drawn = examples.parts(chance, 4 * args.batch)
        else:
            first, drawn = examples.whole(chance, args.batch)
        mels, rows, beat, heard = zip(*drawn, strict=True)
        tokens = expert(coloured(torch.from_numpy(np.stack(mels)).float(), run.step), first)
        known = [t[: len(r)] for t, r in zip(tokens, rows, strict=True)]
        each = torch.cat(known)
        pooled = torch.stack([t.mean(0) for t in known])

        logits, truth = modules["temporal_head"](each), torch.from_numpy(np.concatenate(rows)[:, TEMPORAL])
        temporal_losses, right = losses(logits, truth, TEMPORAL), correct(logits.detach(), truth, TEMPORAL)
        logits, truth = modules["global_head"](pooled), torch.from_numpy(np.stack(heard))
        global_losses = losses(logits, truth, GLOBAL)
        right |= correct(logits.detach(), truth, GLOBAL)
        truth = torch.from_numpy(np.concatenate(beat))
        beat_loss = F.binary_cross_entropy_with_logits(modules["beat_head"](each), truth, pos_weight=torch.tensor(3.0))

        told = {name: WEIGHTS.get(name, 1.0) * value for name, value in temporal_losses.items()}
        loss = temporal_weight * sum(told.values()) + global_weight * sum(global_losses.values()) + beat_loss
        loss.backward()
        each = temporal_losses | global_losses | {"beat": beat_loss}
        values = {f"loss_{name}": value for name, value in each.items()} | {
            f"right_{name}": value for name, value in right.items()
        }
        run.update({"loss": loss.item(), **values})


if __name__ == "__main__":
    main()
