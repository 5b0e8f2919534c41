"""Exercises for the decoder: facts in random rows, and a statement or a question with options about one of them.

Songs ask for few of their times, and many of those can be guessed; here each fact is asked for, and none can be guessed.
"""

import numpy as np
import torch

from language import BANDS, BEATS, CHORDS, IGNORED, LONGEST, MOODS, write_band, write_beats, write_time
from model import RATE
from scores import COLUMNS, INSTRUMENTS, KINDS, LAYOUT, MODES, PITCHES, TEMPOS, WINDOW, beats_class, place

ROWS = 10
# In turn, with so many options: letters of answers that are given, what holds at a time, when instruments come in, all facts,
# questions with options, and those of them that only options make clear. Two options come before four: a guess among them is
# right more often.
EXERCISES = [("letters", 2), ("letters", 4), ("what", 0), ("entries", 0), ("all", 0), ("questions", 4), ("choices", 4)]
# What answers choose among.
CHOICES = [
    KINDS,
    INSTRUMENTS,
    CHORDS,
    MOODS,
    [write_beats(bpm) for bpm in BEATS],
    [write_band(band) for band in BANDS],
    [write_time(second) for second in range(LONGEST)],
]


def others(choices, answer):
    return [other for other in choices if other != answer]


def piece_facts(chance):
    """What holds of all rows: columns, questions about them, and such as only options make clear."""
    band = chance.choice(BANDS)
    absent = [name for name in INSTRUMENTS if name not in band]
    tempo, mode, bpm = chance.choice(TEMPOS), chance.choice(MODES), chance.choice(BEATS)
    columns = [("presence", INSTRUMENTS.index(name)) for name in band]
    columns += [("tempo", TEMPOS.index(tempo)), ("mode", MODES.index(mode)), ("beats", beats_class(bpm))]
    mood, players = f"{tempo} and {mode}", write_band(band)
    whole = [
        ("What are tempo and mode?", "", mood, others(MOODS, mood)),
        ("What instruments do you hear?", "", players, [write_band(other) for other in others(BANDS, band)]),
    ]
    # Of a class a row does not say which.
    paces = [write_beats(other) for other in BEATS if beats_class(other) != beats_class(bpm)]
    clear = [[("How fast is it?", "", write_beats(bpm), paces)]]
    if len(absent) > 2:
        clear.append([("Which of these is playing?", "", chance.choice(band), absent)])
    if absent and len(band) > 2:
        clear.append([("Which of these is not playing?", "", chance.choice(absent), band)])
    return columns, whole, clear


def orders(chance, names):
    """Questions about who comes first and last, of instruments in the order in which they come in."""
    few = sorted(chance.sample(range(len(names)), 4))
    first, *later, last = (names[i] for i in few)
    return [
        ("Which instrument enters first?", "", first, [*later, last]),
        ("Which of these comes in last?", "", last, [first, *later]),
    ]


