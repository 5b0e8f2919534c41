"""Exercises for the decoder: facts in random rows, and statements or questions about all of them.

Songs ask for few of their times, and many of those can be guessed; here each fact is asked for, and none can be guessed.
"""

import torch

from language import IGNORED, write_time
from model import RATE
from scores import COLUMNS, INSTRUMENTS, KINDS, LAYOUT, PITCHES, WINDOW

ROWS = 10
# In turn: when instruments come in, what holds at a time, all facts, questions about them, questions with options.
EXERCISES = ["entries", "what", "all", "questions", "options"]
QUESTIONS = 12


def place(rows, seconds):
    """Writes times into rows, as a score has them."""
    for row, second in zip(rows, seconds, strict=True):
        below = min(int(second), WINDOW - 2)
        share = min(second - below, 1)
        row[LAYOUT["second"].start + below] = 1 - share
        row[LAYOUT["second"].start + below + 1] = share


def facts(chance, times, exercise):
    """Rows and columns that hold, and of each fact a question, what comes before the answer, the answer, and wrong ones."""
    marked, asked = [], []

    def hold(row, name, i=0):
        marked.append((row, LAYOUT[name].start + i))

    def other_times(row):
        anywhere = [write_time(second) for second in chance.sample(range(WINDOW), 6)]
        return [time for time in chance.sample(times, 2) + anywhere if time != times[row]]

    def event(question, before, name, i=0):
        row = chance.randrange(ROWS)
        hold(row, name, i)
        asked.append((question, f"{before} at ", times[row], other_times(row)))

    if exercise != "what":
        for i, name in enumerate(INSTRUMENTS):
            do, s = ("do", "") if name == "drums" else ("does", "s")
            event(f"When {do} the {name} come in?", f"The {name} come{s} in", "enter", i)
            if exercise != "entries":
                event(f"When {do} the {name} drop out?", f"The {name} drop{s} out", "leave", i)
    if exercise not in ("entries", "what"):
        event("When is it loudest?", "The climax is", "climax")
    if exercise != "entries":
        kinds = chance.sample(KINDS, len(KINDS)) + chance.choices(KINDS, k=ROWS - len(KINDS))
        rows = chance.sample(range(ROWS), ROWS)
        for i, (row, name) in enumerate(zip(rows, kinds, strict=True)):
            hold(row, "section", KINDS.index(name))
            if i < len(KINDS):
                hold(row, "boundary")
                if exercise != "what":
                    asked.append((f"When does the {name} start?", f"The {name} starts at ", times[row], other_times(row)))
            if exercise == "what" or i % 2:
                asked.append((f"What part of the song is at {times[row]}?", "The ", name, [k for k in KINDS if k != name]))
        chords = [f"{pitch} {mode}" for pitch in PITCHES for mode in ("major", "minor")]
        for row in range(ROWS):
            chord = chance.choice(chords)
            pitch, mode = chord.split()
            hold(row, "root", PITCHES.index(pitch))
            if mode == "minor":
                hold(row, "minor")
            if exercise == "what" or row % 2:
                asked.append((f"What is the chord at {times[row]}?", "", chord, [other for other in chords if other != chord]))
    chance.shuffle(asked)
    return marked, asked


def statements(language, asked):
    """Tokens, and those of answers: what is asked next is not to be known, so it does not count."""
    tokens, targets = [], []
    for question, before, answer, _ in asked:
        words = language.encode(before if before.endswith(" at ") else question + before)
        answer, end = language.encode(answer), language.encode(".")
        tokens += words + answer + end
        targets += [IGNORED] * len(words) + answer + [IGNORED] * len(end)
    return tokens, targets


def conversation(language, chance, asked, choices):
    """As [`statements`], of some questions with their replies, a share of them with options."""
    turns = []
    for question, before, answer, wrong in asked[:QUESTIONS]:
        if chance.random() < choices:
            options = [answer, *chance.sample(sorted(set(wrong)), 3)]
            chance.shuffle(options)
            listed = "".join(f"\n({letter}) {option}" for letter, option in zip("ABCD", options, strict=True))
            turns.append({"prompt": question + listed, "reply": f"{answer} ({'ABCD'[options.index(answer)]})"})
        else:
            turns.append({"prompt": question, "reply": f"{before}{answer}."})
    return language.segment(turns)


def drill(model, reader, language, chance, batch, exercise):
    """The mean loss of answers over a batch, and the share of their tokens that are right."""
    # The same places in all examples, so that positions are too.
    seconds = sorted(chance.sample(range(WINDOW), ROWS))
    seconds = [min(second + chance.uniform(-0.4, 0.4), WINDOW - 0.6) if second else 0.2 for second in seconds]
    times = [write_time(round(second)) for second in seconds]
    rows = torch.zeros(batch, ROWS, COLUMNS)
    texts = []
    for example in rows:
        place(example, seconds)
        marked, asked = facts(chance, times, exercise)
        for row, column in marked:
            example[row, column] = 1
        match exercise:
            case "questions":
                texts.append(conversation(language, chance, asked, 0))
            case "options":
                texts.append(conversation(language, chance, asked, 0.8))
            case _:
                texts.append(statements(language, asked))
    longest = max(len(tokens) for tokens, _ in texts)
    ids = torch.tensor([tokens + [language.end] * (longest - len(tokens)) for tokens, _ in texts])
    targets = torch.tensor([answers[1:] + [IGNORED] * (longest - len(answers) + 1) for _, answers in texts])
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
    known = targets != IGNORED
    logits = model.logits(hidden[:, -longest:][known])
    loss = torch.nn.functional.cross_entropy(logits, targets[known])
    right = (logits.argmax(-1) == targets[known]).float().mean()
    return loss, float(right)
