"""The tokenizer, and questions as segments of tokens behind one clip."""

import argparse
import json
from itertools import combinations
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from scores import COLUMNS, INSTRUMENTS, KINDS, LAYOUT, MODES, PITCHES, TEMPOS, WINDOW, beats_class

USER, ASSISTANT, END, AUDIO = "<|user|>", "<|assistant|>", "<|end|>", "<|audio|>"
# What questions choose among is a token each, however many words it has, so that an option is compared by one look.
CHORDS = [f"{pitch} {mode}" for mode in MODES for pitch in PITCHES]
MOODS = [f"{tempo} and {mode}" for tempo in TEMPOS for mode in MODES]
BEATS = range(60, 180, 5)
BANDS = [list(band) for size in range(2, len(INSTRUMENTS) + 1) for band in combinations(INSTRUMENTS, size)]
ONE_OF = "(?:" + "|".join(INSTRUMENTS + [name.capitalize() for name in INSTRUMENTS]) + ")"
PHRASES = rf"[A-G][#b]? m(?:aj|in)or|(?:{'|'.join(TEMPOS)}) and m(?:aj|in)or|\d+ bpm|{ONE_OF}(?:, {ONE_OF})* and {ONE_OF}"
# So are a time, a number and an option's letter. Words keep the space behind them, so that times need none before, but not
# the one before a letter: an answer is the same word as its option.
PIECES = rf"[ \n]?\([A-D]\) ?|\d:\d\d|{PHRASES}|\d+|\p{{L}}+(?: (?!\())?|[^\s\p{{L}}\d(]+ ?|\(|\s+"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message.role + '|>' }}"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for item in message.content %}"
    "{% if item.type == 'audio' %}{{ '<|audio|>' }}{% else %}{{ item.text }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
IGNORED = -100
# Questions whose answers are long come later in each stage, and not all: they take the most and teach the least. Lists of
# chords are not asked for: too hard for so small a model, they were a third of the loss.
LONG_ANSWERS = ["description", "structure"]
NOT_ASKED = ["progression"]
LONG_SHARE = 0.25
LONGEST = 300
# Periods, in seconds and in beats a minute, of the waves that times and tempos begin as.
TIME_PERIODS = [2, 3, 4, 5, 7, 11, 16, 30, 64]
BEATS_PERIODS = [20, 40, 80, 160]


def write_time(second):
    return f"{second // 60}:{second % 60:02}"


def write_band(names):
    *others, last = names
    return f"{', '.join(others)} and {last}"


def write_beats(bpm):
    return f"{bpm} bpm"


