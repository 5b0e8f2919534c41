"""The first two stages of training the whole model, on questions about what it hears.

`alignment`: the decoder and the experts stay as they are; fusion and projector learn to say what was heard in
embeddings that the decoder can read, from short pieces. `sft`: everything learns, from short pieces and answers at first, then
from longer ones too. Both are told of every token what to say, since answers alone tell an expert little.

To use two cores: `torchrun --nproc-per-node 2 tune.py ...`.
"""

import random

import numpy as np
import torch
from tokenizers import Tokenizer

from data import Pieces
from export import read_expert, read_reader, read_weights
from language import Language, Reader, answer_loss, chosen
from model import Gamma, config
from run import Run, arguments, count_arguments, start_workers
from scores import COLUMNS, EVENTS, LAYOUT, score

# Columns of a score that say that something happens.
HAPPENS = torch.cat([torch.arange(COLUMNS)[LAYOUT[name]] for name in EVENTS])
# How often an expert is silent, so that answers do not lean on one alone.
SILENCE = 0.05
# Of the audio tokens, in the first two thirds of fine-tuning.
KEPT = 0.4
# Of a piece's questions: all of them would take as long as hearing another piece.
ASKED = 12


def hear(model, mel, n, trained, chance=None):
    """Audio embeddings `[n, D]` of a clip's windows; with `chance`, an expert is silent at times."""
    with torch.set_grad_enabled(trained):
        temporal, global_ = model.hear(torch.from_numpy(mel.astype(np.float32)), n)
    silent = 1.0 if chance is None else chance.random()
    if silent < SILENCE:
        temporal = torch.zeros_like(temporal)
    elif silent < 2 * SILENCE:
        global_ = torch.zeros_like(global_)
    return model.project(temporal, global_)


def begin(model, reader, experts, decoder):
    """Loads what was trained apart."""
    for name in ("temporal", "global"):
        getattr(model, f"{name}_expert").load_state_dict(read_expert(experts, name))
    state = torch.load(f"{decoder}/checkpoint.pt", weights_only=True)
    model.language_model.load_state_dict(state["model"])
    reader.load_state_dict(state["reader"])


def main():
    parser = arguments(__doc__)
    count_arguments(parser)
    parser.add_argument("stage", choices=["alignment", "sft"])
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--experts", help="folder of the experts' runs, or a checkpoint's weights, for alignment")
    parser.add_argument("--decoder", help="the decoder's run, for alignment")
    parser.add_argument("--begin-as", help="alignment's run, or a checkpoint directory to go on with, for sft")
    args = parser.parse_args()
    rank, count = start_workers(args.threads)
    torch.manual_seed(1)

    language = Language(Tokenizer.from_file(args.tokenizer))
    model = Gamma(config(language.size, language.audio))
    reader = Reader(language, model.language_model.c["hidden_size"])
    if args.stage == "alignment":
        begin(model, reader, args.experts, args.decoder)
        learning = [*model.fusion.parameters(), *model.projector.parameters()]
    else:
        model.load_state_dict(read_weights(args.begin_as))
        reader.load_state_dict(read_reader(args.begin_as))
        learning = [*model.parameters()]
    for p in [*model.parameters(), *reader.parameters()]:
        p.requires_grad_(False)
    for p in learning:
        p.requires_grad_(True)
    run = Run(args.out, {"model": model, "reader": reader}, args.rate, args.steps, muon=True)
    counts = {"short": args.short, "medium": args.medium, "long": args.long}
    pieces = {name: Pieces(args.data, args.maker, name) for name, n in counts.items() if n}
    before = torch.tensor(language.before)

    while run.step < args.steps:
        chance = random.Random(run.step * count + rank)
        late = args.stage == "sft" and run.step > args.steps * 2 // 3
        shares = {"short": 0.4, "medium": 0.45 * late, "long": 0.15 * late}
        total, distance, tokens, right, answers = 0.0, 0.0, 0, 0, 0
        for _ in range(args.batch):
            length = chance.choices(list(pieces), [shares[name] for name in pieces])[0]
            piece, mel = pieces[length][chance.randrange(counts[length])]
            rows = torch.from_numpy(score(piece))
            audio = hear(model, mel, len(rows), args.stage == "sft", chance)
            places = torch.arange(len(rows))
            if args.stage == "sft" and not late:
                # Neighbours say the same, so that some of them do, and cost less.
                places = places[torch.rand(len(rows)) < KEPT]
            x = torch.cat([model.language_model.embed(before), audio[places]])
            kept = model.language_model.prefix(x, torch.cat([torch.arange(len(before)), len(before) + places]))
            questions = chosen(piece["questions"], chance, late)[:ASKED]
            first = len(before) + len(rows)
            loss, n, good, asked = answer_loss(model.language_model, language, kept, first, questions, chance)
            # What the decoder learned to read is known, most of all where something happens, which is seldom.
            with torch.no_grad():
                wanted = reader(rows, model.language_model.model.embed_tokens.weight)
            weight = 1 + 4 * rows[:, HAPPENS].amax(1, keepdim=True)
            far = (weight * (audio - wanted).square()).mean() / (weight * wanted.square()).mean()
            ((loss / (4 * ASKED) + far) / args.batch).backward()
            distance += float(far.detach()) / args.batch
            total, tokens, right, answers = total + loss.item(), tokens + n, right + good, answers + asked
        run.update({"loss": total / tokens, "right": right / answers, "distance": distance})


if __name__ == "__main__":
    main()
