"""Writes a trained model as a checkpoint directory that `gamut` opens, and reads it again."""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from language import END, TEMPLATE, Language
from model import Gamma, config


def read_weights(folder):
    """A model's, from a run or from a checkpoint directory."""
    run = Path(folder) / "checkpoint.pt"
    if run.exists():
        return torch.load(run, weights_only=True)["model"]
    return {name: t.float() for name, t in load_file(Path(folder) / "model.safetensors").items()}


def read_expert(experts, name):
    """One of the experts', from a folder of their runs or a file of both."""
    if Path(experts).is_dir():
        return torch.load(f"{experts}/{name}/checkpoint.pt", weights_only=True)["expert"]
    first = f"{name}_expert."
    return {key.removeprefix(first): t.float() for key, t in load_file(experts).items() if key.startswith(first)}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def export(model, tokenizer_path, out, dtype=torch.bfloat16):
    """The checkpoint's files."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    language = Language(Tokenizer.from_file(str(tokenizer_path)))
    write_json(out / "config.json", config(language.size, language.audio))
    write_json(out / "generation_config.json", {"eos_token_id": [language.end], "do_sample": False})
    ends = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": END}
    write_json(out / "tokenizer_config.json", ends)
    (out / "chat_template.jinja").write_text(TEMPLATE)
    shutil.copy(tokenizer_path, out / "tokenizer.json")
    part = out / "model.safetensors.part"
    save_file({name: t.detach().to(dtype).contiguous() for name, t in model.state_dict().items()}, part, {"format": "pt"})
    part.rename(out / "model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of the stage's run, or a checkpoint directory")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument(
        "--silent", choices=["temporal", "global"], help="an expert that is to say nothing, to see what it is for"
    )
    args = parser.parse_args()
    language = Language(Tokenizer.from_file(args.tokenizer))
    model = Gamma(config(language.size, language.audio))
    model.load_state_dict(read_weights(args.run))
    if args.silent:
        last = getattr(model, f"{args.silent}_expert").layer_norm
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    export(model, args.tokenizer, args.out)


if __name__ == "__main__":
    main()