def train_tokenizer(texts):
    """A byte-level BPE that has every time up to 5:00 as a token, and every phrase."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    bands = [write_band(band) for band in BANDS]
    bands += [band.capitalize() for band in bands]
    whole = [write_time(second) for second in range(LONGEST + 1)] + CHORDS + MOODS + [write_beats(bpm) for bpm in BEATS] + bands
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        min_frequency=20,
        special_tokens=[USER, ASSISTANT, "<|system|>", END, AUDIO],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["\n".join(whole)] * 1000 + texts, trainer)
    return tokenizer


class Language:
    """What the decoder reads and writes."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.end = tokenizer.token_to_id(END)
        self.audio = tokenizer.token_to_id(AUDIO)
        self.before = self.encode(USER)
        self.turn = self.encode(END + ASSISTANT)
        self.next = self.encode(USER)
        self.size = tokenizer.get_vocab_size()
        self.letters = [[self.word(form.format(letter)) for form in ("\n({}) ", " ({})")] for letter in "ABCD"]

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    def word(self, text):
        """The token that a text is."""
        (word,) = self.encode(text)
        return word

    @torch.no_grad()
    def order(self, embeddings):
        """Lets embeddings `[vocabulary, D]` begin with what is known of words, so that what is learned of one holds for all.

        Hundreds of independent words would each have to be learned, from the few songs where it is an answer. Times and
        tempos begin as waves, phrases as sums of their words, where a band also says who is not in it. An option's letter
        is the same before the option and behind the answer.
        """
        length = embeddings.std() * embeddings.shape[1] ** 0.5

        def begin(texts, values):
            values = length * values / values.norm(dim=1, keepdim=True)
            embeddings[[self.word(text) for text in texts]] = values

        def waves(numbers, periods):
            turns = 2 * torch.pi * torch.tensor(numbers)[:, None] / torch.tensor(periods)
            waves = torch.cat([turns.cos(), turns.sin()], 1)
            return waves @ torch.linalg.qr(torch.randn(embeddings.shape[1], waves.shape[1]))[0].T

        def words(names):
            return sum(embeddings[[self.word(form.format(name)) for name in names]] for form in ("{}", "{} "))

        times = range(LONGEST + 1)
        begin([write_time(second) for second in times], waves(times, TIME_PERIODS))
        begin([write_beats(bpm) for bpm in BEATS], waves(BEATS, BEATS_PERIODS))
        # A chord's mode is not the key's.
        modes, roots = torch.randn(len(MODES), 1, embeddings.shape[1]), torch.randn(len(PITCHES), embeddings.shape[1])
        begin(CHORDS, (modes + roots).flatten(0, 1))
        begin(MOODS, (words(TEMPOS)[:, None] + words(MODES)).flatten(0, 1))
        signs = torch.tensor([[1.0 if name in band else -1.0 for name in INSTRUMENTS] for band in BANDS])
        for form in (str, str.capitalize):
            begin([form(write_band(band)) for band in BANDS], signs @ words(INSTRUMENTS))
        for forms in self.letters:
            embeddings[forms] = embeddings[forms[0]].clone()

    def segment(self, questions):
        """Tokens behind the clip, and the same with what is not an answer ignored: of a conversation, in turn."""
        tokens, targets = [], []
        for i, question in enumerate(questions):
            asked = (self.next if i else []) + self.encode(question["prompt"]) + self.turn
            answer = self.encode(question["reply"]) + [self.end]
            tokens += asked + answer
            targets += [IGNORED] * len(asked) + answer
        return tokens, targets

    def pack(self, questions, chance, groups=3, followed=0.2):
        """Batches `[S, L]` of segments that are about as long, some of them of two turns, with their targets."""
        segments = []
        questions = list(questions)
        while questions:
            turns = [questions.pop()]
            if questions and chance.random() < followed:
                turns.append(questions.pop())
            segments.append(self.segment(turns))
        segments.sort(key=lambda s: len(s[0]))
        size = -(-len(segments) // groups)
        for first in range(0, len(segments), size):
            group = segments[first : first + size]
            longest = max(len(tokens) for tokens, _ in group)
            pad = [(t + [self.end] * (longest - len(t)), y + [IGNORED] * (longest - len(y))) for t, y in group]
            yield tuple(torch.tensor(part) for part in zip(*pad, strict=True))


class Reader(torch.nn.Module):
    """Turns rows of a score `[N, columns]` into embeddings `[N, D]`: a sum of those of the words for what is true.

    A time is the word for it, a chord the one for the major chord, and what makes it minor, and so on; a learned mark tells
    a word's several uses apart.
    """

    def __init__(self, language, width):
        super().__init__()

        def each(names, *more):
            return [[[name, f"{name} "], *more] for name in names]

        words = [[[write_time(second)]] for second in range(WINDOW)]
        words += each(KINDS) + [[["start", "starts "]]]
        words += each(INSTRUMENTS) + each(INSTRUMENTS, ["come ", "comes "]) + each(INSTRUMENTS, ["drop ", "drops "])
        words += [[[f"{pitch} major"]] for pitch in PITCHES] + [[]] + [[["loudest", "climax "]]]
        rates = [[[write_beats(bpm) for bpm in BEATS if beats_class(bpm) == i]] for i in range(12)]
        words += each(INSTRUMENTS) + each(TEMPOS) + rates + each(MODES) + [[[str(count)]] for count in range(9)]
        assert len(words) == COLUMNS
        shares = torch.zeros(COLUMNS, language.size)
        for column, said in enumerate(words):
            for forms in said:
                ids = [i for form in forms for i in language.encode(form)]
                for i in ids:
                    shares[column, i] += 1 / len(ids)
        for chord in CHORDS:
            shares[LAYOUT["minor"], language.word(chord)] = (1 if chord.endswith("minor") else -1) / len(PITCHES)
        # What is asked for most must be heard among all else.
        shares[LAYOUT["second"]] *= 2
        self.register_buffer("shares", shares, persistent=False)
        self.marks = torch.nn.Parameter(0.01 * torch.randn(COLUMNS, width))
        # A time is a time.
        self.marks.data[LAYOUT["second"]] = 0

    def forward(self, rows, embeddings):
        # Words grow while they are learned; marks are to keep up.
        return rows @ (self.shares @ embeddings + 3 * self.marks)


def chosen(questions, chance, late):
    """Those to be asked of a piece, in any order."""
    short = [q for q in questions if q["category"] not in LONG_ANSWERS + NOT_ASKED]
    long = [q for q in questions if q["category"] in LONG_ANSWERS and late and chance.random() < LONG_SHARE]
    return chance.sample(short + long, len(short + long))


def answer_loss(model, language, kept, first, questions, chance):
    """Summed cross entropy of the answers, how many tokens they have, and how many answers are right throughout.

    Args:
        kept: keys and values of the prefix.
        first: position of the first token behind it.
    """
    total, count, right, answers = 0.0, 0, 0, 0
    for tokens, targets in language.pack(questions, chance):
        positions = first + torch.arange(tokens.shape[1])
        hidden = model.segments(tokens, positions, kept)[:, :-1]
        targets = targets[:, 1:]
        at = targets != IGNORED
        logits = model.logits(hidden[at])
        total = total + torch.nn.functional.cross_entropy(logits, targets[at], reduction="sum")
        count += int(at.sum())
        wrong = torch.zeros_like(at)
        wrong[at] = logits.argmax(-1) != targets[at]
        # An answer ends with its end token; it is right if none of its tokens is wrong.
        ends = at & (targets == language.end)
        wrongs = wrong.cumsum(1)
        for row in range(len(at)):
            before = 0
            for end in ends[row].nonzero().flatten().tolist():
                now = int(wrongs[row, end])
                right += now == before
                answers += 1
                before = now
    return total, count, right, answers


def main():
    parser = argparse.ArgumentParser(description="Trains the tokenizer on questions and answers.")
    parser.add_argument("plans", nargs="+", help="files of pieces with questions")
    parser.add_argument("--out", required=True, help="tokenizer.json")
    args = parser.parse_args()
    texts = []
    for path in args.plans:
        for line in Path(path).read_text().splitlines():
            for question in json.loads(line)["questions"]:
                texts += [question["prompt"], question["reply"]]
    train_tokenizer(texts).save(args.out)


if __name__ == "__main__":
    main()
