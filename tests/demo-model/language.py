"""The tokenizer, and questions as segments of tokens behind one clip."""

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from scores import COLUMNS, INSTRUMENTS, KINDS, LAYOUT, MODES, PITCHES, TEMPOS, WINDOW, beats_class

USER, ASSISTANT, END, AUDIO = "<|user|>", "<|assistant|>", "<|end|>", "<|audio|>"
# A time, a number and an option's letter are a token each. Words keep the space behind them, so that times need none before.
PIECES = r"[ \n]?\([A-D]\) ?|\d:\d\d|\d+|\p{L}+ ?|[^\s\p{L}\d(]+ ?|\(|\s+"
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
# Questions whose answers are long come later in each stage, and not all: they take the most and teach the least.
LONG_ANSWERS = ["description", "progression", "structure"]
LONG_SHARE = 0.25
LONGEST = 300
# Periods in seconds of the waves that times begin as.
PERIODS = [2, 3, 4, 5, 7, 11, 16, 30, 64]


def write_time(second):
    return f"{second // 60}:{second % 60:02}"


def train_tokenizer(texts):
    """A byte-level BPE that has every time up to 5:00 as a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    times = [write_time(second) for second in range(LONGEST + 1)]
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        min_frequency=20,
        special_tokens=[USER, ASSISTANT, "<|system|>", END, AUDIO],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(times)] * 1000 + texts, trainer)
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
        self.letters = [[self.encode(form.format(letter))[0] for form in ("\n({}) ", " ({})")] for letter in "ABCD"]

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    @torch.no_grad()
    def order(self, embeddings):
        """Lets embeddings `[vocabulary, D]` of times begin as waves, so that what is learned of one holds for all.

        Hundreds of independent words would each have to be learned, from the few songs where it is an answer. An option's
        letter is the same before the option and behind the answer.
        """
        ids = [self.tokenizer.token_to_id(write_time(second)) for second in range(LONGEST + 1)]
        turns = 2 * torch.pi * torch.arange(LONGEST + 1)[:, None] / torch.tensor(PERIODS)
        waves = torch.cat([turns.cos(), turns.sin()], 1) / len(PERIODS) ** 0.5
        places = torch.linalg.qr(torch.randn(embeddings.shape[1], waves.shape[1]))[0].T
        embeddings[ids] = embeddings.std() * embeddings.shape[1] ** 0.5 * (waves @ places)
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

    A time is the word for it, a chord that for its root, and so on; a learned mark tells a word's several uses apart.
    """

    def __init__(self, language, width):
        super().__init__()

        def each(names, *more):
            return [[[name, f"{name} "], *more] for name in names]

        words = [[[write_time(second)]] for second in range(WINDOW)]
        words += each(KINDS) + [[["start", "starts "]]]
        words += each(INSTRUMENTS) + each(INSTRUMENTS, ["come ", "comes "]) + each(INSTRUMENTS, ["drop ", "drops "])
        words += [[[f"{pitch} "]] for pitch in PITCHES] + [[["minor"]]] + [[["loudest", "climax "]]]
        rates = [[[str(bpm) for bpm in range(60, 180, 5) if beats_class(bpm) == i]] for i in range(12)]
        words += each(INSTRUMENTS) + each(TEMPOS) + rates + each(MODES) + [[[str(count)]] for count in range(9)]
        assert len(words) == COLUMNS
        shares = torch.zeros(COLUMNS, language.size)
        for column, said in enumerate(words):
            for forms in said:
                ids = [i for form in forms for i in language.encode(form)]
                for i in ids:
                    shares[column, i] += 1 / len(ids)
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
    short = [q for q in questions if q["category"] not in LONG_ANSWERS]
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