def facts(chance, times, exercise):
    """Rows and columns that hold, and of each fact a question, what comes before the answer, the answer, and wrong ones."""
    marked, asked = [], {kind: [] for kind in ("enter", "leave", "climax", "start", "part", "chord")}

    def hold(row, name, i=0):
        marked.append((row, LAYOUT[name].start + i))

    def other_times(row):
        anywhere = [write_time(second) for second in chance.sample(range(WINDOW), 6)]
        return [time for time in chance.sample(times, 2) + anywhere if time != times[row]]

    def event(question, before, name, i=0):
        row = chance.randrange(ROWS)
        hold(row, name, i)
        asked[name].append((question, f"{before} at ", times[row], other_times(row)))
        return row

    entered = {}
    if exercise != "what":
        for i, name in enumerate(INSTRUMENTS):
            do, s = ("do", "") if name == "drums" else ("does", "s")
            entered[event(f"When {do} the {name} come in?", f"The {name} come{s} in", "enter", i)] = name
            if exercise != "entries":
                event(f"When {do} the {name} drop out?", f"The {name} drop{s} out", "leave", i)
    if exercise not in ("entries", "what"):
        event("When is it loudest?", "The climax is", "climax")
    if exercise != "entries":
        kinds = chance.sample(KINDS, len(KINDS)) + chance.choices(KINDS, k=ROWS - len(KINDS))
        for i, row in enumerate(chance.sample(range(ROWS), ROWS)):
            hold(row, "section", KINDS.index(kinds[i]))
            if i < len(KINDS):
                hold(row, "boundary")
                start = f"When does the {kinds[i]} start?", f"The {kinds[i]} starts at ", times[row], other_times(row)
                if exercise != "what":
                    asked["start"].append(start)
            chord = chance.choice(CHORDS)
            pitch, mode = chord.split()
            hold(row, "root", PITCHES.index(pitch))
            if mode == "minor":
                hold(row, "minor")
            part = f"What part of the song is at {times[row]}?", "The ", kinds[i], others(KINDS, kinds[i])
            asked["part"].append(part)
            asked["chord"].append((f"What is the chord at {times[row]}?", "", chord, others(CHORDS, chord)))
    asked = list(asked.values())
    if exercise not in ("entries", "what"):
        columns, whole, clear = piece_facts(chance)
        for row in range(ROWS):
            for name, i in columns:
                hold(row, name, i)
        asked += [whole]
        if exercise in ("questions", "choices"):
            if len(entered) > 3:
                clear.append(orders(chance, [entered[row] for row in sorted(entered)]))
            asked = clear if exercise == "choices" else asked + clear
    return marked, [kind for kind in asked if kind]


def given(chance):
    """An answer that is given, and others."""
    choices = chance.choice(CHOICES)
    answer = chance.choice(choices)
    return f"Which is {answer}?", "", answer, others(choices, answer)


def statement(language, question, before, answer):
    """Tokens, and those of the answer."""
    words = language.encode(before if before.endswith(" at ") else question + before)
    answer, end = language.encode(answer), language.encode(".")
    return words + answer + end, [IGNORED] * len(words) + answer + [IGNORED] * len(end)


def drill(model, reader, language, chance, exercises):
    """The mean loss of answers over a batch of an example of each exercise, and which are right throughout.

    Of each example one fact is asked for: of several, the last could be told from what was said of the others.
    """
    batch = len(exercises)
    rows = torch.zeros(batch, ROWS, COLUMNS)
    places = torch.zeros(batch, 1, ROWS, dtype=torch.long)
    texts = []
    for i, (exercise, choices) in enumerate(exercises):
        seconds = sorted(chance.sample(range(WINDOW), ROWS))
        seconds = [min(second + chance.uniform(-0.4, 0.4), WINDOW - 0.6) if second else 0.2 for second in seconds]
        place(rows[i].numpy(), np.array(seconds))
        places[i] = torch.tensor([int(second * RATE) for second in seconds])
        marked, asked = facts(chance, [write_time(round(second)) for second in seconds], exercise)
        for row, column in marked:
            rows[i, row, column] = 1
        question, before, answer, wrong = given(chance) if exercise == "letters" else chance.choice(chance.choice(asked))
        if choices:
            options = [answer, *chance.sample(sorted(set(wrong)), choices - 1)]
            chance.shuffle(options)
            listed = "".join(f"\n({letter}) {option}" for letter, option in zip("ABCD", options, strict=False))
            reply = f"{answer} ({'ABCD'[options.index(answer)]})"
            texts.append(language.segment([{"prompt": question + listed, "reply": reply}]))
        else:
            texts.append(statement(language, question, before, answer))
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
    first, last = (torch.arange(n).expand(batch, 1, -1) for n in (len(before), longest))
    hidden = model.hidden(x, torch.cat([first, len(before) + places, behind + last], -1))
    known = targets != IGNORED
    logits = model.logits(hidden[:, -longest:][known])
    loss = torch.nn.functional.cross_entropy(logits, targets[known])
    wrong = torch.zeros_like(known)
    wrong[known] = logits.argmax(-1) != targets[known]
    return loss, ~wrong.any(1)
