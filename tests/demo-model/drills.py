"""Exercises for the decoder: facts in random rows, and statements of all of them.

Songs ask for few of their times, and many of those can be guessed; here each row is asked about, and nothing can be guessed.
"""

import torch

from language import IGNORED, write_time
from model import RATE
from scores import COLUMNS, INSTRUMENTS, KINDS, LAYOUT, PITCHES, WINDOW

ROWS = 10
# Kinds of facts are numbered from 0 to this.
HARDEST = 4


def place(rows, seconds):
    """Writes times into rows, as a score has them."""
    for row, second in zip(rows, seconds, strict=True):
        below = min(int(second), WINDOW - 2)
        share = min(second - below, 1)
        row[LAYOUT["second"].start + below] = 1 - share
        row[LAYOUT["second"].start + below + 1] = share


def facts(chance, times, hardest):
    """Rows and columns that hold, and what is said of them: words and the answer. Of some kinds, the hardest last."""
    marked, said = [], []

    def event(name, i, sentence):
        row = chance.randrange(ROWS)
        marked.append((row, LAYOUT[name].start + i))
        said.append((f"{sentence} at ", times[row]))

    for i, name in enumerate(INSTRUMENTS):
        s = "" if name == "drums" else "s"
        event("enter", i, f"The {name} come{s} in")
        if hardest > 0:
            event("leave", i, f"The {name} drop{s} out")
    # A row has one section and one chord.
    if hardest > 1:
        for row, kind in zip(chance.sample(range(ROWS), len(KINDS)), range(len(KINDS)), strict=True):
            marked += [(row, LAYOUT["boundary"].start), (row, LAYOUT["section"].start + kind)]
            said.append((f"The {KINDS[kind]} starts at ", times[row]))
            if hardest > 2:
                said.append((f"What part of the song is at {times[row]}?The ", KINDS[kind]))
        event("climax", 0, "The climax is")
    if hardest > 3:
        for row in chance.sample(range(ROWS), 4):
            root, minor = chance.randrange(12), chance.random() < 0.5
            marked.append((row, LAYOUT["root"].start + root))
            if minor:
                marked.append((row, LAYOUT["minor"].start))
            said.append((f"What is the chord at {times[row]}?", f"{PITCHES[root]} {'minor' if minor else 'major'}"))
    chance.shuffle(said)
    return marked, said


def drill(model, reader, language, chance, batch, hardest):
    """The mean loss of answers over a batch, and the share of their tokens that are right.

    What is asked next is not to be known, so it does not count.
    """
    # The same places in all examples, so that positions are too.
    seconds = sorted(chance.sample(range(WINDOW), ROWS))
    seconds = [min(second + chance.uniform(-0.4, 0.4), WINDOW - 0.6) if second else 0.2 for second in seconds]
    times = [write_time(round(second)) for second in seconds]
    rows = torch.zeros(batch, ROWS, COLUMNS)
    texts, answers = [], []
    for example in rows:
        place(example, seconds)
        marked, said = facts(chance, times, hardest)
        for row, column in marked:
            example[row, column] = 1
        text, answer = [], []
        for words, told in said:
            words, told, end = language.encode(words), language.encode(told), language.encode(".")
            text += words + told + end
            answer += [IGNORED] * len(words) + told + [IGNORED] * len(end)
        texts.append(text)
        answers.append(answer)
    longest = max(len(text) for text in texts)
    ids = torch.tensor([text + [language.end] * (longest - len(text)) for text in texts])
    targets = torch.tensor([answer[1:] + [IGNORED] * (longest - len(answer) + 1) for answer in answers])
    before = torch.tensor(language.before)
    x = torch.cat(
        [
            model.embed(before).expand(batch, -1, -1),
            reader(rows, model.model.embed_tokens.weight),
            model.embed(ids),
        ],
        1,
    )
    behind = len(before) + WINDOW * RATE
    places = len(before) + (torch.tensor(seconds) * RATE).long()
    hidden = model.hidden(x, torch.cat([torch.arange(len(before)), places, behind + torch.arange(longest)]))
    logits = model.logits(hidden[:, -longest:])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    right = (logits.argmax(-1) == targets)[targets != IGNORED].float().mean()
    return loss, float(right)
