"""The third stage: group relative policy optimisation (Shao et al., 2024) on multiple choice, with Gamut drawing the answers.

A step asks questions about a few songs, several answers to each. An answer's reward is one if the option is right and one
more if it is said as it should be; its advantage is the reward against those of the other answers to its question, in
standard deviations. Questions that are nearly always answered wrongly, or always rightly, teach nothing and are left out.
The experts stay as they are.

To use two cores: `torchrun --nproc-per-node 2 grpo.py ...`.
"""

import json
import random
import re
import subprocess

import torch
from tokenizers import Tokenizer

from data import LENGTHS, Pieces
from export import export, read_weights
from language import Language
from model import Gamma, config
from run import Run, arguments, count_arguments, start_workers
from scores import tokens as tokens_of
from tune import hear

# A question is kept if such a share of its answers is right.
LEAST, BELOW = 0.25, 1.0
# How far the probability of a token may move from what it was drawn with.
CLIP = 0.2
ANSWER = re.compile(r"(.+) \(([A-D])\)")


class Rollouts:
    """The engine, in a process of its own."""

    def __init__(self, program, checkpoint):
        self.process = subprocess.Popen([program, checkpoint], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the engine ended with {self.process.wait()}")
        return json.loads(line)


def reward(question, text):
    """Whether the letter is the right one, and whether the answer is that option's words and letter."""
    said = ANSWER.fullmatch(text)
    if not said:
        return 0, 0
    chosen = question["options"]["ABCD".index(said[2])]
    return int(chosen == question["answer"]), int(chosen == said[1])


def advantages(rewards):
    rewards = torch.tensor(rewards, dtype=torch.float32)
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


def objective(model, language, kept, first, answered):
    """The loss summed over tokens, and how many there are.

    Args:
        kept: keys and values of the prefix.
        first: position of the first token behind it.
        answered: a prompt, an answer's tokens, their log-probabilities when they were drawn, and its advantage, each.
    """
    rows = []
    for prompt, tokens, logprobs, advantage in answered:
        asked = language.encode(prompt) + language.turn
        rows.append((asked + tokens, [0.0] * len(asked) + logprobs, [0.0] * len(asked) + [advantage] * len(tokens), len(asked)))
    longest = max(len(row[0]) for row in rows)
    ids = torch.tensor([r[0] + [language.end] * (longest - len(r[0])) for r in rows])
    drawn, advantage = (torch.tensor([r[i] + [0.0] * (longest - len(r[0])) for r in rows])[:, 1:] for i in (1, 2))
    place = torch.arange(1, longest)
    own = torch.stack([(place >= r[3]) & (place < len(r[0])) for r in rows])
    hidden = model.segments(ids, first + torch.arange(longest), kept)[:, :-1]
    logprobs = torch.log_softmax(model.logits(hidden[own]), -1).gather(1, ids[:, 1:][own][:, None])[:, 0]
    ratio = (logprobs - drawn[own]).exp()
    gain = torch.minimum(ratio * advantage[own], ratio.clamp(1 - CLIP, 1 + CLIP) * advantage[own])
    return -gain.sum(), int(own.sum()), float((ratio.detach() - 1).abs().mean())


def main():
    parser = arguments(__doc__)
    count_arguments(parser)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--begin-as", required=True, help="fine-tuning's run or a checkpoint directory")
    parser.add_argument("--program", required=True, help="the executable of gamut-tests' example `rollouts`")
    parser.add_argument("--questions", type=int, default=8, help="about each song")
    parser.add_argument("--answers", type=int, default=8, help="to each question")
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()
    rank, count = start_workers(args.threads)

    language = Language(Tokenizer.from_file(args.tokenizer))
    model = Gamma(config(language.size, language.audio))
    model.load_state_dict(read_weights(args.begin_as))
    for expert in (model.temporal_expert, model.global_expert):
        expert.requires_grad_(False)
    run = Run(args.out, {"model": model}, args.rate, args.steps)
    counts = {"short": args.short, "medium": args.medium, "long": args.long}
    pieces = {name: Pieces(args.data, args.maker, name) for name, n in counts.items() if n}
    shares = [{"short": 0.8, "medium": 0.2, "long": 0.0}[name] for name in pieces]
    checkpoint = run.folder / f"policy-{rank}"
    export(model, args.tokenizer, checkpoint, torch.float32)
    rollouts = Rollouts(args.program, checkpoint)
    before = torch.tensor(language.before)

    while run.step < args.steps:
        chance = random.Random(run.step * count + rank)
        drawn = []
        for _ in range(args.batch):
            length = chance.choices(list(pieces), shares)[0]
            piece, mel = pieces[length][chance.randrange(counts[length])]
            asked = [question for question in piece["questions"] if "options" in question]
            drawn.append((length, piece, mel, chance.sample(asked, min(args.questions, len(asked)))))
        songs = [
            {"seed": piece["seed"], "length": LENGTHS[length][:2], "prompts": [question["prompt"] for question in asked]}
            for length, piece, _, asked in drawn
        ]
        seed = (run.step * count + rank) * 1_000_000
        rollouts.send({"songs": songs, "answers": args.answers, "temperature": args.temperature, "seed": seed, "max_tokens": 24})
        right, formed, answers, kept_questions, questions = 0, 0, 0, 0, 0
        tasks = []
        for (_, piece, mel, asked), replies in zip(drawn, rollouts.receive(), strict=True):
            answered = []
            for question, group in zip(asked, replies, strict=True):
                rewards = [reward(question, answer["text"]) for answer in group]
                rate = sum(r for r, _ in rewards) / len(rewards)
                right, formed = right + sum(r for r, _ in rewards), formed + sum(f for _, f in rewards)
                answers, questions = answers + len(rewards), questions + 1
                if LEAST <= rate < BELOW:
                    kept_questions += 1
                    for answer, advantage in zip(group, advantages([sum(r) for r in rewards]).tolist(), strict=True):
                        answered.append((question["prompt"], answer["tokens"], answer["logprobs"], advantage))
            if answered:
                tasks.append((piece, mel, answered))
        tokens = max(1, sum(len(answer[1]) for _, _, answered in tasks for answer in answered))
        moved = 0.0
        for piece, mel, answered in tasks:
            audio = hear(model, mel, tokens_of(piece), trained=False)
            x = torch.cat([model.language_model.embed(before), audio])
            kept = model.language_model.prefix(x, torch.arange(len(x)))
            loss, n, far = objective(model.language_model, language, kept, len(x), answered)
            (loss / tokens).backward()
            moved += far * n / tokens
        run.update(
            {
                "right": right / answers,
                "format": formed / answers,
                "reward": (right + formed) / answers,
                "kept": kept_questions / questions,
                "moved": moved,
            },
        )
        export(model, args.tokenizer, checkpoint, torch.float32)
        rollouts.send({"checkpoint": str(checkpoint)})
        rollouts.receive()


if __name__ == "__main__":
    main()
