"""Teaches the decoder to read and answer, before there is anything to hear: it is given pieces' scores.

This stands for a language model's pretraining. A row of the score, with chance errors, becomes an embedding; the
prefix has some of them, at the positions that audio tokens would have: first few, later many.

To use two cores: `torchrun --nproc-per-node 2 decoder.py ...`.
"""

import random
import re

import torch
from tokenizers import Tokenizer

from data import Pieces
from drills import EXERCISES, drill
from language import Language, Reader, answer_loss, chosen
from model import RATE, LanguageModel, config
from run import Run, arguments, mean, start_workers
from scores import EVENTS, LAYOUT, score

# Of the pieces, by length; short ones come first.
SHARES = {"short": 0.6, "medium": 0.25, "long": 0.15}
# Examples of exercises a step and process.
DRILLED = 64
# The share of right answers from which on the next exercise begins.
KNOWN = 0.8


def spoiled(rows, said, chance, generator):
    """A score as it might be heard: rows with noise, and now and then a group of columns that says nothing.

    Of what is no event, a row says a share `said`.
    """
    rows = rows + 0.1 * torch.randn(rows.shape, generator=generator)
    for name, columns in LAYOUT.items():
        if name not in ("second", *EVENTS):
            rows[:, columns] *= torch.rand(len(rows), 1, generator=generator) < said
        if name != "second" and chance.random() < 0.03:
            rows[:, columns] = 0
    return rows


def noted(piece, n, share, chance):
    """Which of `n` rows are kept: where something happens, those asked about, and at random up to `share` of five a second.

    With few rows, that answers lie in the prefix is soon found out; which of many rows is meant takes longer.
    """
    times = [s["start"] for s in piece["sections"]]
    times += [t[edge] for t in piece["tracks"] for edge in ("enter", "leave")]
    times += [] if piece["climax"] is None else [piece["climax"]]
    for question in piece["questions"]:
        if question["category"] in ("section-at", "chord"):
            minutes, seconds = re.search(r"(\d):(\d\d)", question["prompt"]).groups()
            times.append(60 * int(minutes) + int(seconds))
    rows = {min(n - 1, int(time * RATE)) for time in times}
    rows.update(chance.sample(range(n), int(n / 5 * share * chance.random())))
    return torch.tensor(sorted(rows))


def main():
    parser = arguments(__doc__)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--drills", type=int, default=1000, help="steps before there are songs")
    args = parser.parse_args()
    rank, workers = start_workers(args.threads)
    torch.manual_seed(1)

    language = Language(Tokenizer.from_file(args.tokenizer))
    model = LanguageModel(config(language.size, language.audio)["text_config"])
    language.order(model.model.embed_tokens.weight)
    reader = Reader(language, model.c["hidden_size"])
    run = Run(args.out, {"model": model, "reader": reader}, args.rate, args.steps)
    pieces = {name: Pieces(args.data, args.maker, name, heard=False) for name in SHARES}
    before = torch.tensor(language.before)

    exercise, known = 0, 0.0
    while run.step < args.steps:
        chance = random.Random(run.step * workers + rank)
        drilling = run.step < args.drills
        if drilling or run.step % 4 == 0:
            # Half are of the newest exercise: what is not seen again is forgotten.
            exercise = exercise if drilling else len(EXERCISES) - 1
            newest = DRILLED // 2
            done = [EXERCISES[exercise]] * newest + chance.choices(EXERCISES[: exercise + 1], k=DRILLED - newest)
            loss, right = drill(model, reader, language, chance, done)
            loss.backward()
            values = {"loss in drills": loss, "right in drills": right.float().mean()}
            if drilling:
                # The next one when this one is known; too early, none is ever learned.
                known += 0.1 * (mean(right[:newest].float().mean()) - known)
                values |= {"exercise": exercise, "known": known}
                if known > KNOWN and exercise < len(EXERCISES) - 1:
                    exercise, known = exercise + 1, 0.0
            run.update(values)
            continue
        generator = torch.Generator().manual_seed(run.step * workers + rank)
        progress = (run.step - args.drills) / (args.steps - args.drills)
        loss_sum, tokens, right, answers = 0.0, 0, 0, 0
        for _ in range(args.batch):
            length = "short" if progress < 0.5 else chance.choices(list(SHARES), SHARES.values())[0]
            # Twice as many as are ever heard.
            piece, _ = pieces[length][chance.randrange(12_000 if length == "short" else 3_000)]
            asked = chosen(piece["questions"], chance, progress > 0.3)
            rows = torch.from_numpy(score(piece))
            kept_rows = noted(piece, len(rows), max(0.0, (progress - 0.3) / 0.7), chance)
            heard = spoiled(rows[kept_rows], min(1.0, 0.5 + progress), chance, generator)
            x = torch.cat([model.embed(before), reader(heard, model.model.embed_tokens.weight)])
            positions = torch.cat([torch.arange(len(before)), len(before) + kept_rows])
            kept = model.prefix(x, positions)
            first = len(before) + len(rows)
            loss, n, good, count = answer_loss(model, language, kept, first, asked, chance)
            (loss / (100 * args.batch)).backward()
            loss_sum, tokens, right, answers = loss_sum + loss.item(), tokens + n, right + good, answers + count
        run.update({"loss": loss_sum / tokens, "right": right / answers})


if __name__ == "__main__":
    main()
